"""The transform hop: children that run dbt, and what they share."""
