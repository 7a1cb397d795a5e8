"""The dbt Cloud child: parameters in, a `ChildReport` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID, uuid4

from prefect.exceptions import TerminationSignal
from pydantic import Field

from flow_of_flows import secrets as credentials
from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt_cloud.client import Cloud
from flow_of_flows.dbt_cloud.conclusion import Conclusion
from flow_of_flows.dbt_cloud.follow import CloudRunFollower
from flow_of_flows.dbt_cloud.models import CloudRun
from flow_of_flows.dbt_cloud.trigger import CloudRunStart, JobOverrides, RunOrigin
from flow_of_flows.errors import FlowsError
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.settings import Settings
from flow_of_flows.signals import is_rescheduled

logger = logging.getLogger(__name__)


@child("dbt-cloud")
def dbt_cloud(
    *,
    full_refresh: bool = False,
    git_branch: str | None = None,
    schema_override: str | None = None,
    time_limit_minutes: Annotated[float | None, Field(gt=0)] = None,
    retry_of: UUID | None = None,
) -> ChildReport:
    """Run a job in dbt Cloud, and report its nodes as dbt-build does.

    Args:
        full_refresh: Add --full-refresh to the job's build, run and seed commands.
        git_branch: Branch to check out instead of the job's.
        schema_override: Schema to build in instead of the job's.
        time_limit_minutes: Cancel the job's run when it takes longer, its time in the queue included; unset: no limit.
        retry_of: Id of a run of this flow to go on from: what failed there is retried from where it failed.
    """
    settings = Settings.load()
    name = settings.secrets.dbt_cloud
    found = credentials.read(name, credentials.DbtCloudCredentials, settings.secrets)
    overrides = JobOverrides(full_refresh, (git_branch or "").strip() or None, (schema_override or "").strip() or None)
    limit = timedelta(minutes=time_limit_minutes) if time_limit_minutes else None
    with Cloud(found, settings.dbt_cloud, secret=name) as cloud:
        build = CloudBuild(cloud, _origin(), overrides)
        return build.execute(retry_of, CloudRunFollower(cloud, settings.dbt_cloud.poll_seconds, limit))


@dataclass
class CloudBuild:
    """One run of the child, with the warnings so far."""

    cloud: Cloud
    origin: RunOrigin
    overrides: JobOverrides
    warnings: list[str] = field(default_factory=list)
    run: CloudRun | None = None

    def execute(self, retry_of: UUID | None, follower: CloudRunFollower) -> ChildReport:
        """Start or find a run, follow it to its end, and report it.

        Args:
            retry_of: the Prefect run whose run in dbt Cloud this one continues.
            follower: waits for the run.

        Raises:
            FlowsError: the run did not succeed.
        """
        try:
            with self._cancelled_with_this_run():
                self.run = self._start.begin(retry_of)
                self.run = follower.to_the_end(self.run)
            report = Conclusion(self.cloud, self.run, self.origin.id, self.warn).conclude()
        except FlowsError as error:
            error.warnings += tuple(self.warnings)
            raise
        return report.model_copy(update={"warnings": tuple(self.warnings)})

    def warn(self, text: str) -> None:
        """Log a warning, and keep it for the report."""
        logger.warning("%s", text)
        self.warnings.append(text)

    @property
    def _start(self) -> CloudRunStart:
        return CloudRunStart(self.cloud, self.origin, self.overrides, self.warn)

    @contextmanager
    def _cancelled_with_this_run(self) -> Iterator[None]:
        """Cancel the run in dbt Cloud if this process is ended in the block, unless another pod continues it."""
        try:
            yield
        except (KeyboardInterrupt, TerminationSignal):
            if is_rescheduled():
                logger.info("This run is started again elsewhere; its run in dbt Cloud goes on")
            else:
                self._cancel()
            raise

    def _cancel(self) -> None:
        """Cancel the run in dbt Cloud, also one whose start was under way."""
        try:
            run = self.run or self._start.known(self.origin.id)
            if run is None:
                logger.info("There is no run in dbt Cloud to cancel")
                return
            self.cloud.cancel(run.id)
        except Exception:  # the end of this process is under way, and must not be lost
            logger.exception("The run in dbt Cloud could not be cancelled; cancel it there")
            return
        logger.info("Cancelled run %d in dbt Cloud", run.id)


def _origin() -> RunOrigin:
    run = publish.current_run()
    return RunOrigin(run.id, run.name, run.run_count) if run else RunOrigin(uuid4(), "by hand", 1)


UNUSED = "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"


def probe(settings: Settings) -> str:
    """Read the secret, the job and its newest runs: token, account and job are right, and may be read.

    Whether the token may start the job is known only once it is started.

    Raises:
        FlowsError: what is wrong.
    """
    name = settings.secrets.dbt_cloud
    if not settings.transform.uses_cloud and credentials.near(name, settings.secrets) is None:
        return UNUSED
    found = credentials.read(name, credentials.DbtCloudCredentials, settings.secrets)
    # A person waits for the answer.
    patience = settings.dbt_cloud.model_copy(update={"patience_seconds": 0.0})
    with Cloud(found, patience, secret=name) as cloud:
        job = cloud.job()
        cloud.runs()
    steps = "; ".join(job.execute_steps)
    return f"job {job.id} ({job.name}) of account {found.account_id} at {found.host}: {steps}"
