"""What follows from a child that did not complete: gathers evidence, then tries again, revives, or settles.

Children that ended in, decisions out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from prefect.client.schemas.objects import StateType

from flow_of_flows.dispatch.failed_attempts import REVIVALS, EndedChild, Losses
from flow_of_flows.dispatch.retries import EVIDENCE, NextAttempt
from flow_of_flows.errors import Cause
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.causes import is_certain
from flow_of_flows.runs.evidence import Evidence
from flow_of_flows.runs.outcome import ChildRun, Outcome
from flow_of_flows.runs.retry_policy import rule

logger = logging.getLogger(__name__)
# The automation that revives pipelines needs up to 4 s (measured).
AUTOMATION = timedelta(seconds=8)


@dataclass(frozen=True)
class Back:
    """The child is at work again under its own id."""

    child: ChildRun


Consequence = Outcome | NextAttempt | Back


@dataclass
class Aftermath(Losses):
    """The children of one pipeline run that did not complete, and what is done about them."""

    reads: RunsClient

    async def judge(self) -> dict[str, Consequence]:
        """What follows, by step, for each of which enough is known or waited for."""
        found: dict[str, Consequence] = {}
        evidence = await self.evidence(self.ended.values())
        for name, one in list(self.ended.items()):
            known = evidence[one.child.id]
            if not is_certain(known) and self.reads.now() < one.at + EVIDENCE:
                continue
            if consequence := await self._judge(one, known):
                found[name] = consequence
                del self.ended[name]
        return found

    async def _judge(self, one: EndedChild, known: Evidence) -> Consequence | None:
        if await self._is_back(one.child):
            return Back(one.child)
        outcome, next_one = await self.weigh(one, known)
        cause = outcome.cause or Cause.ERROR
        if one.is_revived:
            return await self._revived(one, outcome, cause)
        self.remember(one, cause)
        if next_one is None:
            return outcome
        logger.warning("%s: attempt %d was lost (%s): %s", one.step.name, one.child.attempt, cause, outcome.message)
        return next_one

    async def _is_back(self, child: ChildRun) -> bool:
        """Whether a child that crashed is at work again: one attempt more would work beside it.

        A pod that is deleted may count as crashed for a moment, before it has handed its run back (1 of 14, measured).
        """
        if child.state is not StateType.CRASHED:
            return False
        run = await self.reads.read(child.id)
        return run.state is not None and not run.state.is_final()

    async def _revived(self, one: EndedChild, outcome: Outcome, cause: Cause) -> Consequence | None:
        """A pipeline goes on under its own id, so that it finds its children; None: it may still be revived."""
        if one.child.state is not StateType.CRASHED or not rule(cause).retries:
            return outcome
        if one.child.run_count > REVIVALS:
            return outcome
        if self.reads.now() < one.at + AUTOMATION:
            return None
        logger.warning("%s: reviving %s, which crashed (%s)", one.step.name, one.child.name, cause)
        await self.reads.revive(one.child.id)
        return Back(one.child)
