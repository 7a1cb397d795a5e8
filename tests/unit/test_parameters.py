"""The parameters of a pipeline run: which value wins, and the form that Prefect draws of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from flow_of_flows import deployments
from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.parameters import Parameters, StepOverride
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings

BEFORE = UUID("00000000-0000-4000-8000-00000000000a")
BUILD = Step(
    name="build",
    parameters={"threads": 4, "full_refresh": False, "select": "a"},
    job_variables={"cpu_request": "1", "memory_limit": "1Gi"},
    takes_full_refresh=True,
    continues="retry_of",
)
PIPELINE = Pipeline("shop", (Step(name="load"), BUILD))


def test_a_step_gets_its_own_parameters_when_nothing_is_said() -> None:
    """A first attempt of an ordinary run."""
    assert Parameters().for_step(BUILD, continues=None) == {"threads": 4, "full_refresh": False, "select": "a"}
    assert Parameters().job_variables(BUILD) == {"cpu_request": "1", "memory_limit": "1Gi"}


def test_full_refresh_and_the_attempt_before_win_over_the_step_and_overrides_win_over_both() -> None:
    """Each level changes one value and leaves the others."""
    refreshed = Parameters(full_refresh=True)
    assert refreshed.for_step(BUILD, continues=BEFORE) == {
        "threads": 4,
        "full_refresh": True,
        "select": "a",
        "retry_of": "00000000-0000-4000-8000-00000000000a",
    }
    override = StepOverride(
        parameters={"full_refresh": False, "retry_of": None, "select": "b"}, job_variables={"memory_limit": "4Gi"}
    )
    overridden = Parameters(full_refresh=True, overrides={"build": override})
    assert overridden.for_step(BUILD, continues=BEFORE) == {
        "threads": 4,
        "full_refresh": False,
        "select": "b",
        "retry_of": None,
    }
    assert overridden.job_variables(BUILD) == {"cpu_request": "1", "memory_limit": "4Gi"}


def test_full_refresh_and_the_attempt_before_reach_only_steps_that_take_them() -> None:
    """A child would be refused with a parameter it does not have; so would one get another step's override."""
    parameters = Parameters(full_refresh=True, overrides={"build": StepOverride(parameters={"threads": 1})})
    assert parameters.for_step(Step(name="load"), continues=BEFORE) == {}
    assert parameters.job_variables(Step(name="load")) == {}


def test_parameters_that_fit_are_given_back() -> None:
    """The check changes nothing."""
    parameters = Parameters(only=("build",), overrides={"load": StepOverride()})
    assert parameters.checked(PIPELINE) is parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            Parameters(only=("biuld",)),
            "Unknown step biuld (only). Where: pipeline shop. Next: did you mean build? its steps are load, build.",
        ),
        (
            Parameters(overrides={"laod": StepOverride()}),
            "Unknown step laod. Where: pipeline shop. Next: did you mean load? its steps are load, build.",
        ),
        (
            Parameters(skip=("load", "build")),
            "Nothing is left to run. Where: only/skip of shop. Next: leave out fewer steps.",
        ),
    ],
    ids=["only", "overrides", "nothing left"],
)
def test_parameters_that_do_not_fit_the_pipeline_are_refused(parameters: Parameters, message: str) -> None:
    """One sentence."""
    with pytest.raises(ConfigurationError) as caught:
        parameters.checked(PIPELINE)
    assert str(caught.value) == message


def test_an_unknown_parameter_is_refused() -> None:
    """Nothing is ignored that somebody meant to say."""
    with pytest.raises(ValidationError, match="fullrefresh"):
        Parameters.model_validate({"fullrefresh": True})
    with pytest.raises(ValidationError, match="memory"):
        Parameters.model_validate({"overrides": {"build": {"memory": "4Gi"}}})


def schema(pipeline: Pipeline) -> dict[str, Any]:
    """What the Prefect UI draws the form of a pipeline from."""
    return parent(pipeline).parameters.model_dump()


def test_the_form_of_a_pipeline_is_described_and_offers_its_steps() -> None:
    """The whole schema of a small pipeline."""
    steps = ["load", "build"]
    form = schema(PIPELINE)
    assert form["properties"] == {
        "full_refresh": {
            "type": "boolean",
            "default": False,
            "title": "full_refresh",
            "description": "Rebuild incremental models from scratch.",
            "position": 0,
        },
        "only": {
            "type": "array",
            "items": {"enum": steps, "type": "string"},
            "default": [],
            "title": "only",
            "description": "Run these steps and leave out the others.",
            "position": 1,
        },
        "skip": {
            "type": "array",
            "items": {"enum": steps, "type": "string"},
            "default": [],
            "title": "skip",
            "description": "Leave out these steps.",
            "position": 2,
        },
        "overrides": {
            "type": "object",
            "propertyNames": {"enum": steps},
            "additionalProperties": {"$ref": "#/definitions/StepOverride"},
            "default": {},
            "title": "overrides",
            "description": "Per step: parameters and job variables of this run.",
            "position": 3,
        },
        "resume_from": {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}],
            "default": None,
            "title": "resume_from",
            "description": "Id of an earlier run of this pipeline: what completed there is reused, the rest runs.",
            "position": 4,
        },
        "overlap": {
            "anyOf": [{"enum": ["allow", "wait", "skip"], "type": "string"}, {"type": "null"}],
            "default": None,
            "title": "overlap",
            "description": (
                "What this run does while an earlier run of the pipeline is not over: wait for it, skip itself, or "
                "allow both; empty: what the pipeline declares."
            ),
            "position": 5,
        },
    }
    assert form["required"] == []
    assert set(form["definitions"]["StepOverride"]["properties"]) == set(StepOverride.model_fields)


@pytest.mark.parametrize("name", ["daily-pipeline", "weekly-full-refresh", "jaffle-shop", "staging"])
def test_the_form_of_every_pipeline_shows_every_parameter_with_its_description(name: str) -> None:
    """Completeness: a parameter that is added to the model is in every form, and step names are choices."""
    pipeline = deployments.pipeline(name, Settings.load())
    properties = schema(pipeline)["properties"]
    assert {key: entry["description"] for key, entry in properties.items()} == {
        key: field.description for key, field in Parameters.model_fields.items()
    }
    steps = [step.name for step in pipeline.steps]
    assert [properties[key]["items"]["enum"] for key in ("only", "skip")] == [steps, steps]
    assert properties["overrides"]["propertyNames"]["enum"] == steps
