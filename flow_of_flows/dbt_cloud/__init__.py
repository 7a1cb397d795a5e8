"""The dbt Cloud child: a client of dbt Cloud's API v2, and what a run there means for the Prefect run."""
