"""flow-of-flows: Prefect pipelines that order child flows around a dbt project."""
