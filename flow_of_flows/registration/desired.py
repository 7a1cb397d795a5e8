"""Deployments and a request in, the items that are wanted out, or what does not fit. Only imports the flows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prefect import Flow
from prefect.blocks.core import Block, UnknownBlockType
from prefect.utilities.schema_tools import ValidationError, validate

from flow_of_flows import secrets as credentials
from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.messages import did_you_mean
from flow_of_flows.registration import marks
from flow_of_flows.registration.config import Request
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.registration.prefect_yaml import Deployment
from flow_of_flows.registration.schedules import named
from flow_of_flows.settings import Settings

TAG = marks.PRODUCT
PIPELINE = "pipeline"
# The work queue of each kind. A pipeline must not hold a slot that its children need: with as many pipelines as slots
# no child would start. So only the queue of the children has a limit.
PIPELINES, CHILDREN = "pipelines", "children"
QUEUES = {PIPELINE: PIPELINES, "child": CHILDREN, "maintenance": PIPELINES}
KINDS = tuple(QUEUES)


def loaded(deployments: Sequence[Deployment]) -> dict[Deployment, Flow[..., Any]]:
    """Every deployment with its flow, and with the tags that tell them apart.

    Raises:
        ConfigurationError: one does not load, or has not the tags.
    """
    for deployment in deployments:
        if TAG not in deployment.tags or len(set(KINDS) & set(deployment.tags)) != 1:
            raise ConfigurationError(
                f"Deployment {deployment.name} has the tags {', '.join(deployment.tags) or '(none)'}",
                location="prefect.yaml",
                hint=f"give it {TAG} and one of {', '.join(KINDS)}",
            )
    return {deployment: deployment.flow() for deployment in deployments}


def pool(request: Request) -> Item:
    """The pool, as far as the request says what it should be; its limit is that of a queue (`queues`)."""
    wanted = request.work_pool
    fields: dict[str, Any] = {"owner": request.owner} | ({"type": wanted.type} if wanted.type else {})
    if request.has_pool:
        fields |= {"base_job_template": wanted.base_job_template, "concurrency_limit": None}
    return Item(ResourceKind.POOL, wanted.name, fields)


def queues(request: Request) -> tuple[Item, ...]:
    """The pool's queues: pipelines come first and have no limit, children have that of the request."""
    wanted = request.work_pool
    fields: dict[str, dict[str, Any]] = {PIPELINES: {"priority": 1}, CHILDREN: {}}
    if request.has_pool:
        fields[PIPELINES]["concurrency_limit"] = None
        fields[CHILDREN]["concurrency_limit"] = wanted.concurrency_limit
    return tuple(
        Item(ResourceKind.QUEUE, f"{wanted.name}/{name}", {**each, "owner": request.owner})
        for name, each in fields.items()
    )


def queue(entry: Deployment) -> str:
    """The queue of a deployment: its own, or that of its kind."""
    (kind,) = set(KINDS) & set(entry.tags)
    return entry.work_pool.work_queue_name or QUEUES[kind]


def deployment(entry: Deployment, flow: Flow[..., Any], request: Request, *, suffix: str = "") -> Item:
    """Return one deployment, as the API is to keep it.

    Args:
        entry: its entry in prefect.yaml.
        flow: what it runs.
        request: its pool, image, job variables and schedules.
        suffix: end of its name on the API.
    """
    return Item(
        ResourceKind.DEPLOYMENT,
        f"{flow.name}/{entry.name}{suffix}",
        {
            "version": importlib.metadata.version(TAG),
            "description": entry.description or flow.description,
            "entrypoint": entry.entrypoint,
            "path": None,
            "tags": sorted(entry.tags),
            "parameters": entry.parameters,
            "parameter_openapi_schema": flow.parameters.model_dump(exclude_unset=True),
            "enforce_parameter_schema": True,
            "concurrency_limit": entry.concurrency_limit,
            "schedules": schedules(entry, request),
            "pull_steps": list(entry.pull or ()),
            "work_pool_name": request.work_pool.name,
            "work_queue_name": queue(entry),
            "job_variables": job_variables(entry, request),
            "owner": request.owner,
        },
    )


SCHEDULE = {"schedule", "active", "parameters", "slug"}


def schedules(entry: Deployment, request: Request) -> list[dict[str, Any]]:
    """Schedules of a deployment, as the API is to keep them."""
    kept = named([schedule.model_dump(mode="json", include=SCHEDULE) for schedule in entry.schedules])
    active = request.schedules and entry.name not in request.inactive
    return kept if active else [{**one, "active": False} for one in kept]


def job_variables(entry: Deployment, request: Request) -> dict[str, Any]:
    """Job variables of a deployment: by tag, then its own, then by its name."""
    merged: dict[str, Any] = {}
    for tag in sorted(set(entry.tags) & set(request.job_variables.by_tag)):
        merged |= request.job_variables.by_tag[tag]
    merged |= entry.work_pool.job_variables | request.job_variables.by_deployment.get(entry.name, {})
    return {"image": request.image, **merged} if request.image else merged


def check_names(deployments: Sequence[Deployment], request: Request) -> None:
    """Look whether job variables are given to deployments and tags that exist.

    Raises:
        ConfigurationError: they are not.
    """
    tags = {tag for entry in deployments for tag in entry.tags}
    names = {entry.name for entry in deployments}
    given = request.job_variables
    for what, unknown, known in (
        ("deployment", set(given.by_deployment) - names, names),
        ("tag", set(given.by_tag) - tags, tags),
    ):
        for name in sorted(unknown):
            raise ConfigurationError(
                f"Job variables are given to {what} {name}, which does not exist",
                location="registration",
                hint=_closest(name, known),
            )


def check_job_variables(given: Mapping[str, Mapping[str, Any]], template: Mapping[str, Any], pool_name: str) -> None:
    """Look whether the pool's template takes the job variables of every deployment, by name.

    Raises:
        ConfigurationError: it does not.
    """
    schema = dict(template.get("variables") or {})
    known = set(schema.get("properties") or {})
    for deployment_name, variables in given.items():
        where = f"deployment {deployment_name}, work pool {pool_name}"
        for name in sorted(set(variables) - known):
            raise ConfigurationError(f"Unknown job variable {name}", location=where, hint=_closest(name, known))
        try:
            validate(dict(variables), schema, raise_on_error=True, ignore_required=True, allow_none_with_default=True)
        except ValidationError as error:
            raise ConfigurationError(
                f"A job variable does not fit: {error}",
                location=where,
                hint="correct it in prefect.yaml or in the values",
            ) from error


def _closest(name: str, known: set[str]) -> str:
    return f"{did_you_mean(name, known)}there are {', '.join(sorted(known)) or 'none'}"


DBT_CLOUD_TYPE = "dbt-cloud-credentials"
DBT_CLOUD = f"{DBT_CLOUD_TYPE}/dbt-cloud"


def of_secrets(settings: Settings, say: Callable[[str], None], *, owner: str) -> Iterator[Item]:
    """The blocks of the secrets that are there; one that cannot be had is said, for all else works without it.

    Args:
        settings: names and places of secrets, and whether they are used.
        say: takes the reason why a block is not made.
        owner: who registers them.

    Raises:
        ConfigurationError: a secret is malformed.
    """
    name = settings.secrets.dbt_cloud
    wanted = settings.transform.uses_cloud
    block = settings.deployment_name(DBT_CLOUD)
    if not (wanted or credentials.near(name, settings.secrets)):
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
