"""Locks on the schemas that dbt builds write, kept in the state store and at the Prefect API."""
