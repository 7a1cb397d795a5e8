"""Whether the deployments that steps name exist: one rule for `flows register`, `flows doctor` and `flows run`.

A step names a deployment of prefect.yaml, or one that another team registers with the same API, perhaps later.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.filters import FlowFilter, FlowFilterId
from pydantic import JsonValue, ValidationError

from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step, declared
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import did_you_mean
from flow_of_flows.prefect_api.client import MANY, PrefectApi
from flow_of_flows.registration.prefect_yaml import Deployment
from flow_of_flows.settings import Settings

# The names of deployments, `flow name/deployment name`, with those parameters that have no value unless a run has one.
Known = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class NamedDeployment:
    """A deployment that a step names.

    Attributes:
        step: name of the step; of one in a nested pipeline with that pipeline's step before it.
        given: names of the parameters that the step passes.
        by_settings: whether settings choose it, or leave out the step.
    """

    pipeline: str
    step: str
    deployment: str
    given: frozenset[str]
    by_settings: bool

    @property
    def said(self) -> str:
        """Return the step, to begin a message with."""
        return f"Step {self.step} of pipeline {self.pipeline}"


def named_by(pipeline: Pipeline, parameters: Parameters | None = None) -> Iterator[NamedDeployment]:
    """Yield the deployment of each step that runs, and those of nested pipelines. Pure.

    Args:
        pipeline: as the settings make it.
        parameters: of a run; without them every step runs that the settings do not leave out.
    """
    chosen = parameters or Parameters()
    for step in pipeline.steps:
        if step.absent or step.name in chosen.skip or (chosen.only and step.name not in chosen.only):
            continue
        given = chosen.for_step(step, continues=None)
        yield NamedDeployment(pipeline.name, step.name, step.deployment, frozenset(given), _by_settings(step))
        if step.nested:
            for each in named_by(step.nested, _of_nested(given)):
                by_settings = each.by_settings or _by_settings(step)
                yield replace(each, pipeline=pipeline.name, step=f"{step.name}/{each.step}", by_settings=by_settings)


def _of_nested(given: Mapping[str, JsonValue]) -> Parameters | None:
    """Return the parameters of a nested pipeline; None where they do not fit its form, which the API says."""
    try:
        return Parameters.model_validate({name: given[name] for name in Parameters.model_fields if name in given})
    except ValidationError:
        return None


def _by_settings(step: Step) -> bool:
    return step.choice is not None or step.without is not None


def declared_in(flows: Mapping[Deployment, Flow[..., Any]], settings: Settings) -> dict[str, frozenset[str]]:
    """Return the deployments of prefect.yaml as the API has them. Pure.

    Args:
        flows: the entries with their flows.
        settings: the suffix of their names.
    """
    return {
        f"{flow.name}/{settings.deployment_name(entry.name)}": lacking(flow.parameters.model_dump(), entry.parameters)
        for entry, flow in flows.items()
    }


def lacking(schema: Mapping[str, Any], values: Iterable[str]) -> frozenset[str]:
    """Return the parameters that a flow requires and that have no value.

    Args:
        schema: of its parameters.
        values: names of the parameters that have one.
    """
    return frozenset(schema.get("required") or ()) - set(values)


def named_in(flows: Iterable[Flow[..., Any]], settings: Settings) -> list[NamedDeployment]:
    """Return what the steps of all pipelines name. Pure.

    Args:
        flows: those of prefect.yaml.
        settings: which children and steps the pipelines have.
    """
    plans = (plan.configured(settings) for flow in flows if (plan := declared(flow)))
    return [each for plan in plans for each in named_by(plan)]


def refuse_missing(named: Iterable[NamedDeployment], known: Known, *, file: Path) -> None:
    """Refuse a run on this machine, where only the deployments of prefect.yaml run, before it starts. Pure.

    Args:
        named: what the steps of the run name.
        known: the deployments of prefect.yaml.
        file: the prefect.yaml.

    Raises:
        ConfigurationError: a step names another deployment, or does not pass what its flow requires.
    """
    for each in named:
        if each.deployment not in known:
            raise ConfigurationError(
                _without_child(each, "prefect.yaml does not have"),
                location=str(file),
                hint=f"{did_you_mean(each.deployment, known)}declare it there, correct the step, leave it out "
                f"(`--skip {each.step.partition('/')[0]}`), or run the pipeline where it is registered",
            )
        if missing := sorted(known[each.deployment] - each.given):
            raise ConfigurationError(
                f"{each.said} does not pass {', '.join(missing)}, which {each.deployment} requires",
                location=str(file),
                hint=f"add it to the step's parameters, or `--set {each.step.replace('/', '.')}.{missing[0]}=VALUE`",
            )


async def missing(api: PrefectApi, named: Iterable[NamedDeployment], known: Iterable[str]) -> list[ConfigurationError]:
    """Return an error for each step whose deployment neither prefect.yaml nor the API has.

    Args:
        api: where other teams register theirs.
        named: what steps name.
        known: the deployments of prefect.yaml.
    """
    declared_here = set(known)
    others = [each for each in named if each.deployment not in declared_here]
    exists = {name: await _exists(api, name) for name in sorted({each.deployment for each in others})}
    without = [each for each in others if not exists[each.deployment]]
    if not without:
        return []
    names = sorted(declared_here | await _registered(api))
    return [
        ConfigurationError(
            _without_child(each, "neither prefect.yaml nor the API has"),
            location=api.url,
            hint=f"{did_you_mean(each.deployment, names)}correct the step, declare the deployment in prefect.yaml, "
            "or have its team register it",
        )
        for each in without
    ]


def _without_child(named: NamedDeployment, what: str) -> str:
    return f"{named.said} has no child: {what} the deployment {named.deployment}"


async def _exists(api: PrefectApi, deployment: str) -> bool:
    return await api.find(lambda: api.client.read_deployment_by_name(deployment)) is not None


async def _registered(api: PrefectApi) -> set[str]:
    """Return the name of every deployment of the API, for a suggestion."""
    deployments = await api.all(lambda offset: api.client.read_deployments(limit=MANY, offset=offset))
    flows: dict[UUID, str] = {}
    ids = sorted({each.flow_id for each in deployments})
    for start in range(0, len(ids), MANY):
        which = FlowFilter(id=FlowFilterId(any_=ids[start : start + MANY]))
        found = await api.call(functools.partial(api.client.read_flows, flow_filter=which, limit=MANY))
        flows |= {flow.id: flow.name for flow in found}
    return {f"{flows[each.flow_id]}/{each.name}" for each in deployments if each.flow_id in flows}
