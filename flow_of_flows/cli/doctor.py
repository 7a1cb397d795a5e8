"""`flows doctor`: checks settings, API, target, state store and project, and says how to fix what is wrong."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flow_of_flows import prefect_requests
from flow_of_flows.errors import ConfigurationError, ExitCode, FlowsError, PlatformError
from flow_of_flows.home import Home
from flow_of_flows.messages import shortened
from flow_of_flows.project import current_project
from flow_of_flows.redaction import LEAST_CHARACTERS, too_short
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import reading, targets
from flow_of_flows.warehouse.targets import DbtTarget, DuckDBTarget

Check = Callable[[Settings], Awaitable[str]]


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        error: what is wrong and how to fix it; None if nothing is.
        warning: what works but should be fixed.
    """

    subject: str
    found: str
    error: FlowsError | None = None
    warning: str | None = None


async def examine(project: str | None = None) -> int:
    """Run every check and print the findings; the exit code of the worst.

    Args:
        project: folder of the one dbt project to check; None: the installation's own and all that prefect.yaml names.

    Raises:
        ConfigurationError: there is no such project.
    """
    from flow_of_flows.dbt import projects

    prefect_requests.guard()
    installed = Settings.load()
    settings = projects.settings_for(project, installed)
    found = await findings(installed, (settings.dbt_project,) if project else projects.every(installed))
    Console().print(_table(found))
    return max((finding.error.exit_code for finding in found if finding.error), default=ExitCode.OK)


async def findings(settings: Settings, folders: Sequence[Path] = ()) -> list[CheckResult]:
    """Return the results of all checks, as seen from this process.

    Args:
        settings: the settings of the installation.
        folders: folders of the dbt projects; empty: that of the settings.
    """
    from flow_of_flows.dbt.projects import relative

    first, *others = (
        settings.model_copy(update={"dbt_project": folder}) for folder in folders or (settings.dbt_project,)
    )
    # A copy would say that FLOWS_DBT_PROJECT is set.
    own = [await _find(subject, check, settings if check is _settings else first) for subject, check in CHECKS.items()]
    own += [await _find(f"dbt project {relative(other.dbt_project)}", _project, other) for other in others]
    has_api = not any(result.subject == "Prefect API" and result.error for result in own)
    return [*own, *(await _registered(settings) if has_api else []), *_short_secrets()]


def _short_secrets() -> list[CheckResult]:
    """Return the secrets that the checks have read and that are too short to be redacted."""
    if not (names := too_short()):
        return []
    found = f"fewer than {LEAST_CHARACTERS} characters: {', '.join(names)}"
    return [CheckResult("secrets", found, warning="too short to be redacted in logs and messages: use longer ones")]


async def _registered(settings: Settings) -> list[CheckResult]:
    """Check what the configured Prefect API has of this project; without one there is nothing to check."""
    if not get_current_settings().api.url:
        if "work_pool" not in settings.model_fields_set:
            return _steps(settings)
        error = ConfigurationError(
            "A work pool is set, but no Prefect API", location="PREFECT_API_URL", hint="set it to the API's address"
        )
        return [CheckResult("work pool", error.fact, error)]
    from flow_of_flows.prefect_api.client import connected
    from flow_of_flows.registration import diagnosis

    try:
        async with connected(seconds=0) as api:
            found: list[CheckResult] = []
            for subject, check in diagnosis.CHECKS.items():
                found.append(await _find(subject, functools.partial(check, api), settings))
                if found[0].error:
                    return found  # without the pool there is nothing else to look at
            return [*found, await _find("runs", _runs, settings)]
    except FlowsError as error:
        return [CheckResult("work pool", error.fact, error)]


def _steps(settings: Settings) -> list[CheckResult]:
    """Check that prefect.yaml has the deployment of every step: no API is configured that could have more."""
    if not settings.deployments.is_file():
        return []
    from flow_of_flows.registration import prefect_yaml, step_deployments

    try:
        flows = {entry: entry.flow() for entry in prefect_yaml.read(settings.deployments)}
    except FlowsError:
        return []  # the check of the deployments says so
    try:
        named = step_deployments.named_in(flows.values(), settings)
    except FlowsError as error:
        return [CheckResult("steps", error.fact, error)]
    try:
        step_deployments.refuse_missing(named, step_deployments.declared_in(flows, settings), file=settings.deployments)
    except ConfigurationError as error:
        return [CheckResult("steps", error.fact, warning=error.hint)]
    return [CheckResult("steps", f"{len(named)} steps name deployments of prefect.yaml")]


async def _runs(settings: Settings) -> str:
    """Report what a sweep would find now."""
    from flow_of_flows.sweeper.flow import looked_at, opened

    async with opened(settings) as sweeper:
        facts, found = await sweeper.look()
    if found:
        raise PlatformError(
            f"{len(found)} found: {'; '.join(str(finding) for finding in found)}",
            hint="the sweeper mends it within five minutes, `flows sweep` at once; what a person decides is for you",
        )
    return looked_at(facts)


async def _find(subject: str, check: Check, settings: Settings) -> CheckResult:
    try:
        return CheckResult(subject, await check(settings))
    except FlowsError as error:
        return CheckResult(subject, error.fact, error)


