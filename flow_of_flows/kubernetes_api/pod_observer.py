"""Reports why pods end, or do not begin, to the Prefect API: Kubernetes' events in, Prefect's out.

It uses the watch of Prefect's own observer (kopf's default registry), and its errors never stop the worker.
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
from flow_of_flows.runs.causes import POD_OBSERVER, RUN

logger = logging.getLogger("flow_of_flows.kubernetes_api")
# The server keeps one event of an id; this only saves requests.
REMEMBERED = 10_000


class PodObserver:
    """Reports each diagnosis once."""

    def __init__(self) -> None:
        self._reported: dict[UUID, None] = {}

    def listen(self) -> None:
        """Register with kopf for each pod of a flow run; call it before Prefect's observer starts."""
        kopf.on.event("pods", id="flow-of-flows-witness", labels={RUN_LABEL: kopf.PRESENT})(self.observe)

    async def observe(self, event: Mapping[str, Any], **_: Any) -> None:
        """Report what one event of a pod says."""
        try:
            found = diagnosis(event.get("type"), event["object"])
            if found and found.id not in self._reported:
                self._remember(found.id)
                await report(found)
        except PlatformError as error:
            logger.error("A finding was not reported: %s", error)  # noqa: TRY400 - the reader can act on the sentence
        except Exception:
            logger.exception("A pod's event could not be reported")

    def _remember(self, identifier: UUID) -> None:
        self._reported[identifier] = None
        if len(self._reported) > REMEMBERED:
            del self._reported[next(iter(self._reported))]


async def report(found: PodDiagnosis) -> None:
    """Send a diagnosis as an event that is related to the flow run.

    Raises:
        PlatformError: the API did not answer for too long.
    """
    event = Event.model_validate(
        {
            "id": found.id,
            "event": f"{POD_OBSERVER}{found.what}",
            "resource": {
                "prefect.resource.id": f"{POD_OBSERVER}{found.uid}",
                "prefect.resource.name": found.pod,
                **found.labels,
            },
            "related": [{"prefect.resource.id": f"{RUN}{found.run}", "prefect.resource.role": "flow-run"}],
        }
    ).model_dump(mode="json")
    async with get_client() as client:
        timeout = RetryTimeout(str(client.api_url), EVENT_OUTAGE_SECONDS)
        await timeout.call(lambda: client.request("POST", "/events", json=[event]))


RUN_LABEL, JOB_LABEL = "prefect.io/flow-run-id", "job-name"
OVER = ("Succeeded", "Failed")
# A container waits for these in every start.
USUAL = ("", "ContainerCreating", "PodInitializing")
MOST = 500


@dataclass(frozen=True)
class PodDiagnosis:
    """Why a pod ended, or does not begin.

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
        """Return an id that is the same for the same diagnosis; the message may change each time and does not count."""
        labels = sorted(f"{name}={value}" for name, value in self.labels.items() if name != "kubernetes.message")
        return uuid.uuid5(uuid.NAMESPACE_URL, "/".join([self.uid, self.what, *labels]))


def diagnosis(kind: str | None, pod: Mapping[str, Any]) -> PodDiagnosis | None:
    """Return what is unusual about a pod; None where nothing is, or the pod is not of a flow run.

    Args:
        kind: of the watch's event: ADDED, MODIFIED, DELETED, or None for a pod that was there before.
        pod: metadata, spec and status, as the API of Kubernetes gives them.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    try:
        run = uuid.UUID(metadata.get("labels", {}).get(RUN_LABEL, ""))
    except ValueError:
        return None
    details = _details(status)
    what = _what(kind, status, details)
    if what is None:
        return None
    details["node"] = (pod.get("spec") or {}).get("nodeName") or ""
    details["job"] = metadata["labels"].get(JOB_LABEL, "")
    labels = {f"kubernetes.{name}": value[:MOST] for name, value in details.items() if value}
    return PodDiagnosis(what, run, metadata["uid"], metadata["name"], labels)


def _what(kind: str | None, status: Mapping[str, Any], details: Mapping[str, str]) -> str | None:
    over = status.get("phase") in OVER
    if kind == "DELETED":
        return None if over else "deleted"
    if details["disruption"] and not over:
        return "disrupted"
    if over:
        unusual = details["disruption"] or details["reason"] or details["exit-code"] not in ("", "0")
        return "ended" if unusual else None
    return "pending" if status.get("phase") == "Pending" and details["reason"] else None


def _details(status: Mapping[str, Any]) -> dict[str, str]:
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
    """Return the first container that is in this state for an unusual reason."""
    for container in _containers(status):
        found: Mapping[str, Any] = (container.get("state") or {}).get(state) or {}
        if found and found.get("reason", "") not in (*USUAL, "Completed"):
            return found
    return {}


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or ()
