"""Many differences at once: what was measured with its interval, and what was expected beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amanet.errors import AmanetError
from amanet.pictures.style import FAINT, INK, ORANGE, PAPER, SERIES_COLOURS, SOFT, headline, new_figure, readable, styled

SHAPES = "os^vp"
"""Of series that have the same colour."""
WIDTH, ROW_INCHES, LEGEND_INCHES, CHARACTERS = 9.4, 0.36, 0.19, 56
LANE = 0.28
"""Between two series of a row, where one is a row of few."""
X_LABEL = "points of top-1 by which the first is better, with 95 % intervals; full: the interval leaves out zero"


@dataclass(frozen=True)
class Difference:
    """How much better one thing is than another.

    Attributes:
        group: rows of one group stand together under its name.
        better: what is expected to be better.
        worse: than what.
        paper: by series, the expected difference in points, where it is known.
        here: by series, the difference that was measured and the half width of its interval, None where it is not known.
    """

    group: str
    better: str
    worse: str
    paper: Mapping[str, float] = field(default_factory=dict)
    here: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)


@styled
def difference_chart(differences: Sequence[Difference], *, title: str | None = None) -> Figure:
    """One row a difference: dots with intervals are measured, hollow diamonds are the paper's; right of zero is as expected.

    A dot is full where its interval leaves out zero, and hollow elsewhere. The axis reaches as far as the dots; an interval may leave it.
    A row has its series from top to bottom in the order of the legend, and is as high as they need. One diamond in its middle stands for
    all of them; where the paper's numbers differ, each series has its own beside it.

    Args:
        differences: of one group one after another, from top to bottom.
        title: written above.

    Raises:
        AmanetError: nothing was measured, or a number is not finite.
    """
    series = list(dict.fromkeys(name for each in differences for name in (*each.here, *each.paper)))
    if not any(each.here for each in differences):
        raise AmanetError("there is no difference to draw", expected="one that was measured, or more", got="none")
    means = [mean for each in differences for mean, _ in each.here.values()]
    means += [number for each in differences for number in each.paper.values()]
    if not np.isfinite(means).all():
        raise AmanetError("a difference is not finite", got=means)
    rows = _rows(differences, series)
    columns = _columns(series)
    legend = math.ceil((len(series) + 1) / columns)
    figure = new_figure(WIDTH, 0.8 + ROW_INCHES * (rows[-1].bottom + 1.0) + LEGEND_INCHES * legend + (0.35 if title else 0))
    headline(figure, title)
    axes = figure.add_subplot()
    reach = 1.15 * max(0.5, *np.abs(means))
    axes.axvspan(-reach, 0, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
    axes.axvline(0, color=SOFT, linewidth=1.0, zorder=1)
    for index, name in enumerate(series):
        again, place = divmod(index, len(SERIES_COLOURS))
        _draw_series(axes, name, rows, SERIES_COLOURS[place], SHAPES[again % len(SHAPES)])
    if paper := [diamond for row in rows for diamond in row.diamonds()]:
        points = np.array(paper, dtype=np.float64)
        axes.scatter(*points.T, marker="D", s=26, facecolors="none", edgecolors=ORANGE, linewidths=1.3, label="paper", zorder=4)
    axes.set(xlim=(-reach, reach), ylim=(rows[-1].bottom + 0.1, -1.5), yticks=[], xlabel=X_LABEL)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    _write_labels(axes, rows)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, labelcolor=SOFT, handletextpad=0.4)
    return figure


@dataclass(frozen=True)
class _Row:
    """Where a difference is drawn: between two heights, and each series that it has at its own."""

    shown: Difference
    begins_group: bool
    top: float
    bottom: float
    heights: Mapping[str, float]

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def diamonds(self) -> list[tuple[float, float]]:
        """The paper's numbers and their heights."""
        paper = self.shown.paper
        if len(set(paper.values())) == 1:
            return [(next(iter(paper.values())), self.middle)]
        return [(number, self.heights[name]) for name, number in paper.items()]


def _rows(differences: Sequence[Difference], series: Sequence[str]) -> list[_Row]:
    """From top to bottom, with room above each group for its name."""
    rows: list[_Row] = []
    for each in differences:
        begins = not rows or rows[-1].shown.group != each.group
        top = rows[-1].bottom + 0.9 * begins if rows else -0.5
        names = [name for name in series if name in each.here or name in each.paper]
        bottom = top + max(1.0, LANE * (len(names) + 1))
        first = (top + bottom - LANE * (len(names) - 1)) / 2
        rows.append(_Row(each, begins, top, bottom, {name: first + LANE * index for index, name in enumerate(names)}))
    return rows


def _columns(series: Sequence[str]) -> int:
    """Of the legend, which names the paper too: as many as there is room for, all of about one length."""
    room = max(1, int(WIDTH / (0.5 + 0.075 * max(map(len, series)))))
    return math.ceil((len(series) + 1) / math.ceil((len(series) + 1) / room))


def _draw_series(axes: Axes, name: str, rows: Sequence[_Row], colour: str, shape: str) -> None:
    axes.scatter([], [], s=36, color=colour, marker=shape, label=name)
    for row in rows:
        if name in row.shown.here:
            height, (mean, half_width) = row.heights[name], row.shown.here[name]
            if half_width is not None:
                axes.plot([mean - half_width, mean + half_width], [height, height], color=colour, linewidth=1.6, zorder=2)
            face = colour if half_width is not None and abs(mean) > half_width else PAPER
            axes.scatter(mean, height, s=36, marker=shape, facecolors=face, edgecolors=colour, linewidths=1.4, zorder=3)


def _write_labels(axes: Axes, rows: Sequence[_Row]) -> None:
    """Left of the axes, the names of the two that are compared; in them, above each group, its name."""
    style: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "annotation_clip": False}
    for row in rows:
        better, worse, place = readable(row.shown.better, CHARACTERS), readable(row.shown.worse, CHARACTERS), (0, row.middle)
        axes.annotate(better, place, xytext=(-8, 1.5), va="bottom", fontsize=8, color=INK, **style)
        axes.annotate(f"over {worse}", place, xytext=(-8, 0), va="top", fontsize=7, color=SOFT, **style)
        if row.begins_group:
            group, where = row.shown.group, axes.get_yaxis_transform()
            axes.text(0.01, row.top - 0.42, group, va="center", fontsize=9, fontweight="bold", transform=where)
            axes.axhline(row.top - 0.1, color=FAINT, linewidth=0.8, zorder=0)
