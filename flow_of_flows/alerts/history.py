"""What the Prefect API knows about a run that alerts need: how the run before ended, what was told already.

The one door to the API for alerts; also marks what was sent, and reads the block with Slack's address.
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
# Runs that are looked at for the one before: those within a pipeline, and partial ones, do not count.
LOOK_BACK = 20


@dataclass(frozen=True)
class AlertHistory:
    """What came before the end of a run.

    Attributes:
        inner: whether the run is a step of another pipeline, which does the telling.
        partial: whether steps were left out by its parameters.
        before: how this run, or else the run before, ended last; None if there was none.
        tries: how often this run has been started.
        told: marks of what was sent.
    """

    inner: bool
    partial: bool
    before: str | None
    tries: int
    told: frozenset[str]


async def past(client: PrefectClient, run: UUID) -> AlertHistory:
    """Read what came before: the run, its marks, and its former ends or the runs before it."""
    found = await client.read_flow_run(run)
    if is_inner(found):
        return AlertHistory(inner=True, partial=False, before=None, tries=found.run_count, told=frozenset())
    before = await _own(client, found) or await _other(client, found)
    return AlertHistory(
        inner=False,
        partial=_partial(found),
        before=before,
        tries=found.run_count,
        told=await _told(client, run),
    )


def is_inner(run: FlowRun) -> bool:
    """Whether a run is a step of another pipeline."""
    return parse_key(run.idempotency_key) is not None


async def mark(client: PrefectClient, run: UUID, what: str) -> None:
    """Note on the run's page that something was sent."""
    await client.create_artifact(
        ArtifactCreate(type=MARK_TYPE, flow_run_id=run, data={"sent": what}, description="An alert was sent")
    )


async def slack_address(client: PrefectClient, block: str) -> SecretStr:
    """Slack's address, from the block that holds it.

    Raises:
        ConfigurationError: there is no such block, or it holds none.
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


async def _own(client: PrefectClient, run: FlowRun) -> str | None:
    """How a run ended that goes on after its end (Retry)."""
    if run.run_count <= 1:
        return None
    states = await client.read_flow_run_states(run.id)
    ends = [state for state in sorted(states, key=_when) if state.is_final()]
    # Its own end is the last of them where it is over already (a cancelled run).
    over = run.state is not None and run.state.is_final()
    ends = ends[:-1] if over else ends
    return _ended(ends[-1]) if ends else None


async def _other(client: PrefectClient, run: FlowRun) -> str | None:
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


async def _told(client: PrefectClient, run: UUID) -> frozenset[str]:
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
