"""What its worker tells this pod, in the environment: which run, and what a SIGTERM means."""

from __future__ import annotations

import os
from typing import Literal
from uuid import UUID

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.pod.starter import RUN_VARIABLE

Intent = Literal["reschedule", "relinquish"]
INTENT_VARIABLE = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"


def run_id() -> UUID:
    """The run that this pod is for.

    Raises:
        ConfigurationError: there is none.
    """
    value = os.environ.get(RUN_VARIABLE, "")
    try:
        return UUID(value)
    except ValueError as error:
        raise ConfigurationError(
            f"{value!r} is no id of a flow run", where=RUN_VARIABLE, todo="let a worker start this pod, or set it"
        ) from error


def sigterm_intent() -> Intent | None:
    """What a SIGTERM means: Prefect starts the run again, or Kubernetes does; None if neither."""
    match os.environ.get(INTENT_VARIABLE, "").lower():
        case "reschedule":
            return "reschedule"
        case "relinquish":
            return "relinquish"
        case _:
            return None
