"""The drawing of a pipeline's graph, as text compared whole and as a picture with its texts."""

from __future__ import annotations

import re
import struct

import pytest

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.summary.graph import as_picture, as_text, draw, layers

JAFFLE_SHOP: dict[str, list[str]] = {
    "staging": [],
    "exchange-rates": [],
    "currencies": [],
    "dbt-build": ["staging", "exchange-rates", "currencies"],
    "dashboard-customers": ["dbt-build"],
    "dashboard-sales": ["dbt-build"],
}
STAGING: dict[str, dict[str, list[str]]] = {"staging": {"raw-customers": [], "raw-orders": [], "raw-payments": []}}


def texts(svg: bytes) -> list[str]:
    """Every text of an SVG, in the order drawn."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


def test_text_shows_stages_parallel_steps_and_the_nested_pipeline() -> None:
    """The whole drawing of the jaffle shop, as a terminal shows it."""
    assert as_text("jaffle-shop", JAFFLE_SHOP, STAGING) == (
        "jaffle-shop\n"
        "  1 ┬─ staging (pipeline)\n"
        "    │   1 ┬─ raw-customers\n"
        "    │     ├─ raw-orders\n"
        "    │     └─ raw-payments\n"
        "    ├─ exchange-rates\n"
        "    └─ currencies\n"
        "  2 ── dbt-build             after staging, exchange-rates, currencies\n"
        "  3 ┬─ dashboard-customers   after dbt-build\n"
        "    └─ dashboard-sales       after dbt-build\n"
    )


def test_text_labels_states_of_steps_and_of_nested_steps() -> None:
    """A state stands next to its step; a nested step is named by its path."""
    edges = {"load": [], "build": ["load"]}
    nested = {"load": {"orders": [], "check": ["orders"]}}
    states = {"load": "failed", "load/orders": "completed", "load/check": "failed", "orders": "not this one"}
    assert as_text("shop", edges, nested, states) == (
        "shop\n"
        "  1 ── load (pipeline) [failed]\n"
        "        1 ── orders [completed]\n"
        "        2 ── check [failed]       after orders\n"
        "  2 ── build                      after load\n"
    )


def test_text_of_a_pipeline_without_steps_says_so() -> None:
    """An empty pipeline is drawn, too."""
    assert as_text("empty", {}) == "empty\n  (no steps)\n"


def test_a_pipeline_inside_itself_is_drawn_once() -> None:
    """A nested pipeline with a step of its own name ends the drawing instead of looping."""
    assert as_text("outer", {"a": []}, {"a": {"a": []}}) == "outer\n  1 ── a (pipeline)\n        1 ── a\n"
    assert [(box.path, box.frame) for box in draw({"a": []}, {"a": {"a": []}}).boxes] == [("a", True), ("a/a", False)]


def test_layers_keep_the_order_given() -> None:
    """Steps of one layer stand as they are declared, not as a set would have them."""
    assert layers({"z": [], "c": ["z"], "y": [], "b": ["y", "c"]}) == [["z", "y"], ["c"], ["b"]]


def test_boxes_stand_in_columns_and_inside_their_frame() -> None:
    """Steps of one layer share a left edge, later layers are further right, and a frame holds its steps."""
    boxes = {box.path: box for box in draw(JAFFLE_SHOP, STAGING).boxes}
    assert list(boxes) == [
        "staging", "staging/raw-customers", "staging/raw-orders", "staging/raw-payments",
        "exchange-rates", "currencies", "dbt-build", "dashboard-customers", "dashboard-sales",
    ]  # fmt: skip
    assert boxes["staging"].x == boxes["exchange-rates"].x == boxes["currencies"].x == 0
    assert boxes["dashboard-customers"].x > boxes["dbt-build"].x > boxes["staging"].x + boxes["staging"].width
    frame = boxes["staging"]
    for name in STAGING["staging"]:
        inside = boxes[f"staging/{name}"]
        assert frame.x < inside.x < inside.x + inside.width < frame.x + frame.width
        assert frame.y < inside.y < inside.y + inside.height < frame.y + frame.height


def test_no_two_boxes_of_a_column_overlap_and_arrows_pass_between_them() -> None:
    """An arrow over several layers goes through the gaps of the columns between."""
    drawing = draw({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]}, {})
    boxes = {box.path: box for box in drawing.boxes}
    (long,) = [points for points in drawing.arrows if len(points) == 6]
    assert texts(as_picture("p", {"a": [], "b": ["a"], "c": ["b", "a"]}, kind="svg")) == ["p", "a", "b", "c"]
    assert long[0] == (boxes["a"].width, boxes["a"].y + boxes["a"].height / 2)
    assert long[-1] == (boxes["d"].x, boxes["d"].y + boxes["d"].height / 2)
    for step, (_, y) in (("b", long[1]), ("c", long[3])):
        assert not boxes[step].y <= y <= boxes[step].y + boxes[step].height


def test_svg_names_every_step_and_the_nested_pipeline() -> None:
    """All that the edges name can be read in the picture; the same edges give the same bytes."""
    picture = as_picture("jaffle-shop", JAFFLE_SHOP, STAGING, kind="svg")
    assert texts(picture) == [
        "jaffle-shop", "staging", "pipeline", "raw-customers", "raw-orders", "raw-payments",
        "exchange-rates", "currencies", "dbt-build", "dashboard-customers", "dashboard-sales",
    ]  # fmt: skip
    assert as_picture("jaffle-shop", JAFFLE_SHOP, STAGING, kind="svg") == picture


def test_svg_writes_and_colours_states() -> None:
    """A failed step is drawn in the colour of failure and says it, an unknown state is written as it is."""
    picture = as_picture("p", {"a": [], "b": ["a"]}, states={"a": "Failed", "b": "Odd"}, kind="svg")
    assert texts(picture) == ["p", "a", "Failed", "b", "Odd"]
    assert b"#d55e00" in picture
    assert b"#0072b2" in picture


def test_a_frame_says_its_state() -> None:
    """The state of a nested pipeline stands in its frame."""
    picture = as_picture("p", {"a": []}, {"a": {"b": []}}, {"a": "Completed"}, kind="svg")
    assert texts(picture) == ["p", "a", "Completed", "b"]


def test_png_is_as_large_as_the_drawing() -> None:
    """A PNG of 150 dots per inch, with a margin of 0.3 inch and a title around the drawing."""
    picture, drawing = as_picture("jaffle-shop", JAFFLE_SHOP, STAGING), draw(JAFFLE_SHOP, STAGING)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (int((drawing.width + 0.6) * 150), int((drawing.height + 1.06) * 150))


def test_an_empty_pipeline_is_a_picture_with_a_title() -> None:
    """No steps, no boxes, no error."""
    assert texts(as_picture("empty", {}, kind="svg")) == ["empty"]


def test_a_circle_names_its_steps() -> None:
    """A cycle cannot be drawn; the message says which steps form it."""
    with pytest.raises(ConfigurationError) as caught:
        as_text("p", {"a": ["b"], "b": ["a"]})
    assert str(caught.value) == "The steps go in a circle: a → b → a. Next: remove one `after`."


def test_a_step_after_an_unknown_one_is_refused() -> None:
    """The message names both steps."""
    with pytest.raises(ConfigurationError) as caught:
        as_picture("p", {"a": ["nothing"]})
    assert str(caught.value) == "Step a comes after nothing, which does not exist. Next: correct `after`."
