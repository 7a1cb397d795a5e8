"""The dbt Cloud child: parameters in, a `ChildReport` out.

It finds or starts the run in dbt Cloud of its Prefect run: its own one, one that continues an earlier one, or a new
one. A job is never started twice for one attempt: before a start whose answer was lost is made again, the job's runs
are looked through for one with its cause.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID, uuid4

from prefect.exceptions import TerminationSignal
from pydantic import Field, JsonValue

from flow_of_flows import secrets
from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt_cloud.client import Cloud, Lost
from flow_of_flows.dbt_cloud.follow import CloudRunFollower, Conclusion
from flow_of_flows.dbt_cloud.models import CloudRun, CloudRunStatus
from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.settings import Settings
from flow_of_flows.signals import is_rescheduled

# What a lost request still needs to become a run that can be seen.
SETTLE_SECONDS = 2.0
# Without a pause: the look for a run has its own.
RETRY = RetryPolicy(first=0.0, attempts=3)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CloudRunStart:
    """Finds the run in dbt Cloud that one run of the child follows, or starts it.

    Attributes:
        warn: takes what the report has to say.
    """

    cloud: Cloud
    origin: RunOrigin
    overrides: JobOverrides
    warn: Callable[[str], None]
    settle: float = SETTLE_SECONDS

    def begin(self, retry_of: UUID | None) -> CloudRun:
        """Return the run to follow.

        Args:
            retry_of: the Prefect run before, of another attempt of the step.
        """
        found = self.known(self.origin.id)
        if found is None and retry_of is not None and (found := self.known(retry_of)) is None:
            self.warn(f"Full run instead of a retry: run {retry_of} has no run in dbt Cloud")
        run = self._started() if found is None else self._continued(found)
        remember(run.id)
        return run

    def known(self, prefect_run: UUID) -> CloudRun | None:
        """Return the newest run in dbt Cloud of a Prefect run, by the ids it has stored and by its cause."""
        ids = [*recall(prefect_run), *(run.id for run in self.cloud.runs() if is_of(run.cause, prefect_run))]
        return self.cloud.run(max(ids)) if ids else None

    def _continued(self, run: CloudRun) -> CloudRun:
        match run.status:
            case CloudRunStatus.ERROR:
                logger.info("Run %d in dbt Cloud failed: it is retried from where it failed", run.id)
                return self._retried(run)
            case CloudRunStatus.CANCELLED:
                logger.info("Run %d in dbt Cloud was cancelled: a new one is started", run.id)
                return self._started()
            case CloudRunStatus.SUCCESS:
                logger.info("Run %d in dbt Cloud has succeeded already", run.id)
            case _:
                logger.info("Attached to run %d in dbt Cloud, which is still at work", run.id)
        return run

    def _started(self) -> CloudRun:
        job = self.cloud.job()
        request = body(self.overrides, self.origin.cause, job.execute_steps)
        run = self._surely(lambda: self.cloud.trigger(request), lambda run: run.cause == self.origin.cause)
        logger.info("Started run %d of job %d (%s) in dbt Cloud: %s", run.id, job.id, job.name, self.cloud.page(run))
        return run

    def _retried(self, failed: CloudRun) -> CloudRun:
        """Retry a run from its failure; if dbt Cloud refuses, as for any but the newest run, start a whole one."""
        newest = max((run.id for run in self.cloud.runs()), default=failed.id)

        def appeared(run: CloudRun) -> bool:
            # A retry does not have this run's cause: it is a run that has just begun, without the cause of another one.
            return run.id > newest and not run.cause.startswith("flow-of-flows ")

        try:
            run = self._surely(lambda: self.cloud.retry(failed.id), appeared)
        except ConfigurationError as error:
            self.warn(f"Full run instead of a retry: {error.message}")
            return self._started()
        logger.info("Started run %d in dbt Cloud, from failure of %d: %s", run.id, failed.id, self.cloud.page(run))
        return run

    def _surely(self, start: Callable[[], CloudRun], is_it: Callable[[CloudRun], bool]) -> CloudRun:
        """Start a run once, even if the answer is lost.

        Raises:
            PlatformError: every answer was lost, and no run has appeared.
        """

        def start_or_find() -> CloudRun:
            try:
                return start()
            except Lost:
                time.sleep(self.settle)
                if begun := next((run for run in self.cloud.runs() if is_it(run)), None):
                    logger.warning("The answer was lost, but run %d in dbt Cloud has begun", begun.id)
                    return begun
                raise

        try:
            return RETRY.call(start_or_find, again=lambda error: isinstance(error, Lost))
        except Lost as lost:
            raise lost.error from lost


REFRESHED = ("build", "run", "seed")
FLAGS = ("--full-refresh", "-f")
NAME_LENGTH = 100


@dataclass(frozen=True)
class JobOverrides:
    """What differs from the definition of the job."""

    full_refresh: bool = False
    git_branch: str | None = None
    schema_override: str | None = None


@dataclass(frozen=True)
class RunOrigin:
    """The Prefect run that starts a run in dbt Cloud.

    Attributes:
        id: of the flow run.
        name: of the flow run, which begins with the pipeline run's.
        attempt: how often it has been started.
    """

    id: UUID
    name: str
    attempt: int

    @property
    def cause(self) -> str:
        """Why the run in dbt Cloud was started; it is found again by this."""
        return f"flow-of-flows {self.name[:NAME_LENGTH]} {self.id} attempt {self.attempt}"


def is_of(cause: str, run: UUID) -> bool:
    """Return whether a run in dbt Cloud was started by this Prefect run, in any of its attempts.

    Args:
        cause: why the run was started, see `RunOrigin`.
        run: id of the Prefect run.
    """
    return cause.startswith("flow-of-flows ") and str(run) in cause.split()


def body(overrides: JobOverrides, cause: str, steps: Iterable[str]) -> dict[str, JsonValue]:
    """Return the body of the trigger.

    Args:
        overrides: what differs from the job's definition.
        cause: see `RunOrigin`.
        steps: commands of the job.
    """
    values: dict[str, JsonValue] = {"cause": cause}
    if overrides.full_refresh:
        values["steps_override"] = list(refreshed(steps))
    if overrides.git_branch:
        values["git_branch"] = overrides.git_branch
    if overrides.schema_override:
        values["schema_override"] = overrides.schema_override
    return values


def refreshed(steps: Iterable[str]) -> tuple[str, ...]:
    """Return the commands of a job with `--full-refresh` where dbt knows it.

    Raises:
        ConfigurationError: no command of the job takes it, so that the job cannot do what is asked.
    """
    before = tuple(steps)
    after = tuple(_refreshed(step) for step in before)
    if not any(set(FLAGS) & set(step.split()) for step in after):
        raise ConfigurationError(
            f"The job has no command that takes --full-refresh: {'; '.join(before) or 'none'}",
            location="execute_steps of the job in dbt Cloud",
            hint=f"give the job one of dbt {', dbt '.join(REFRESHED)}, or run it without full_refresh",
        )
    return after


def _refreshed(step: str) -> str:
    try:
        words = shlex.split(step)
    except ValueError:
        words = step.split()
    # Options of dbt itself may stand before its command: dbt --warn-error build.
    is_dbt = bool(words) and words[0] == "dbt" and any(word in REFRESHED for word in words[1:])
    return f"{step} --full-refresh" if is_dbt and not set(FLAGS) & set(words) else step


KIND = "flows-dbt-cloud-run"


def remember(run: int) -> None:
    """Keep the id of a run with the current Prefect run; without one, do nothing."""
    if not artifacts.in_run():
        return
    try:
        artifacts.note(KIND, {"run": run})
    except Exception:  # a second way to find the run; the first one is its cause
        logger.warning("The id of run %d in dbt Cloud could not be kept", run, exc_info=True)


def recall(prefect_run: UUID) -> list[int]:
    """Return the ids of the runs that a Prefect run has begun; outside of a run none."""
    if not artifacts.in_run():
        return []
    return [note["run"] for note in artifacts.notes(KIND, prefect_run) if isinstance(note.get("run"), int)]


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
    found = secrets.read(name, secrets.DbtCloudCredentials, settings.secrets)
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
    run = artifacts.current_run()
    return RunOrigin(run.id, run.name, run.run_count) if run else RunOrigin(uuid4(), "by hand", 1)


UNUSED = "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"


def probe(settings: Settings) -> str:
    """Read the secret, the job and its newest runs: token, account and job are right, and may be read.

    Whether the token may start the job is known only once it is started.

    Raises:
        FlowsError: what is wrong.
    """
    name = settings.secrets.dbt_cloud
    if not settings.transform.uses_cloud and secrets.near(name, settings.secrets) is None:
        return UNUSED
    found = secrets.read(name, secrets.DbtCloudCredentials, settings.secrets)
    # A person waits for the answer.
    without_retry = settings.dbt_cloud.model_copy(update={"patience_seconds": 0.0})
    with Cloud(found, without_retry, secret=name) as cloud:
        job = cloud.job()
        cloud.runs()
    steps = "; ".join(job.execute_steps)
    return f"job {job.id} ({job.name}) of account {found.account_id} at {found.host}: {steps}"
