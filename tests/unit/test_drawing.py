"""`flows graph` draws a pipeline as the settings make it."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from flows import pipelines
from flows.commands.drawing import draw
from flows.dispatch.plan import Choice, Overlap, Pipeline, Step

SHOP = Pipeline(
    "shop",
    (
        Step(
            name="load", without=lambda settings: "FLOWS_SHOP_SOURCE is not set" if not settings.shop_source else None
        ),
        Step(name="rates"),
        Step(
            name="build",
            after=("load", "rates"),
            choice=Choice(("core/core", "cloud/cloud"), lambda s: "core/core" if s.threads > 1 else "cloud/cloud"),
        ),
    ),
)


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ("allow", ""),
        ("wait", "overlap: a run waits until the earlier runs of this pipeline are over\n"),
        ("skip", "overlap: a run is skipped while an earlier run of this pipeline is not over\n"),
    ],
)
def test_a_drawing_says_what_an_overlap_means(monkeypatch: pytest.MonkeyPatch, overlap: Overlap, said: str) -> None:
    """The default needs no word."""
    monkeypatch.setattr(pipelines, "find", lambda _name: Pipeline("shop", (Step(name="load"),), overlap=overlap))
    with redirect_stdout(io.StringIO()) as printed:
        draw("shop", None)
    assert printed.getvalue() == f"shop\n  1 ── load\n\n{said}"


def test_a_drawing_says_what_is_left_out_and_which_other_child_a_step_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults need no word."""
    monkeypatch.setattr(pipelines, "find", lambda _name: SHOP)
    monkeypatch.setenv("FLOWS_THREADS", "1")
    with redirect_stdout(io.StringIO()) as printed:
        draw("shop", None)
    assert printed.getvalue() == (
        "shop\n"
        "  1 ┬─ load [left out]\n"
        "    └─ rates\n"
        "  2 ── build [by cloud]   after load, rates\n"
        "\n"
        "load is left out: FLOWS_SHOP_SOURCE is not set\n"
    )
    monkeypatch.setenv("FLOWS_THREADS", "4")
    monkeypatch.setenv("FLOWS_SHOP_SOURCE", "/data")
    with redirect_stdout(io.StringIO()) as printed:
        draw("shop", None)
    assert printed.getvalue() == "shop\n  1 ┬─ load\n    └─ rates\n  2 ── build   after load, rates\n\n"
