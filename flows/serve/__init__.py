"""The serve hop: children that use the result of dbt; each is one `Refresh` (flows/serve/refresh.py)."""
