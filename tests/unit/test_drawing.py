"""`flows graph` draws a pipeline of the project as the settings make it."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from flow_of_flows.cli.graph import draw

MODULE = """
from flow_of_flows import Choice, Step, pipeline

drawn_shop = pipeline(
    "drawn-shop",
    Step("load", without=lambda settings: "FLOWS_IMAGE is not set" if not settings.image else None),
    Step("rates"),
    Step(
        "build",
        after=("load", "rates"),
        choice=Choice(("core/core", "cloud/cloud"), lambda s: "core/core" if s.threads > 1 else "cloud/cloud"),
    ),
)
overlaps = {
    word: pipeline(f"overlap-{word}", Step("load"), overlap=word) for word in ("allow", "wait", "skip")
}
overlap_allow, overlap_wait, overlap_skip = overlaps.values()
"""
NAMES = ("drawn-shop", "overlap-allow", "overlap-wait", "overlap-skip")
FILE = "deployments:\n" + "".join(
    f"- {{name: {name}, entrypoint: drawn_pipelines.{name.replace('-', '_')}}}\n" for name in NAMES
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of another team: one pipeline, found from a folder below its prefect.yaml."""
    (tmp_path / "drawn_pipelines.py").write_text(MODULE)
    (tmp_path / "prefect.yaml").write_text(FILE)
    below = tmp_path / "docs" / "pages"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.syspath_prepend(tmp_path)


def drawn(name: str = "drawn-shop") -> str:
    """What the command prints."""
    with redirect_stdout(io.StringIO()) as printed:
        draw(name, None)
    return printed.getvalue()


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ("allow", ""),
        ("wait", "overlap: a run waits until the earlier runs of this pipeline are over\n"),
        ("skip", "overlap: a run is skipped while an earlier run of this pipeline is not over\n"),
    ],
)
def test_a_drawing_says_what_an_overlap_means(overlap: str, said: str) -> None:
    """The default needs no word."""
    assert drawn(f"overlap-{overlap}") == f"overlap-{overlap}\n  1 ── load\n\n{said}"


def test_a_drawing_says_what_is_left_out_and_which_other_child_a_step_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults need no word."""
    monkeypatch.setenv("FLOWS_THREADS", "1")
    assert drawn() == (
        "drawn-shop\n"
        "  1 ┬─ load [left out]\n"
        "    └─ rates\n"
        "  2 ── build [by cloud]   after load, rates\n"
        "\n"
        "load is left out: FLOWS_IMAGE is not set\n"
    )
    monkeypatch.setenv("FLOWS_THREADS", "4")
    monkeypatch.setenv("FLOWS_IMAGE", "acme:1")
    assert drawn() == "drawn-shop\n  1 ┬─ load\n    └─ rates\n  2 ── build   after load, rates\n\n"
