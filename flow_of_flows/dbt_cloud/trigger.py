"""Which run in dbt Cloud a Prefect run works with: one that it has already, one that goes on from there, or a new one.

A job is never started twice for one attempt: before a start whose answer was lost is made again, the job's runs are
looked through for our cause.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flow_of_flows.dbt_cloud import memory
from flow_of_flows.dbt_cloud.api import Cloud, Lost
from flow_of_flows.dbt_cloud.commands import Asked, RunOrigin, body, is_of
from flow_of_flows.dbt_cloud.models import CloudRun, CloudRunStatus
from flow_of_flows.errors import ConfigurationError

logger = logging.getLogger(__name__)

# What a lost request still needs to become a run that can be seen.
SETTLE_SECONDS = 2.0
STARTS = 3


@dataclass(frozen=True)
class Beginning:
    """One start of the child.

    Attributes:
        warn: takes what the report has to say.
    """

    cloud: Cloud
    origin: RunOrigin
    asked: Asked
    warn: Callable[[str], None]
    settle: float = SETTLE_SECONDS

    def begin(self, retry_of: UUID | None) -> CloudRun:
        """The run to follow.

        Args:
            retry_of: the Prefect run before, of another attempt of the step.
        """
        found = self.known(self.origin.id)
        if found is None and retry_of is not None and (found := self.known(retry_of)) is None:
            self.warn(f"Full run instead of a retry: run {retry_of} has no run in dbt Cloud")
        run = self._started() if found is None else self._continued(found)
        memory.remember(run.id)
        return run

    def known(self, prefect_run: UUID) -> CloudRun | None:
        """The newest run in dbt Cloud of a Prefect run, by what it remembered and by its cause."""
        ids = [*memory.recall(prefect_run), *(run.id for run in self.cloud.runs() if is_of(run.cause, prefect_run))]
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
        asked = body(self.asked, self.origin.cause, job.execute_steps)
        run = self._surely(lambda: self.cloud.trigger(asked), lambda run: run.cause == self.origin.cause)
        logger.info("Started run %d of job %d (%s) in dbt Cloud: %s", run.id, job.id, job.name, self.cloud.page(run))
        return run

    def _retried(self, failed: CloudRun) -> CloudRun:
        """A run from failure; where dbt Cloud refuses one (it takes only a job's newest run), a whole one."""
        newest = max((run.id for run in self.cloud.runs()), default=failed.id)

        def appeared(run: CloudRun) -> bool:
            # A retry has no cause of ours: it is known by having begun just now, and by nobody else's mark.
            return run.id > newest and not run.cause.startswith("flow-of-flows ")

        try:
            run = self._surely(lambda: self.cloud.retry(failed.id), appeared)
        except ConfigurationError as error:
            self.warn(f"Full run instead of a retry: {error.what}")
            return self._started()
        logger.info("Started run %d in dbt Cloud, from failure of %d: %s", run.id, failed.id, self.cloud.page(run))
        return run

    def _surely(self, start: Callable[[], CloudRun], is_it: Callable[[CloudRun], bool]) -> CloudRun:
        """Start a run once, whatever becomes of the answer.

        Raises:
            PlatformError: no answer again and again, and no run to be seen.
        """
        for left in reversed(range(STARTS)):
            try:
                return start()
            except Lost as lost:
                time.sleep(self.settle)
                if begun := next((run for run in self.cloud.runs() if is_it(run)), None):
                    logger.warning("The answer was lost, but run %d in dbt Cloud has begun", begun.id)
                    return begun
                if not left:
                    raise lost.error from lost
        raise AssertionError("unreachable: the last turn returns or raises")
