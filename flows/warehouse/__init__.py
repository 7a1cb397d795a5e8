"""The warehouse hop: typed connection settings per warehouse, and reading from it."""
