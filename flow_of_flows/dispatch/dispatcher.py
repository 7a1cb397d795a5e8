"""Runs the steps of a pipeline: a plan and parameters in, one outcome per step out.

One loop starts what can start and reads, once per interval for all children together, which of them are over. A child
that did not complete goes through `flow_of_flows.dispatch.recovery`, while the other steps go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, Pause

from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.recovery import FailedAttempts, Recovery, Restarted
from flow_of_flows.dispatch.retries import NextAttempt, RetryLimits
from flow_of_flows.dispatch.watcher import ChildWatcher
from flow_of_flows.errors import Cause, ConfigurationError
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.retrying import PollPause, jitter
from flow_of_flows.runs.outcome import ChildRun, Outcome, Refusal, StepState, blockers, of_child, with_report
from flow_of_flows.runs.resume import (
    Adopt,
    Reuse,
    Stance,
    Start,
    decide,
    forget_request,
    is_held,
    is_pause,
    ordered,
    stance,
    suspended,
)

logger = logging.getLogger(__name__)

# Starting takes some requests to the API; this many steps are started side by side.
STARTS_AT_ONCE = 8


@dataclass(frozen=True)
class PipelineRun:
    """The pipeline run that dispatches.

    Attributes:
        start: how often it has been started, this time included (Prefect's `run_count`).
    """

    id: UUID
    name: str
    start: int = 1


@dataclass(frozen=True)
class Delayed:
    """An attempt that is not started before its time."""

    again: NextAttempt
    due: datetime


@dataclass
class Dispatcher:
    """State of one pipeline run while it runs.

    Attributes:
        poll: shortest and longest interval between two reads, seconds.
        limits: how far it goes for one child.
        delayed: attempts that wait for their time.
        held: whether somebody has paused this run.
    """

    pipeline: Pipeline
    parameters: Parameters
    api: RunsClient
    run: PipelineRun
    poll: tuple[float, float]
    limits: RetryLimits = field(default_factory=RetryLimits)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    delayed: dict[str, Delayed] = field(default_factory=dict)
    held: bool = False
    own: Sequence[ChildRun] = ()
    inherited: Sequence[ChildRun] = ()

    def __post_init__(self) -> None:
        """Create the watcher, the failed attempts and their recovery."""
        self.watcher = ChildWatcher(self.pipeline, self.api, self.limits.pending, self.run.id)
        self.failed = FailedAttempts(self.pipeline, self.api, self.limits)
        self.recovery = Recovery(self.failed, self.api)

    async def dispatch(self) -> tuple[Outcome, ...]:
        """Run every step that is to run, and return one outcome for each, in the order of the pipeline."""
        await self.api.set_clock(self.run.id)
        await self._stay_held()
        for name in self.pipeline.left_out(self.parameters.only, self.parameters.skip):
            self.outcomes[name] = Outcome(name, StepState.LEFT_OUT, message=self.pipeline.step(name).absent)
            if reason := self.outcomes[name].message:
                logger.info("%s: left out: %s", name, reason)
        self.own = await self.api.children(self.run.id)
        self.inherited = await self.api.inherited(await self._resumed())
        await self.failed.load(self.run.id, self.own)
        pause = PollPause(*self.poll)
        while await self._advance():
            await asyncio.sleep(pause.next())
            if await self._collect() or self.failed.undecided:
                pause.changed()
        return await self._complete()

    async def _advance(self) -> bool:
        """Start or settle every step that can start; return whether there is anything to wait for."""
        starting: list[tuple[Step, Start | NextAttempt]] = []
        for name in self.pipeline.order:
            step = self.pipeline.step(name)
            if any(
                name in taken for taken in (self.outcomes, self.watcher.waiting, self.failed.undecided, self.delayed)
            ):
                continue
            before = [self.outcomes[other] for other in step.upstream if other in self.outcomes]
            if len(before) == len(step.upstream) and (start := self._take(step, before)):
                starting.append((step, start))
        now = self.api.now()
        due = [name for name, delayed in self.delayed.items() if now >= delayed.due]
        held = await self._is_held()
        if not held:
            starting += [(self.pipeline.step(name), self.delayed.pop(name).again) for name in due]
            slots = asyncio.Semaphore(STARTS_AT_ONCE)
            await asyncio.gather(*(self._start(step, start, slots) for step, start in starting))
        return bool(held or self.watcher.waiting or self.failed.undecided or self.delayed or starting)

    async def _is_held(self) -> bool:
        """Return whether somebody holds this run: nothing starts, and the run does not end, until it is resumed.

        Each read of the children includes the run itself; it is read alone only before the first one.

        Raises:
            Pause: the run is suspended: its process ends, and a resume starts another one.
            Abort: another process has the run, or it is over.
        """
        if not self.watcher.polled:
            self.watcher.own = (await self.api.read(self.run.id)).state
        state = self.watcher.own
        match stance(state):
            case Stance.SUSPEND:
                logger.info("Suspended: no step starts until the run is resumed; the children that run finish")
                raise Pause(state=state)
            case Stance.YIELD:
                raise Abort("Another process goes on with this run")
            case Stance.STOP:
                await self._stop(state)
            case Stance.HOLD:
                self._hold(state)
            case Stance.GO:
                self.held = False
        forget_request()
        return self.held

    def _hold(self, state: State[Any] | None) -> None:
        if not self.held and state and state.is_paused():
            logger.info("%s: no step starts until the run is resumed; the children that run finish", state.name)
        self.held = True

    async def _stop(self, state: State[Any] | None) -> NoReturn:
        """Cancel the children of a run that somebody else has ended, and leave it."""
        ended_as = f"{state.name}: {state.message}" if state else ""
        logger.error("The run is over (%s); its children are asked to stop", ended_as)
        await self.api.cancel_children(await self.api.read(self.run.id))
        raise Abort("The run is over")

    async def _stay_held(self) -> None:
        """Suspend a run again that was paused when its process died: nobody has resumed it.

        Raises:
            Pause: that is so.
        """
        if self.run.start <= 1:
            return
        states = ordered(await self.api.states(self.run.id))
        if not is_held(states):
            return
        again = suspended(next(state for state in reversed(states) if is_pause(state)))
        await self.api.suspend(self.run.id, again)
        logger.info("The run was paused when its process ended, and nobody has resumed it: it is suspended")
        raise Pause(state=again)

    def _take(self, step: Step, before: Sequence[Outcome]) -> Start | None:
        """Settle a step, or adopt its child, or return what to start."""
        if held_up_by := blockers(before):
            self._settle(Outcome(step.name, StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=held_up_by))
            return None
        match decide(step.name, self.own, self.inherited, before):
            case Reuse(child):
                self._settle(self._completed(child, reused=not self.failed.is_of_this_generation(child)))
            case Adopt(child):
                logger.info("%s: adopted %s, which is still %s", step.name, child.name, child.state_name)
                self.watcher.add(step, child)
            case Start(_, continues=child) if child and self.failed.includes(child):
                self.failed.add_earlier(child)
            case Start() as start:
                return start
        return None

    async def _start(self, step: Step, request: Start | NextAttempt, slots: asyncio.Semaphore) -> None:
        start = request.start if isinstance(request, NextAttempt) else request
        attempt, before = start.attempt, start.continues
        try:
            async with slots:
                child = await self.api.start(
                    step.deployment,
                    pipeline_run=self.run.id,
                    step=step.name,
                    attempt=attempt,
                    parameters=self.parameters.for_step(step, continues=before.id if before else None),
                    job_variables=(
                        request.job_variables
                        if isinstance(request, NextAttempt)
                        else self.parameters.job_variables(step)
                    ),
                    name=f"{self.run.name}-{step.name}" + (f"-{attempt}" if attempt > 1 else ""),
                )
        except ConfigurationError as error:
            await self._refused(Refusal(step=step.name, attempt=attempt, cause=error.cause, message=str(error)))
            return
        logger.info("%s: started %s (attempt %d)", step.name, child.name, attempt)
        self.watcher.add(step, child)

    async def _refused(self, refusal: Refusal) -> None:
        """Settle a step that has no child run as failed, and keep the reason with the run."""
        earlier = self.failed.attempts.get(refusal.step, ())
        self._settle(replace(refusal.outcome(self.pipeline), earlier=earlier))
        await self.api.note_refusal(self.run.id, refusal)

    async def _collect(self) -> bool:
        """Read all children that are at work, and do what follows; return whether any was over."""
        over = await self.watcher.poll()
        for child, overdue in over:
            if child.is_completed:
                self._settle(self._completed(child))
            else:
                self.failed.add(child, overdue)
        return await self._follow() or bool(over)

    async def _follow(self) -> bool:
        """Do what follows from the failed attempts; return whether anything did."""
        consequences = await self.recovery.decide()
        for name, consequence in consequences.items():
            match consequence:
                case Outcome() as outcome:
                    self._settle(outcome)
                case Restarted(child):
                    self.watcher.add(self.pipeline.step(name), child)
                case NextAttempt(start, pause) as again:
                    ended = start.continues.ended if start.continues else None
                    wait = timedelta(seconds=jitter(pause, 1.0, 1.2))
                    self.delayed[name] = Delayed(again, (ended or self.api.now()) + wait)
        return bool(consequences)

    def _completed(self, child: ChildRun, *, reused: bool = False) -> Outcome:
        policy, earlier = self.pipeline.step(child.step).policy, self.failed.attempts.get(child.step, ())
        return replace(of_child(child.step, policy, child, reused=reused), earlier=earlier)

    def _settle(self, outcome: Outcome) -> None:
        self.outcomes[outcome.step] = outcome
        level = logging.INFO if outcome.state is StepState.COMPLETED else logging.ERROR
        note = " (reused)" if outcome.reused else ""
        logger.log(level, "%s: %s%s %s", outcome.step, outcome.state, note, outcome.message)

    async def _complete(self) -> tuple[Outcome, ...]:
        """Return the outcomes with the reports of the children, read once for all of them."""
        children = {name: outcome.child for name, outcome in self.outcomes.items() if outcome.child}
        reports = await self.api.reports(child.id for child in children.values())
        return tuple(
            with_report(outcome, reports.get(outcome.child.id) if outcome.child else None)
            for outcome in (self.outcomes[step.name] for step in self.pipeline.steps)
        )

    async def _resumed(self) -> list[FlowRun]:
        """Return the runs that this one resumes, newest first.

        Raises:
            ConfigurationError: one of them is not over.
        """
        resumed = await self.api.resume_chain(await self.api.read(self.run.id))
        for run in resumed:
            if run.state and not run.state.is_final():
                raise ConfigurationError(
                    f"Run {run.name} is still {run.state.name}: there is nothing to resume yet",
                    location=f"resume_from={run.id}",
                    hint="wait until it is over, or cancel it",
                )
        return resumed
