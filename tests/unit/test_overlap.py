"""Which run of a deployment goes first, and what a pipeline declares about it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Paused

from flow_of_flows import deployments
from flow_of_flows.dispatch.overlap import Contender, before, place_of
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Overlap, Pipeline, Step
from flow_of_flows.dispatch.status import outline
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.runs.outcome import SKIPPED, StepState, Verdict
from flow_of_flows.runs.resume import RESTARTED, WAITING
from flow_of_flows.settings import Settings
from tests.child_runs import MINUTE, SIX

STEPS = (Step(name="load"),)


def contender(number: int, place: datetime | None, *, entered: bool = False) -> Contender:
    """A run by its number."""
    run = FlowRun(id=UUID(int=number), flow_id=UUID(int=9), name=f"run-{number}")
    return Contender(run, place, entered)


OWN = contender(2, SIX)
EARLIER, LATER = contender(1, SIX - MINUTE), contender(3, SIX + MINUTE)


@pytest.mark.parametrize(
    ("own", "others", "first"),
    [
        (OWN, [], None),
        (OWN, [LATER], None),
        (OWN, [LATER, EARLIER], EARLIER),
        (OWN, [contender(1, SIX)], contender(1, SIX)),
        (OWN, [contender(3, SIX)], None),
        (OWN, [contender(3, SIX + MINUTE, entered=True)], contender(3, SIX + MINUTE, entered=True)),
        (contender(2, SIX, entered=True), [EARLIER], None),
        (contender(2, SIX, entered=True), [contender(1, SIX, entered=True)], contender(1, SIX, entered=True)),
    ],
    ids=["alone", "first", "second", "tie", "won tie", "other at work", "own at work", "both at work"],
)
def test_the_earlier_run_goes_first_and_one_that_is_at_work_before_all(
    own: Contender, others: list[Contender], first: Contender | None
) -> None:
    """The id decides a tie; a run that is at work yields only to another one that is."""
    assert before(own, others) == first


def states(*words: str) -> list[State]:
    """States a minute apart; `revived` and `retried` are both Scheduled."""
    message = {"revived": f"{RESTARTED} by a test"}
    kinds = {"revived": "SCHEDULED", "retried": "SCHEDULED"}
    return [
        State(
            type=StateType(kinds.get(word, word.upper())),
            message=message.get(word, ""),
            timestamp=SIX + number * MINUTE,
        )
        for number, word in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("words", "minute"),
    [
        (("scheduled", "pending"), None),
        (("scheduled", "pending", "running"), 2),
        (("scheduled", "pending", "running", "paused", "running"), 2),
        (("scheduled", "running", "crashed", "revived", "pending", "running"), 1),
        (("scheduled", "running", "failed", "retried", "pending", "running"), 5),
        (("scheduled", "running", "failed", "retried", "pending"), None),
    ],
    ids=["not begun", "begun", "resumed", "revived", "retried", "about to be retried"],
)
def test_a_place_is_kept_through_pauses_and_revivals_but_not_through_a_retry(
    words: tuple[str, ...], minute: int | None
) -> None:
    """A run that a person retries comes after those that have begun meanwhile."""
    assert place_of(states(*words)[::-1]) == (None if minute is None else SIX + minute * MINUTE)


def test_a_pipeline_declares_its_overlap_by_word_and_a_run_may_differ() -> None:
    """Without a declaration runs overlap, as Prefect's users expect."""
    pipeline = Pipeline("shop", STEPS, overlap="wait")
    assert pipeline.overlap is Overlap.WAIT
    assert Parameters().overlap_of(pipeline) is Overlap.WAIT
    assert Parameters(overlap=Overlap.SKIP).overlap_of(pipeline) is Overlap.SKIP
    assert Pipeline("shop", STEPS).overlap is Overlap.ALLOW


def test_an_unknown_overlap_is_refused() -> None:
    """When the module that declares it is imported."""
    with pytest.raises(ConfigurationError) as caught:
        Pipeline("shop", STEPS, overlap="queue")  # type: ignore[arg-type]
    assert str(caught.value) == "'queue' is not an overlap mode. Where: shop. Next: write one of allow, wait, skip."


def test_the_scheduled_pipelines_wait_for_their_earlier_runs() -> None:
    """A slow run must not meet the next one."""
    names = ("daily-pipeline", "weekly-full-refresh", "jaffle-shop", "staging")
    declared = {name: deployments.pipeline(name, Settings.load()).overlap for name in names}
    assert {name for name, overlap in declared.items() if overlap is Overlap.WAIT} == {
        "daily-pipeline",
        "weekly-full-refresh",
    }


@pytest.mark.parametrize(
    ("state", "verdict", "step"),
    [
        (Paused(name=WAITING, message="Waits for the earlier run x"), Verdict.RUNNING, StepState.WAITING),
        (Completed(name=SKIPPED, message="Waits for the earlier run x"), Verdict.SKIPPED, StepState.LEFT_OUT),
    ],
    ids=["waiting", "skipped"],
)
def test_who_looks_at_a_run_reads_for_which_run_it_waits_or_was_skipped(
    state: State, verdict: Verdict, step: StepState
) -> None:
    """A skipped run has not failed, and no step of it was held up."""
    run = FlowRun(id=UUID(int=1), flow_id=UUID(int=9), name="keen-owl", state=state)
    answer = outline(Pipeline("shop", STEPS), run, [])
    assert (answer.verdict, answer.note) == (verdict, "Waits for the earlier run x.")
    assert [outcome.state for outcome in answer.outcomes] == [step]
