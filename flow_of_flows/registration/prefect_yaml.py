"""Reads prefect.yaml into frozen deployments and their schedules; the only reader of that file.

Schedules are merged with what a person did in the Prefect UI. Registration remembers for each whether it registered it
as active, by a slug that an edit in the UI keeps. So a schedule that is inactive although it was registered as active
was switched off by a person.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.templating import apply_values, find_placeholders
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic import dataclasses as validated

from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.messages import one_line
from flow_of_flows.project import current_project
from flow_of_flows.registration.plan import Item, ResourceKind

KINDS: dict[str, type[BaseModel]] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
# What Prefect stores next to a schedule and not in it.
OPTIONS = ("active", "parameters", "slug")
ANCHOR = "2020-01-01T00:00:00Z"


IMAGE = "FLOWS_IMAGE"
# The name of a project that gives itself none.
PROJECT = "flow-of-flows"
# Placeholders that a worker resolves when a run starts.
LATER = ("prefect.blocks.", "prefect.variables.", "ctx.")
CLOSED = ConfigDict(extra="forbid")
Steps = tuple[dict[str, Any], ...]


def _schedule(entry: object) -> object:
    """Return an entry of prefect.yaml with the keys of the schedule apart from the others.

    Raises:
        ValueError: the entry is not exactly one kind of schedule.
    """
    if not isinstance(entry, Mapping):
        return entry
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        raise ValueError("a schedule has exactly one of cron, interval and rrule")
    options = {key: entry[key] for key in OPTIONS if key in entry}
    timing: dict[str, Any] = {key: value for key, value in entry.items() if key not in OPTIONS}
    if kinds == ["interval"]:
        # Prefect's default is the present moment: each registration would change the schedule.
        timing.setdefault("anchor_date", ANCHOR)
    return {"schedule": KINDS[kinds[0]].model_validate(timing), **options}


Schedule = Annotated[DeploymentScheduleCreate, BeforeValidator(_schedule)]
# The end of a slug is the place of the schedule in prefect.yaml.
SLUG = "flow-of-flows-"
AS_SET = "as a person set it in the UI"
Entry = dict[str, Any]


class Registered(StrEnum):
    """How a schedule was last registered."""

    ON = "on"
    OFF = "off"
    # Registered as inactive while a person had switched it off: it stays off when it would become active again.
    HELD = "held"


@dataclass(frozen=True)
class Merged:
    """The schedules of one deployment.

    Attributes:
        before: the current schedules, in the order of `after`.
        after: the desired schedules.
        registered: how each is registered, by its slug, without those that a person added.
        notes: what a person did in the UI and stays, for the plan.
    """

    before: list[Entry]
    after: list[Entry]
    registered: dict[str, str]
    notes: tuple[str, ...]


def named(entries: Sequence[Entry]) -> list[Entry]:
    """Return schedules of prefect.yaml with a slug for each that has none."""
    return [{**entry, "slug": entry["slug"] or f"{SLUG}{place}"} for place, entry in enumerate(entries, start=1)]


def with_switches(desired: Sequence[Item], current: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return both sides of a plan, keeping what a person switched in the UI.

    Args:
        desired: what is registered.
        current: what the API has.
    """
    current_by_key = {item.key: item for item in current}
    after, before = list(desired), list(current)
    for place, item in enumerate(desired):
        match = current_by_key.get(item.key)
        if (
            item.kind is ResourceKind.AUTOMATION
            and match
            and "enabled" not in item.fields
            and not match.fields["enabled"]
        ):
            after[place] = replace(item, notes=(f"enabled: stays false, {AS_SET}",))
        if item.kind is not ResourceKind.DEPLOYMENT:
            continue
        fields = match.fields if match else {}
        merged = merge(item.fields["schedules"], fields.get("schedules", ()), fields.get("registered_schedules"))
        new = {"schedules": merged.after, "registered_schedules": merged.registered}
        after[place] = replace(item, fields={**item.fields, **new}, notes=merged.notes)
        if match:
            old = {"schedules": merged.before, "registered_schedules": fields.get("registered_schedules") or {}}
            before[before.index(match)] = replace(match, fields={**match.fields, **old})
    return after, before


