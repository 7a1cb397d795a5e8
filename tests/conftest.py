"""Fixtures are modules of `tests/fixtures`, one per real part."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.server",
    "tests.fixtures.environment",
    "tests.fixtures.dbt_projects",
]
