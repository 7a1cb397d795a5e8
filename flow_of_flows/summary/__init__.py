"""What people read: the hand-back of a child, the answers of a pipeline run, and the artifacts that carry them."""