def _table(findings: list[CheckResult]) -> Table:
    table = Table(box=None, show_header=False)
    for finding in findings:
        good = Text("warning", "yellow") if finding.warning else Text("ok", "green")
        mark = Text("wrong", "bold red") if finding.error else good
        table.add_row(mark, Text(finding.subject, "bold"), Text(shortened(finding.found)))
        if todo := finding.error.hint if finding.error else finding.warning:
            table.add_row("", "", Text(f"→ {todo}", "yellow"))
    return table


async def _settings(settings: Settings) -> str:
    return f"set: {', '.join(settings.variables)}" if settings.variables else "all at their defaults"


async def _deployments(settings: Settings) -> str:
    """Import every flow that prefect.yaml declares."""
    from flow_of_flows.registration.prefect_yaml import read

    current_project().make_importable()
    flows = [entry.flow() for entry in read(settings.deployments)]
    return f"{len(flows)} in {settings.deployments}"


async def _api(settings: Settings) -> str:
    url = get_current_settings().api.url or Home(settings.home).running_api()
    if not url:
        return "none configured: `flows run` starts an embedded server"
    from flow_of_flows.prefect_api.client import connected

    with temporary_settings({PREFECT_API_URL: url}):
        async with connected(seconds=0) as api:
            return api.url


async def _target(settings: Settings) -> str:
    from flow_of_flows.dbt import connection

    try:
        with connection.opened(settings) as session:
            found = session.target
    except ConfigurationError:
        # The check of the profile says what is wrong with it; the ingest children use the settings.
        return reading.probe(targets.from_settings(settings))
    if isinstance(found.known, DuckDBTarget):
        return reading.probe(found.known)
    # A warehouse of the settings gives the better message; what else the profile says of it, only dbt knows.
    own = reading.probe(found.known) if found.known else None
    answer = connection.probe(found)
    return own or answer


async def _profile(settings: Settings) -> str:
    if (target := _dbt_target(settings)) is None:
        return "see the line of the dbt project"
    return f"{target.title} in {target.chosen.profile.where}"


async def _variables(settings: Settings) -> str:
    """Say where each variable of the profile comes from."""
    from flow_of_flows.dbt import connection

    try:
        target = _dbt_target(settings)
    except FlowsError:
        return "see the line of the dbt profile"
    return connection.variables(target) if target else "see the line of the dbt project"


def _dbt_target(settings: Settings) -> DbtTarget | None:
    """Return what dbt connects with; None if there is no project to read, as the check of the project says."""
    from flow_of_flows.dbt import connection, project

    try:
        project.find(settings.dbt_project)
    except ConfigurationError:
        return None
    with connection.opened(settings) as session:
        return session.target


async def _state_store(settings: Settings) -> str:
    from flow_of_flows.cli.state import age
    from flow_of_flows.dbt.state import opened
    from flow_of_flows.dbt.state.publishing import read_log
    from flow_of_flows.dbt.state.s3 import probe

    store = opened(settings)
    if settings.state.bucket is None:
        _writable(settings.state_folder, "FLOWS_STATE_STORE")
    else:
        probe(store)
    current = read_log(store)[0].current
    if current is not None:
        return f"{store.describe()} (production is {age(current)} old)"
    there = store.read("artifacts/manifest.json") is not None
    return f"{store.describe()} ({'has a production manifest' if there else 'no production manifest yet'})"


async def _home(settings: Settings) -> str:
    _writable(settings.home, "FLOWS_HOME")
    return str(settings.home)


async def _project(settings: Settings) -> str:
    from flow_of_flows.dbt.comparison import check

    # What dbt says on the way is not the answer.
    events = logging.getLogger("flow_of_flows.dbt.events")
    before = events.level
    events.setLevel(logging.CRITICAL)
    try:
        return check(settings)
    finally:
        events.setLevel(before)


async def _dbt_cloud(settings: Settings) -> str:
    from flow_of_flows.dbt_cloud.child import probe

    return probe(settings)


async def _airbyte(settings: Settings) -> str:
    from flow_of_flows.airbyte.sync import probe

    return probe(settings)


async def _alerts(settings: Settings) -> str:
    from flow_of_flows.alerts.notify import ready

    return await ready(settings)


async def _repository(settings: Settings) -> str:
    from flow_of_flows.dbt.repository.checkout import look
    from flow_of_flows.dbt.repository.source import choose

    source = choose(None, None, None, settings.repository)
    if source is None:
        return "none set: dbt-build takes the project above"
    return f"{source.describe()}: commit {look(source, settings)[:12]}"


def _writable(folder: Path, variable: str) -> None:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise PlatformError(
            "The folder cannot be written", location=str(folder), hint=f"make it writable, or set {variable} to another"
        )


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "deployments": _deployments,
    "folder": _home,
    "Prefect API": _api,
    "dbt profile": _profile,
    "dbt variables": _variables,
    "target": _target,
    "state store": _state_store,
    "dbt project": _project,
    "repository": _repository,
    "dbt Cloud": _dbt_cloud,
    "alerts": _alerts,
    "Airbyte": _airbyte,
}
