"""A step whose child run the API refused to create: kept with the pipeline run, so that every reader can say why.

The parent writes one record per refused attempt; `observe`, the terminal and the alerts read them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from flow_of_flows.errors import Cause
from flow_of_flows.runs.outcome import ChildRun, Outcome, StepState

if TYPE_CHECKING:
    from flow_of_flows.dispatch.pipeline import Pipeline

REFUSAL_TYPE = "flows-refused-start"
SETTLED = (StepState.COMPLETED, StepState.FAILED, StepState.LEFT_OUT)


class Refusal(BaseModel):
    """One attempt of a step that has no child run.

    Attributes:
        message: what the API said, as a whole sentence with what to do next.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    attempt: int
    cause: Cause
    message: str

    def outcome(self, pipeline: Pipeline) -> Outcome:
        """Return the outcome of its step."""
        return Outcome(self.step, StepState.FAILED, self.cause, self.message, pipeline.step(self.step).policy)


def outcomes_of(refusals: Iterable[Refusal], pipeline: Pipeline, children: Sequence[ChildRun]) -> dict[str, Outcome]:
    """Return the failed steps of a run whose newest attempt was refused.

    Args:
        refusals: those of the run since it began or was retried, in any order.
        pipeline: the plan.
        children: child runs of the run.
    """
    newest = {child.step: child.attempt for child in sorted(children, key=lambda child: child.attempt)}
    return {
        refusal.step: refusal.outcome(pipeline)
        for refusal in refusals
        if refusal.step in pipeline.order and refusal.attempt > newest.get(refusal.step, 0)
    }


def may_be_refused(outcomes: Iterable[Outcome], pipeline: Pipeline) -> bool:
    """Return whether a step waits although nothing before it is left to wait for.

    Args:
        outcomes: of all steps of the run.
        pipeline: the plan.
    """
    known = {outcome.step: outcome for outcome in outcomes}
    waiting = [name for name, outcome in known.items() if outcome.state is StepState.WAITING]
    return any(all(known[other].state in SETTLED for other in pipeline.step(name).upstream) for name in waiting)
