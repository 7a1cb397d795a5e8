"""dbt Cloud's answers as values: JSON of its API v2 in, jobs and runs out, or a ValidationError. Pure.

What is not named here is ignored: the API has many more fields, and gets new ones. What is named has to fit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from flow_of_flows.messages import one_line


class CloudRunStatus(IntEnum):
    """Where a run or a step of it is, in the numbers of the API."""

    QUEUED = 1
    STARTING = 2
    RUNNING = 3
    SUCCESS = 10
    ERROR = 20
    CANCELLED = 30

    @property
    def is_final(self) -> bool:
        """Whether the run will not go on."""
        return self in (CloudRunStatus.SUCCESS, CloudRunStatus.ERROR, CloudRunStatus.CANCELLED)


# The API says null where it has nothing to say.
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


# Times of the API are UTC, with and without saying so.
Time = Annotated[datetime, AfterValidator(lambda value: value if value.tzinfo else value.replace(tzinfo=UTC))]


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CloudJob(Answer):
    """A job: what it runs."""

    id: int
    name: str
    execute_steps: tuple[str, ...]


class Trigger(Answer):
    """Why a run was started."""

    cause: Text = ""


class CloudStep(Answer):
    """One step of a run: cloning, `dbt deps`, and each command of the job. `logs` is what it has printed so far."""

    index: int
    name: str
    status: CloudRunStatus
    logs: Text = ""


class CloudRun(Answer):
    """One run of a job. `href` is its page; steps and trigger are there where they were asked for."""

    id: int
    job_definition_id: int
    status: CloudRunStatus
    href: Text = ""
    status_message: Text = ""
    dbt_version: Text = ""
    created_at: Time | None = None
    finished_at: Time | None = None
    trigger: Trigger | None = None
    run_steps: Annotated[tuple[CloudStep, ...], BeforeValidator(lambda value: value or ())] = ()

    @property
    def reason(self) -> str:
        """Why it has its status, as the end of a sentence; empty where dbt Cloud gives no reason."""
        return f": {one_line(self.status_message)}" if self.status_message else ""

    @property
    def cause(self) -> str:
        """Why it was started, as whoever started it said."""
        return self.trigger.cause if self.trigger else ""

    @property
    def steps(self) -> tuple[CloudStep, ...]:
        """Its steps in their order."""
        return tuple(sorted(self.run_steps, key=lambda step: step.index))
