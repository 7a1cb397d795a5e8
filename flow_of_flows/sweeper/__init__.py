"""The sweeper: ends or restarts abandoned runs, Jobs and concurrency slots."""
