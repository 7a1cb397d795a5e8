"""What a pipeline is: steps and their order, checked when the module that declares them is imported. Pure."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import JsonValue

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import closest, did_you_mean
from flow_of_flows.project import current_project, names_in
from flow_of_flows.runs.outcome import Policy

if TYPE_CHECKING:
    from prefect import Flow

    from flow_of_flows.settings import Settings

# Where the function of a parent flow keeps its pipeline: an attribute outlives `flow.with_options`.
ATTRIBUTE = "__pipeline__"


class Overlap(StrEnum):
    """What a pipeline run does while an earlier run of the same deployment is not over."""

    ALLOW = "allow"
    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True)
class Choice:
    """The child of a step, where it is a setting.

    Attributes:
        of: the deployments it may be, `flow name/deployment name`, that of the defaults first.
        made: which one it is by these settings; pure, so that every reader of the pipeline gets the same.
    """

    of: tuple[str, ...]
    made: Callable[[Settings], str]


@dataclass(frozen=True)
class Step:
    """One entry of a pipeline.

    Attributes:
        name: name within the pipeline; also of the child's flow and deployment, unless `deployment` says otherwise.
        deployment: `flow name/deployment name` of the child.
        after: names of the steps that must have completed first; one may be a plain text.
        parameters: parameters of the child, over those of its deployment.
        job_variables: infrastructure of the child (`cpu_request`, `memory_limit`, …), over those of its deployment.
        timeout: time from the creation of an attempt until it is cancelled.
        policy: whether its failure fails the pipeline and holds up the steps behind it (`fail`), or is only
            reported (`warn`).
        takes_full_refresh: whether the child has a parameter `full_refresh`.
        continues: the child's parameter that takes the run id of the attempt before, so that it goes on from there.
        pipeline: the child when it is a pipeline itself: what `flow_of_flows.pipeline` returned.
        choice: where the child is a setting; `configured` makes `deployment` of it.
        without: the reason why these settings leave the step out, None where it runs; pure.
        absent: that reason, once `configured`; empty: it runs.
    """

    name: str
    _: KW_ONLY
    deployment: str = ""
    after: tuple[str, ...] | str = ()
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    job_variables: Mapping[str, JsonValue] = field(default_factory=dict)
    timeout: timedelta = timedelta(hours=2)
    policy: Policy = Policy.FAIL
    takes_full_refresh: bool = False
    continues: str | None = None
    pipeline: Pipeline | Flow[..., Any] | None = None
    choice: Choice | None = None
    without: Callable[[Settings], str | None] | None = None
    absent: str = ""

    def __post_init__(self) -> None:
        """Default the deployment to the step's name."""
        if not self.deployment:
            object.__setattr__(self, "deployment", self.choice.of[0] if self.choice else f"{self.name}/{self.name}")
        for deployment in self.deployments:
            if not all(part.strip() for part in deployment.split("/")) or deployment.count("/") != 1:
                raise ConfigurationError(
                    f"Step {self.name} names no deployment: {deployment!r}",
                    location="pipeline",
                    hint=f"{_suggestion(deployment)}write `flow name/deployment name`",
                )
        if self.timeout <= timedelta(0):
            raise ConfigurationError(
                f"Step {self.name} has no time: its timeout is {self.timeout}", location="pipeline"
            )

    @property
    def upstream(self) -> tuple[str, ...]:
        """Return the names of the steps that must have completed first."""
        return (self.after,) if isinstance(self.after, str) else tuple(self.after)

    @property
    def nested(self) -> Pipeline | None:
        """Return the child's own plan, when it is a pipeline itself."""
        return (
            self.pipeline if self.pipeline is None or isinstance(self.pipeline, Pipeline) else declared(self.pipeline)
        )

    @property
    def deployments(self) -> tuple[str, ...]:
        """Return every deployment that the child may be."""
        return self.choice.of if self.choice else (self.deployment,)

    def configured(self, settings: Settings) -> Step:
        """Return this step as the settings make it: its child chosen and named, and the reason if it is left out."""
        choice = self.choice
        return replace(
            self,
            deployment=on_api(choice.made(settings) if choice else self.deployment, settings),
            choice=choice and replace(choice, of=tuple(on_api(name, settings) for name in choice.of)),
            absent=(self.without(settings) or "") if self.without else "",
            pipeline=self.nested.configured(settings) if self.nested else None,
        )


