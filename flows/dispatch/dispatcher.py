"""Runs the steps of a pipeline: a plan and parameters in, one outcome per step out. Called by `flows.dispatch.flow`.

One loop starts what can start and reads, once per interval for all children together, which of them are over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flows.dispatch.launch import Api
from flows.dispatch.outcome import ChildRun, Outcome, StepState, of_child, with_report
from flows.dispatch.parameters import Parameters
from flows.dispatch.plan import Pipeline, Step
from flows.dispatch.resume import Adopt, Reuse, Start, decide
from flows.errors import Cause, ConfigurationError

logger = logging.getLogger(__name__)

# Starting takes some requests to the API; this many steps are started side by side.
STARTS_AT_ONCE = 8
# How long a child that was asked to stop may take, before its step ends without it.
GRACE = timedelta(minutes=2)


@dataclass(frozen=True)
class Run:
    """The pipeline run that dispatches."""

    id: UUID
    name: str


@dataclass
class Waiting:
    """A child that is at work."""

    child: ChildRun
    deadline: datetime
    timed_out: bool = False


@dataclass
class Dispatcher:
    """State of one pipeline run while it runs.

    Attributes:
        poll: shortest and longest interval between two reads, seconds.
    """

    pipeline: Pipeline
    parameters: Parameters
    api: Api
    run: Run
    poll: tuple[float, float]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    own: Sequence[ChildRun] = ()
    inherited: Sequence[ChildRun] = ()

    async def dispatch(self) -> tuple[Outcome, ...]:
        """Run every step that is to run, and return one outcome for each, in the order of the pipeline."""
        for name in self.pipeline.left_out(self.parameters.only, self.parameters.skip):
            self.outcomes[name] = Outcome(name, StepState.LEFT_OUT, message=self.pipeline.step(name).absent)
            if reason := self.outcomes[name].message:
                logger.info("%s: left out: %s", name, reason)
        self.own = await self.api.children(self.run.id)
        self.inherited = await self._lineage()
        pause = self.poll[0]
        while await self._advance():
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - jitter, no secret
            changed = await self._collect()
            pause = self.poll[0] if changed else min(pause * 1.3, self.poll[1])
        return await self._complete()

    async def _advance(self) -> bool:
        """Start or settle every step whose turn it is; whether there is anything to wait for."""
        starting: list[tuple[Step, Start]] = []
        for name in self.pipeline.order:
            step = self.pipeline.step(name)
            if name in self.outcomes or name in self.waiting:
                continue
            before = [self.outcomes[other] for other in step.after if other in self.outcomes]
            if len(before) == len(step.after) and (start := self._take(step, before)):
                starting.append((step, start))
        slots = asyncio.Semaphore(STARTS_AT_ONCE)
        await asyncio.gather(*(self._start(step, start, slots) for step, start in starting))
        return bool(self.waiting) or bool(starting)

    def _take(self, step: Step, before: Sequence[Outcome]) -> Start | None:
        """Settle a step, or adopt its child, or say what to start."""
        if held_up_by := _blockers(before):
            self._settle(Outcome(step.name, StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=held_up_by))
            return None
        match decide(step.name, self.own, self.inherited, before):
            case Reuse(child):
                self._settle(of_child(step.name, step.policy, child, reused=True))
            case Adopt(child):
                logger.info("%s: adopted %s, which is still %s", step.name, child.name, child.state_name)
                self._wait(step, child)
            case Start() as start:
                return start
        return None

    async def _start(self, step: Step, start: Start, slots: asyncio.Semaphore) -> None:
        attempt, before = start.attempt, start.continues
        try:
            async with slots:
                child = await self.api.start(
                    step.deployment,
                    pipeline_run=self.run.id,
                    step=step.name,
                    attempt=attempt,
                    parameters=self.parameters.for_step(step, continues=before.id if before else None),
                    job_variables=self.parameters.job_variables(step),
                    name=f"{self.run.name}-{step.name}" + (f"-{attempt}" if attempt > 1 else ""),
                )
        except ConfigurationError as error:
            self._settle(Outcome(step.name, StepState.FAILED, Cause.CONFIGURATION, str(error), step.policy))
            return
        logger.info("%s: started %s (attempt %d)", step.name, child.name, attempt)
        self._wait(step, child)

    def _wait(self, step: Step, child: ChildRun) -> None:
        self.waiting[step.name] = Waiting(child, child.created + step.timeout)

    async def _collect(self) -> bool:
        """One read for all that is waited for; whether anything was over."""
        finished = await self.api.finished([waiting.child for waiting in self.waiting.values()])
        for child in finished:
            waiting = self.waiting.pop(child.step)
            step = self.pipeline.step(child.step)
            self._settle(of_child(step.name, step.policy, child, timed_out=waiting.timed_out))
        await self._enforce_timeouts()
        return bool(finished)

    async def _enforce_timeouts(self) -> None:
        now = datetime.now(UTC)
        for name, waiting in list(self.waiting.items()):
            step = self.pipeline.step(name)
            if now < waiting.deadline:
                continue
            if not waiting.timed_out:
                logger.warning("%s: its time of %s has passed; cancelling %s", name, step.timeout, waiting.child.name)
                await self.api.cancel(waiting.child.id)
                waiting.timed_out, waiting.deadline = True, now + GRACE
            else:
                given_up = replace(waiting.child, message=f"did not stop within {GRACE} of being cancelled")
                del self.waiting[name]
                self._settle(of_child(name, step.policy, given_up, timed_out=True))

    def _settle(self, outcome: Outcome) -> None:
        if outcome.cause is Cause.TIMEOUT:
            time = self.pipeline.step(outcome.step).timeout
            outcome = replace(outcome, message=f"took longer than {time}. {outcome.message}".strip())
        self.outcomes[outcome.step] = outcome
        level = logging.INFO if outcome.state is StepState.COMPLETED else logging.ERROR
        note = " (reused)" if outcome.reused else ""
        logger.log(level, "%s: %s%s %s", outcome.step, outcome.state, note, outcome.message)

    async def _complete(self) -> tuple[Outcome, ...]:
        """Add what the children handed back, read once for all of them."""
        children = {name: outcome.child for name, outcome in self.outcomes.items() if outcome.child}
        reports = await self.api.reports(child.id for child in children.values())
        return tuple(
            with_report(outcome, reports.get(outcome.child.id) if outcome.child else None)
            for outcome in (self.outcomes[step.name] for step in self.pipeline.steps)
        )

    async def _lineage(self) -> list[ChildRun]:
        """Children of the run this one resumes, and of those that one resumed, oldest run first."""
        children: list[ChildRun] = []
        for run in await self.api.lineage(await self.api.read(self.run.id)):
            if run.state and not run.state.is_final():
                raise ConfigurationError(
                    f"Run {run.name} is still {run.state.name}: there is nothing to resume yet",
                    where=f"resume_from={run.id}",
                    todo="wait until it is over, or cancel it",
                )
            children = await self.api.children(run.id) + children
        return children


def _blockers(before: Sequence[Outcome]) -> tuple[str, ...]:
    """The failed steps that hold one up, directly or through others."""
    names: dict[str, None] = {}
    for outcome in before:
        if outcome.holds_up:
            names.update(dict.fromkeys(outcome.held_up_by or (outcome.step,)))
    return tuple(names)
