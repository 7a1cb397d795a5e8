"""Ingest children of the project."""
