"""Follows one run to its end, and cancels it on Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dispatch.pipeline import Pipeline
from flow_of_flows.dispatch.status import Known, alone, answer_of, expected, outline
from flow_of_flows.local.progress import ChangeNotifier, RunChange, RunProgress, wait_for_change
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.outcome import ChildRun, Verdict, may_be_refused, outcomes_of, with_report
from flow_of_flows.runs.resume import began
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary

# Changes are reported at once; this is for what changes without a request, and for the clock of the table.
LOOK_SECONDS = 1.0
BREATH_SECONDS = 0.2
CANCEL_SECONDS = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def follow(
    client: PrefectClient,
    notifier: ChangeNotifier,
    subject: Pipeline | str,
    run: UUID,
    progress: RunProgress,
    *,
    settings: Settings,
) -> RunSummary:
    """Show a run until it is over, and return its summary with the reports of its children.

    The first Ctrl-C (or SIGTERM) cancels the run and waits for its children to stop; a second one stops waiting.

    Args:
        client: of the embedded server.
        notifier: reports changes.
        subject: the steps of a pipeline, or the name of another flow.
        run: its id.
        progress: where it is shown.
        settings: limits of a pipeline.
    """
    api = RunsClient(client)
    look: Look | ChildLook
    if isinstance(subject, Pipeline):
        inherited = await api.inherited(await api.resume_chain(await api.read(run)))
        look = Look(api, subject, run, progress, inherited, settings.retry.pause_factor)
    else:
        look = ChildLook(api, subject, run, progress)
    with stops(notifier) as stop, notifier.subscribed(RunChange.CHANGED) as changed:
        while await look.at_work():
            if look.latest and look.verdict is Verdict.CANCELLED:
                # Suspended runs have no process that would hand a cancellation on.
                await api.cancel_children(look.latest)
            if stop.is_set():
                await _cancel(look, notifier, stop)
                break
            # At most a few looks a second, however much changes.
            await asyncio.sleep(BREATH_SECONDS)
            await wait_for_change(changed, LOOK_SECONDS)
    plan, flow = (subject, subject.name) if isinstance(subject, Pipeline) else (None, subject)
    return await answer_of(api, plan, flow, run, settings)


@dataclass
class Look:
    """Looks at a run and the pipelines within it: one read each time.

    Attributes:
        pause_factor: factor of the pauses before further attempts.
        latest: the run, as it was read last.
        shown: what was shown last; it differs once anything has changed.
    """

    api: RunsClient
    pipeline: Pipeline
    run: UUID
    progress: RunProgress
    inherited: Sequence[ChildRun]
    pause_factor: float = 1.0
    inner: dict[str, UUID] = field(default_factory=dict)
    reports: dict[UUID, ChildReport | None] = field(default_factory=dict)
    began: dict[UUID, datetime] = field(default_factory=dict)
    verdict: Verdict = Verdict.RUNNING
    latest: FlowRun | None = None
    shown: object = None

    async def at_work(self) -> bool:
        """Read and show the run; return whether it or one of its children is still at work."""
        runs, children = await self.api.family([self.run, *self.inner.values()])
        # A run that somebody has deleted is none: the read says so.
        run = self.latest = runs.get(self.run) or await self.api.read(self.run)
        answer = await self._standing(self.pipeline, run, children[self.run], self.inherited)
        nested = {}
        for outcome in answer.outcomes:
            within = self.pipeline.step(outcome.step).nested
            if within and outcome.child:
                self.inner[outcome.step] = outcome.child.id
                if outcome.child.id in runs:
                    inner = outcome.child.id
                    nested[outcome.step] = await self._standing(within, runs[inner], children[inner])
        self.shown = answer, nested
        self.progress.show(answer, nested)
        self.verdict = answer.verdict
        children_at_work = (
            outcome.child is not None and not outcome.child.is_final
            for shown in (answer, *nested.values())
            for outcome in shown.outcomes
        )
        return not answer.verdict.is_over or any(children_at_work)

    async def _standing(
        self, pipeline: Pipeline, run: FlowRun, own: Sequence[ChildRun], inherited: Sequence[ChildRun] = ()
    ) -> RunSummary:
        """Return the summary of a run, with the causes that failed children reported, each read once."""
        children = [*inherited, *own]
        failed = {child.id for child in children if child.is_final and not child.is_completed}
        if new := failed - set(self.reports):
            self.reports |= dict.fromkeys(new) | await self.api.reports(new)
        known = await self._expected(pipeline, run, own)
        answer = outline(pipeline, run, children, known)
        if may_be_refused(answer.outcomes, pipeline):
            refused = outcomes_of(await self.api.refusals(run.id), pipeline, own)
            answer = outline(pipeline, run, children, {**known, **refused})
        outcomes = (with_report(o, self.reports.get(o.child.id) if o.child else None) for o in answer.outcomes)
        return replace(answer, outcomes=tuple(outcomes))

    async def _expected(self, pipeline: Pipeline, run: FlowRun, own: Sequence[ChildRun]) -> Known:
        """Return the steps that are about to be tried again; nothing is read for a run without failed attempts."""
        if run.state is None or run.state.is_final() or all(child.is_completed or not child.is_final for child in own):
            return {}
        if run.id not in self.began:
            self.began[run.id] = began(await self.api.states(run.id))
        of_this_generation = [child for child in own if (child.ended or child.created) >= self.began[run.id]]
        now = datetime.now(UTC)
        return expected(pipeline, of_this_generation, self.reports, now, pause_factor=self.pause_factor)


@dataclass
class ChildLook:
    """Looks at a run of a child, or of another flow that is not a pipeline."""

    api: RunsClient
    flow: str
    run: UUID
    progress: RunProgress
    verdict: Verdict = Verdict.RUNNING
    latest: FlowRun | None = None
    shown: object = None

    async def at_work(self) -> bool:
        """Read and show the run; return whether it is still at work."""
        self.latest = await self.api.read(self.run)
        answer = alone(self.flow, self.latest)
        self.shown, self.verdict = answer, answer.verdict
        self.progress.show(answer, {})
        return not answer.verdict.is_over


async def _cancel(look: Look | ChildLook, notifier: ChangeNotifier, stop: asyncio.Event) -> None:
    stop.clear()
    await look.api.cancel(look.run)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CANCEL_SECONDS
    with notifier.subscribed(RunChange.CHANGED) as changed:
        while await look.at_work() and loop.time() < deadline and not stop.is_set():
            await wait_for_change(changed, LOOK_SECONDS)


@contextmanager
def stops(notifier: ChangeNotifier | None = None) -> Iterator[asyncio.Event]:
    """Yield an event that Ctrl-C or SIGTERM set; they also wake whoever waits for a change."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def handle() -> None:
        stop.set()
        if notifier:
            notifier.notify()

    for name in STOP_SIGNALS:
        loop.add_signal_handler(name, handle)
    try:
        yield stop
    finally:
        for name in STOP_SIGNALS:
            loop.remove_signal_handler(name)
