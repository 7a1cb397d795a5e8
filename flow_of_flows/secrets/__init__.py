"""Credentials: the name of a secret and its shape in, a typed value out, in memory only. For children.

Three places are tried, in this order, and the first that has the secret counts:

1. the environment variable of its name (`dbt/snowflake-credentials` → `DBT_SNOWFLAKE_CREDENTIALS`), a JSON object;
2. a mounted Kubernetes Secret: in FLOWS_SECRETS_FOLDER the file `dbt-snowflake-credentials` (a JSON object), or the
   folder of that name with one file for each key;
3. AWS Secrets Manager, through the pod's own identity.

Nothing is kept between runs, so that a rotated secret counts from the next run on.
"""

from flow_of_flows.secrets.reading import (
    AirbyteCredentials,
    DbtCloudCredentials,
    GitHubToken,
    PagerDutyCredentials,
    SecretText,
    SlackWebhook,
    SnowflakeCredentials,
    find,
    near,
    read,
    shaped,
)

__all__ = [
    "AirbyteCredentials",
    "DbtCloudCredentials",
    "GitHubToken",
    "PagerDutyCredentials",
    "SecretText",
    "SlackWebhook",
    "SnowflakeCredentials",
    "find",
    "near",
    "read",
    "shaped",
]
