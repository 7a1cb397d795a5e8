"""prefect.yaml in, frozen deployments out: the one reader of that file, for `flows run` and for `flows register`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from prefect import Flow
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.templating import apply_values, find_placeholders
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.messages import one_line
from flow_of_flows.project import current_project
from flow_of_flows.registration.schedules import Schedule

IMAGE = "FLOWS_IMAGE"
# The name of a project that gives itself none.
PROJECT = "flow-of-flows"
# Placeholders that a worker resolves when a run starts.
LATER = ("prefect.blocks.", "prefect.variables.", "ctx.")
CLOSED = ConfigDict(extra="forbid")
Steps = tuple[dict[str, Any], ...]


@dataclass(frozen=True, config=CLOSED)
class WorkPoolEntry:
    """Where the runs of a deployment go, and what their pods get."""

    name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False, config=CLOSED)
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
        """The flow it runs.

        Raises:
            ConfigurationError: it cannot be imported.
        """
        try:
            # Prefect takes paths, and modules first of all, from the working directory.
            with contextlib.chdir(current_project().folder):
                return load_flow_from_entrypoint(self.entrypoint, use_placeholder_flow=False)
        except FlowsError:
            raise
        except Exception as error:
            known = isinstance(error, (ImportError, SyntaxError, MissingFlowError, ScriptError))
            reason = str(error).strip() if known else f"{type(error).__name__}: {error}"
            raise ConfigurationError(
                f"Deployment {self.name} does not load: {reason}",
                location=f"prefect.yaml, entrypoint {self.entrypoint}",
                hint="correct the entrypoint, or install the extra it needs",
            ) from error


def _without_nulls(entry: object) -> object:
    """An entry whose empty keys are as good as absent."""
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
    """The deployments of a prefect.yaml.

    Args:
        file: where it is.
        image: what `{{ FLOWS_IMAGE }}` stands for; without one, keys that ask for it are left out, as Prefect does.

    Raises:
        ConfigurationError: the file is missing or not what it should be.
    """
    parsed = _parsed(file, image)
    steps = parsed.pull
    return tuple(entry if entry.pull is not None else replace(entry, pull=steps) for entry in parsed.deployments)


def _parsed(file: Path, image: str | None) -> File:
    try:
        parsed = File.model_validate(_without_nulls(_filled(yaml.safe_load(file.read_text()), image)))
        _refuse_twins(parsed.deployments)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The deployments cannot be read: {reason(error)}",
            location=str(file),
            hint="correct the file, or set FLOWS_DEPLOYMENTS to another",
        ) from error
    return parsed


def project(file: Path) -> str:
    """Return the name of the project in a prefect.yaml.

    Raises:
        ConfigurationError: the file is missing or not what it should be.
    """
    return _parsed(file, None).name or PROJECT


def _filled(content: Any, image: str | None) -> Any:
    """The file's content with the image in its place.

    Raises:
        ValueError: it asks for something else.
    """
    if not isinstance(content, Mapping):
        return content
    others = {
        found.full_match
        for found in find_placeholders(_plain(content))
        if found.name != IMAGE and not found.name.startswith(LATER)
    }
    if others:
        raise ValueError(f"{min(others)} is nothing that is filled in here; {{{{ {IMAGE} }}}} is")
    return apply_values(_plain(content), {IMAGE: image} if image else {}, skip_prefixes=list(LATER))


def _plain(content: Any) -> Any:
    """Content without the dates that YAML makes of some words, which Prefect's templates cannot walk through."""
    match content:
        case Mapping():
            return {str(key): _plain(value) for key, value in content.items()}
        case list():
            return [_plain(value) for value in content]
        case None | str() | int() | float():
            return content
        case _:
            return str(content)


def _refuse_twins(deployments: tuple[Deployment, ...]) -> None:
    names = [deployment.name for deployment in deployments]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ValueError(f"two deployments have the name {twins[0]}")


def reason(error: Exception) -> str:
    """The first thing that is wrong with a file, on one line."""
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
