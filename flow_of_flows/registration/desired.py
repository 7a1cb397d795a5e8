"""The desired items: built and checked from the deployments and the request. Only imports the flows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prefect import Flow
from prefect.blocks.core import Block, UnknownBlockType
from prefect.utilities.schema_tools import ValidationError, validate

from flow_of_flows import secrets
from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.messages import did_you_mean
from flow_of_flows.registration import ownership
from flow_of_flows.registration.config import Request
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.registration.prefect_yaml import Deployment, named
from flow_of_flows.settings import Settings

TAG = ownership.PRODUCT
PIPELINE = "pipeline"
# The work queue of each kind. A pipeline must not hold a slot that its children need: with as many pipelines as slots
# no child would start. So only the queue of the children has a limit.
PIPELINES, CHILDREN = "pipelines", "children"
QUEUES = {PIPELINE: PIPELINES, "child": CHILDREN, "maintenance": PIPELINES}
KINDS = tuple(QUEUES)


def loaded(deployments: Sequence[Deployment]) -> dict[Deployment, Flow[..., Any]]:
    """Return every deployment with its flow.

    Raises:
        ConfigurationError: a deployment does not load, or lacks its tags.
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
    """Return the desired work pool; the limit of the request belongs to a queue (`queues`)."""
    work_pool = request.work_pool
    fields: dict[str, Any] = {"owner": request.owner} | ({"type": work_pool.type} if work_pool.type else {})
    if request.has_pool:
        fields |= {"base_job_template": work_pool.base_job_template, "concurrency_limit": None}
    return Item(ResourceKind.POOL, work_pool.name, fields)


def queues(request: Request) -> tuple[Item, ...]:
    """Return the pool's queues: pipelines come first and have no limit, children have the limit of the request."""
    work_pool = request.work_pool
    fields: dict[str, dict[str, Any]] = {PIPELINES: {"priority": 1}, CHILDREN: {}}
    if request.has_pool:
        fields[PIPELINES]["concurrency_limit"] = None
        fields[CHILDREN]["concurrency_limit"] = work_pool.concurrency_limit
    return tuple(
        Item(ResourceKind.QUEUE, f"{work_pool.name}/{name}", {**each, "owner": request.owner})
        for name, each in fields.items()
    )


def queue(entry: Deployment) -> str:
    """Return the queue of a deployment: its own, or that of its kind."""
    (kind,) = set(KINDS) & set(entry.tags)
    return entry.work_pool.work_queue_name or QUEUES[kind]


def deployment(entry: Deployment, flow: Flow[..., Any], request: Request, *, suffix: str = "") -> Item:
    """Return the desired state of one deployment.

    Args:
        entry: its entry in prefect.yaml.
        flow: the flow it runs.
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
    """Return the desired schedules of a deployment.

    Args:
        entry: its entry in prefect.yaml.
        request: whether schedules are active.
    """
    entries = named([schedule.model_dump(mode="json", include=SCHEDULE) for schedule in entry.schedules])
    active = request.schedules and entry.name not in request.inactive
    return entries if active else [{**each, "active": False} for each in entries]


def job_variables(entry: Deployment, request: Request) -> dict[str, Any]:
    """Return the job variables of a deployment: by tag, then its own, then by its name.

    Args:
        entry: its entry in prefect.yaml.
        request: job variables by tag and by deployment.
    """
    merged: dict[str, Any] = {}
    for tag in sorted(set(entry.tags) & set(request.job_variables.by_tag)):
        merged |= request.job_variables.by_tag[tag]
    merged |= entry.work_pool.job_variables | request.job_variables.by_deployment.get(entry.name, {})
    return {"image": request.image, **merged} if request.image else merged


# The deployment of the platform that the chart has job variables for, in every project.
SWEEPER = "sweep"


def missing_sweeper(deployments: Sequence[Deployment], request: Request) -> Iterator[str]:
    """Yield a sentence if the chart expects the sweeper and the project does not declare it.

    Args:
        deployments: the entries of prefect.yaml.
        request: job variables by deployment.
    """
    if SWEEPER in request.job_variables.by_deployment and SWEEPER not in {entry.name for entry in deployments}:
        yield (
            f"Abandoned runs are not cleaned up: prefect.yaml declares no deployment {SWEEPER}. "
            "Declare it with the entrypoint flow_of_flows.sweeper.flow.sweep, or set sweeper.enabled=false."
        )


def check_names(deployments: Sequence[Deployment], request: Request) -> None:
    """Check that the deployments and tags with job variables exist.

    The chart has job variables for the sweeper, whether or not the project declares it.

    Args:
        deployments: the entries of prefect.yaml.
        request: job variables by tag and by deployment.

    Raises:
        ConfigurationError: one does not exist.
    """
    tags = {tag for entry in deployments for tag in entry.tags}
    names = {entry.name for entry in deployments}
    job_variables = request.job_variables
    for what, unknown, known in (
        ("deployment", set(job_variables.by_deployment) - names - {SWEEPER}, names),
        ("tag", set(job_variables.by_tag) - tags, tags),
    ):
        for name in sorted(unknown):
            raise ConfigurationError(
                f"Job variables are given to {what} {name}, which does not exist",
                location="registration",
                hint=_closest(name, known),
            )


def check_job_variables(
    job_variables: Mapping[str, Mapping[str, Any]], template: Mapping[str, Any], pool_name: str
) -> None:
    """Check that the pool's template takes the job variables of every deployment.

    Args:
        job_variables: by name of the deployment.
        template: base job template of the pool.
        pool_name: name of the pool, for the message.

    Raises:
        ConfigurationError: the template has no such variable, or does not accept the value.
    """
    schema = dict(template.get("variables") or {})
    known = set(schema.get("properties") or {})
    for deployment_name, variables in job_variables.items():
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
    """Yield the blocks of the secrets that exist; report each that cannot be read, as the rest works without it.

    Args:
        settings: names and places of secrets, and whether they are used.
        say: takes the reason why a block is not created.
        owner: who registers them.

    Raises:
        ConfigurationError: a secret is malformed.
    """
    name = settings.secrets.dbt_cloud
    uses_cloud = settings.transform.uses_cloud
    block = settings.deployment_name(DBT_CLOUD)
    if not (uses_cloud or secrets.near(name, settings.secrets)):
        # Only read what is used from Secrets Manager: most people who register do not need it.
        return
    try:
        secret_text = secrets.find(name, settings.secrets)
        Block.get_block_class_from_key(DBT_CLOUD_TYPE)
    except (FlowsError, UnknownBlockType) as error:
        missing = "prefect-dbt is not installed (the extra flow-of-flows[dbt-cloud])"
        say(f"Block {block} is not made: {missing if isinstance(error, UnknownBlockType) else error}")
        return
    secret = secrets.shaped(name, secret_text, secrets.DbtCloudCredentials)
    data = {
        "api_key": secret.api_token.get_secret_value(),
        "account_id": secret.account_id,
        # The host of a stand-in includes its scheme.
        "domain": secret.host.rpartition("://")[2],
    }
    yield Item(ResourceKind.BLOCK, block, {"data": data, "owner": owner})
