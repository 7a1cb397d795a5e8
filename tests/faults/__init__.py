"""The fault matrix: what is broken on purpose, and what is promised then."""
