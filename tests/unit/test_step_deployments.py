"""What the steps of a pipeline name: steps that do not run are left out, nested pipelines are looked into."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_of_flows.dispatch.parameters import Parameters, StepOverride
from flow_of_flows.dispatch.pipeline import Choice, Pipeline, Step
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration.step_deployments import lacking, named_by, refuse_missing
from flow_of_flows.settings import Settings

INNER = Pipeline(
    "inner",
    (
        Step("load", parameters={"city": "Rome"}),
        Step("absent", without=lambda _: "no source is configured"),
        Step("maybe", without=lambda _: None),
    ),
)
PLAN = Pipeline(
    "outer",
    (
        Step("first", deployment="score-model/production"),
        Step("inner", pipeline=INNER, after="first"),
        Step("build", choice=Choice(("core/core", "cloud/cloud"), lambda _: "cloud/cloud"), takes_full_refresh=True),
    ),
).configured(Settings())


def named(parameters: Parameters | None = None) -> dict[str, str]:
    """Deployment by step."""
    return {each.step: each.deployment for each in named_by(PLAN, parameters)}


def test_every_step_that_the_settings_do_not_leave_out_names_its_deployment() -> None:
    """Also those of a nested pipeline, with its step before them; the chosen child counts."""
    assert named() == {
        "first": "score-model/production",
        "inner": "inner/inner",
        "inner/load": "load/load",
        "inner/maybe": "maybe/maybe",
        "build": "cloud/cloud",
    }
    by_settings = {each.step for each in named_by(PLAN) if each.by_settings}
    assert by_settings == {"inner/maybe", "build"}


@pytest.mark.parametrize(
    ("parameters", "steps"),
    [
        (Parameters(only=("first",)), {"first"}),
        (Parameters(skip=("inner", "build")), {"first"}),
        (
            Parameters(only=("inner",), overrides={"inner": StepOverride(parameters={"skip": ["load"]})}),
            {"inner", "inner/maybe"},
        ),
        (
            Parameters(only=("inner",), overrides={"inner": StepOverride(parameters={"skip": 7})}),
            {"inner", "inner/load", "inner/maybe"},
        ),
    ],
)
def test_what_a_run_leaves_out_names_nothing(parameters: Parameters, steps: set[str]) -> None:
    """By its own selection, or by that of a nested pipeline; parameters that do not fit are the API's to refuse."""
    assert set(named(parameters)) == steps


def test_a_step_gives_its_own_parameters_and_those_of_the_run() -> None:
    """What a flow requires has to be among them, or in its deployment."""
    override = {"first": StepOverride(parameters={"day": "2026-11-29"})}
    given = {each.step: each.given for each in named_by(PLAN, Parameters(full_refresh=True, overrides=override))}
    assert given["first"] == {"day"}
    assert given["inner/load"] == {"city"}
    assert given["build"] == {"full_refresh"}
    assert lacking({"required": ["city", "day"]}, {"city"}) == {"day"}
    assert lacking({}, ()) == frozenset()


def test_a_step_is_refused_by_name_or_by_what_it_does_not_pass() -> None:
    """One sentence for the first of them."""
    known = {name: frozenset[str]() for name in named().values()}
    refuse_missing(named_by(PLAN), known, file=Path("prefect.yaml"))
    with pytest.raises(ConfigurationError) as caught:
        refuse_missing(named_by(PLAN), known | {"load/load": frozenset({"city", "zone"})}, file=Path("prefect.yaml"))
    assert str(caught.value) == (
        "Step inner/load of pipeline outer does not pass zone, which load/load requires. Where: prefect.yaml. "
        "Next: add it to the step's parameters, or `--set inner.load.zone=VALUE`."
    )
    del known["maybe/maybe"]
    with pytest.raises(ConfigurationError, match=r"^Step inner/maybe of pipeline outer has no child: "):
        refuse_missing(named_by(PLAN), known, file=Path("prefect.yaml"))
