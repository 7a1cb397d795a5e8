"""The variables of the environment that hold secrets: cleaned, checked and remembered before anything else reads them.

A Secret made with `--from-file` ends in a line break, which is a wrong password and an illegal header. `prepare` is
called first by every process, before Prefect reads its settings, and by `Settings.load`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import remember, remember_url

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
