"""Whether a Prefect API is configured, answered without importing Prefect where it has no settings of its own."""

from __future__ import annotations

import os
from pathlib import Path

API_URL = "PREFECT_API_URL"
# Files of the working directory that Prefect reads settings from, each with the text that says so.
FILES = {Path(".env"): "PREFECT_", Path("prefect.toml"): "", Path("pyproject.toml"): "[tool.prefect"}


def is_configured() -> bool:
    """Return whether Prefect's settings name an API: `PREFECT_API_URL`, a settings file, or the active profile.

    Importing Prefect takes about a second, which the embedded server's start would wait for. So Prefect is imported
    only if it has settings of its own here. An empty `PREFECT_API_URL` overrides a profile: no API is configured.
    """
    if API_URL in os.environ:
        return bool(os.environ[API_URL])
    if not _has_settings():
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def _has_settings() -> bool:
    if os.environ.get("PREFECT_PROFILE") or _profiles().exists():
        return True
    return any(file.is_file() and text in file.read_text(errors="replace") for file, text in FILES.items())


def _profiles() -> Path:
    if named := os.environ.get("PREFECT_PROFILES_PATH"):
        return Path(named).expanduser()
    home = os.environ.get("PREFECT_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".prefect") / "profiles.toml"
