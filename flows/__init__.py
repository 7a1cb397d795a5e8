"""The project of this repository: its pipelines, ingest children, dashboards and settings."""
