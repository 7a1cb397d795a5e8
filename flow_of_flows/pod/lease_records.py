"""The lease records of the pods of one flow run, kept at the API as task runs of it.

`POST /task_runs/` inserts one (run, task key, dynamic key) or answers with the one that is there, in one transaction:
of two pods with the same fencing token one wins. In the UI the records are tasks of the run: which pods worked on it,
and when.
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
# Begins the tag that names the process which holds a record.
HOLDER_TAG = "token:"
# What Prefect's Kubernetes observer says of a pod that is over.
OVER = [f"prefect.kubernetes.pod.{word}" for word in ("succeeded", "failed", "evicted", "deleted")]


@dataclass(frozen=True, order=True)
class FencingToken:
    """The place of a pod among the pods of its run: later pods have greater tokens.

    Attributes:
        submission: number of the submission.
        pod: number of the pod within it; other than 0 only where Kubernetes retries a Job.
    """

    submission: int
    pod: int = 0

    def __str__(self) -> str:
        return f"{self.submission}.{self.pod}" if self.pod else str(self.submission)

    @classmethod
    def parse(cls, text: str) -> FencingToken:
        """Return the token that `str` wrote."""
        submission, _, pod = text.partition(".")
        return cls(int(submission), int(pod or 0))


@dataclass(frozen=True)
class LeaseRecord:
    """The record that one pod works or worked on a run.

    Attributes:
        holder: names the process that acquired it.
        acquired: when, by the server's clock.
    """

    identifier: UUID
    token: FencingToken
    pod: str
    holder: str
    is_open: bool
    acquired: datetime | None = None

    @classmethod
    def of(cls, task_run: TaskRun) -> LeaseRecord:
        """Return the record that a task run holds."""
        tags = (tag for tag in task_run.tags if tag.startswith(HOLDER_TAG))
        return cls(
            identifier=task_run.id,
            token=FencingToken.parse(task_run.dynamic_key),
            pod=task_run.name.removeprefix("pod "),
            holder=next((tag.removeprefix(HOLDER_TAG) for tag in tags), ""),
            is_open=task_run.state is None or not task_run.state.is_final(),
            acquired=task_run.created,
        )


@dataclass
class LeaseRecords:
    """The lease records of one run, as this pod reads and writes them.

    Attributes:
        pod: name of this pod.
        holder: names this process.
    """

    client: PrefectClient
    run: UUID
    pod: str = field(default_factory=socket.gethostname)
    holder: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(8)}")

    async def acquire(self, token: FencingToken) -> LeaseRecord:
        """Create the record of a token, or return the one that another process created; see `is_held`."""
        state = Running().model_dump(mode="json", include={"type", "name"})
        answer = await self.client.request(
            "POST",
            "/task_runs/",
            json={
                "name": f"pod {self.pod}",
                "flow_run_id": str(self.run),
                "task_key": TASK_KEY,
                "dynamic_key": str(token),
                "tags": [TASK_KEY, HOLDER_TAG + self.holder],
                "state": state,
            },
        )
        return LeaseRecord.of(TaskRun.model_validate(answer.json()))

    def is_held(self, record: LeaseRecord) -> bool:
        """Return whether this process created a record; a request whose answer was lost may have done so."""
        return record.holder == self.holder

    async def read(self) -> list[LeaseRecord]:
        """Return all records of the run, oldest first."""
        task_runs = await self.client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run])),
            task_run_filter=TaskRunFilter(tags=TaskRunFilterTags(all_=[TASK_KEY])),
        )
        return sorted((LeaseRecord.of(each) for each in task_runs), key=lambda each: each.token)

    async def is_superseded(self, record: LeaseRecord) -> bool:
        """Return whether a later pod has acquired the run; this one must not change the run any more."""
        return (await self.read())[-1].token > record.token

    async def release(self, record: LeaseRecord) -> None:
        """Complete the record: this pod has stopped working on the run."""
        await self._end(record, Completed(message="This pod works on the run no more."))

    async def mark_crashed(self, records: Sequence[LeaseRecord]) -> None:
        """Mark records that nobody released as crashed: their pods are gone."""
        for record in records:
            await self._end(record, Crashed(message="Its pod is gone."))

    async def are_over(self, records: Sequence[LeaseRecord]) -> bool:
        """Return whether Kubernetes has reported the end of the pods of all these records."""
        page = await self.client.read_events(
            EventFilter(
                event=EventNameFilter(name=OVER),
                any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{self.run}"]),
            ),
            limit=50,  # the most that the server takes; the client's own default is refused
        )
        return {record.pod for record in records} <= {event.resource.name for event in page.events}

    async def _end(self, record: LeaseRecord, state: State) -> None:
        await self.client.set_task_run_state(record.identifier, state, force=True)
