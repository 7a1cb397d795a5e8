"""Tells people of the end of a pipeline run: settings and an answer in, messages out.

Nothing here can fail a run or hold it up for longer than FLOWS_ALERTS_SECONDS. What was sent is marked on the run
after it was sent: a pod that dies between the two sends it once more, rather than not at all.
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
from flow_of_flows.alerts import notification, pagerduty_events, slack_webhook
from flow_of_flows.alerts.history import AlertHistory, mark, past, slack_address
from flow_of_flows.alerts.notification import Notice, of_answer
from flow_of_flows.alerts.redact import masked
from flow_of_flows.errors import FlowsError
from flow_of_flows.prefect_api.artifacts import links
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import of_readers

logger = logging.getLogger(__name__)
UNREAD = (httpx.HTTPError, PrefectHTTPStatusError)
UNKNOWN = AlertHistory(inner=False, partial=False, before=None, tries=1, told=frozenset())


def wanted(settings: Settings) -> bool:
    """Whether anybody is told of anything."""
    return settings.alerts.to_slack(settings.environment) or settings.alerts.pagerduty


async def announce(settings: Settings, answer: RunSummary, error: BaseException | None = None) -> None:
    """Tell of a run that is over, if it is the outermost one and somebody is to be told.

    Args:
        settings: who is told of what.
        answer: what is known about the run.
        error: what ended the run before its steps could.
    """
    # A hook has no run of its own, whose log this would go to.
    log = logging.LoggerAdapter(logger, {"flow_run_id": str(answer.run)})
    if not wanted(settings):
        return
    try:
        async with asyncio.timeout(settings.alerts.seconds), get_client() as client:
            await Announcement(settings, client, answer, log).send(error)
    except TimeoutError:
        log.warning("Alerts were given up after %g s", settings.alerts.seconds)
    except Exception:  # noqa: BLE001 - a side job: whatever goes wrong here, the run has its own end
        log.warning("Alerts failed:\n%s", masked(traceback.format_exc()))


@dataclass(frozen=True)
class Send:
    """One message to one channel.

    Attributes:
        mark: what is noted on the run once it is sent.
    """

    channel: str
    mark: str
    work: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Announcement:
    """Telling of one run."""

    settings: Settings
    client: PrefectClient
    answer: RunSummary
    log: logging.LoggerAdapter[logging.Logger]

    async def send(self, error: BaseException | None) -> None:
        """Tell every channel that is to be told and was not."""
        before, answer = await self._past(), self.answer
        if before.inner:
            return
        name = self.settings.alerts.name(self.settings.environment)
        known = links([answer.run, *answer.runs])
        notice = replace(
            of_answer(answer, name, known, tries=before.tries, error=error),
            terminal=of_readers(self.settings),
            # Two releases on one API have incidents of their own.
            pipeline=self.settings.deployment_name(answer.pipeline),
            recovered_from=notification.recovered_from(answer.verdict, before.before, partial=before.partial),
        )
        sends = [send for send in self._sends(notice, before) if send.mark not in before.told]
        await asyncio.gather(*(self._send(send) for send in sends))

    async def _past(self) -> AlertHistory:
        """What came before; an API that does not say is no reason to tell nobody."""
        try:
            return await past(self.client, self.answer.run)
        except UNREAD as error:
            self.log.warning("The Prefect API does not say how the run before ended: %s", type(error).__name__)
            return UNKNOWN

    def _sends(self, notice: Notice, before: AlertHistory) -> Iterator[Send]:
        alerts = self.settings.alerts
        told = notification.slack(notice, before.before, alerts.finished, warnings=alerts.warnings)
        if alerts.to_slack(self.settings.environment) and told:
            yield Send("Slack", f"slack {notice.evidence}", lambda: self._slack(notice))
        if alerts.pagerduty and (action := notification.incident(notice)):
            yield Send("PagerDuty", f"pagerduty {notice.evidence}", lambda: self._pagerduty(notice, action))

    async def _slack(self, notice: Notice) -> None:
        address = await slack_address(self.client, self.settings.slack_block)
        await slack_webhook.post(address, slack_webhook.message(notice))

    async def _pagerduty(self, notice: Notice, action: notification.IncidentAction) -> None:
        settings = self.settings
        properties = pagerduty_events.properties(notice) if action is notification.IncidentAction.TRIGGER else {}

        def work() -> None:
            secret = credentials.read(settings.secrets.pagerduty, credentials.PagerDutyCredentials, settings.secrets)
            pagerduty_events.send(
                secret.routing_key, settings.alerts.pagerduty_url, action, notice.dedup_key, properties
            )

        await pagerduty_events.in_background(work)

    async def _send(self, send: Send) -> None:
        try:
            await send.work()
        except FlowsError as error:
            self.log.warning("%s was not told: %s", send.channel, error)
            return
        except Exception:  # noqa: BLE001 - the other channel still has to be told
            self.log.warning("%s was not told:\n%s", send.channel, masked(traceback.format_exc()))
            return
        self.log.info("%s was told: %s %s", send.channel, self.answer.pipeline, self.answer.verdict)
        try:
            await mark(self.client, self.answer.run, send.mark)
        except UNREAD as error:
            self.log.warning("%s may be told again: it could not be noted (%s)", send.channel, type(error).__name__)
