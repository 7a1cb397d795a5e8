"""Tells the Prefect API what the worker sees of pods: Kubernetes' events in, Prefect's out.

It rides on the watch that Prefect's observer has anyway (kopf's default registry), and must never hurt the worker.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import kopf
from prefect.client.orchestration import get_client
from prefect.events import Event

from flow_of_flows.errors import PlatformError
from flow_of_flows.limits import EVENT_OUTAGE_SECONDS
from flow_of_flows.messages import one_line
from flow_of_flows.retrying import RetryTimeout
from flow_of_flows.runs.causes import RUN, WITNESS

logger = logging.getLogger("flow_of_flows.kubernetes_api")
# The server keeps one event of an id; this only saves requests.
REMEMBERED = 10_000


class Witness:
    """Tells each finding once."""

    def __init__(self) -> None:
        self._told: dict[UUID, None] = {}

    def listen(self) -> None:
        """Have kopf call it for each pod of a flow run; before the observer begins."""
        kopf.on.event("pods", id="flow-of-flows-witness", labels={RUN_LABEL: kopf.PRESENT})(self.see)

    async def see(self, event: Mapping[str, Any], **_: Any) -> None:
        """Look at one event of a pod."""
        try:
            found = finding(event.get("type"), event["object"])
            if found and found.id not in self._told:
                self._remember(found.id)
                await tell(found)
        except PlatformError as error:
            logger.error("A finding was not told: %s", error)  # noqa: TRY400 - the reader can act on the sentence
        except Exception:
            logger.exception("A pod's event could not be told")

    def _remember(self, identifier: UUID) -> None:
        self._told[identifier] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]


async def tell(found: PodDiagnosis) -> None:
    """Send a finding as an event that is related to the flow run.

    Raises:
        PlatformError: the API did not answer for too long.
    """
    event = Event.model_validate(
        {
            "id": found.id,
            "event": f"{WITNESS}{found.what}",
            "resource": {
                "prefect.resource.id": f"{WITNESS}{found.uid}",
                "prefect.resource.name": found.pod,
                **found.labels,
            },
            "related": [{"prefect.resource.id": f"{RUN}{found.run}", "prefect.resource.role": "flow-run"}],
        }
    ).model_dump(mode="json")
    async with get_client() as client:
        patience = RetryTimeout(str(client.api_url), EVENT_OUTAGE_SECONDS)
        await patience.call(lambda: client.request("POST", "/events", json=[event]))


RUN_LABEL, JOB_LABEL = "prefect.io/flow-run-id", "job-name"
OVER = ("Succeeded", "Failed")
# A container waits for these in every start.
USUAL = ("", "ContainerCreating", "PodInitializing")
MOST = 500


@dataclass(frozen=True)
class PodDiagnosis:
    """One thing to tell about a pod.

    Attributes:
        what: ended, disrupted, deleted (before it was over) or pending (it does not begin).
        run: id of the flow run.
        labels: `kubernetes.*`, what is known; nothing that is empty.
    """

    what: str
    run: uuid.UUID
    uid: str
    pod: str
    labels: Mapping[str, str]

    @property
    def id(self) -> uuid.UUID:
        """The same for the same finding, whoever finds it and however often; a message may change with every look."""
        told = sorted(f"{name}={value}" for name, value in self.labels.items() if name != "kubernetes.message")
        return uuid.uuid5(uuid.NAMESPACE_URL, "/".join([self.uid, self.what, *told]))


def finding(kind: str | None, pod: Mapping[str, Any]) -> PodDiagnosis | None:
    """What is to be told of a pod; None: nothing unusual, or it is no run's.

    Args:
        kind: of the watch's event: ADDED, MODIFIED, DELETED, or None for a pod that was there before.
        pod: metadata, spec and status, as the API of Kubernetes gives them.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    try:
        run = uuid.UUID(metadata.get("labels", {}).get(RUN_LABEL, ""))
    except ValueError:
        return None
    told = _told(status)
    what = _what(kind, status, told)
    if what is None:
        return None
    told["node"] = (pod.get("spec") or {}).get("nodeName") or ""
    told["job"] = metadata["labels"].get(JOB_LABEL, "")
    labels = {f"kubernetes.{name}": value[:MOST] for name, value in told.items() if value}
    return PodDiagnosis(what, run, metadata["uid"], metadata["name"], labels)


def _what(kind: str | None, status: Mapping[str, Any], told: Mapping[str, str]) -> str | None:
    over = status.get("phase") in OVER
    if kind == "DELETED":
        return None if over else "deleted"
    if told["disruption"] and not over:
        return "disrupted"
    if over:
        unusual = told["disruption"] or told["reason"] or told["exit-code"] not in ("", "0")
        return "ended" if unusual else None
    return "pending" if status.get("phase") == "Pending" and told["reason"] else None


def _told(status: Mapping[str, Any]) -> dict[str, str]:
    disruption = _condition(status, "DisruptionTarget", "True")
    unscheduled = _condition(status, "PodScheduled", "False")
    ended, waiting = _first(status, "terminated"), _first(status, "waiting")
    reason = status.get("reason") or ended.get("reason") or waiting.get("reason") or unscheduled.get("reason")
    message = status.get("message") or waiting.get("message") or unscheduled.get("message") or disruption.get("message")
    return {
        "reason": str(reason or ""),
        "exit-code": str(ended.get("exitCode", "")),
        "disruption": str(disruption.get("reason") or ""),
        "message": one_line(message or ""),
    }


def _condition(status: Mapping[str, Any], kind: str, value: str) -> Mapping[str, Any]:
    found = (one for one in status.get("conditions") or () if (one.get("type"), one.get("status")) == (kind, value))
    return next(found, {})


def _first(status: Mapping[str, Any], state: str) -> Mapping[str, Any]:
    """The first container that is in this state, and not as every container is at some time."""
    for container in _containers(status):
        found: Mapping[str, Any] = (container.get("state") or {}).get(state) or {}
        if found and found.get("reason", "") not in (*USUAL, "Completed"):
            return found
    return {}


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or ()
