"""What a pipeline is: its graph is checked when it is declared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flow_of_flows.dispatch.pipeline import Choice, Pipeline, Step
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.runs.outcome import Policy
from flow_of_flows.settings import Settings


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
        choice=None,
        without=None,
        absent="",
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
    """Every such name is reported, once."""
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


def by_threads(settings: Settings) -> str:
    """The second child for many threads."""
    return "slow/slow" if settings.threads < 8 else "fast/fast"


def few_threads(settings: Settings) -> str | None:
    """A reason for few threads."""
    return "FLOWS_THREADS is below 8" if settings.threads < 8 else None


SETTLED = Pipeline(
    "shop",
    (
        Step(name="load", without=few_threads),
        Step(name="build", after=("load",), choice=Choice(("slow/slow", "fast/fast"), by_threads)),
        Step(name="inner", pipeline=Pipeline("inner", (Step(name="part", without=few_threads), Step(name="rest")))),
    ),
)


def test_settings_choose_the_child_of_a_step_and_leave_steps_out_with_a_reason() -> None:
    """Also within a pipeline that is a step; names, order and what nothing is said of stay as declared."""
    few, many = SETTLED.configured(Settings(threads=4)), SETTLED.configured(Settings(threads=8))
    for configured, deployment, reason in ((few, "slow/slow", "FLOWS_THREADS is below 8"), (many, "fast/fast", "")):
        inner = configured.step("inner").nested
        assert inner is not None
        assert configured.step("build").deployment == deployment
        assert (configured.step("load").absent, inner.step("part").absent) == (reason, reason)
        assert inner.step("rest") == Step(name="rest")
        assert (configured.edges, configured.order) == (SETTLED.edges, SETTLED.order)
    assert few.configured(Settings(threads=8)) == many


def test_a_declared_step_has_the_child_of_the_defaults_and_names_every_other() -> None:
    """So the form and the completeness tests know all of them without reading a setting."""
    build = SETTLED.step("build")
    assert (build.deployment, build.deployments) == ("slow/slow", ("slow/slow", "fast/fast"))
    assert (SETTLED.step("load").deployments, SETTLED.step("load").absent) == (("load/load",), "")


def test_what_the_settings_leave_out_is_left_out_whatever_is_selected() -> None:
    """Selecting nothing else is refused with the reason."""
    configured = SETTLED.configured(Settings(threads=4))
    assert configured.left_out((), ()) == {"load"}
    with pytest.raises(ConfigurationError) as caught:
        configured.left_out(("load",), ())
    assert str(caught.value) == (
        "Nothing is left to run; load: FLOWS_THREADS is below 8. Where: only/skip of shop. Next: leave out fewer steps."
    )
