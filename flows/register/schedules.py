"""One schedule of prefect.yaml as Prefect's own value. Pure; called by `flows.register.declared`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import BaseModel, BeforeValidator

KINDS: dict[str, type[BaseModel]] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
# What Prefect keeps beside a schedule rather than in it.
BESIDE = ("active", "parameters", "slug")


def _schedule(entry: object) -> object:
    """An entry with its own keys and the schedule's in one mapping, taken apart.

    Raises:
        ValueError: it is not exactly one kind of schedule.
    """
    if not isinstance(entry, Mapping):
        return entry
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        raise ValueError("a schedule has exactly one of cron, interval and rrule")
    beside = {key: entry[key] for key in BESIDE if key in entry}
    timing: dict[str, Any] = {key: value for key, value in entry.items() if key not in BESIDE}
    return {"schedule": KINDS[kinds[0]].model_validate(timing), **beside}


Schedule = Annotated[DeploymentScheduleCreate, BeforeValidator(_schedule)]
