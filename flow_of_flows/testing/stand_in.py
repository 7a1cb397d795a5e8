"""The flow that runs in place of a step's own where a test has planned a fault.

It is made when Prefect loads it, since it takes the parameters of the step's own flow.
"""

from __future__ import annotations

import inspect
import os
import signal
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State

from flow_of_flows.child_flow import failed
from flow_of_flows.errors import FlowsError
from flow_of_flows.output import into_run_log
from flow_of_flows.settings import from_environment
from flow_of_flows.testing.faults import NAME, VARIABLE, RunFault


def __getattr__(name: str) -> Flow[..., Any]:
    """Return the stand-in for the fault that the environment names."""
    if name != NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _stand_in(RunFault.model_validate_json(from_environment(VARIABLE) or ""))


def _stand_in(planned: RunFault) -> Flow[..., Any]:
    def run(**_: Any) -> State[Any]:
        into_run_log()
        fault = planned.fault
        if fault.cause is None:
            os.kill(os.getpid(), signal.SIGKILL)
        # A report may have any cause, of a cluster too.
        return failed(FlowsError(fault.message, cause=fault.cause))

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in planned.parameters]
    )
    return flow(name=NAME, persist_result=False, validate_parameters=False)(run)
