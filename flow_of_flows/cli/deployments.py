"""Which Prefect API a command uses, and its deployments by the names that people use.

The API is the one that is configured, else that of a running session of this folder, else one started for the command.
A pipeline's steps are those of this package where the API has the same ones. Otherwise the parameter schema of the
deployment names them, so that a pipeline of another version, or of another project, can be started and followed, too.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterId,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, get_current_settings, temporary_settings

from flow_of_flows import prefect_requests
from flow_of_flows.deployments import declared_by
from flow_of_flows.dispatch.pipeline import Pipeline, Step, on_api
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.forking.preload import PREFECT
from flow_of_flows.home import Home
from flow_of_flows.local.bootstrap import bootstrapped
from flow_of_flows.local.children import ForkServerClient
from flow_of_flows.local.server import serving, wait_until_healthy
from flow_of_flows.messages import did_you_mean
from flow_of_flows.prefect_api import client
from flow_of_flows.prefect_api.client import MANY, PrefectApi, foreign
from flow_of_flows.retrying import detail
from flow_of_flows.settings import Settings
from flow_of_flows.settings.operations import is_configured

# A person waits for a command: an API that does not answer for this long is said to be away.
ANSWER_SECONDS = 10.0

SHOWN = 30


@asynccontextmanager
async def connected(settings: Settings, *, local: bool = False) -> AsyncIterator[PrefectApi]:
    """Yield the configured API, else that of a running session of this folder, else one started for the command.

    Args:
        settings: say where the folder is.
        local: leave out the API that is configured.

    Raises:
        PlatformError: the API does not answer, or the server of this folder does not start.
        ConfigurationError: the API refuses the credentials.
    """
    if is_configured() and not local:
        async with configured() as api:
            yield api
        return
    prefect_requests.guard()
    async with AsyncExitStack() as stack:
        await _use_own(settings, stack)
        yield PrefectApi(await stack.enter_async_context(get_client()), seconds=ANSWER_SECONDS)


@asynccontextmanager
async def configured() -> AsyncIterator[PrefectApi]:
    """Yield the configured API once it answers; translate what it refuses later.

    Raises:
        PlatformError: it does not answer.
        ConfigurationError: it is not a Prefect API, or it refuses the credentials or a call.
    """
    address = (get_current_settings().api.url or "").rstrip("/")
    try:
        async with client.connected(seconds=ANSWER_SECONDS) as api:
            yield api
    except PrefectHTTPStatusError as error:
        raise _refuses(error, address) from error
    except json.JSONDecodeError as error:
        raise foreign(address) from error


def _refuses(error: PrefectHTTPStatusError, address: str) -> ConfigurationError:
    # What is not there is `ObjectNotFound`, or a path that only another server does not know.
    if error.response.status_code == HTTPStatus.NOT_FOUND:
        return foreign(address)
    return ConfigurationError(f"The Prefect API refuses a call: {detail(error)}", location=address)


async def _use_own(settings: Settings, stack: AsyncExitStack) -> None:
    home = Home(settings.home)
    api = home.running_api()
    if api is None:
        bootstrap = stack.enter_context(bootstrapped(settings, PREFECT))
        fork_server = await stack.enter_async_context(ForkServerClient(bootstrap))
        await wait_until_healthy(bootstrap, await stack.enter_async_context(serving(bootstrap, fork_server)))
        api = bootstrap.api
    ui = api.removesuffix("/api")
    stack.enter_context(temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui, PREFECT_HOME: home.prefect}))


@dataclass(frozen=True)
class Deployed:
    """A deployment of the API.

    Attributes:
        flow: name of its flow.
        plan: the steps, if it is a pipeline.
        parameters: names of the parameters that its flow takes.
        is_declared: whether the steps are those of the project here, not read from the form of another version.
    """

    id: UUID
    flow: str
    name: str
    plan: Pipeline | None
    parameters: tuple[str, ...]
    is_declared: bool = False


async def find(api: PrefectApi, name: str, settings: Settings) -> Deployed:
    """Return the deployment that a person names.

    Args:
        api: where it is registered.
        name: `flow/deployment`, or the deployment's name alone, as prefect.yaml has it or with this release's suffix.
        settings: the suffix of this release.

    Raises:
        ConfigurationError: there is none of this name, or there are several.
    """
    flow, slash, own = name.rpartition("/")
    registered_name = on_api(f"{flow}/{own}", settings).rpartition("/")[2]
    matches = [each for each in await _named(api, registered_name, settings) if not slash or each.flow == flow]
    if len(matches) > 1:
        # A pipeline or a child has the name of its flow; a deployment of another flow may share that name.
        matches = [each for each in matches if each.flow == own] or matches
    match matches:
        case [each]:
            return each
        case []:
            raise await _unknown(api, name)
    choices = ", ".join(sorted(f"{each.flow}/{each.name}" for each in matches))
    raise ConfigurationError(
        f"{len(matches)} deployments have the name {name}", location=api.url, hint=f"name one: {choices}"
    )


async def of_run(api: PrefectApi, deployment: UUID | None, flow: UUID, settings: Settings) -> Deployed:
    """Return the deployment that a run is of, as far as it still exists; a run's flow always does.

    Args:
        api: where the run is.
        deployment: id of its deployment, if it has one.
        flow: id of its flow.
        settings: say where the project's pipelines are.
    """
    flow_name = (await api.call(lambda: api.client.read_flow(flow))).name
    registered = await api.find(lambda: api.client.read_deployment(deployment)) if deployment else None
    if registered is None:
        plan = _declared(flow_name, settings)
        return Deployed(deployment or flow, flow_name, flow_name, plan, (), is_declared=plan is not None)
    return _deployed(registered, flow_name, settings)


async def _named(api: PrefectApi, name: str, settings: Settings) -> list[Deployed]:
    chosen = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    registered = await api.all(
        lambda offset: api.client.read_deployments(deployment_filter=chosen, limit=MANY, offset=offset)
    )
    if not registered:
        return []
    ids = FlowFilter(id=FlowFilterId(any_=[each.flow_id for each in registered]))
    flows = {flow.id: flow.name for flow in await api.call(lambda: api.client.read_flows(flow_filter=ids, limit=MANY))}
    return [_deployed(each, flows[each.flow_id], settings) for each in registered]


def _deployed(registered: DeploymentResponse, flow: str, settings: Settings) -> Deployed:
    schema = registered.parameter_openapi_schema or {}
    names, declared = _steps(schema.get("properties", {})), _declared(flow, settings)
    is_declared = declared is not None and (not schema or {step.name for step in declared.steps} == set(names))
    form = Pipeline(flow, tuple(Step(name=name) for name in names)) if names else None
    plan = declared if is_declared or not schema else form
    parameters = tuple(schema.get("properties", {}))
    return Deployed(registered.id, flow, registered.name, plan, parameters, is_declared=is_declared)


def _declared(flow: str, settings: Settings) -> Pipeline | None:
    """Return the project's own pipeline; None where there is no project here, or it does not load."""
    try:
        return declared_by(flow, settings)
    except ConfigurationError:
        return None


def _steps(properties: Mapping[str, Any]) -> list[str]:
    """Return the step names that the form of a pipeline offers for `only`; none where it is another form."""
    if not {"only", "skip", "overrides", "resume_from"} <= set(properties):
        return []
    items = properties["only"].get("items", {})
    return [str(name) for name in items.get("enum", [items["const"]] if "const" in items else [])]


async def _unknown(api: PrefectApi, name: str) -> ConfigurationError:
    registered = await api.all(lambda offset: api.client.read_deployments(limit=MANY, offset=offset))
    names = sorted({each.name for each in registered})
    hint = did_you_mean(name.rpartition("/")[2], names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    choices = f"there are {', '.join(names[:SHOWN])}{more}" if names else "register them, or run it here with --local"
    return ConfigurationError(f"There is no deployment {name}", location=api.url, hint=f"{hint}{choices}")
