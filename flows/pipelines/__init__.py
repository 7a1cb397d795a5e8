"""The pipelines of this project: each orders children and does no work of its own."""