def merge(desired: Sequence[Entry], current: Sequence[Entry], registered: Mapping[str, str] | None) -> Merged:
    """Return the desired schedules, merged with what a person changed in the UI.

    Args:
        desired: those of prefect.yaml, each with a slug.
        current: those of the API.
        registered: how each was registered, by slug; None if a version that did not store this registered them.
    """
    own = [entry for entry in current if registered is None or entry["slug"] in registered]
    added = [] if registered is None else [entry for entry in current if entry["slug"] not in registered]
    pairs = _pairs(desired, own)
    after, memory, notes = [], {}, []
    for place, entry in enumerate(desired):
        match = pairs.get(place)
        is_active = bool(entry["active"])
        active, memory[entry["slug"]] = _switched(
            match, _memory(match, registered, is_active=is_active), is_active=is_active
        )
        after.append({**entry, "active": active})
        if active is not is_active:
            notes.append(f"schedules[{place}].active: stays {str(active).lower()}, {AS_SET}")
    notes += [
        f"schedules[{place}]: stays, as a person added it in the UI"
        for place in range(len(after), len(after) + len(added))
    ]
    matched = [pairs[place] for place in range(len(desired)) if place in pairs]
    removed = [entry for entry in own if entry not in matched]
    return Merged(
        [*matched, *added, *removed],
        [*after, *added],
        {slug: str(state) for slug, state in memory.items()},
        tuple(notes),
    )


def _memory(current: Entry | None, registered: Mapping[str, str] | None, *, is_active: bool) -> Registered | None:
    """Return how a schedule was registered; if that is not stored, assume its current state."""
    if current is None:
        return None
    if registered is None:
        return Registered.ON if is_active or current["active"] else Registered.OFF
    return Registered(registered[current["slug"]])


def _switched(current: Entry | None, before: Registered | None, *, is_active: bool) -> tuple[bool, Registered]:
    """Return whether a schedule becomes active, and how to store its registration.

    Args:
        current: the current schedule; None if there is none.
        before: how it was registered.
        is_active: whether the registration makes it active.
    """
    as_desired = is_active, Registered.ON if is_active else Registered.OFF
    if current is None:
        return as_desired
    if not current["active"] and before in (Registered.ON, Registered.HELD):
        return False, Registered.ON if is_active else Registered.HELD
    if current["active"] and before in (Registered.OFF, Registered.HELD) and not is_active:
        return True, Registered.OFF
    return as_desired


def _pairs(desired: Sequence[Entry], own: Sequence[Entry]) -> dict[int, Entry]:
    """Match the schedules of prefect.yaml with those of the API: by times, by slug, then the only two left."""
    pairs: dict[int, Entry] = {}
    unmatched = list(own)
    for same in (_have_same_times, _have_same_slug):
        for place, entry in enumerate(desired):
            match = (
                next((candidate for candidate in unmatched if same(candidate, entry)), None)
                if place not in pairs
                else None
            )
            if match is not None:
                pairs[place] = match
                unmatched.remove(match)
    missing = [place for place in range(len(desired)) if place not in pairs]
    if len(missing) == len(unmatched) == 1:
        pairs[missing[0]] = unmatched[0]
    return pairs


def _have_same_times(one: Entry, other: Entry) -> bool:
    return bool(one["schedule"] == other["schedule"] and one["parameters"] == other["parameters"])


def _have_same_slug(one: Entry, other: Entry) -> bool:
    return bool(one["slug"] == other["slug"])


@validated.dataclass(frozen=True, config=CLOSED)
class WorkPoolEntry:
    """Where the runs of a deployment go, and what their pods get."""

    name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)


