"""The only users of the Prefect client."""
