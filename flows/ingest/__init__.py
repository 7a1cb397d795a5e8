"""The ingest hop: sources in, raw tables in the warehouse out; each child is a flow that a pipeline starts."""
