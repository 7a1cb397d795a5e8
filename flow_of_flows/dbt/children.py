"""The dbt Core child: parameters of a run in, a `ChildReport` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field, JsonValue

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import arguments, build_flags, command_line, comparison
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build import Build
from flow_of_flows.dbt.build_flags import BuildFlags, EventTime, IndirectSelection, ResourceType, WarnErrorKey
from flow_of_flows.dbt.build_lock import BuildLock, BusyError, WhenBusy, skipped
from flow_of_flows.dbt.command import CommandRun
from flow_of_flows.dbt.project import DbtProject, find
from flow_of_flows.dbt.projects import chosen_source, owned, settings_for
from flow_of_flows.dbt.repository.checkout import checked_out
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.dbt.runner import Stopped
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store, opened, saved_runs
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.settings import Settings

Mode = Literal["warn", "error", "off"]
Work = Callable[[DbtSession, Store, UUID, BuildLock], ChildReport]


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
    selector: str | None = None,
    indirect_selection: IndirectSelection | None = None,
    resource_types: ResourceType | list[ResourceType] | None = None,
    exclude_resource_types: ResourceType | list[ResourceType] | None = None,
    target: str | None = None,
    event_time_start: EventTime | None = None,
    event_time_end: EventTime | None = None,
    sample: str | dict[Literal["start", "end"], str] | None = None,
    empty: bool = False,
    fail_fast: bool | None = None,
    store_failures: bool = False,
    defer: bool = False,
    favor_state: bool = False,
    warn_error_options: dict[WarnErrorKey, str | list[str]] | None = None,
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
        retry_of: Id of a run of this flow to go on from: what did not succeed there, and what has changed since.
        project: Folder of the dbt project in the image, relative to that of prefect.yaml; unset: FLOWS_DBT_PROJECT.
        repository: Build the project of this git repository (https URL); unset: FLOWS_REPOSITORY_URL, else the image's.
        ref: Branch, tag or whole commit id of the repository; unset: FLOWS_REPOSITORY_REF, else its default branch.
        subfolder: Folder of the dbt project in the repository; unset: FLOWS_REPOSITORY_SUBFOLDER, else its root.
        when_busy: While another build writes to a schema of this one: `wait` for it, `fail`, or `skip` this build.
        selector: Build what this selector of selectors.yml says, instead of select and exclude.
        indirect_selection: Which tests of the selected nodes run; unset: as the project says, else `eager`: every one
            that touches a selected node.
        resource_types: Build nodes of this type or these types only, such as `model` or `[model, seed]`.
        exclude_resource_types: Leave out nodes of this type or these types, such as `test`.
        target: Output of the dbt profile for this run; unset: DBT_TARGET, else the profile's own target.
        event_time_start: Build the batches of microbatch models from this time (UTC) on: a backfill. With
            event_time_end.
        event_time_end: Build the batches of microbatch models up to this time (UTC), which is not in them.
        sample: Read only rows of this time window: `3 days`, or `{"start": "2026-01-01", "end": "2026-01-08"}`.
        empty: Read no rows, to see whether the SQL of every model runs.
        fail_fast: Stop at the first node that fails; unset: as the project says.
        store_failures: Keep the rows that fail a test in a table of the warehouse.
        defer: Read what is not selected from production's tables, where this target does not have them.
        favor_state: With defer, read production's tables also where this target has its own.
        warn_error_options: Which of dbt's warnings are errors (`error`), stay warnings (`warn`) or are left out
            (`silence`): a list of their names, or `all`.
    """
    installed = Settings.load()
    source = chosen_source(project, repository, ref, subfolder, installed)
    settings = settings_for(project, installed)
    if target is None and retry_of is not None:
        target = saved_runs.target_of(opened(settings), retry_of)
    flags = BuildFlags(
        target=target,
        selector=selector,
        indirect_selection=indirect_selection,
        resource_types=build_flags.types(resource_types),
        exclude_resource_types=build_flags.types(exclude_resource_types),
        fail_fast=fail_fast,
        store_failures=store_failures,
        empty=empty,
        sample=build_flags.sample_text(sample),
        event_time_start=event_time_start,
        event_time_end=event_time_end,
        defer=defer,
        favor_state=favor_state,
        warn_error_options=warn_error_options,
    )
    options = Options(
        select=arguments.selection_text("select", select),
        exclude=arguments.selection_text("exclude", exclude),
        vars=vars or {},
        full_refresh=full_refresh,
        threads=threads,
        docs=docs,
        flags=flags,
    )
    build_flags.check(flags, select=options.select, exclude=options.exclude)
    if changed_only:
        options = comparison.changed_only(options, freshness)
    if target is not None:
        settings = settings.model_copy(update={"target": target})

    def build(session: DbtSession, store: Store, number: UUID, lock: BuildLock) -> ChildReport:
        # Which of two runs is the newer production goes by it, so both have to be of one clock.
        started = artifacts.began() or datetime.now(UTC)
        return Build(session, store, number, settings.state, lock, started).execute(options, freshness, retry_of)

    return _Run(installed, settings, source).carried_out(build, when_busy)


