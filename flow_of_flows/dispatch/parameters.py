"""The parameters of every pipeline: one described and bounded model, from which the Prefect UI draws its form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from flow_of_flows.dispatch.pipeline import Overlap, Pipeline, Step
from flow_of_flows.errors import ConfigurationError


class StepOverride(BaseModel):
    """What this run changes of one step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="Parameters of the child.")
    job_variables: dict[str, JsonValue] = Field(
        default_factory=dict, description="Infrastructure of the child, e.g. memory_limit: 4Gi."
    )


class Parameters(BaseModel):
    """What a person may say about one run of a pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    full_refresh: bool = Field(default=False, description="Rebuild incremental models from scratch.")
    only: tuple[str, ...] = Field(default=(), max_length=200, description="Run these steps and leave out the others.")
    skip: tuple[str, ...] = Field(default=(), max_length=200, description="Leave out these steps.")
    overrides: Mapping[str, StepOverride] = Field(
        default_factory=dict, description="Per step: parameters and job variables of this run."
    )
    resume_from: UUID | None = Field(
        default=None,
        description="Id of an earlier run of this pipeline: what completed there is reused, the rest runs.",
    )
    overlap: Overlap | None = Field(
        default=None,
        description=(
            "What this run does while an earlier run of the pipeline is not over: wait for it, skip itself, or allow "
            "both; empty: what the pipeline declares."
        ),
    )

    def checked(self, pipeline: Pipeline) -> Parameters:
        """Return these parameters if they fit the pipeline.

        Raises:
            ConfigurationError: an unknown step, or nothing left to run.
        """
        pipeline.left_out(self.only, self.skip)
        for name in self.overrides:
            pipeline.step(name)
        return self

    def for_step(self, step: Step, *, continues: UUID | None) -> dict[str, JsonValue]:
        """Return the parameters of one attempt of a step.

        Args:
            step: the step.
            continues: child run id of the attempt before, if there was one.
        """
        values: dict[str, JsonValue] = dict(step.parameters)
        if step.takes_full_refresh and self.full_refresh:
            values["full_refresh"] = True
        if step.continues and continues:
            values[step.continues] = str(continues)
        return values | dict(self._override(step).parameters)

    def job_variables(self, step: Step) -> dict[str, JsonValue]:
        """Return the job variables of one attempt of a step."""
        return dict(step.job_variables) | dict(self._override(step).job_variables)

    def _override(self, step: Step) -> StepOverride:
        return self.overrides.get(step.name, StepOverride())

    def overlap_of(self, pipeline: Pipeline) -> Overlap:
        """Return what this run does about an earlier one: its own parameter, else the pipeline's."""
        return self.overlap or Overlap(pipeline.overlap)


def form(pipeline: Pipeline) -> dict[str, object]:
    """Return the parameters as annotations of a flow function; step names become choices."""
    names = tuple(step.name for step in pipeline.steps)
    fields = Parameters.model_fields
    steps = list[Literal[names]]  # type: ignore[valid-type]
    kinds: dict[str, object] = {
        "full_refresh": bool,
        "only": steps,
        "skip": steps,
        "overrides": dict[Literal[names], StepOverride],  # type: ignore[valid-type]
        "resume_from": UUID | None,
        "overlap": Literal["allow", "wait", "skip"] | None,
    }
    if set(kinds) != set(fields):
        raise ConfigurationError("The form of a pipeline does not show every parameter", location=__name__)
    return kinds


def docstring(pipeline: Pipeline) -> str:
    """Return the parameters as a docstring, from which Prefect's form takes its descriptions."""
    lines = (f"    {name}: {field.description}" for name, field in Parameters.model_fields.items())
    # Without a first line, the arguments would be taken for it.
    return f"{pipeline.description or f'Run {pipeline.name}.'}\n\nArgs:\n" + "\n".join(lines)
