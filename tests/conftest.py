"""Fixtures are modules of `tests/fixtures`, one per real part."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.aws",
    "tests.fixtures.snowflake",
    "tests.fixtures.server",
    "tests.fixtures.environment",
    "tests.fixtures.dbt_projects",
]