@dataclass(frozen=True)
class _Run:
    """The project of a run, and its settings.

    Attributes:
        installed: the settings of the installation.
        settings: those of this run: its project and its target.
        source: the repository; None for a project of the image.
    """

    installed: Settings
    settings: Settings
    source: Source | None

    def carried_out(self, work: Work, when_busy: WhenBusy) -> ChildReport:
        """Do the work on the project, or report that a build has its schemas.

        Args:
            work: takes the session, the state store, the id of the run and its locks.
            when_busy: what to do while another build has a schema.
        """
        try:
            with self._opened() as session:
                number = artifacts.run_id() or uuid4()
                store = opened(self.settings)
                return work(session, store, number, BuildLock.of(store, number, when_busy))
        except BusyError as error:
            if when_busy != "skip":
                raise
            return skipped(error)
        except Stopped as stopped:
            stopped.pass_on()

    @contextmanager
    def _opened(self) -> Iterator[DbtSession]:
        """Open a session on the project; everything it opened is closed after."""
        settings = self.settings
        with _project(settings, self.source) as found, DbtSession.opened(found, settings, settings.home) as session:
            yield owned(session, self.source, settings, self.installed)


@child("dbt-command")
def dbt_command(
    *,
    command: str,
    vars: dict[str, JsonValue] | None = None,  # noqa: A002 - dbt's word
    target: str | None = None,
    project: str | None = None,
    repository: str | None = None,
    ref: str | None = None,
    subfolder: str | None = None,
    when_busy: WhenBusy = "wait",
) -> ChildReport:
    """Run one dbt command on the project: run, test, seed, snapshot, run-operation, clone, compile, show, ls and more.

    Args:
        command: The command and its options, as after `dbt` in a terminal: `run-operation grant --args {role: reader}`.
        vars: dbt variables of any depth, instead of `--vars` in the command.
        target: Output of the dbt profile; unset: DBT_TARGET, else the profile's own target.
        project: Folder of the dbt project in the image, relative to that of prefect.yaml; unset: FLOWS_DBT_PROJECT.
        repository: Take the project of this git repository (https URL); unset: FLOWS_REPOSITORY_URL, else the image's.
        ref: Branch, tag or whole commit id of the repository; unset: FLOWS_REPOSITORY_REF, else its default branch.
        subfolder: Folder of the dbt project in the repository; unset: FLOWS_REPOSITORY_SUBFOLDER, else its root.
        when_busy: While a build writes to a schema that the command may write to: `wait` for it, `fail`, or `skip`.
    """
    line = command_line.parse(command)
    options = Options(vars=line.with_vars(vars))
    installed = Settings.load()
    source = chosen_source(project, repository, ref, subfolder, installed)
    settings = settings_for(project, installed)
    if target is not None:
        settings = settings.model_copy(update={"target": target})

    def run(session: DbtSession, store: Store, number: UUID, lock: BuildLock) -> ChildReport:
        return CommandRun(session, store, number, settings.state.warehouse, lock, line, options).execute()

    return _Run(installed, settings, source).carried_out(run, when_busy)


@contextmanager
def _project(settings: Settings, source: Source | None) -> Iterator[DbtProject]:
    """The project of the image, or of a repository for as long as the block runs."""
    if source is None:
        yield find(settings.dbt_project)
        return
    with checked_out(source, settings) as checkout:
        yield checkout.find()
