"""Words of the command line to parameters of a pipeline. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import cast
from uuid import UUID

from pydantic import JsonValue, ValidationError

from flow_of_flows.dispatch.parameters import Parameters, StepOverride
from flow_of_flows.dispatch.pipeline import Pipeline
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import did_you_mean


@dataclass(frozen=True)
class RunOptions:
    """What a person said about a run, as the command line has it."""

    assignments: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    full_refresh: bool = False
    resume_from: UUID | None = None


def chosen(name: str, plan: Pipeline | None, known: tuple[str, ...], choice: RunOptions) -> dict[str, JsonValue]:
    """Return the parameters of a new run: only those that a person chose, over those of the deployment.

    Args:
        name: of the deployment, for messages.
        plan: its steps, if it is a pipeline.
        known: names of the parameters that its flow takes.
        choice: what the command line says.

    Raises:
        ConfigurationError: they do not fit the deployment.
    """
    if plan is None:
        if choice.only or choice.skip or choice.resume_from:
            raise ConfigurationError(
                f"{name} is not a pipeline: it has no steps",
                location="--only, --skip, --resume-from",
                hint="leave these options out",
            )
        return child_parameters(name, known, choice.assignments, full_refresh=choice.full_refresh)
    found = parameters(
        plan,
        choice.assignments,
        only=choice.only,
        skip=choice.skip,
        full_refresh=choice.full_refresh,
        resume_from=choice.resume_from,
    )
    return found.model_dump(mode="json", exclude_defaults=True)


def check(flow: str, values: Mapping[str, JsonValue]) -> None:
    """Check the parameters of a child that can be refused before a run is created, if dbt is installed here.

    Args:
        flow: name of the child's flow.
        values: the parameters.

    Raises:
        ConfigurationError: the child would refuse them.
    """
    if flow == "dbt-command" and find_spec("dbt") and isinstance(command := values.get("command"), str):
        from flow_of_flows.dbt.command_line import parse

        parse(command)


def parameters(
    pipeline: Pipeline,
    assignments: Iterable[str],
    *,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    full_refresh: bool,
    resume_from: UUID | None,
) -> Parameters:
    """Return the parameters of a run, checked against its pipeline.

    Args:
        pipeline: what will run.
        assignments: `step.parameter=value`; for a step that is a pipeline `step.inner-step.parameter=value`.
        only: steps to run.
        skip: steps to leave out.
        full_refresh: rebuild incremental models.
        resume_from: earlier run.

    Raises:
        ConfigurationError: an assignment of another form, an unknown step, or nothing left to run.
    """
    overrides: dict[str, StepOverride] = {}
    for text in assignments:
        path, value = _assignment(text)
        _merge(overrides, pipeline, path, value, text)
    return Parameters(
        full_refresh=full_refresh, only=only, skip=skip, overrides=overrides, resume_from=resume_from
    ).checked(pipeline)


def child_parameters(
    child: str, known: tuple[str, ...], assignments: Iterable[str], *, full_refresh: bool
) -> dict[str, JsonValue]:
    """Return the parameters of a run of a deployment that is not a pipeline.

    Args:
        child: name of the deployment.
        known: names of the parameters that it takes.
        assignments: `parameter=value`.
        full_refresh: set the parameter of that name.

    Raises:
        ConfigurationError: an assignment of another form, or a parameter that it does not take.
    """
    values: dict[str, JsonValue] = {"full_refresh": True} if full_refresh else {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(
                f"{text!r} is not an assignment", location="--set", hint="write it as PARAMETER=VALUE"
            )
        values[name] = _value(value)
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigurationError(f"{child} has no parameter {name}", location="--set", hint=f"{hint}{takes}")
    return values


def _assignment(text: str) -> tuple[list[str], JsonValue]:
    left, equals, right = text.partition("=")
    path = left.split(".")
    if not equals or len(path) < 2 or not all(path):  # noqa: PLR2004 - a step and a parameter
        raise ConfigurationError(
            f"{text!r} is not an assignment", location="--set", hint="write it as STEP.PARAMETER=VALUE"
        )
    return path, _value(right)


def _value(text: str) -> JsonValue:
    """Return what a text is as JSON, else the text itself."""
    try:
        return cast("JsonValue", json.loads(text))
    except json.JSONDecodeError:
        return text


def _merge(
    overrides: dict[str, StepOverride], pipeline: Pipeline, path: list[str], value: JsonValue, text: str
) -> None:
    step = pipeline.step(path[0])
    values = dict(overrides[step.name].parameters) if step.name in overrides else {}
    if len(path) == 2:  # noqa: PLR2004 - a step and a parameter
        values[path[1]] = value
    elif step.nested:
        below = {name: _override(name, entry) for name, entry in _entries(values)}
        _merge(below, step.nested, path[1:], value, text)
        values["overrides"] = {name: entry.model_dump(mode="json") for name, entry in below.items()}
    else:
        raise ConfigurationError(
            f"{text!r} goes too deep: {step.name} is not a pipeline",
            location="--set",
            hint="write STEP.PARAMETER=VALUE",
        )
    overrides[step.name] = StepOverride(parameters=values)


def _override(name: str, entry: JsonValue) -> StepOverride:
    try:
        return StepOverride.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"The overrides of {name} do not fit: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            location="--set",
            hint="write STEP.STEP.PARAMETER=VALUE",
        ) from error


def _entries(values: dict[str, JsonValue]) -> Iterable[tuple[str, JsonValue]]:
    entries = values.get("overrides", {})
    return entries.items() if isinstance(entries, dict) else ()
