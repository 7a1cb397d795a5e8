"""Fixtures are modules of `tests/fixtures`, one per real part."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.aws",
    "tests.fixtures.stores",
    "tests.fixtures.snowflake",
    "tests.fixtures.server",
    "tests.fixtures.slack_pagerduty",
    "tests.fixtures.environment",
    "tests.fixtures.dbt_projects",
    "tests.fixtures.dbt_cloud",
    "tests.fixtures.pods",
    "tests.fixtures.git_host",
    "tests.fixtures.hubspot_child",
    "tests.fixtures.registrations",
]
