"""The variables of the environment: base classes of settings, errors for bad ones, and those that hold secrets.

A Secret made with `--from-file` ends in a line break, which is a wrong password and an illegal header. `prepare` is
called first by every process, before Prefect reads its settings, and by `Settings.load`.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import closest
from flow_of_flows.redaction import remember, remember_url

if TYPE_CHECKING:
    from flow_of_flows.settings import Settings


API_KEY, AUTH_STRING, CUSTOM_HEADERS = "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS"
SERVER_AUTH_STRING = "PREFECT_SERVER_API_AUTH_STRING"
_SECRET_NAME = re.compile(
    r"^DBT_ENV_SECRET_|(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|ACCESS_KEY|PRIVATE_KEY|AUTH_STRING|"
    r"CREDENTIALS|CUSTOM_HEADERS)$"
)
# These name a secret, or the file that it is in, and do not hold one.
_NAMES_ONLY = ("FLOWS_SECRETS_", "PREFECT_INTEGRATIONS_", "GOOGLE_APPLICATION_CREDENTIALS")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


PREFIX = "FLOWS_"
# Settings whose variables have another prefix, because another tool reads them, too.
ELSEWHERE = {"FLOWS_TARGET": "DBT_TARGET", "FLOWS_POSTGRES": "PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE"}

# Former names that are still read, each with the present one.
RENAMED = {"FLOWS_SECRETS_REGION": "FLOWS_AWS_REGION"}
# The first version that does not read them any more.
REMOVED_IN = {"FLOWS_SECRETS_REGION": "0.2"}
logger = logging.getLogger(__name__)


def warn_of_renamed() -> None:
    """Log a warning, once in a process, for each former name that is set."""
    for name in sorted(set(RENAMED) & {name for name, value in os.environ.items() if value}):
        _warn(name)


@functools.cache
def _warn(name: str) -> None:
    logger.warning(
        "%s is deprecated, and version %s will not read it: set %s instead.", name, REMOVED_IN[name], RENAMED[name]
    )


def prepare() -> None:
    """Strip line breaks off the ends of variables, remember the secrets among them, and check those of headers.

    Raises:
        ConfigurationError: a value cannot be sent in an HTTP header.
    """
    strip_line_breaks()
    for name, value in list(os.environ.items()):
        remember_variable(name, value)
    check_header(API_KEY, os.environ.get(API_KEY, ""))
    for name in (AUTH_STRING, SERVER_AUTH_STRING):
        # It is sent encoded, so that only what no password may hold is refused.
        _refuse(name, bool(_CONTROL.search(os.environ.get(name, ""))))
    for name, value in custom_headers(os.environ.get(CUSTOM_HEADERS, "")):
        check_header(f"{CUSTOM_HEADERS}, {name}", value)


def strip_line_breaks() -> None:
    """Remove the line breaks that end a variable's value."""
    for name, value in list(os.environ.items()):
        if value.endswith(("\n", "\r")):
            os.environ[name] = value.rstrip("\r\n")


def check_header(name: str, value: str) -> None:
    """Check that a value can be sent in an HTTP header.

    Args:
        name: name of the variable.
        value: its value.

    Raises:
        ConfigurationError: it holds a line break or another character that no header may have.
    """
    _refuse(name, not value.isascii() or bool(_CONTROL.search(value)))


def custom_headers(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each header in PREFECT_CLIENT_CUSTOM_HEADERS.

    Raises:
        ConfigurationError: it is not a JSON object of texts, or a name is not one of a header.
    """
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigurationError(
            f"{CUSTOM_HEADERS} is not a JSON object of texts",
            location="environment",
            hint=f'write {CUSTOM_HEADERS} as {{"Header-Name": "value"}}',
        )
    for name, value in found.items():
        _refuse(f"{CUSTOM_HEADERS}, the name of a header,", _HEADER_NAME.fullmatch(name) is None)
        yield name, value


def _refuse(name: str, is_illegal: bool) -> None:  # noqa: FBT001 - read as a sentence by its callers
    if is_illegal:
        variable = name.partition(",")[0]
        raise ConfigurationError(
            f"{name} holds a line break or another character that an HTTP header cannot have",
            location="environment",
            hint=f"write {variable} as one line of printable ASCII characters; a Secret's key, likewise",
        )


def remember_variable(name: str, value: str) -> None:
    """Remember the secrets in a variable, if its name or its form says that it holds any.

    Args:
        name: name of the variable.
        value: its value.
    """
    if _SECRET_NAME.search(name) and not name.startswith(_NAMES_ONLY):
        remember(value, name)
        if "AUTH_STRING" in name:
            remember(value.partition(":")[2], name)
        if name == CUSTOM_HEADERS:
            for each in _header_values(value):
                remember(each, name)
    if "://" in value or "=" in value:
        remember_url(value, name)


def _header_values(text: str) -> Iterator[str]:
    """Yield the values of headers, also of a text that cannot be read, and what follows their scheme."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return
    for value in found.values() if isinstance(found, dict) else ():
        yield str(value)
        # `Bearer abc` and `Basic abc` are also printed without the first word.
        yield from str(value).split(None, 1)[1:]


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


def variable_of(group: type[BaseSettings], name: str) -> str:
    """Return the environment variable of one field of a group of settings.

    Args:
        group: the class that reads it.
        name: name of the field.
    """
    variable = f"{group.model_config.get('env_prefix', '')}{name.upper()}"
    return ELSEWHERE.get(variable) or RENAMED.get(variable, variable)


def unknown(variable: str, known: Iterable[str]) -> ConfigurationError:
    """Return the error for a variable that no setting reads, with the most similar name.

    Args:
        variable: the variable that is set.
        known: every variable that a setting reads.
    """
    close = ELSEWHERE.get(variable) or _closest(variable, known)
    hint = f"did you mean {close}? Otherwise unset it" if close else "unset it, or see the README's table of settings"
    return ConfigurationError(f"Unknown setting {variable}", location="environment", hint=hint)


def misfit(error: ValidationError, group: type[BaseSettings]) -> ConfigurationError:
    """Return the error for a value that does not fit: the variable and the reason, never the value.

    Args:
        error: what pydantic raised.
        group: the class that was read.
    """
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if name in RENAMED:
        # pydantic names the first of several variables, whichever is set.
        variable = name if os.environ.get(name) else RENAMED[name]
    else:
        variable = name if name in ELSEWHERE.values() else variable_of(group, name)
    return ConfigurationError(
        f"Setting {variable} does not fit: {first['msg']}",
        location="environment",
        hint=f"correct {variable} or unset it",
    )


def remember_secrets(group: BaseSettings) -> None:
    """Have the secrets among the values of a group redacted from now on."""
    for name in type(group).model_fields:
        if isinstance(value := getattr(group, name), SecretStr):
            remember(value.get_secret_value(), variable_of(type(group), name))


def _closest(variable: str, names: Iterable[str]) -> str | None:
    """Return the most similar name; the common prefix does not count."""
    close = closest(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in names))
    return PREFIX + close if close else None
