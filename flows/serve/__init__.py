"""The serve hop: children that use the result of dbt; each is one `Refresh` (flow_of_flows/refresh.py)."""
