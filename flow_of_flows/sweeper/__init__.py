"""The sweeper: looks at runs, Jobs and slots that nobody looks after any more, and ends or revives them."""
