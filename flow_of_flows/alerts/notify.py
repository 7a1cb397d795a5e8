"""Notifies people of the end of a pipeline run.

Nothing here can fail a run or delay it for longer than FLOWS_ALERTS_SECONDS. A notification is recorded on the run
after it is sent: a pod that dies in between sends it twice rather than never.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows import secrets as credentials
from flow_of_flows.alerts import pagerduty_events, slack_webhook
from flow_of_flows.alerts.history import AlertHistory, mark, read_history, slack_address
from flow_of_flows.alerts.notification import (
    IncidentAction,
    Notification,
    incident_action,
    of_summary,
    recovered_from,
    should_notify_slack,
)
from flow_of_flows.alerts.redact import redact_text
from flow_of_flows.errors import FlowsError
from flow_of_flows.prefect_api.artifacts import links
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import of_readers

logger = logging.getLogger(__name__)
UNREAD = (httpx.HTTPError, PrefectHTTPStatusError)
UNKNOWN = AlertHistory(inner=False, partial=False, previous_end=None, tries=1, sent=frozenset())


def should_notify(settings: Settings) -> bool:
    """Return whether any channel is on."""
    return settings.alerts.to_slack(settings.environment) or settings.alerts.pagerduty


async def notify(settings: Settings, run_summary: RunSummary, error: BaseException | None = None) -> None:
    """Send the notifications of a run that has ended, unless it is a step of another pipeline.

    Args:
        settings: which channels are notified of what.
        run_summary: the summary of the run.
        error: what ended the run before its steps could.
    """
    # A hook has no run of its own; this adds the lines to the log of the pipeline run.
    log = logging.LoggerAdapter(logger, {"flow_run_id": str(run_summary.run)})
    if not should_notify(settings):
        return
    try:
        async with asyncio.timeout(settings.alerts.seconds), get_client() as client:
            await Notifier(settings, client, run_summary, log).send(error)
    except TimeoutError:
        log.warning("Alerts were given up after %g s", settings.alerts.seconds)
    except Exception:  # noqa: BLE001 - a side job: whatever goes wrong here, the run has its own end
        log.warning("Alerts failed:\n%s", redact_text(traceback.format_exc()))


@dataclass(frozen=True)
class Send:
    """One message to one channel.

    Attributes:
        mark: what is recorded on the run after sending.
    """

    channel: str
    mark: str
    work: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Notifier:
    """Sends the notifications of one run."""

    settings: Settings
    client: PrefectClient
    run_summary: RunSummary
    log: logging.LoggerAdapter[logging.Logger]

    async def send(self, error: BaseException | None) -> None:
        """Notify every channel that has not been notified of this end."""
        history, run_summary = await self._history(), self.run_summary
        if history.inner:
            return
        name = self.settings.alerts.name(self.settings.environment)
        addresses = links([run_summary.run, *run_summary.runs])
        notification = replace(
            of_summary(run_summary, name, addresses, tries=history.tries, error=error),
            terminal=of_readers(self.settings),
            # Two releases on one API have separate incidents.
            pipeline=self.settings.deployment_name(run_summary.pipeline),
            recovered_from=recovered_from(run_summary.verdict, history.previous_end, partial=history.partial),
        )
        sends = [send for send in self._sends(notification, history) if send.mark not in history.sent]
        await asyncio.gather(*(self._send(send) for send in sends))

    async def _history(self) -> AlertHistory:
        """Return the history of the run; if the API does not return it, send all notifications."""
        try:
            return await read_history(self.client, self.run_summary.run)
        except UNREAD as error:
            self.log.warning("The Prefect API does not say how the run before ended: %s", type(error).__name__)
            return UNKNOWN

    def _sends(self, notification: Notification, history: AlertHistory) -> Iterator[Send]:
        alerts = self.settings.alerts
        notify_slack = should_notify_slack(
            notification, history.previous_end, alerts.finished, warnings=alerts.warnings
        )
        if alerts.to_slack(self.settings.environment) and notify_slack:
            yield Send("Slack", f"slack {notification.evidence}", lambda: self._slack(notification))
        if alerts.pagerduty and (action := incident_action(notification)):
            yield Send("PagerDuty", f"pagerduty {notification.evidence}", lambda: self._pagerduty(notification, action))

    async def _slack(self, notification: Notification) -> None:
        address = await slack_address(self.client, self.settings.slack_block)
        await slack_webhook.post(address, slack_webhook.message(notification))

    async def _pagerduty(self, notification: Notification, action: IncidentAction) -> None:
        settings = self.settings
        properties = pagerduty_events.properties(notification) if action is IncidentAction.TRIGGER else {}

        def work() -> None:
            secret = credentials.read(settings.secrets.pagerduty, credentials.PagerDutyCredentials, settings.secrets)
            pagerduty_events.send(
                secret.routing_key, settings.alerts.pagerduty_url, action, notification.dedup_key, properties
            )

        await pagerduty_events.in_background(work)

    async def _send(self, send: Send) -> None:
        try:
            await send.work()
        except FlowsError as error:
            self.log.warning("%s was not told: %s", send.channel, error)
            return
        except Exception:  # noqa: BLE001 - the other channel still has to be told
            self.log.warning("%s was not told:\n%s", send.channel, redact_text(traceback.format_exc()))
            return
        self.log.info("%s was told: %s %s", send.channel, self.run_summary.pipeline, self.run_summary.verdict)
        try:
            await mark(self.client, self.run_summary.run, send.mark)
        except UNREAD as error:
            self.log.warning("%s may be told again: it could not be noted (%s)", send.channel, type(error).__name__)
