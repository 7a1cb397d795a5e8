"""Names of environment variables, and the errors for unknown ones and for values that do not fit."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import closest
from flow_of_flows.redaction import remember

PREFIX = "FLOWS_"
# Settings whose variables have another prefix, because another tool reads them, too.
ELSEWHERE = {"FLOWS_TARGET": "DBT_TARGET", "FLOWS_POSTGRES": "PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE"}

# Former names that are still read, each with the present one.
RENAMED = {"FLOWS_SECRETS_REGION": "FLOWS_AWS_REGION"}


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
