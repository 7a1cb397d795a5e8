"""The dbt Core child: parameters of a run in, a `ChildReport` out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field, JsonValue

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import arguments, comparison
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build import Build
from flow_of_flows.dbt.build_lock import BuildLock, BusyError, WhenBusy, skipped
from flow_of_flows.dbt.project import DbtProject, find
from flow_of_flows.dbt.projects import chosen_source, owned, settings_for
from flow_of_flows.dbt.repository.checkout import checked_out
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.dbt.runner import Stopped
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import opened
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.settings import Settings

Mode = Literal["warn", "error", "off"]


@child("dbt-build")
def dbt_build(
    *,
    full_refresh: bool = False,
    select: str | list[str] | None = None,
    exclude: str | list[str] | None = None,
    vars: dict[str, JsonValue] | None = None,  # noqa: A002 - dbt's word
    threads: Annotated[int | None, Field(ge=1, le=64)] = None,
    freshness: Mode = "warn",
    docs: bool = False,
    changed_only: bool = False,
    retry_of: UUID | None = None,
    project: str | None = None,
    repository: str | None = None,
    ref: str | None = None,
    subfolder: str | None = None,
    when_busy: WhenBusy = "wait",
) -> ChildReport:
    """Build the dbt project in the warehouse: source freshness, then `dbt build`.

    Args:
        full_refresh: Build incremental models and seeds from scratch.
        select: What to build, in dbt's selection syntax, a text or a list; `state:modified+` compares with production.
            Unset: everything, or what the project's default selector says.
        exclude: What to leave out, in dbt's selection syntax, a text or a list.
        vars: dbt variables of any depth, over those of dbt_project.yml.
        threads: How many nodes dbt builds at once; unset: FLOWS_THREADS.
        freshness: Stale sources: `warn` and go on, `error` and build nothing, or `off`: do not check.
        docs: Also write catalog.json, for dbt's documentation site; it asks the warehouse for every column.
        changed_only: Build only what changed in code or has fresher sources since the last success, with all behind it.
        retry_of: Id of a run of this flow to go on from: only what did not succeed there runs.
        project: Folder of the dbt project in the image, relative to that of prefect.yaml; unset: FLOWS_DBT_PROJECT.
        repository: Build the project of this git repository (https URL); unset: FLOWS_REPOSITORY_URL, else the image's.
        ref: Branch, tag or whole commit id of the repository; unset: FLOWS_REPOSITORY_REF, else its default branch.
        subfolder: Folder of the dbt project in the repository; unset: FLOWS_REPOSITORY_SUBFOLDER, else its root.
        when_busy: While another build writes to a schema of this one: `wait` for it, `fail`, or `skip` this build.
    """
    installed = Settings.load()
    source = chosen_source(project, repository, ref, subfolder, installed)
    settings = settings_for(project, installed)
    options = Options(
        select=arguments.selection_text("select", select),
        exclude=arguments.selection_text("exclude", exclude),
        vars=vars or {},
        full_refresh=full_refresh,
        threads=threads,
        docs=docs,
    )
    if changed_only:
        options = comparison.changed_only(options, freshness)
    try:
        with _opened(settings, source, installed) as session:
            run = artifacts.run_id() or uuid4()
            # Which of two runs is the newer production goes by it, so both have to be of one clock.
            started = artifacts.began() or datetime.now(UTC)
            store = opened(settings)
            lock = BuildLock.of(store, run, when_busy)
            return Build(session, store, run, settings.state, lock, started).execute(options, freshness, retry_of)
    except BusyError as error:
        if when_busy != "skip":
            raise
        return skipped(error)
    except Stopped as stopped:
        stopped.pass_on()


@contextmanager
def _opened(settings: Settings, source: Source | None, installed: Settings) -> Iterator[DbtSession]:
    """Open a session on the project; everything it opened is closed after."""
    with _project(settings, source) as found, DbtSession.opened(found, settings, settings.home) as session:
        yield owned(session, source, settings, installed)


@contextmanager
def _project(settings: Settings, source: Source | None) -> Iterator[DbtProject]:
    """The project of the image, or of a repository for as long as the block runs."""
    if source is None:
        yield find(settings.dbt_project)
        return
    with checked_out(source, settings) as checkout:
        yield checkout.find()
