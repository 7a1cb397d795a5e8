"""Where the dbt step of each pipeline runs: dbt Core in a pod, or a job in dbt Cloud."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import current_project, names_in
from flow_of_flows.settings import variables

PREFIX = "FLOWS_TRANSFORM_"


class TransformChild(StrEnum):
    """Where dbt runs."""

    CORE = "core"
    CLOUD = "cloud"


class TransformSettings(BaseModel):
    """One variable for each pipeline of the project: its name in upper case, with underscores."""

    model_config = ConfigDict(frozen=True)

    children: Mapping[str, TransformChild] = Field(
        default_factory=dict, description="Where a pipeline runs its dbt step: core (in a pod) or cloud (dbt Cloud)."
    )

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables that are set and not empty.

        Raises:
            ConfigurationError: a variable names no deployment of the project, or its value is neither core nor cloud.
        """
        found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
        known = {_variable(name): name for name in names_in(current_project().deployments)} if found else {}
        return cls(children={_known(name, known): _child(name, value) for name, value in found.items()})

    @property
    def uses_cloud(self) -> bool:
        """Return whether any pipeline transforms in dbt Cloud."""
        return TransformChild.CLOUD in self.children.values()

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variables that are set."""
        return tuple(_variable(name) for name in self.children)

    def child(self, pipeline: str) -> TransformChild:
        """Return the child of a pipeline's dbt step."""
        return self.children.get(pipeline, TransformChild.CORE)


def _variable(pipeline: str) -> str:
    return PREFIX + pipeline.replace("-", "_").upper()


def _known(variable: str, known: Mapping[str, str]) -> str:
    if variable not in known:
        raise variables.unknown(variable, known)
    return known[variable]


def _child(variable: str, value: str) -> TransformChild:
    try:
        return TransformChild(value)
    except ValueError as error:
        raise ConfigurationError(
            f"Setting {variable} does not fit: Input should be 'core' or 'cloud'",
            location="environment",
            hint=f"correct {variable} or unset it",
        ) from error
