"""Blocks that are made of secrets, for other flows and for people: settings in, items out.

The children of this project read the secrets themselves; a block only says the same in Prefect's words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from prefect.blocks.core import Block, UnknownBlockType

from flow_of_flows import secrets as credentials
from flow_of_flows.errors import FlowsError
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.settings import Settings

DBT_CLOUD_TYPE = "dbt-cloud-credentials"
DBT_CLOUD = f"{DBT_CLOUD_TYPE}/dbt-cloud"


def of_secrets(settings: Settings, taken: Collection[str], say: Callable[[str], None], *, owner: str) -> Iterator[Item]:
    """The blocks of the secrets that are there; one that cannot be had is said, for all else works without it.

    Args:
        settings: names and places of secrets, and whether they are used.
        taken: blocks that the registration file makes itself.
        say: takes the reason why a block is not made.
        owner: who registers them.

    Raises:
        ConfigurationError: a secret is malformed.
    """
    name = settings.secrets.dbt_cloud
    wanted = settings.transform.uses_cloud
    block = settings.deployment_name(DBT_CLOUD)
    if block in taken or not (wanted or credentials.near(name, settings.secrets)):
        # Secrets Manager is asked only for what is used: most who register have nothing to do with it.
        return
    try:
        found = credentials.find(name, settings.secrets)
        Block.get_block_class_from_key(DBT_CLOUD_TYPE)
    except (FlowsError, UnknownBlockType) as error:
        missing = "prefect-dbt is not installed (the extra flow-of-flows[dbt-cloud])"
        say(f"Block {block} is not made: {missing if isinstance(error, UnknownBlockType) else error}")
        return
    secret = credentials.shaped(name, found, credentials.DbtCloudCredentials)
    data = {
        "api_key": secret.api_token.get_secret_value(),
        "account_id": secret.account_id,
        # A stand-in's host has its scheme.
        "domain": secret.host.rpartition("://")[2],
    }
    yield Item(ResourceKind.BLOCK, block, {"data": data, "owner": owner})
