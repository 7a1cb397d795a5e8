"""The versioned report of a child run: numbers and names, for the pipeline above and for people.

Nothing passes between pods as a pickle; this is JSON in a Prefect artifact of the child's run.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flow_of_flows.errors import Cause

# Name of the state of a run that waits for another dbt build to leave its schema; its type is Running.
WAITING_FOR_SCHEMA = "WaitingForSchema"


class Problem(BaseModel):
    """One part of a child that failed: a dbt node, a file, a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="What failed, in the words of its system: a dbt unique id, a file, a table.")
    status: str = Field(description="Status in the words of its system: error, fail, stale.")
    message: str = Field(description="Root message, without secrets or rows of data.")
    owner: str | None = Field(default=None, description="Who looks after it, where its system knows.")


class ChildReport(BaseModel):
    """What one child run did, in numbers and names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    summary: str = Field(description="One line for the run's state message.")
    cause: Cause | None = Field(default=None, description="None when the child completed.")
    todo: str | None = Field(default=None, description="What the reader should do next, when the child failed.")
    problems: tuple[Problem, ...] = ()
    skipped: tuple[str, ...] = Field(default=(), description="Parts not run because of a problem.")
    warnings: tuple[str, ...] = ()
    facts: dict[str, str | int | float] = Field(
        default_factory=dict, description="Counts and names: rows, seconds, commit."
    )
