"""The look of every dashboard: titles and numbers in, a figure out, then PNG or SVG.

Figures are made without pyplot, so nothing is global and nothing is left open; matplotlib is imported on first use.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flow_of_flows.delivery import Dashboard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#D55E00", "#009E73"
INK, MUTED, FAINT, PAPER = "#1F2933", "#66727F", "#E4E7EB", "#FFFFFF"

SIZE_INCHES = (12.8, 8.0)
DPI = 125
# It ships inside matplotlib, so every machine draws the same picture.
FONT = "DejaVu Sans"
LEFT, RIGHT = 0.045, 0.965
MILLION = 1_000_000
# A smaller change would read as 0.0 %.
SMALLEST_CHANGE = 0.0005


@dataclass(frozen=True)
class Headline:
    """One number on top of a dashboard, with a note or its relative change against the period before (0.1 = +10 %)."""

    label: str
    value: str
    change: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One horizontal bar: its name on the left, the value written at its end, a note at the right edge."""

    name: str
    value: float
    label: str
    note: str = ""


def euros(amount: float) -> str:
    """Euros as short as they stay useful: €12,345 or €12.35 M."""
    size = abs(amount)
    text = f"€{size / MILLION:,.2f} M" if size >= MILLION else f"€{size:,.0f}"
    return f"-{text}" if amount < 0 and text != "€0" else text


def percent(change: float) -> str:
    """Return a signed change: +4.2 %."""
    return f"{change * 100:+.1f} %"


def long_date(date: dt.date) -> str:
    """31 December 2025."""
    return f"{date.day} {date:%B %Y}"


def legend(axes: Axes) -> None:
    """One line above the axes, on the right."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, labelcolor=INK, borderaxespad=0.35,
        prop={"family": FONT, "size": 9.5}, handlelength=1.3, handleheight=0.9,
    )  # fmt: skip


def blank(title: str, subtitle: str) -> Figure:
    """Return a page with its title, ready for axes.

    Args:
        title: headline of the page.
        subtitle: line below it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(LEFT, 0.952, title, fontsize=21, fontweight="bold", color=INK, family=FONT, va="center")
    figure.text(LEFT, 0.908, subtitle, fontsize=10.5, color=MUTED, family=FONT, va="center")
    return figure


def no_data(title: str, reason: str) -> Figure:
    """Return a page that says that there is nothing to show, and why.

    Args:
        title: headline of the page.
        reason: why there is nothing to draw.
    """
    figure = blank(title, "No data")
    figure.text(0.5, 0.52, "No data", fontsize=34, color=MUTED, family=FONT, ha="center", fontweight="bold")
    figure.text(0.5, 0.45, reason, fontsize=12, color=MUTED, family=FONT, ha="center")
    return figure


def headlines(figure: Figure, numbers: Sequence[Headline]) -> None:
    """Write the numbers in one row under the title.

    Args:
        figure: the page.
        numbers: the numbers, left to right.
    """
    from matplotlib.lines import Line2D

    step = (RIGHT - LEFT) / len(numbers)
    for index, number in enumerate(numbers):
        x = LEFT + index * step
        figure.add_artist(Line2D([x, x], [0.765, 0.862], color=BLUE, linewidth=2.4, solid_capstyle="butt"))
        x += 0.013
        figure.text(x, 0.853, number.label, fontsize=10, color=MUTED, family=FONT, va="center")
        figure.text(x, 0.814, number.value, fontsize=19, fontweight="bold", color=INK, family=FONT, va="center")
        note, color = _note(number)
        figure.text(x, 0.774, note, fontsize=9.5, color=color, family=FONT, va="center")


def _note(number: Headline) -> tuple[str, str]:
    if number.change is None:
        return number.note, MUTED
    if abs(number.change) < SMALLEST_CHANGE:
        return f"unchanged {number.note}".strip(), MUTED
    sign, color = ("▲", BLUE) if number.change > 0 else ("▼", ORANGE)
    return f"{sign} {percent(number.change)} {number.note}".strip(), color


def panel(figure: Figure, box: tuple[float, float, float, float], title: str, note: str, *, indent: float) -> Axes:
    """Return axes in a box of the page, with a title.

    Args:
        figure: the page.
        box: left, bottom, width and height, as fractions of the page.
        title: of the axes.
        note: small text behind the title.
        indent: room for names left of the axes, as a fraction of the page.
    """
    left, bottom, width, height = box
    axes = figure.add_axes((left + indent, bottom, width - indent, height))
    above = (left, bottom + height + 0.026)
    head = figure.text(*above, title, fontsize=12, fontweight="bold", color=INK, family=FONT, va="baseline")
    head_end = axes.annotate(
        note, (1, 0), xytext=(7, 0.9), xycoords=head, textcoords="offset points", annotation_clip=False
    )
    head_end.set(fontsize=9, color=MUTED, fontfamily=FONT, va="bottom")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9.5, labelcolor=MUTED, labelfontfamily=FONT)
    axes.set_axisbelow(True)
    return axes


def bars(axes: Axes, items: Sequence[Bar], *, color: str = BLUE, slots: int = 0) -> None:
    """Horizontal bars, the first on top, each with its label at its end, so that no axis is needed.

    Args:
        axes: where to draw.
        items: the bars, at least one.
        color: of every bar.
        slots: room for this many bars, when there are fewer, so that few bars do not become thick.
    """
    values = [item.value for item in items]
    axes.barh(range(len(items)), values, color=color, height=0.6)
    axes.set_yticks(range(len(items)), [item.name for item in items], color=INK, fontfamily=FONT)
    axes.set_ylim(max(len(items), slots) - 0.5, -0.5)
    axes.set_xticks([])
    # Labels stand outside the bars and need room there.
    axes.set_xlim(min(0.0, *values), (max(0.0, *values) or 1.0) * 1.75)
    for place, item in enumerate(items):
        axes.annotate(
            item.label, (max(item.value, 0.0), place), xytext=(6, 0), textcoords="offset points",
            va="center_baseline", fontsize=9.5, color=INK, family=FONT,
        )  # fmt: skip
        axes.annotate(
            item.note, (1.0, place), xycoords=("axes fraction", "data"),
            ha="right", va="center_baseline", fontsize=9, color=MUTED, family=FONT,
        )  # fmt: skip


def grid(axes: Axes) -> None:
    """Faint horizontal lines at few whole values, and a base line."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(MUTED)


def render(figure: Figure, kind: Literal["png", "svg"] = "png") -> bytes:
    """Return the picture's bytes; the same figure gives the same bytes.

    Args:
        figure: the page.
        kind: png or svg.
    """
    import matplotlib as mpl

    stream = io.BytesIO()
    # Text stays text in an SVG, and its ids do not change from run to run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flows"}):
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return stream.getvalue()


def without_rows(name: str, title: str, table: str) -> Dashboard:
    """Return a dashboard whose mart has no rows: a page that says so, and a warning.

    Args:
        name: name of the dashboard.
        title: its title.
        table: the mart.
    """
    warning = f"No data: {table} has no rows"
    picture = render(no_data(title, f"The table {table} has no rows."))
    return Dashboard(name, title, picture, (), summary=warning, warnings=(warning,))
