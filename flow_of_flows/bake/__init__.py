"""Puts a project into an image of the platform: its requirements, its dbt project, byte code, a bill of materials."""
