"""Where the boxes and arrows of a pipeline go: edges in, a frozen `Drawing` in inches out. Pure; called by `graph`."""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flow_of_flows.errors import ConfigurationError

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
        """The same, elsewhere."""
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
    """Steps by how many others stand before them, each layer in the order given.

    Raises:
        ConfigurationError: a cycle, or a step after one that does not exist.
    """
    for step, after in edges.items():
        if missing := sorted(set(after) - set(edges)):
            raise ConfigurationError(
                f"Step {step} comes after {missing[0]}, which does not exist", todo="correct `after`"
            )
    sorter, places, found = graphlib.TopologicalSorter(edges), {step: n for n, step in enumerate(edges)}, []
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(error.args[1])
        raise ConfigurationError(f"The steps go in a circle: {circle}", todo="remove one `after`") from error
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        found.append(ready)
        sorter.done(*ready)
    return found


def draw(edges: Edges, nested: Nested, path: str = "") -> Drawing:
    """Place the steps left to right by layer; a nested pipeline is a frame around its own drawing."""
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
    """Whether a step is drawn as a frame; a pipeline inside itself is not, or there would be no end."""
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
    """Layers with the arrows that pass, each ordered by the middle of what comes before it, to cross few arrows."""
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
