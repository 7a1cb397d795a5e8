"""The claims of pods on one flow run, kept at the API as task runs of it: the door to them, for admission and lease.

`POST /task_runs/` inserts one (run, task key, dynamic key) or answers with the one that is there, in one transaction:
of two pods with the same key one wins. People see the claims as tasks of the run: which pods worked on it, and when.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterTags
from prefect.client.schemas.objects import State, TaskRun
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Crashed, Running

API_ERRORS = (httpx.HTTPError, PrefectHTTPStatusError)
TASK_KEY = "flow-of-flows.pod"
TOKEN = "token:"  # noqa: S105 - not a secret: it tells processes apart
# What Prefect's Kubernetes observer says of a pod that is over.
OVER = [f"prefect.kubernetes.pod.{word}" for word in ("succeeded", "failed", "evicted", "deleted")]


@dataclass(frozen=True, order=True)
class Key:
    """A claim's place: later claims are greater.

    Attributes:
        epoch: number of the submission.
        turn: number of the pod within it; other than 0 only where Kubernetes retries a Job.
    """

    epoch: int
    turn: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.turn}" if self.turn else str(self.epoch)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read what `str` wrote."""
        epoch, _, turn = text.partition(".")
        return cls(int(epoch), int(turn or 0))


@dataclass(frozen=True)
class LeaseRecord:
    """One claim, as the API has it.

    Attributes:
        taken: when, by the server's clock.
    """

    identifier: UUID
    key: Key
    pod: str
    token: str
    is_open: bool
    taken: datetime | None = None

    @classmethod
    def of(cls, found: TaskRun) -> LeaseRecord:
        """Read a task run."""
        token = next((tag.removeprefix(TOKEN) for tag in found.tags if tag.startswith(TOKEN)), "")
        return cls(
            identifier=found.id,
            key=Key.parse(found.dynamic_key),
            pod=found.name.removeprefix("pod "),
            token=token,
            is_open=found.state is None or not found.state.is_final(),
            taken=found.created,
        )


@dataclass
class Claims:
    """The claims of one run, seen by this pod."""

    client: PrefectClient
    run: UUID
    pod: str = field(default_factory=socket.gethostname)
    token: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(8)}")

    async def take(self, key: Key) -> LeaseRecord:
        """Claim the run, or read who has; see `mine`."""
        state = Running().model_dump(mode="json", include={"type", "name"})
        answer = await self.client.request(
            "POST",
            "/task_runs/",
            json={
                "name": f"pod {self.pod}",
                "flow_run_id": str(self.run),
                "task_key": TASK_KEY,
                "dynamic_key": str(key),
                "tags": [TASK_KEY, TOKEN + self.token],
                "state": state,
            },
        )
        return LeaseRecord.of(TaskRun.model_validate(answer.json()))

    def mine(self, claim: LeaseRecord) -> bool:
        """Whether this very process made it; an answer that got lost may have made it all the same."""
        return claim.token == self.token

    async def read(self) -> list[LeaseRecord]:
        """All claims on the run, oldest first."""
        found = await self.client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run])),
            task_run_filter=TaskRunFilter(tags=TaskRunFilterTags(all_=[TASK_KEY])),
        )
        return sorted((LeaseRecord.of(each) for each in found), key=lambda each: each.key)

    async def are_past(self, claim: LeaseRecord) -> bool:
        """Whether a later pod has claimed the run: what becomes of it is not this one's to say."""
        return (await self.read())[-1].key > claim.key

    async def release(self, claim: LeaseRecord) -> None:
        """Say that this pod works on the run no more."""
        await self._end(claim, Completed(message="This pod works on the run no more."))

    async def bury(self, claims: Sequence[LeaseRecord]) -> None:
        """Say of claims that nobody released that their pods are gone."""
        for claim in claims:
            await self._end(claim, Crashed(message="Its pod is gone."))

    async def are_over(self, claims: Sequence[LeaseRecord]) -> bool:
        """Whether Kubernetes has said of the pods of all these claims that they are over."""
        page = await self.client.read_events(
            EventFilter(
                event=EventNameFilter(name=OVER),
                any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{self.run}"]),
            ),
            limit=50,  # the most that the server takes; the client's own default is refused
        )
        return {claim.pod for claim in claims} <= {event.resource.name for event in page.events}

    async def _end(self, claim: LeaseRecord, state: State) -> None:
        await self.client.set_task_run_state(claim.identifier, state, force=True)
