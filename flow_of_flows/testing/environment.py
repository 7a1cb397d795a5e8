"""The environment of a test: nothing of the developer's machine, and folders of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import FILE, VARIABLE, current_project
from flow_of_flows.settings import Settings, from_environment, whole_environment
from flow_of_flows.testing import profiles

# Settings, credentials and addresses of other systems.
HIDDEN = ("FLOWS_*", "PREFECT_*", "DBT_*", "PG*", "AWS_*", "SNOWFLAKE_*", "AIRBYTE_*", "SLACK_*", "PAGERDUTY_*")
# Neither usage statistics, nor long pauses: the server is near.
QUIET = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "FLOWS_POLL_SECONDS": "0.05",
    "FLOWS_POLL_MAX_SECONDS": "0.2",
    "FLOWS_RETRY_PAUSE_FACTOR": "0",
}


@dataclass(frozen=True)
class Isolation:
    """What one test has for itself.

    Attributes:
        project: folder of the project under test.
        prefect: folder that Prefect takes for its home, in the test's process.
        own: variables that the kit has set; those that the test sets are not among them.
    """

    project: Path
    prefect: Path
    own: Mapping[str, str]

    def settings(self) -> Settings:
        """Read the settings of the test as they are now.

        Raises:
            ConfigurationError: there is no project, or a setting does not fit.
        """
        settings = Settings.load()
        if not settings.deployments.is_file():
            raise ConfigurationError(
                f"There is no project to test: no {FILE}",
                location=str(settings.deployments),
                hint=f"run pytest in the folder of a project, or set {VARIABLE} to it",
            )
        return settings

    def variables(self) -> dict[str, str]:
        """Return the test's environment as it is now, for a run on the embedded server, which has its own Prefect."""
        return {
            name: value
            for name, value in whole_environment().items()
            if not (name.startswith("PREFECT_") and self.own.get(name) == value)
        }


def hidden(inherited: Mapping[str, str], passed: Iterable[str] = ()) -> set[str]:
    """Return the variables that tests do not see. Pure.

    Args:
        inherited: what the session was started with.
        passed: patterns of variables that they see all the same.
    """
    return {name for name in inherited if _is_one_of(name, HIDDEN) and not _is_one_of(name, passed)}


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def isolate(
    monkeypatch: pytest.MonkeyPatch,
    *,
    inherited: Mapping[str, str],
    passed: Iterable[str],
    project: Path | None,
    home: Path,
) -> Isolation:
    """Set the environment of one test.

    Args:
        monkeypatch: of the test.
        inherited: what the session was started with; what has another value since is the test's own.
        passed: patterns of inherited variables that stay.
        project: folder of the project; None where pytest runs outside of one.
        home: an empty folder.
    """
    present = whole_environment()
    for name in hidden(inherited, passed):
        if present.get(name) == inherited[name]:
            monkeypatch.delenv(name)
    own = {**QUIET, **_folders(home), **({VARIABLE: str(project)} if project else {})}
    _set_missing(monkeypatch, own)
    if project and not {"DBT_TARGET", "DBT_PROFILES_DIR", "FLOWS_DBT_PROFILES_DIR"} & set(whole_environment()):
        _set_missing(monkeypatch, profiles.variables(_dbt_project(), home / "profiles"))
    return Isolation(project or Path.cwd(), home / "prefect", own)


def _folders(home: Path) -> dict[str, str]:
    """Return the variables that name folders and files of the developer, each with one of the test."""
    return {
        "FLOWS_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml"),
        "AWS_CONFIG_FILE": str(home / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-aws-credentials"),
    }


def _dbt_project() -> Path:
    return Path(from_environment("FLOWS_DBT_PROJECT") or current_project().dbt_project)


def _set_missing(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    present = whole_environment()
    for name, value in variables.items():
        if name not in present:
            monkeypatch.setenv(name, value)
