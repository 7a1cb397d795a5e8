"""What the worker tells of the pods it sees, beside Prefect's own observer: why they end, or do not begin."""
