"""registration.yaml in, one frozen request out: the pool and what is registered beside the deployments.

The chart renders the file. Without one, the settings say which pool and image.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect.blocks.core import Block as PrefectBlock
from prefect.blocks.core import UnknownBlockType
from prefect.events.schemas.automations import AutomationCore
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration import prefect_yaml as declared
from flow_of_flows.registration.prefect_yaml import reason
from flow_of_flows.settings import OWNER, Settings, secret

# The owner that earlier versions wrote for whoever registered without a file of the chart.
BY_HAND = "flows register"


class Closed(BaseModel):
    """A part of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class WorkPool(Closed):
    """The pool, as the file wants it.

    Attributes:
        concurrency_limit: how many children run at once; pipelines, which only wait, are not counted.
        base_job_template: whole; None leaves the pool's own, or takes the type's default for a new pool.
    """

    name: str = Field(min_length=1)
    type: str | None = None
    concurrency_limit: int | None = Field(default=None, ge=1, alias="concurrencyLimit")
    base_job_template: dict[str, Any] | None = Field(default=None, alias="baseJobTemplate")


class JobVariables(Closed):
    """Job variables beside those of prefect.yaml; the later wins: by tag, prefect.yaml, by deployment."""

    by_tag: dict[str, dict[str, Any]] = Field(default_factory=dict, alias="byTag")
    by_deployment: dict[str, dict[str, Any]] = Field(default_factory=dict, alias="byDeployment")


class FromEnvironment(Closed):
    """A value that is read from a variable."""

    env: str = Field(min_length=1)


class Block(Closed):
    """A block document; secret values are only named here."""

    type: str = Field(min_length=1)
    name: str = Field(pattern=r"^[a-z0-9-]+$")
    values: dict[str, FromEnvironment | str | int | float | bool | None]

    def resolved(self) -> dict[str, Any]:
        """The values, those from the environment wrapped as secrets.

        Raises:
            ConfigurationError: a variable is not set.
        """
        needed_by = f"block {self.type}/{self.name}"
        return {
            key: secret(value.env, needed_by=needed_by) if isinstance(value, FromEnvironment) else value
            for key, value in self.values.items()
        }


class Request(Closed):
    """What to register beside the deployments.

    Attributes:
        owner: who registers, to know what is its own by; `read` sets it where the file does not.
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
    concurrency_limits: dict[str, int] = Field(default_factory=dict, alias="concurrencyLimits")
    blocks: tuple[Block, ...] = ()
    automations: tuple[dict[str, Any], ...] = ()

    @property
    def has_pool(self) -> bool:
        """Whether the file describes the pool, rather than only naming it."""
        return self.work_pool.base_job_template is not None

    def parsed_automations(self) -> tuple[AutomationCore, ...]:
        """The automations as Prefect's own values.

        Raises:
            ValueError: one is not what it should be, or two have one name.
        """
        parsed = tuple(AutomationCore.model_validate(entry) for entry in self.automations)
        names = [automation.name for automation in parsed]
        if len(set(names)) < len(names):
            raise ValueError(f"two automations have the name {max(names, key=names.count)}")
        return parsed


def read(settings: Settings) -> Request:
    """The request of the settings: their file's, or that of a person who registers by hand.

    Raises:
        ConfigurationError: the file is missing or not what it should be.
    """
    file = settings.registration
    if file is None:
        pool = WorkPool(name=settings.work_pool)
        return Request(work_pool=pool, image=settings.image, schedules=settings.schedules, owner=_owner(settings))
    try:
        request = Request.model_validate(yaml.safe_load(file.read_text()))
        request.parsed_automations()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The registration cannot be read: {reason(error)}",
            location=str(file),
            hint="correct the file (the chart makes it from its values), or set FLOWS_REGISTRATION to another",
        ) from error
    return _agreeing(request, settings, file)


def _agreeing(request: Request, settings: Settings, file: Path) -> Request:
    """The request, if the settings do not say something else.

    Raises:
        ConfigurationError: they do.
    """
    said = {"work_pool": request.work_pool.name, "image": request.image, "owner": request.owner or None}
    for name, value in said.items():
        ours = getattr(settings, name)
        if name in settings.model_fields_set and value is not None and ours != value:
            raise ConfigurationError(
                f"FLOWS_{name.upper()} says {ours}, the registration says {value}",
                location=str(file),
                hint="unset the variable, or make both the same",
            )
    return request.model_copy(
        update={"image": request.image or settings.image, "owner": request.owner or _owner(settings)}
    )


def _owner(settings: Settings) -> str:
    """Return the owner of what a person registers: the project, on whichever machine, and its suffix."""
    return settings.owner or settings.deployment_name(declared.project(settings.deployments))


def earlier_owners(settings: Settings, request: Request) -> frozenset[str]:
    """Return the names that earlier versions gave to who registers: one for all that was registered by hand.

    Args:
        settings: which file and which suffix.
        request: what is registered.
    """
    return frozenset({BY_HAND}) if request.owner == _owner(settings) and not settings.owner else frozenset()


def revealed(values: dict[str, Any]) -> dict[str, Any]:
    """Values as the API wants them: the one place where a secret is unwrapped."""
    return {key: v.get_secret_value() if isinstance(v, SecretStr) else v for key, v in values.items()}


def check_blocks(blocks: Sequence[Block]) -> None:
    """Look at every block.

    Raises:
        ConfigurationError: a type is unknown, a value does not fit it, or a secret stands in the file.
    """
    names = [(block.type, block.name) for block in blocks]
    for block in blocks:
        where = f"registration, block {block.type}/{block.name}"
        if names.count((block.type, block.name)) > 1:
            raise ConfigurationError("Two blocks have one name", location=where, hint="rename one of them")
        kind = _kind(block, where)
        for key in sorted(set(block.values) - set(kind.model_fields)):
            known = ", ".join(kind.model_fields)
            raise ConfigurationError(f"Unknown value {key}", location=where, hint=f"there are {known}")
        _refuse_plain_secrets(block, kind.model_json_schema().get("secret_fields", []), where)
        # By name only: some types hand a value that does not fit to a library that logs it, secret or not.
        for key in sorted(name for name, field in kind.model_fields.items() if field.is_required()):
            if key not in block.values:
                raise ConfigurationError(f"{key} is missing", location=where, hint=f"give the block a {key}")


def _kind(block: Block, where: str) -> type[PrefectBlock]:
    try:
        return PrefectBlock.get_block_class_from_key(block.type)
    except UnknownBlockType as error:
        raise ConfigurationError(
            f"Unknown type of block: {block.type}",
            location=where,
            hint="see `prefect block type ls`, or install the package that brings it",
        ) from error


def _refuse_plain_secrets(block: Block, secret_fields: Sequence[Any], where: str) -> None:
    for key, value in block.values.items():
        is_secret = any(fnmatchcase(key, str(field).split(".")[0]) for field in secret_fields)
        if is_secret and not isinstance(value, FromEnvironment):
            raise ConfigurationError(
                f"{key} is a secret and stands in the file",
                location=where,
                hint=f"write {{env: VARIABLE}} as its {key}",
            )
