"""What `flows register` registers so that a pipeline outlives its pod: an automation. A request in, an item out. Pure.

A parent whose process or pod died is Crashed; the Prefect server starts it again under its id, and it finds its
children. It does so for runs that were Running at most `REVIVALS` times: a parent that runs out of memory each time
would else be started for ever (measured). A run that could not even be submitted is left alone.
"""

from __future__ import annotations

from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flow_of_flows.dispatch.failed_attempts import REVIVALS
from flow_of_flows.registration import automations
from flow_of_flows.registration.config import Request
from flow_of_flows.registration.desired import PIPELINE, TAG
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.runs.causes import NOT_SUBMITTED
from flow_of_flows.runs.generations import REVIVED


def revival(asked: Request) -> Item:
    """The automation for the pipelines of one pool."""
    pool = asked.work_pool.name
    automation = AutomationCore.model_validate(
        {
            "name": automation_name(pool),
            "description": "Starts pipeline runs again whose process or pod died.",
            "trigger": crashed_pipeline(pool),
            "actions": [
                {
                    "type": "change-flow-run-state",
                    "state": "SCHEDULED",
                    "name": "AwaitingRetry",
                    "message": f"{REVIVED} by the Prefect server: its process or pod died",
                }
            ],
        }
    )
    return Item(ResourceKind.AUTOMATION, automation.name, automations.desired(automation, asked.owner))


def automation_name(pool: str) -> str:
    """Return the name of the automation for one pool; every version has made it, so it tells whose a pool is."""
    return f"{TAG}: revive crashed pipelines ({pool})"


def crashed_pipeline(pool: str) -> dict[str, Any]:
    """The trigger: a run of a pipeline of this pool crashed, and may be started again."""
    related = [{"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"} for tag in (TAG, PIPELINE)]
    return {
        "type": "event",
        "posture": "Reactive",
        "match": {
            "prefect.resource.id": "prefect.flow-run.*",
            "prefect.run-count": [str(count) for count in range(1, REVIVALS + 1)],
            "prefect.state-message": f"!{NOT_SUBMITTED}*",
        },
        "match_related": [*related, {"prefect.resource.role": "work-pool", "prefect.resource.name": pool}],
        "for_each": ["prefect.resource.id"],
        "expect": ["prefect.flow-run.Crashed"],
        "threshold": 1,
        "within": 0,
    }
