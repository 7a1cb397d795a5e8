"""Words of the command line to parameters of a run."""

from __future__ import annotations

from uuid import UUID

import pytest

from flow_of_flows.cli.parameters import parameters
from flow_of_flows.dispatch.parameters import Parameters, StepOverride
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.errors import ConfigurationError

INNER = Pipeline("staging", (Step(name="raw-orders"), Step(name="raw-payments")))
PIPELINE = Pipeline("shop", (Step(name="staging", pipeline=INNER), Step(name="build", after=("staging",))))
EARLIER = UUID("00000000-0000-4000-8000-00000000000d")


def said(
    *assignments: str,
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    full_refresh: bool = False,
    resume_from: UUID | None = None,
) -> Parameters:
    """The parameters of these words."""
    return parameters(PIPELINE, assignments, only=only, skip=skip, full_refresh=full_refresh, resume_from=resume_from)


def test_no_words_are_the_defaults() -> None:
    """An ordinary run."""
    assert said() == Parameters()


def test_options_are_parameters_of_the_run() -> None:
    """Each under its name."""
    assert said(only=("build",), skip=("staging",), full_refresh=True, resume_from=EARLIER) == Parameters(
        only=("build",), skip=("staging",), full_refresh=True, resume_from=EARLIER
    )


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ('"8"', "8"),
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("state:modified+", "state:modified+"),
        ("True", "True"),
        ("", ""),
        ("a=b.c", "a=b.c"),
    ],
)
def test_a_value_is_json_or_else_text(value: str, meaning: object) -> None:
    """What dbt's selection syntax looks like needs no quotes."""
    assert said(f"build.select={value}").overrides["build"].parameters == {"select": meaning}


def test_several_assignments_of_one_step_add_up_and_the_last_of_one_parameter_wins() -> None:
    """As options do everywhere."""
    assert said("build.threads=1", "build.select=a", "build.threads=2") == Parameters(
        overrides={"build": StepOverride(parameters={"threads": 2, "select": "a"})}
    )


def test_a_longer_path_reaches_into_a_step_that_is_a_pipeline() -> None:
    """It becomes the inner pipeline's own overrides, next to the step's own parameters."""
    assert said(
        "staging.raw-orders.source=s3://shop",
        "staging.raw-payments.source=/data",
        "staging.raw-orders.limit=3",
        "staging.full_refresh=true",
    ) == Parameters(
        overrides={
            "staging": StepOverride(
                parameters={
                    "overrides": {
                        "raw-orders": {"parameters": {"source": "s3://shop", "limit": 3}, "job_variables": {}},
                        "raw-payments": {"parameters": {"source": "/data"}, "job_variables": {}},
                    },
                    "full_refresh": True,
                }
            )
        }
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (text, f"{text!r} is not an assignment. Where: --set. Next: write it as STEP.PARAMETER=VALUE.")
        for text in ("", "build", "build=1", "build.threads", ".threads=1", "build.=1", "build..x=1", "=")
    ]
    + [
        (
            "biuld.threads=1",
            "Unknown step biuld. Where: pipeline shop. Next: did you mean build? its steps are staging, build.",
        ),
        (
            "staging.raw-order.source=x",
            (
                "Unknown step raw-order. Where: pipeline staging. "
                "Next: did you mean raw-orders? its steps are raw-orders, raw-payments."
            ),
        ),
        (
            "build.vars.day=1",
            (
                "'build.vars.day=1' goes too deep: build is not a pipeline. Where: --set. "
                "Next: write STEP.PARAMETER=VALUE."
            ),
        ),
    ],
)
def test_an_assignment_of_another_form_is_refused(text: str, message: str) -> None:
    """The message repeats what was written."""
    with pytest.raises(ConfigurationError) as caught:
        said(text)
    assert str(caught.value) == message


def test_overrides_that_are_no_overrides_are_refused_before_a_path_reaches_into_them() -> None:
    """A whole value and a path into it do not mix."""
    with pytest.raises(ConfigurationError) as caught:
        said('staging.overrides={"raw-orders": {"limit": 3}}', "staging.raw-orders.source=x")
    assert str(caught.value) == (
        "The overrides of raw-orders do not fit: limit: Extra inputs are not permitted. Where: --set. "
        "Next: write STEP.STEP.PARAMETER=VALUE."
    )


def test_a_selection_that_does_not_fit_is_refused() -> None:
    """The same words as for a run from the UI."""
    with pytest.raises(ConfigurationError) as caught:
        said(only=("serve",))
    assert str(caught.value) == "Unknown step serve (only). Where: pipeline shop. Next: its steps are staging, build."
