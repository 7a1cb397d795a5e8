"""Finds or starts the run in dbt Cloud of a Prefect run: its own one, one that continues an earlier one, or a new one.

A job is never started twice for one attempt: before a start whose answer was lost is made again, the job's runs are
looked through for one with its cause.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from flow_of_flows.dbt_cloud.client import Cloud, Lost
from flow_of_flows.dbt_cloud.models import CloudRun, CloudRunStatus
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.retrying import RetryPolicy

logger = logging.getLogger(__name__)

# What a lost request still needs to become a run that can be seen.
SETTLE_SECONDS = 2.0
# Without a pause: the look for a run has its own.
RETRY = RetryPolicy(first=0.0, attempts=3)


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
    if not publish.in_run():
        return
    try:
        publish.note(KIND, {"run": run})
    except Exception:  # a second way to find the run; the first one is its cause
        logger.warning("The id of run %d in dbt Cloud could not be kept", run, exc_info=True)


def recall(prefect_run: UUID) -> list[int]:
    """Return the ids of the runs that a Prefect run has begun; outside of a run none."""
    if not publish.in_run():
        return []
    return [note["run"] for note in publish.notes(KIND, prefect_run) if isinstance(note.get("run"), int)]
