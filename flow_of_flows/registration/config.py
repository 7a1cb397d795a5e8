"""The registration file, read into one frozen request: the work pool and how deployments are registered in it.

The chart renders the file. Without one, the settings say which pool and image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration import prefect_yaml
from flow_of_flows.registration.prefect_yaml import reason
from flow_of_flows.settings import OWNER, Settings

# What earlier versions also registered; the chart of such a version writes them empty.
REMOVED = ("concurrencyLimits", "blocks", "automations")
# The owner that earlier versions wrote for whoever registered without a file of the chart.
BY_HAND = "flows register"


class Closed(BaseModel):
    """A part of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class WorkPool(Closed):
    """The work pool, as the file describes it.

    Attributes:
        concurrency_limit: how many children run at once; pipelines, which only wait, are not counted.
        base_job_template: whole; None leaves the pool's own, or takes the type's default for a new pool.
    """

    name: str = Field(min_length=1)
    type: str | None = None
    concurrency_limit: int | None = Field(default=None, ge=1, alias="concurrencyLimit")
    base_job_template: dict[str, Any] | None = Field(default=None, alias="baseJobTemplate")


class JobVariables(Closed):
    """Job variables in addition to those of prefect.yaml. The later wins: by tag, prefect.yaml, by deployment."""

    by_tag: dict[str, dict[str, Any]] = Field(default_factory=dict, alias="byTag")
    by_deployment: dict[str, dict[str, Any]] = Field(default_factory=dict, alias="byDeployment")


class Request(Closed):
    """The work pool to register, and how deployments are registered in it.

    Attributes:
        owner: who registers, and so owns the objects; `read` sets it where the file does not.
        schedules: whether they are active; off makes each one inactive, whatever prefect.yaml says.
        inactive: deployments whose schedules are inactive, whatever prefect.yaml says.
        has_pool: whether the pool's template and limit are this request's to set.
    """

    version: Literal[1] = 1
    work_pool: WorkPool = Field(alias="workPool")
    image: str | None = None
    owner: str = Field(default="", pattern=OWNER)
    job_variables: JobVariables = Field(default_factory=JobVariables, alias="jobVariables")
    schedules: bool = True
    inactive: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, values: Any) -> Any:
        """Drop the keys of earlier versions; refuse those that have a value."""
        if not isinstance(values, dict):
            return values
        for name in REMOVED:
            if values.get(name):
                raise ValueError(
                    f"{name} are no longer registered from this file; "
                    "remove them and create them with Prefect's CLI or its Terraform provider"
                )
        return {name: value for name, value in values.items() if name not in REMOVED}

    @property
    def has_pool(self) -> bool:
        """Return whether the file describes the pool instead of only naming it."""
        return self.work_pool.base_job_template is not None


def read(settings: Settings) -> Request:
    """Return the request in the settings' registration file, or that of a person who registers by hand.

    Raises:
        ConfigurationError: the file is missing or invalid.
    """
    file = settings.registration
    if file is None:
        pool = WorkPool(name=settings.work_pool)
        return Request(work_pool=pool, image=settings.image, schedules=settings.schedules, owner=_owner(settings))
    try:
        request = Request.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The registration cannot be read: {reason(error)}",
            location=str(file),
            hint="correct the file (the chart makes it from its values), or set FLOWS_REGISTRATION to another",
        ) from error
    return _agreeing(request, settings, file)


def _agreeing(request: Request, settings: Settings, file: Path) -> Request:
    """Return the request with defaults from the settings.

    Raises:
        ConfigurationError: the settings contradict the file.
    """
    requested = {"work_pool": request.work_pool.name, "image": request.image, "owner": request.owner or None}
    for name, value in requested.items():
        configured = getattr(settings, name)
        if name in settings.model_fields_set and value is not None and configured != value:
            raise ConfigurationError(
                f"FLOWS_{name.upper()} says {configured}, the registration says {value}",
                location=str(file),
                hint="unset the variable, or make both the same",
            )
    return request.model_copy(
        update={"image": request.image or settings.image, "owner": request.owner or _owner(settings)}
    )


def _owner(settings: Settings) -> str:
    """Return the owner of what a person registers: the project, on whichever machine, and its suffix."""
    return settings.owner or settings.deployment_name(prefect_yaml.project(settings.deployments))


def earlier_owners(settings: Settings, request: Request) -> frozenset[str]:
    """Return the names that earlier versions gave to who registers: one for all that was registered by hand.

    Args:
        settings: which file and which suffix.
        request: what is registered.
    """
    return frozenset({BY_HAND}) if request.owner == _owner(settings) and not settings.owner else frozenset()
