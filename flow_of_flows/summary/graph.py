"""The graph of a pipeline: its edges in, text or a picture out. Pure; called by `flows graph` and reports.

Edges map a step to the steps it comes after. `nested` maps a step that is a pipeline itself to that pipeline's edges.
`states` colours and labels steps by path: `dbt-build`, or `load/orders` for a step of a nested pipeline.
"""

from __future__ import annotations

import graphlib
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from flow_of_flows.errors import ConfigurationError

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

    Args:
        name: name of the pipeline.
        edges: each step with the steps before it.
        nested: edges of the steps that are pipelines, by their names.
        states: states of the steps, by path.

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
            opens = _opens(step, nested, path)
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

    Args:
        name: name of the pipeline.
        edges: each step with the steps before it.
        nested: edges of the steps that are pipelines, by their names.
        states: states of the steps, by path.
        kind: file format of the picture.

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
    """Paint one line that leaves and arrives level, with its head at the end."""
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


Edges = Mapping[str, Sequence[str]]
Nested = Mapping[str, Edges]
Point = tuple[float, float]

LETTER, STEP_HEIGHT, ROW_GAP, COLUMN_GAP = 0.098, 0.5, 0.2, 0.85
FRAME_PAD, FRAME_TITLE = 0.2, 0.36
# What an arrow needs where it passes a column of steps without touching any.
PASS_HEIGHT = 0.12


@dataclass(frozen=True)
class Box:
    """A step, or the frame of a pipeline; x and y are its lower left corner."""

    path: str
    x: float
    y: float
    width: float
    height: float
    frame: bool = False


@dataclass(frozen=True)
class Drawing:
    """Boxes, and arrows as the points they go through."""

    width: float
    height: float
    boxes: tuple[Box, ...] = ()
    arrows: tuple[tuple[Point, ...], ...] = ()

    def moved(self, x: float, y: float) -> Drawing:
        """Return the same, moved.

        Args:
            x: by how much to the right.
            y: by how much upwards.
        """
        boxes = tuple(replace(box, x=box.x + x, y=box.y + y) for box in self.boxes)
        arrows = tuple(tuple((px + x, py + y) for px, py in arrow) for arrow in self.arrows)
        return replace(self, boxes=boxes, arrows=arrows)


@dataclass
class _Column:
    """One layer on the way: names of steps, and of arrows that pass through it."""

    names: list[str]
    width: float = 0.0
    x: float = 0.0
    middles: dict[str, float] = field(default_factory=dict)


def layers(edges: Edges) -> list[list[str]]:
    """Return the steps by how many others come before them, each layer in the given order.

    Raises:
        ConfigurationError: a cycle, or a step after one that does not exist.
    """
    for step, after in edges.items():
        if missing := sorted(set(after) - set(edges)):
            raise ConfigurationError(
                f"Step {step} comes after {missing[0]}, which does not exist", hint="correct `after`"
            )
    sorter, places, found = graphlib.TopologicalSorter(edges), {step: n for n, step in enumerate(edges)}, []
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(error.args[1])
        raise ConfigurationError(f"The steps go in a circle: {circle}", hint="remove one `after`") from error
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        found.append(ready)
        sorter.done(*ready)
    return found


def draw(edges: Edges, nested: Nested, path: str = "") -> Drawing:
    """Place the steps left to right by layer; a nested pipeline is a frame around its own drawing.

    Args:
        edges: of each step, the names of the steps before it.
        nested: edges of the steps that are pipelines.
        path: path of the pipeline within the outer ones.
    """
    inner = {step: draw(nested[step], nested, f"{path}{step}/") for step in edges if _opens(step, nested, path)}
    routes = _routes(edges)
    columns = _columns(edges, routes)
    sizes = {step: _size(step, inner.get(step)) for step in edges}
    height = max((sum(_height(n, sizes) + ROW_GAP for n in c.names) - ROW_GAP for c in columns), default=0.0)
    x = 0.0
    for column in columns:
        column.x, column.width = x, max(sizes[name][0] for name in column.names if name in sizes)
        x += column.width + COLUMN_GAP
        _stack(column, sizes, height)
    boxes: list[Box] = []
    arrows = [_arrow(route, columns) for route in routes]
    for column in columns:
        for step in (name for name in column.names if name in sizes):
            bottom = column.middles[step] - sizes[step][1] / 2
            boxes.append(Box(path + step, column.x, bottom, column.width, sizes[step][1], frame=step in inner))
            if step in inner:
                inside = inner[step].moved(column.x + (column.width - inner[step].width) / 2, bottom + FRAME_PAD)
                boxes += inside.boxes
                arrows += inside.arrows
    return Drawing(max(x - COLUMN_GAP, 0.0), height, tuple(boxes), tuple(arrows))


def _opens(step: str, nested: Nested, path: str) -> bool:
    """Return whether a step is drawn with its own steps; a pipeline inside itself is not, to end the recursion."""
    return step in nested and step not in path.split("/")


@dataclass(frozen=True)
class _Route:
    """An edge: the layer it starts in, and its name in each layer from start to end."""

    first: int
    stops: tuple[str, ...]


def _routes(edges: Edges) -> list[_Route]:
    level = {step: n for n, layer in enumerate(layers(edges)) for step in layer}
    return [
        _Route(level[a], (a, *(f"{a}→{step}@{n}" for n in range(level[a] + 1, level[step])), step))
        for step, after in edges.items()
        for a in after
    ]


def _columns(edges: Edges, routes: list[_Route]) -> list[_Column]:
    """Return the layers with the arrows that pass, each ordered by its predecessors, so that few arrows cross."""
    columns = [_Column(list(layer)) for layer in layers(edges)]
    before: dict[str, list[str]] = {}
    for route in routes:
        for place, stop in enumerate(route.stops[1:], start=1):
            before.setdefault(stop, []).append(route.stops[place - 1])
            if stop not in edges:
                columns[route.first + place].names.append(stop)
    for left, right in itertools.pairwise(columns):
        rank = {name: place for place, name in enumerate(left.names)}
        right.names.sort(key=lambda name: sum(rank[b] for b in before[name] if b in rank) / len(before[name]))
    return columns


def _size(step: str, inner: Drawing | None) -> tuple[float, float]:
    text = len(step) * LETTER + 0.4
    if inner is None:
        return text, STEP_HEIGHT
    return max(inner.width + 2 * FRAME_PAD, text + 0.8), inner.height + FRAME_PAD + FRAME_TITLE


def _height(name: str, sizes: Mapping[str, tuple[float, float]]) -> float:
    return sizes[name][1] if name in sizes else PASS_HEIGHT


def _stack(column: _Column, sizes: Mapping[str, tuple[float, float]], height: float) -> None:
    """Stack from the top, centred in the height of the drawing."""
    total = sum(_height(name, sizes) + ROW_GAP for name in column.names) - ROW_GAP
    top = (height + total) / 2
    for name in column.names:
        column.middles[name] = top - _height(name, sizes) / 2
        top -= _height(name, sizes) + ROW_GAP


def _arrow(route: _Route, columns: list[_Column]) -> tuple[Point, ...]:
    """From the right edge of one step to the left edge of the other, straight through the columns it passes."""
    points: list[Point] = []
    for place, stop in enumerate(route.stops):
        column = columns[route.first + place]
        if place > 0:
            points.append((column.x, column.middles[stop]))
        if place < len(route.stops) - 1:
            points.append((column.x + column.width, column.middles[stop]))
    return tuple(points)
