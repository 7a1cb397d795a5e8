"""Notifies people of the end of a pipeline run, and checks whether that would arrive.

Nothing here can fail a run or delay it for longer than FLOWS_ALERTS_SECONDS. What was sent and how the previous run
ended is kept with the runs at the Prefect API. A notification is recorded after it is sent: a pod that dies in between
sends it twice rather than never.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flow_of_flows import secrets
from flow_of_flows.alerts import pagerduty_events, slack_webhook
from flow_of_flows.alerts.notification import (
    FAILING,
    IncidentAction,
    Notification,
    incident_action,
    of_summary,
    recovered_from,
    should_notify_slack,
)
from flow_of_flows.alerts.redact import redact_text
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api.artifacts import links, parsed
from flow_of_flows.runs.outcome import DEGRADED, SKIPPED
from flow_of_flows.runs.resume import parse_key
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import of_readers

MARK_TYPE = "flows-alert"
# How many runs to search for the previous one: runs inside a pipeline and partial runs do not count.
LOOK_BACK = 20

logger = logging.getLogger(__name__)
UNREAD = (httpx.HTTPError, PrefectHTTPStatusError)


@dataclass(frozen=True)
class AlertHistory:
    """What happened before the end of a run.

    Attributes:
        inner: whether the run is a step of another pipeline, which sends the notifications.
        partial: whether steps were left out by its parameters.
        previous_end: how this run, or else the previous run, last ended; None if there was none.
        tries: how often this run has been started.
        sent: marks of the notifications that were sent.
    """

    inner: bool
    partial: bool
    previous_end: str | None
    tries: int
    sent: frozenset[str]


UNKNOWN = AlertHistory(inner=False, partial=False, previous_end=None, tries=1, sent=frozenset())


async def read_history(client: PrefectClient, run: UUID) -> AlertHistory:
    """Read the history of a run: its marks, and its earlier ends or the previous runs.

    Args:
        client: client of the API.
        run: id of the pipeline run.
    """
    flow_run = await client.read_flow_run(run)
    if is_inner(flow_run):
        return AlertHistory(inner=True, partial=False, previous_end=None, tries=flow_run.run_count, sent=frozenset())
    previous_end = await _end_before_retry(client, flow_run) or await _end_of_previous_run(client, flow_run)
    return AlertHistory(
        inner=False,
        partial=_partial(flow_run),
        previous_end=previous_end,
        tries=flow_run.run_count,
        sent=await _sent(client, run),
    )


def is_inner(run: FlowRun) -> bool:
    """Return whether a run is a step of another pipeline."""
    return parse_key(run.idempotency_key) is not None


async def mark(client: PrefectClient, run: UUID, what: str) -> None:
    """Record on the run's page that a notification was sent.

    Args:
        client: client of the API.
        run: id of the pipeline run.
        what: the mark of the notification.
    """
    await client.create_artifact(
        ArtifactCreate(type=MARK_TYPE, flow_run_id=run, data={"sent": what}, description="An alert was sent")
    )


async def _end_before_retry(client: PrefectClient, run: FlowRun) -> str | None:
    """Return how a run ended before it was retried."""
    if run.run_count <= 1:
        return None
    states = await client.read_flow_run_states(run.id)
    ends = [state for state in sorted(states, key=_when) if state.is_final()]
    # If the run is over already (a cancelled run), the last of them is the end itself.
    over = run.state is not None and run.state.is_final()
    ends = ends[:-1] if over else ends
    return _ended(ends[-1]) if ends else None


async def _end_of_previous_run(client: PrefectClient, run: FlowRun) -> str | None:
    if run.deployment_id is None:
        return None
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=LOOK_BACK,
    )
    ends = [
        (_ended(other.state), other)
        for other in runs
        if other.state and other.id != run.id and not is_inner(other) and other.state.name != SKIPPED
    ]
    # A partial run that fails opens the incident; one that completes says nothing about the steps it left out.
    return next((end for end, other in ends if end in FAILING or not _partial(other)), None)


async def _sent(client: PrefectClient, run: UUID) -> frozenset[str]:
    which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=[MARK_TYPE]))
    artifacts = await client.read_artifacts(artifact_filter=which)
    data = [parsed(artifact.data) for artifact in artifacts]
    return frozenset(str(entry["sent"]) for entry in data if isinstance(entry, dict) and "sent" in entry)


def _partial(run: FlowRun) -> bool:
    return bool(run.parameters.get("only") or run.parameters.get("skip"))


def _ended(state: State) -> str:
    return "degraded" if state.name == DEGRADED else state.type.value.lower()


def _when(state: State) -> str:
    return state.timestamp.isoformat()


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
        address = await slack_webhook.webhook_url(self.client, self.settings.slack_block)
        await slack_webhook.post(address, slack_webhook.message(notification))

    async def _pagerduty(self, notification: Notification, action: IncidentAction) -> None:
        settings = self.settings
        properties = pagerduty_events.properties(notification) if action is IncidentAction.TRIGGER else {}

        def work() -> None:
            secret = secrets.read(settings.secrets.pagerduty, secrets.PagerDutyCredentials, settings.secrets)
            pagerduty_events.send(
                secret.routing_key, settings.alerts.pagerduty_url, action, notification.dedup_key, properties
            )

        await pagerduty_events.in_background(work)

    async def _send(self, send: Send) -> None:
        try:
            await send.work()
        except FlowsError as error:
            self.log.warning("%s was not notified: %s", send.channel, error)
            return
        except Exception:  # noqa: BLE001 - the other channel still has to be notified
            self.log.warning("%s was not notified:\n%s", send.channel, redact_text(traceback.format_exc()))
            return
        self.log.info("%s was notified: %s %s", send.channel, self.run_summary.pipeline, self.run_summary.verdict)
        try:
            await mark(self.client, self.run_summary.run, send.mark)
        except UNREAD as error:
            self.log.warning("%s may be notified again: it could not be noted (%s)", send.channel, type(error).__name__)


async def ready(settings: Settings) -> str:
    """Check that the block with Slack's address and PagerDuty's key exist.

    Raises:
        ConfigurationError: one that is needed is missing.
        PlatformError: the Prefect API or Secrets Manager does not answer.
    """
    alerts, channels = settings.alerts, []
    if alerts.to_slack(settings.environment):
        channels.append(await _slack(settings))
    if alerts.pagerduty:
        secrets.read(settings.secrets.pagerduty, secrets.PagerDutyCredentials, settings.secrets)
        channels.append(f"PagerDuty with {settings.secrets.pagerduty}")
    name = alerts.name(settings.environment)
    return f"{name}: {', '.join(channels)} (nothing was sent)" if channels else f"{name}: nobody is notified"


async def _slack(settings: Settings) -> str:
    name = settings.slack_block
    block = f"block {slack_webhook.SLACK_TYPE}/{name}"
    if not get_current_settings().api.url:
        raise ConfigurationError(
            "Slack is to be notified, but no Prefect API is set, which has the block with its address",
            location=block,
            hint="set PREFECT_API_URL, or FLOWS_ALERTS_SLACK=false",
        )
    try:
        async with get_client(httpx_settings={"timeout": 5}) as client:
            await slack_webhook.webhook_url(client, name)
    except (httpx.HTTPError, PrefectHTTPStatusError, json.JSONDecodeError) as error:
        raise PlatformError(
            f"The Prefect API does not say whether there is the {block}: {type(error).__name__}",
            hint="see the line of the Prefect API",
        ) from error
    return f"Slack by {block}"
