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
from flows.transform import changes, project
from flows.transform.arguments import Options, Var
from flows.transform.build import Build
from flows.transform.events import Progress
from flows.transform.interrupt import Stopped
from flows.transform.reachable import reachable
from flows.transform.session import Session, scrubber
from flows.transform.store import opened
from flows.transform.workspace import workspace
from flows.warehouse.targets import Target, from_settings

Mode = Literal["warn", "error", "off"]


@child("dbt-build")
def dbt_build(
    *,
    full_refresh: bool = False,
    select: str | None = None,
    exclude: str | None = None,
    vars: dict[str, Var] | None = None,  # noqa: A002 - dbt's word
    threads: Annotated[int | None, Field(ge=1, le=64)] = None,
    freshness: Mode = "warn",
    docs: bool = False,
    changed_only: bool = False,
    retry_of: UUID | None = None,
) -> ChildReport:
    """Build the dbt project in the warehouse: source freshness, then `dbt build`.

    Args:
        full_refresh: Build incremental models and seeds from scratch.
        select: What to build, in dbt's selection syntax; `state:modified+` compares with production. Unset: everything.
        exclude: What to leave out, in dbt's selection syntax.
        vars: dbt variables, over those of dbt_project.yml.
        threads: How many nodes dbt builds at once; unset: FLOWS_THREADS.
        freshness: Stale sources: `warn` and go on, `error` and build nothing, or `off`: do not check.
        docs: Also write catalog.json, for dbt's documentation site; it asks the warehouse for every column.
        changed_only: Build only what changed in code or has fresher sources since the last success, with all behind it.
        retry_of: Id of a run of this flow to go on from: only what did not succeed there runs.
    """
    settings = Settings.load()
    target = from_settings(settings)
    options = Options(
        select=(select or "").strip() or None,
        exclude=(exclude or "").strip() or None,
        vars=vars or {},
        full_refresh=full_refresh,
        threads=threads,
        docs=docs,
    )
    if changed_only:
        options = changes.changed_only(options, freshness)
    try:
        with _opened(settings, target) as session:
            run = publish.run_id() or uuid4()
            return Build(session, opened(settings), run, settings.state).execute(options, freshness, retry_of)
    except Stopped as stopped:
        stopped.pass_on()


@contextmanager
def _opened(settings: Settings, target: Target) -> Iterator[Session]:
    """A session on a project that is there and a warehouse that answers; everything it opened is closed after."""
    found = project.find(settings.dbt_project)
    names = f"{target.name} {target.describe()} {target.schema}"
    with workspace(settings.home, found, names) as paths, reachable(target):
        yield Session(found, target, paths, Progress(scrubber(target)), settings.airbyte.dbt_environment())
