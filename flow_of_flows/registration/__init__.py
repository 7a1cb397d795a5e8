"""Makes a Prefect API match prefect.yaml and a registration file: read, plan, apply, undo what a failure left."""
