"""The embedded default on one machine: a Prefect server, a runner that forks children, and a pipeline in it."""
