"""Whether the dbt Cloud child can do its work: settings in, a line out, or an error."""

from __future__ import annotations

from flow_of_flows import secrets as credentials
from flow_of_flows.dbt_cloud.api import Cloud
from flow_of_flows.settings import Settings

UNUSED = "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"


def probe(settings: Settings) -> str:
    """Read the secret, the job and its newest runs: token, account and job are right, and may be read.

    Whether the token may start the job is known only once it is started.

    Raises:
        FlowsError: what is wrong.
    """
    name = settings.secrets.dbt_cloud
    if not settings.transform.uses_cloud and credentials.near(name, settings.secrets) is None:
        return UNUSED
    found = credentials.read(name, credentials.DbtCloudCredentials, settings.secrets)
    # A person waits for the answer.
    patience = settings.dbt_cloud.model_copy(update={"patience_seconds": 0.0})
    with Cloud(found, patience, secret=name) as cloud:
        job = cloud.job()
        cloud.runs()
    steps = "; ".join(job.execute_steps)
    return f"job {job.id} ({job.name}) of account {found.account_id} at {found.host}: {steps}"
