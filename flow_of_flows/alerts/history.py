"""What alerts read from the Prefect API: how the previous run ended, and which notifications were sent.

Also records what was sent, and reads the block with Slack's address.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient
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
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from flow_of_flows.alerts.notification import FAILING
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.prefect_api.artifacts import parsed
from flow_of_flows.redaction import remember
from flow_of_flows.runs.outcome import DEGRADED, SKIPPED
from flow_of_flows.runs.resume import parse_key
from flow_of_flows.summary.terminal import REGISTER

MARK_TYPE = "flows-alert"
SLACK_TYPE = "slack-webhook"
# How many runs to search for the previous one: runs inside a pipeline and partial runs do not count.
LOOK_BACK = 20


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


async def slack_address(client: PrefectClient, block: str) -> SecretStr:
    """Return Slack's address from its block.

    Args:
        client: client of the API.
        block: name of the block.

    Raises:
        ConfigurationError: there is no such block, or it has no address.
    """
    where = f"{str(client.api_url).rstrip('/')}, block {SLACK_TYPE}/{block}"
    try:
        document = await client.read_block_document_by_name(block, SLACK_TYPE, include_secrets=True)
    except ObjectNotFound as error:
        raise ConfigurationError(
            "There is no Prefect block with Slack's address",
            location=where,
            hint=f"{REGISTER} with the secret that FLOWS_SECRETS_SLACK names, or set FLOWS_ALERTS_SLACK=false",
        ) from error
    address = document.data.get("url")
    if not isinstance(address, str) or not address:
        raise ConfigurationError("The Prefect block has no url", location=where, hint="give it Slack's address")
    remember(address, where)
    return SecretStr(address)


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
