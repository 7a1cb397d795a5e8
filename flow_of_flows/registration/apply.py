"""Converges: a plan in, an API that matches it out, or one that is as it was before."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import httpx
from prefect.exceptions import PrefectException, PrefectHTTPStatusError

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api.client import PrefectApi
from flow_of_flows.registration.plan import Action, Plan, ResourceChange
from flow_of_flows.registration.resources import DOORS
from flow_of_flows.retrying import detail

logger = logging.getLogger(__name__)
CLIENT_ERROR, SERVER_ERROR = 400, 500
# For each thing: a process that is told to stop has half a minute for all of them.
PUT_BACK_SECONDS = 5.0
FAILURES = (PrefectException, httpx.HTTPError, FlowsError)


@dataclass
class Convergence:
    """The work on one plan, and what it takes to put it back.

    Attributes:
        begun: changes that were made, or of which nobody knows; the last comes first when they are put back.
    """

    api: PrefectApi
    begun: list[ResourceChange] = field(default_factory=list)

    async def run(self, changes: Plan) -> None:
        """Make every change, in order.

        Raises:
            FlowsError: one cannot be made; what was changed before is put back, and the message says so.
        """
        for change in changes:
            if change.action is Action.UNCHANGED:
                continue
            self.begun.append(change)
            try:
                await self._make(change, self.api)
            except FAILURES as error:
                if change.action is not Action.CREATE and _was_answered(error):
                    # The API said no: nothing to put back. (What was to be created is looked for all the same.)
                    self.begun.pop()
                raise self._stopped(change, error, await self._put_back()) from error
            except asyncio.CancelledError:
                # Told to stop: the deadline of a Job, say. What is put back must not be stopped, too.
                await asyncio.shield(self._put_back())
                raise

    async def _make(self, change: ResourceChange, api: PrefectApi) -> None:
        door = DOORS[change.kind]
        if change.after is not None:
            after = change.after
            await api.call(lambda: door.write(api.client, after))
        elif change.before is not None:
            before = change.before
            await api.call(lambda: door.remove(api.client, before))

    async def _put_back(self) -> tuple[str, ...]:
        """Undo what was begun, last first; names of what could not be put back."""
        left, brief = [], PrefectApi(self.api.client, seconds=PUT_BACK_SECONDS)
        for change in reversed(self.begun):
            try:
                await self._make(
                    ResourceChange(change.action, change.kind, change.name, change.after, change.before), brief
                )
            except FAILURES as error:
                logger.warning("%s %s is not put back: %s", change.kind, change.name, _told(error))
                left.append(f"{change.kind} {change.name}")
        return tuple(left)

    def _stopped(self, change: ResourceChange, error: Exception, left: tuple[str, ...]) -> FlowsError:
        put_back = (
            f"Not put back: {', '.join(left)}"
            if left
            else "What was changed before it is put back, and the former release goes on working"
        )
        family = ConfigurationError if _is_wrong_input(error) else PlatformError
        return family(
            f"Registration stopped at {change.action} {change.kind} {change.name}: "
            f"{_told(error).rstrip('.')}. {put_back}",
            location=self.api.url,
            hint="mend the cause, then register again",
        )


def _told(error: Exception) -> str:
    if isinstance(error, FlowsError):
        return error.message
    return detail(error)


def _was_answered(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, PrefectHTTPStatusError):
        error = error.__cause__
    return error is not None


def _is_wrong_input(error: Exception) -> bool:
    if isinstance(error, PrefectHTTPStatusError):
        return CLIENT_ERROR <= error.response.status_code < SERVER_ERROR
    return isinstance(error, ConfigurationError)
