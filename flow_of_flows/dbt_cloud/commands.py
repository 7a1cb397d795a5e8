"""What is asked of dbt Cloud when a run is started: a job and parameters in, the body of the trigger out. Pure.

A full refresh takes the job's own steps, so that nothing is kept twice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from flow_of_flows.errors import ConfigurationError

REFRESHED = ("build", "run", "seed")
FLAGS = ("--full-refresh", "-f")
NAME_LENGTH = 100


@dataclass(frozen=True)
class Asked:
    """What this run of the child asks of dbt Cloud."""

    full_refresh: bool = False
    git_branch: str | None = None
    schema_override: str | None = None


@dataclass(frozen=True)
class RunOrigin:
    """The Prefect run that asks.

    Attributes:
        id: of the flow run.
        name: of the flow run, which begins with the pipeline run's.
        attempt: how often it has been started.
    """

    id: UUID
    name: str
    attempt: int

    @property
    def cause(self) -> str:
        """Why the run in dbt Cloud was started; it is found again by this."""
        return f"flow-of-flows {self.name[:NAME_LENGTH]} {self.id} attempt {self.attempt}"


def is_of(cause: str, run: UUID) -> bool:
    """Whether a run in dbt Cloud was started by this Prefect run, in any of its attempts."""
    return cause.startswith("flow-of-flows ") and str(run) in cause.split()


def body(asked: Asked, cause: str, steps: Iterable[str]) -> dict[str, JsonValue]:
    """The body of the trigger.

    Args:
        asked: what differs from the job's definition.
        cause: see `RunOrigin`.
        steps: commands of the job.
    """
    values: dict[str, JsonValue] = {"cause": cause}
    if asked.full_refresh:
        values["steps_override"] = list(refreshed(steps))
    if asked.git_branch:
        values["git_branch"] = asked.git_branch
    if asked.schema_override:
        values["schema_override"] = asked.schema_override
    return values


def refreshed(steps: Iterable[str]) -> tuple[str, ...]:
    """The commands of a job with `--full-refresh` where dbt knows it.

    Raises:
        ConfigurationError: no command of the job takes it, so that the job cannot do what is asked.
    """
    before = tuple(steps)
    after = tuple(_refreshed(step) for step in before)
    if not any(set(FLAGS) & set(step.split()) for step in after):
        raise ConfigurationError(
            f"The job has no command that takes --full-refresh: {'; '.join(before) or 'none'}",
            where="execute_steps of the job in dbt Cloud",
            todo=f"give the job one of dbt {', dbt '.join(REFRESHED)}, or run it without full_refresh",
        )
    return after


def _refreshed(step: str) -> str:
    try:
        words = shlex.split(step)
    except ValueError:
        words = step.split()
    # Options of dbt itself may stand before its command: dbt --warn-error build.
    is_dbt = bool(words) and words[0] == "dbt" and any(word in REFRESHED for word in words[1:])
    return f"{step} --full-refresh" if is_dbt and not set(FLAGS) & set(words) else step