@validated.dataclass(frozen=True, eq=False, config=CLOSED)
class Deployment:
    """One entry of prefect.yaml."""

    name: str
    entrypoint: Annotated[str, Field(pattern=r".[.:].")]
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    concurrency_limit: Annotated[int, Field(ge=1)] | None = None
    schedules: tuple[Schedule, ...] = ()
    work_pool: WorkPoolEntry = Field(default_factory=WorkPoolEntry)
    pull: Steps | None = None

    def flow(self) -> Flow[..., Any]:
        """Return the flow that the deployment runs.

        Raises:
            ConfigurationError: it cannot be imported.
        """
        try:
            # Prefect resolves paths, and modules first, from the working directory.
            with contextlib.chdir(current_project().folder):
                return load_flow_from_entrypoint(self.entrypoint, use_placeholder_flow=False)
        except FlowsError:
            raise
        except Exception as error:
            is_import_error = isinstance(error, (ImportError, SyntaxError, MissingFlowError, ScriptError))
            reason = str(error).strip() if is_import_error else f"{type(error).__name__}: {error}"
            raise ConfigurationError(
                f"Deployment {self.name} does not load: {reason}",
                location=f"prefect.yaml, entrypoint {self.entrypoint}",
                hint="correct the entrypoint, or install the extra it needs",
            ) from error


def _without_nulls(entry: object) -> object:
    """Return an entry without the keys that have no value."""
    return {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry


class File(BaseModel):
    """A prefect.yaml. `definitions` is for YAML anchors; what Prefect would build or push has no place in an image."""

    model_config = CLOSED

    name: str = ""
    prefect_version: str = Field(default="", alias="prefect-version")
    definitions: Any = None
    pull: Steps = ()
    deployments: tuple[Annotated[Deployment, BeforeValidator(_without_nulls)], ...] = Field(min_length=1)


def read(file: Path, *, image: str | None = None) -> tuple[Deployment, ...]:
    """Return the deployments of a prefect.yaml.

    Args:
        file: where it is.
        image: the value of `{{ FLOWS_IMAGE }}`; without one, keys that use it are left out, as Prefect does.

    Raises:
        ConfigurationError: the file is missing or invalid.
    """
    parsed = _parsed(file, image)
    steps = parsed.pull
    return tuple(entry if entry.pull is not None else replace(entry, pull=steps) for entry in parsed.deployments)


def _parsed(file: Path, image: str | None) -> File:
    try:
        parsed = File.model_validate(_without_nulls(_filled(_some(yaml.safe_load(file.read_text())), image)))
        _refuse_duplicates(parsed.deployments)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The deployments cannot be read: {reason(error)}",
            location=str(file),
            hint="correct the file, or set FLOWS_DEPLOYMENTS to another",
        ) from error
    return parsed


def _some(content: Any) -> Any:
    """Return the file's content.

    Raises:
        ValueError: it has no deployments.
    """
    if content is None or (isinstance(content, Mapping) and not content.get("deployments")):
        raise ValueError("the file declares none")
    return content


def project(file: Path) -> str:
    """Return the name of the project in a prefect.yaml.

    Raises:
        ConfigurationError: the file is missing or invalid.
    """
    return _parsed(file, None).name or PROJECT


def _filled(content: Any, image: str | None) -> Any:
    """Return the file's content with the image filled in.

    Raises:
        ValueError: the file has another placeholder.
    """
    if not isinstance(content, Mapping):
        return content
    unresolvable = {
        placeholder.full_match
        for placeholder in find_placeholders(_plain(content))
        if placeholder.name != IMAGE and not placeholder.name.startswith(LATER)
    }
    if unresolvable:
        raise ValueError(f"{min(unresolvable)} is nothing that is filled in here; {{{{ {IMAGE} }}}} is")
    return apply_values(_plain(content), {IMAGE: image} if image else {}, skip_prefixes=list(LATER))


def _plain(content: Any) -> Any:
    """Return content without the dates that YAML makes of some words, which Prefect's templates cannot process."""
    match content:
        case Mapping():
            return {str(key): _plain(value) for key, value in content.items()}
        case list():
            return [_plain(value) for value in content]
        case None | str() | int() | float():
            return content
        case _:
            return str(content)


def _refuse_duplicates(deployments: tuple[Deployment, ...]) -> None:
    names = [deployment.name for deployment in deployments]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"two deployments have the name {duplicates[0]}")


def reason(error: Exception) -> str:
    """Return the first error of a file, on one line."""
    match error:
        case ValidationError():
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            unknown = first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
            return f"{place}: {'unknown key' if unknown else first['msg'].removeprefix('Value error, ')}"
        case OSError():
            return str(error.strerror)
        case _:
            return one_line(error)
