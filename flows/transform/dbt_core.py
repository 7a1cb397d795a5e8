"""The dbt Core child: parameters of a run in, a `ChildReport` out. Called by Prefect, as the deployment `dbt-build`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from flows.child import child
from flows.report import publish
from flows.report.handback import ChildReport
from flows.settings import Settings
from flows.transform import duckdb_files, project
from flows.transform.arguments import Options, Var
from flows.transform.build import Build
from flows.transform.events import Progress
from flows.transform.invoke import Stopped
from flows.transform.session import Session, scrubber
from flows.transform.state import FolderStore
from flows.transform.workspace import workspace
from flows.warehouse.reading import query
from flows.warehouse.targets import DuckDB, Target, from_settings

Mode = Literal["warn", "error", "off"]


@child("dbt-build")
def dbt_build(  # noqa: PLR0917 - Prefect draws its form from them
    full_refresh: Annotated[bool, Field(description="Build incremental models and seeds from scratch.")] = False,  # noqa: FBT002 - a Prefect parameter
    select: Annotated[
        str | None,
        Field(description="What to build, in dbt's selection syntax; `state:modified+` compares with production."),
    ] = None,
    exclude: Annotated[str | None, Field(description="What to leave out, in dbt's selection syntax.")] = None,
    vars: Annotated[  # noqa: A002 - dbt's word
        dict[str, Var] | None, Field(description="dbt variables, over those of dbt_project.yml.")
    ] = None,
    threads: Annotated[int | None, Field(ge=1, le=64, description="dbt threads; unset: FLOWS_THREADS.")] = None,
    freshness: Annotated[
        Mode, Field(description="Stale sources: warn and go on, error and build nothing, or off: do not check.")
    ] = "warn",
    retry_of: Annotated[
        UUID | None, Field(description="Flow run to go on from: only what did not succeed there runs.")
    ] = None,
) -> ChildReport:
    """Build the dbt project in the warehouse: source freshness, then `dbt build`."""
    settings = Settings.load()
    target = from_settings(settings)
    options = Options(
        select=(select or "").strip() or None,
        exclude=(exclude or "").strip() or None,
        vars=vars or {},
        full_refresh=full_refresh,
        threads=threads,
    )
    try:
        with _opened(settings, target) as session:
            run = publish.run_id() or uuid4()
            return Build(session, FolderStore(settings.state_folder), run).execute(options, freshness, retry_of)
    except Stopped as stopped:
        stopped.pass_on()


@contextmanager
def _opened(settings: Settings, target: Target) -> Iterator[Session]:
    """A session on a project that is there and a warehouse that answers; everything it opened is closed after."""
    found = project.find(settings.dbt_project)
    names = f"{target.name} {target.describe()} {target.schema}"
    with workspace(settings.home, found, names) as paths, _warehouse(target):
        yield Session(found, target, paths, Progress(scrubber(target)))


@contextmanager
def _warehouse(target: Target) -> Iterator[None]:
    """The warehouse, found to be reachable before dbt starts: one clear message instead of one per node."""
    if isinstance(target, DuckDB):
        with duckdb_files.ready(target):
            yield
        return
    query(target, "select 1")
    yield
