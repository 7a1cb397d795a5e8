"""What a pipeline is: its graph is checked when it is declared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows.dispatch.plan import Pipeline, Policy, Step
from flows.errors import ConfigurationError


def pipeline(**after: tuple[str, ...]) -> Pipeline:
    """A pipeline of its edges."""
    return Pipeline("shop", tuple(Step(name=name, after=before) for name, before in after.items()))


DIAMOND = pipeline(join=("left", "right"), left=("top",), right=("top",), top=())


def test_a_step_names_its_deployment_unless_told_otherwise() -> None:
    """The whole step, with every default."""
    step = Step(name="load")
    assert step == Step(
        name="load",
        deployment="load/load",
        after=(),
        parameters={},
        job_variables={},
        timeout=timedelta(hours=2),
        policy=Policy.FAIL,
        takes_full_refresh=False,
        continues=None,
        pipeline=None,
    )
    assert Step(name="load", deployment="dlt/orders").deployment == "dlt/orders"


def test_order_puts_every_step_behind_those_it_comes_after() -> None:
    """The declared order is kept for reports, the order to run in is another."""
    assert DIAMOND.order == ("top", "left", "right", "join")
    assert DIAMOND.edges == {"join": ("left", "right"), "left": ("top",), "right": ("top",), "top": ()}
    assert [step.name for step in DIAMOND.steps] == ["join", "left", "right", "top"]


def test_a_step_is_found_by_its_name() -> None:
    """The step itself, not a copy."""
    assert DIAMOND.step("left") is DIAMOND.steps[1]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ({}, "A pipeline needs at least one step. Where: shop."),
        (
            {"a": ("c",), "b": ("a",), "c": ("b",)},
            "The steps wait for each other: a → c → b → a. Where: shop. Next: remove one `after`.",
        ),
        ({"a": ("a",)}, "The steps wait for each other: a → a. Where: shop. Next: remove one `after`."),
        (
            {"orders": (), "build": ("order",)},
            (
                "Unknown step order (step build). Where: pipeline shop. "
                "Next: did you mean orders? its steps are orders, build."
            ),
        ),
        (
            {"orders": (), "build": ("x",)},
            "Unknown step x (step build). Where: pipeline shop. Next: its steps are orders, build.",
        ),
    ],
    ids=["empty", "cycle", "itself", "misspelt", "unknown"],
)
def test_a_graph_that_cannot_run_is_refused_when_it_is_declared(
    after: dict[str, tuple[str, ...]], message: str
) -> None:
    """One sentence that names the steps."""
    with pytest.raises(ConfigurationError) as caught:
        pipeline(**after)
    assert str(caught.value) == message


def test_two_steps_of_one_name_are_refused() -> None:
    """Every such name is told, once."""
    with pytest.raises(ConfigurationError) as caught:
        Pipeline("shop", tuple(Step(name=name) for name in ("b", "a", "b", "a", "c")))
    assert str(caught.value) == "Two steps of one name: a, b. Where: shop. Next: rename one."


def test_a_step_without_time_is_refused() -> None:
    """A timeout of nothing would cancel every attempt at once."""
    with pytest.raises(ConfigurationError) as caught:
        Step(name="load", timeout=timedelta(0))
    assert str(caught.value) == "Step load has no time: its timeout is 0:00:00. Where: pipeline."


@pytest.mark.parametrize(
    ("only", "skip", "left_out"),
    [
        ((), (), set()),
        (("left",), (), {"join", "right", "top"}),
        ((), ("left", "top"), {"left", "top"}),
        (("left", "top"), ("top",), {"join", "right", "top"}),
    ],
    ids=["nothing said", "only", "skip", "both"],
)
def test_left_out_is_what_only_does_not_name_and_what_skip_names(
    only: tuple[str, ...], skip: tuple[str, ...], left_out: set[str]
) -> None:
    """`skip` wins over `only`."""
    assert DIAMOND.left_out(only, skip) == left_out


@pytest.mark.parametrize(
    ("only", "skip", "message"),
    [
        (
            ("lefty",),
            (),
            (
                "Unknown step lefty (only). Where: pipeline shop. "
                "Next: did you mean left? its steps are join, left, right, top."
            ),
        ),
        (
            (),
            ("Z",),
            "Unknown step Z (skip). Where: pipeline shop. Next: its steps are join, left, right, top.",
        ),
        (
            ("left",),
            ("left",),
            "Nothing is left to run. Where: only/skip of shop. Next: leave out fewer steps.",
        ),
        (
            (),
            ("join", "left", "right", "top"),
            "Nothing is left to run. Where: only/skip of shop. Next: leave out fewer steps.",
        ),
    ],
    ids=["misspelt", "unknown", "only what is skipped", "everything skipped"],
)
def test_a_selection_of_unknown_steps_or_of_none_is_refused(
    only: tuple[str, ...], skip: tuple[str, ...], message: str
) -> None:
    """The message says which of the two it was."""
    with pytest.raises(ConfigurationError) as caught:
        DIAMOND.left_out(only, skip)
    assert str(caught.value) == message
