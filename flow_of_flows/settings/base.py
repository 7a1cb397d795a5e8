"""The base classes of settings: of every group, and of those that a project declares for its own flows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flow_of_flows.settings.variables import misfit, remember_secrets

if TYPE_CHECKING:
    from flow_of_flows.settings import Settings


class EnvironmentSettings(BaseSettings):
    """Settings read once from environment variables, where an empty variable counts as unset.

    A subclass sets `env_prefix`.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore")


class ProjectSettings(EnvironmentSettings):
    """One group of a project's settings, read from the environment.

    A subclass sets `env_prefix`, which begins with `FLOWS_`, and describes each field:

        class Weather(ProjectSettings):
            model_config = SettingsConfigDict(env_prefix="FLOWS_WEATHER_")
            city: str = Field(default="Berlin", description="City to load the weather of.")

    Name its module in pyproject.toml (`[tool.flow-of-flows] settings = ["flows.settings"]`): then `flows doctor` lists
    the variables and does not take them for misspelt ones.
    """

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: a value does not fit.
        """
        try:
            settings = cls()
        except ValidationError as error:
            raise misfit(error, cls) from error
        remember_secrets(settings)
        return settings

    def dbt_environment(self, platform: Settings) -> dict[str, str]:  # noqa: ARG002 - for subclasses
        """Return the variables that the project's dbt project reads with `env_var`; none by default.

        Args:
            platform: the settings of the platform.
        """
        return {}


def declared() -> Iterator[type[ProjectSettings]]:
    """Yield every class of project settings that has been imported, in the order of declaration."""
    waiting = list(ProjectSettings.__subclasses__())
    while waiting:
        kind = waiting.pop(0)
        yield kind
        waiting += kind.__subclasses__()


def dbt_environment(platform: Settings) -> dict[str, str]:
    """Return what the project's own settings pass to dbt.

    Args:
        platform: the settings of the platform.
    """
    return {name: value for kind in declared() for name, value in kind.load().dbt_environment(platform).items()}
