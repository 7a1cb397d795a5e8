"""Tells the Prefect API what the worker sees of pods: Kubernetes' events in, Prefect's out.

It rides on the watch that Prefect's observer has anyway (kopf's default registry), and must never hurt the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import kopf
from prefect.client.orchestration import get_client
from prefect.events import Event

from flow_of_flows.errors import PlatformError
from flow_of_flows.kubernetes_api.pod_status import RUN_LABEL, PodDiagnosis, finding
from flow_of_flows.retrying import RetryTimeout
from flow_of_flows.runs.evidence import RUN, WITNESS

logger = logging.getLogger("flow_of_flows.kubernetes_api")
PATIENCE_SECONDS = 120.0
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
        patience = RetryTimeout(str(client.api_url), PATIENCE_SECONDS)
        await patience.call(lambda: client.request("POST", "/events", json=[event]))
