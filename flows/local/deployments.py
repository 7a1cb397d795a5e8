"""Registers the deployments of prefect.yaml with an embedded server: a file in, deployment ids out.

Work pools and schedules are left out: children are forked here, and nothing runs unasked on a laptop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic.dataclasses import dataclass

from flows.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Deployment:
    """One entry of prefect.yaml, as far as a laptop needs it."""

    name: str
    entrypoint: Annotated[str, Field(pattern=r".[.:].")]
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    concurrency_limit: int | None = None

    def flow(self) -> Flow[..., Any]:
        """The flow it runs.

        Raises:
            ConfigurationError: it cannot be imported.
        """
        try:
            return load_flow_from_entrypoint(self.entrypoint, use_placeholder_flow=False)
        except (ImportError, SyntaxError, MissingFlowError, ScriptError) as error:
            raise ConfigurationError(
                f"Deployment {self.name} does not load: {str(error).strip()}",
                where=f"prefect.yaml, entrypoint {self.entrypoint}",
                todo="correct the entrypoint, or install the extra it needs",
            ) from error

    def request(self, flow: Flow[..., Any]) -> dict[str, Any]:
        """What the API is asked to keep of it."""
        return {
            "name": self.name,
            "entrypoint": self.entrypoint,
            "tags": sorted(self.tags),
            "parameters": self.parameters,
            "description": self.description or flow.description,
            "parameter_openapi_schema": flow.parameters.model_dump(),
            "enforce_parameter_schema": True,
            "concurrency_limit": self.concurrency_limit,
            "path": str(Path.cwd()),
        }


def _without_nulls(entry: object) -> object:
    """An entry whose empty keys are as good as absent."""
    return {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry


class Deployments(BaseModel):
    """A prefect.yaml, as far as a laptop needs it."""

    deployments: tuple[Annotated[Deployment, BeforeValidator(_without_nulls)], ...] = Field(min_length=1)


def read(file: Path) -> tuple[Deployment, ...]:
    """The deployments of a prefect.yaml.

    Raises:
        ConfigurationError: the file is missing or not what it should be.
    """
    try:
        return Deployments.model_validate(yaml.safe_load(file.read_text())).deployments
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            f"The deployments cannot be read: {_reason(error)}",
            where=str(file),
            todo="correct the file, or set FLOWS_DEPLOYMENTS to another",
        ) from error


def _reason(error: Exception) -> str:
    """The first thing that is wrong, on one line."""
    match error:
        case ValidationError():
            first = error.errors()[0]
            return f"{'.'.join(str(part) for part in first['loc']) or 'the file'}: {first['msg']}"
        case OSError():
            return str(error.strerror)
        case _:
            return " ".join(str(error).split())


async def register(client: PrefectClient, flows: Mapping[Deployment, Flow[..., Any]]) -> dict[UUID, Deployment]:
    """Create what is missing and update what differs: one read when nothing does."""
    known = {(found.name, found.entrypoint): found for found in await client.read_deployments(limit=200)}
    registered: dict[UUID, Deployment] = {}
    for deployment, flow in flows.items():
        found = known.get((deployment.name, deployment.entrypoint))
        wanted = deployment.request(flow)
        if found and all(getattr(found, name) == value for name, value in wanted.items()):
            registered[found.id] = deployment
            continue
        flow_id = await client.create_flow_from_name(flow.name)
        registered[await client.create_deployment(flow_id=flow_id, **wanted)] = deployment
    return registered
