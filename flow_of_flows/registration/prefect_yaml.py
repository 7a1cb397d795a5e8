"""Reads prefect.yaml into frozen deployments; the only reader of that file."""

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
        parsed = File.model_validate(_without_nulls(_filled(yaml.safe_load(file.read_text()), image)))
        _refuse_duplicates(parsed.deployments)
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
