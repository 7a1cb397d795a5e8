"""Applies a plan to the Prefect API, or rolls it back."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import httpx
from prefect.exceptions import PrefectException, PrefectHTTPStatusError

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api.client import PrefectApi
from flow_of_flows.registration.plan import Action, Plan, ResourceChange
from flow_of_flows.registration.resources import RESOURCES
from flow_of_flows.retrying import detail

logger = logging.getLogger(__name__)
CLIENT_ERROR, SERVER_ERROR = 400, 500
# Per resource: a process that receives SIGTERM has half a minute for all of them.
ROLLBACK_SECONDS = 5.0
FAILURES = (PrefectException, httpx.HTTPError, FlowsError)


@dataclass
class PlanApplication:
    """The application of one plan, with what a rollback needs.

    Attributes:
        started: changes that were made, or whose result is unknown; a rollback undoes the last one first.
    """

    api: PrefectApi
    started: list[ResourceChange] = field(default_factory=list)

    async def run(self, changes: Plan) -> None:
        """Apply every change, in order.

        Raises:
            FlowsError: a change fails; the changes before it are rolled back, and the message says so.
        """
        for change in changes:
            if change.action is Action.UNCHANGED:
                continue
            self.started.append(change)
            try:
                await self._apply(change, self.api)
            except FAILURES as error:
                if change.action is not Action.CREATE and _is_rejection(error):
                    # The API rejected the change: there is nothing to roll back. (A creation is undone all the same.)
                    self.started.pop()
                raise self._failure(change, error, await self._roll_back()) from error
            except asyncio.CancelledError:
                # The process must stop, for example at the deadline of its Job. The rollback must finish.
                await asyncio.shield(self._roll_back())
                raise

    async def _apply(self, change: ResourceChange, api: PrefectApi) -> None:
        resource = RESOURCES[change.kind]
        if change.after is not None:
            after = change.after
            await api.call(lambda: resource.write(api.client, after))
        elif change.before is not None:
            before = change.before
            await api.call(lambda: resource.remove(api.client, before))

    async def _roll_back(self) -> tuple[str, ...]:
        """Undo the started changes, last first, and return the names of those that could not be undone."""
        failed, brief = [], PrefectApi(self.api.client, seconds=ROLLBACK_SECONDS)
        for change in reversed(self.started):
            try:
                await self._apply(
                    ResourceChange(change.action, change.kind, change.name, change.after, change.before), brief
                )
            except FAILURES as error:
                logger.warning("%s %s is not put back: %s", change.kind, change.name, _message(error))
                failed.append(f"{change.kind} {change.name}")
        return tuple(failed)

    def _failure(self, change: ResourceChange, error: Exception, failed: tuple[str, ...]) -> FlowsError:
        rollback = (
            f"Not put back: {', '.join(failed)}"
            if failed
            else "What was changed before it is put back, and the former release goes on working"
        )
        family = ConfigurationError if _is_wrong_input(error) else PlatformError
        return family(
            f"Registration stopped at {change.action} {change.kind} {change.name}: "
            f"{_message(error).rstrip('.')}. {rollback}",
            location=self.api.url,
            hint="mend the cause, then register again",
        )


def _message(error: Exception) -> str:
    if isinstance(error, FlowsError):
        return error.message
    return detail(error)


def _is_rejection(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, PrefectHTTPStatusError):
        error = error.__cause__
    return error is not None


def _is_wrong_input(error: Exception) -> bool:
    if isinstance(error, PrefectHTTPStatusError):
        return CLIENT_ERROR <= error.response.status_code < SERVER_ERROR
    return isinstance(error, ConfigurationError)
