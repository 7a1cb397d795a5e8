"""Says a sentence where people look: in the pod's log and in the log of its run."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import LogCreate

from flow_of_flows.pod.lease_records import API_ERRORS

logger = logging.getLogger("prefect.flows.pod")
# A last word may not hold up the end of a pod that the API does not hear.
LAST_WORD_SECONDS = 10.0


@dataclass(frozen=True)
class Voice:
    """The voice of the pod of one run."""

    client: PrefectClient
    run: UUID

    async def say(self, text: str) -> None:
        """Say it; an API that does not hear is no error."""
        logger.info(text)
        line = LogCreate(
            name="flow_of_flows.pod",
            level=logging.INFO,
            message=text,
            timestamp=datetime.now().astimezone(),
            flow_run_id=self.run,
        )
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self.client.create_logs([line])