@dataclass(frozen=True)
class Pipeline:
    """A name and its steps, in an order that can be run.

    Attributes:
        overlap: what a run does while an earlier run of the same deployment is not over: run beside it (`allow`),
            wait for it (`wait`), or end at once as Skipped (`skip`).

    Raises:
        ConfigurationError: no step, two steps of one name, an unknown step in `after`, or a cycle.
    """

    name: str
    steps: tuple[Step, ...]
    description: str = ""
    overlap: Overlap | Literal["allow", "wait", "skip"] = Overlap.ALLOW
    order: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check the graph and keep one order of it."""
        if self.overlap not in set(Overlap):
            raise ConfigurationError(
                f"{self.overlap!r} is not an overlap mode",
                location=self.name,
                hint=f"write one of {', '.join(Overlap)}",
            )
        object.__setattr__(self, "overlap", Overlap(self.overlap))
        names = [step.name for step in self.steps]
        if not names:
            raise ConfigurationError("A pipeline needs at least one step", location=self.name)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(
                f"Two steps of one name: {', '.join(twice)}", location=self.name, hint="rename one"
            )
        for step in self.steps:
            self._known(step.upstream, asked_by=f"step {step.name}")
        try:
            order = tuple(graphlib.TopologicalSorter(self.edges).static_order())
        except graphlib.CycleError as error:
            cycle = " → ".join(reversed(error.args[1]))
            raise ConfigurationError(
                f"The steps wait for each other: {cycle}", location=self.name, hint="remove one `after`"
            ) from error
        object.__setattr__(self, "order", order)

    def configured(self, settings: Settings) -> Pipeline:
        """Return this pipeline as the settings make it; use this one to run, draw or report it.

        A step that is left out keeps its place and its name, so that forms and reports know it.
        """
        return replace(self, steps=tuple(step.configured(settings) for step in self.steps))

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Return each step with the steps it comes after."""
        return {step.name: step.upstream for step in self.steps}

    def step(self, name: str, *, asked_by: str = "") -> Step:
        """Return the step of that name.

        Args:
            name: name of the step.
            asked_by: who names it, for the message.

        Raises:
            ConfigurationError: there is none.
        """
        self._known((name,), asked_by=asked_by)
        return next(step for step in self.steps if step.name == name)

    def left_out(self, only: Iterable[str], skip: Iterable[str]) -> frozenset[str]:
        """Return the names of the steps that a selection or the settings leave out.

        Args:
            only: when not empty, the steps that run.
            skip: steps that do not run.

        Raises:
            ConfigurationError: an unknown step, or a selection that leaves nothing to run.
        """
        only, skip = tuple(only), tuple(skip)
        self._known(only, asked_by="only")
        self._known(skip, asked_by="skip")
        everything = frozenset(step.name for step in self.steps)
        absent = frozenset(step.name for step in self.steps if step.absent)
        out = (everything - frozenset(only) if only else frozenset()) | frozenset(skip) | absent
        if out == everything:
            reasons = "".join(f"; {step.name}: {step.absent}" for step in self.steps if step.absent)
            raise ConfigurationError(
                f"Nothing is left to run{reasons}", location=f"only/skip of {self.name}", hint="leave out fewer steps"
            )
        return out

    def _known(self, names: Iterable[str], *, asked_by: str = "") -> None:
        known = [step.name for step in self.steps]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigurationError(
                    f"Unknown step {name}" + (f" ({asked_by})" if asked_by else ""),
                    location=f"pipeline {self.name}",
                    hint=f"{hint}its steps are {', '.join(known)}",
                )


def _suggestion(name: str) -> str:
    """Return a question whether a deployment of prefect.yaml is meant: its flow has the same name, as a child's has."""
    close = closest(name.strip("/ "), names_in(current_project().deployments))
    return f"did you mean {close}/{close}? " if close else ""


def declared(flow: Flow[..., Any]) -> Pipeline | None:
    """Return the pipeline that a flow runs; None for a child or another flow."""
    found = getattr(flow.fn, ATTRIBUTE, None)
    return found if isinstance(found, Pipeline) else None


def on_api(deployment: str, settings: Settings) -> str:
    """Return a deployment as the Prefect API has it: one of prefect.yaml gets the suffix, any other stays.

    Args:
        deployment: `flow name/deployment name`, as a step says it.
        settings: the suffix, and the file that says which deployments get it.

    Raises:
        ConfigurationError: there is a suffix, and the file is missing or not what it should be.
    """
    if not settings.deployments_suffix:
        return deployment
    flow, _, name = deployment.partition("/")
    if not (names := names_in(settings.deployments)):
        raise ConfigurationError(
            "The deployments cannot be read, so that the suffix of their names is unknown",
            location=str(settings.deployments),
            hint="correct the file, or set FLOWS_DEPLOYMENTS to another",
        )
    if name not in names:
        return deployment
    return f"{flow}/{settings.deployment_name(name)}"
