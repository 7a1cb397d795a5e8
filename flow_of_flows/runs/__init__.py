"""What is known of pipeline runs and child runs, as values: outcomes, causes, keys. Pure."""
