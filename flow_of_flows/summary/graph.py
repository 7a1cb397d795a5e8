"""The graph of a pipeline: its edges in, text or a picture out. Pure; called by `flows graph` and reports.

Edges map a step to the steps it comes after. `nested` maps a step that is a pipeline itself to that pipeline's edges.
`states` colours and labels steps by path: `dbt-build`, or `load/orders` for a step of a nested pipeline.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from flow_of_flows.summary.graph_layout import Box, Drawing, Edges, Nested, Point, draw, layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTHING: Mapping[str, str] = {}
NO_PIPELINES: Nested = {}

FONT = "DejaVu Sans"
MARGIN, TITLE_HEIGHT, DPI = 0.3, 0.46, 150
INK, MUTED, PAPER, FRAME = "#1F2933", "#66727F", "#FFFFFF", "#F5F7FA"
# Line and fill by state, of Okabe and Ito's palette; the state is written too, so colour never says it alone.
PLAIN = ("#0072B2", "#E6F1F8")
GOOD, BAD, BUSY, IDLE = ("#009E73", "#E5F5F0"), ("#D55E00", "#FBEBE0"), ("#E69F00", "#FDF4E0"), ("#9AA5B1", "#F5F7FA")
COLORS = {
    **dict.fromkeys(("completed", "reused"), GOOD),
    **dict.fromkeys(("failed", "crashed", "timeout"), BAD),
    **dict.fromkeys(("running", "pending", "cancelling", "degraded"), BUSY),
    **dict.fromkeys(("scheduled", "cancelled", "skipped", "not run", "left out"), IDLE),
}


def as_text(name: str, edges: Edges, nested: Nested = NO_PIPELINES, states: Mapping[str, str] = NOTHING) -> str:
    """Draw for a terminal: one numbered stage below the other, steps that may run at once on one bracket.

    Raises:
        ConfigurationError: a cycle, or a step after one that does not exist.
    """
    if not edges:
        return f"{name}\n  (no steps)\n"
    rows = _rows(edges, nested, states, "")
    width = max(len(tree) for tree, _ in rows)
    lines = [f"{tree:<{width}}   {f'after {after}' if after else ''}".rstrip() for tree, after in rows]
    return "\n".join([name, *lines]) + "\n"


def _rows(edges: Edges, nested: Nested, states: Mapping[str, str], path: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for number, layer in enumerate(layers(edges), start=1):
        for place, step in enumerate(layer):
            last = place == len(layer) - 1
            bracket = "──" if len(layer) == 1 else "┬─" if place == 0 else "└─" if last else "├─"
            opens = step in nested and step not in path.split("/")
            label = " ".join([step, *(["(pipeline)"] if opens else []), *_state(states.get(path + step))])
            rows.append((f"{number if place == 0 else '':>3} {bracket} {label}", ", ".join(edges[step])))
            if opens:
                side = " " if last else "│"
                inner = _rows(nested[step], nested, states, f"{path}{step}/")
                rows += [(f"    {side} {tree}", after) for tree, after in inner]
    return rows


def _state(state: str | None) -> list[str]:
    return [f"[{state}]"] if state else []


def as_picture(
    name: str,
    edges: Edges,
    nested: Nested = NO_PIPELINES,
    states: Mapping[str, str] = NOTHING,
    *,
    kind: Literal["png", "svg"] = "png",
) -> bytes:
    """Draw left to right: steps as boxes, nested pipelines as frames, arrows for `after`.

    Raises:
        ConfigurationError: a cycle, or a step after one that does not exist.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = draw(edges, nested)
    width = max(drawing.width, len(name) * 0.16, 2.0) + 2 * MARGIN
    height = drawing.height + 2 * MARGIN + TITLE_HEIGHT
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    # One unit of the axes is one inch, so text and boxes keep their proportion whatever the size.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    axes.text(MARGIN, height - MARGIN - 0.1, name, fontsize=14, fontweight="bold", color=INK, family=FONT, va="center")
    _paint(axes, drawing.moved(MARGIN, MARGIN), states)
    stream = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flows"}):
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return stream.getvalue()


def _paint(axes: Axes, drawing: Drawing, states: Mapping[str, str]) -> None:
    for box in drawing.boxes:
        _paint_box(axes, box, states.get(box.path))
    for points in drawing.arrows:
        _paint_arrow(axes, points)


def _paint_box(axes: Axes, box: Box, state: str | None) -> None:
    from matplotlib.patches import FancyBboxPatch

    line, fill = COLORS.get(state.lower(), PLAIN) if state else PLAIN
    if box.frame:
        line, fill = (line if state else IDLE[0]), FRAME
    style = "round,pad=0,rounding_size=0.09"
    patch = FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle=style, linewidth=1.3, edgecolor=line)
    patch.set(facecolor=fill, linestyle=(0, (4, 2)) if box.frame else "-")
    axes.add_patch(patch)
    title, middle = box.path.rsplit("/", 1)[-1], box.x + box.width / 2
    if box.frame:
        above = box.y + box.height - 0.18
        axes.text(box.x + 0.14, above, title, fontsize=10, fontweight="bold", color=INK, family=FONT, va="center")
        note = state or "pipeline"
        axes.text(box.x + box.width - 0.14, above, note, fontsize=8, color=MUTED, family=FONT, ha="right", va="center")
        return
    height = box.y + box.height / 2
    axes.text(
        middle, height + (0.08 if state else 0), title, fontsize=10, color=INK, family=FONT, ha="center", va="center"
    )
    if state:
        axes.text(middle, height - 0.12, state, fontsize=8, color=MUTED, family=FONT, ha="center", va="center")


def _paint_arrow(axes: Axes, points: tuple[Point, ...]) -> None:
    """One line that leaves and arrives level, with its head at the end."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    corners, codes = [points[0]], [Path.MOVETO]
    for place, (start, end) in enumerate(itertools.pairwise(points)):
        if place % 2:
            corners.append(end)
            codes.append(Path.LINETO)
            continue
        middle = (start[0] + end[0]) / 2
        corners += [(middle, start[1]), (middle, end[1]), end]
        codes += [Path.CURVE4] * 3
    arrow = FancyArrowPatch(path=Path(corners, codes), arrowstyle="-|>,head_length=5,head_width=2.6", mutation_scale=1)
    arrow.set(color=MUTED, linewidth=1.2)
    axes.add_patch(arrow)
