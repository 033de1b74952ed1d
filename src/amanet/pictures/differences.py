"""Many differences at once: what was measured with its interval, and what was expected beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amanet.errors import AmanetError
from amanet.pictures.style import AMBER, BLUE, FAINT, INK, ORANGE, PAPER, SKY, SOFT, VIOLET, headline, new_figure, readable, styled

SERIES_COLOURS = (BLUE, VIOLET, SKY, AMBER, INK)
ROW_INCHES, CHARACTERS = 0.36, 56
X_LABEL = "points of top-1 by which the first is better; full dots: the interval leaves out zero"


@dataclass(frozen=True)
class Difference:
    """How much better one thing is than another.

    Attributes:
        group: rows of one group stand together under its name.
        better: what is expected to be better.
        worse: than what.
        paper: the expected difference in points, where it is known.
        here: by series, the difference that was measured and the half width of its interval, None where it is not known.
    """

    group: str
    better: str
    worse: str
    paper: float | None = None
    here: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)


@styled
def difference_chart(differences: Sequence[Difference], *, title: str | None = None) -> Figure:
    """One row a difference: dots with intervals are measured, hollow diamonds are the paper's; right of zero is as expected.

    A dot is full where its interval leaves out zero, and hollow elsewhere. The axis reaches as far as the dots; an interval may leave it.

    Args:
        differences: of one group one after another, from top to bottom.
        title: written above.

    Raises:
        AmanetError: nothing was measured, there are more series than colours, or a number is not finite.
    """
    series = list(dict.fromkeys(name for each in differences for name in each.here))
    if not 1 <= len(series) <= len(SERIES_COLOURS):
        raise AmanetError(
            "these differences cannot be drawn together", expected=f"1 to {len(SERIES_COLOURS)} series", got=", ".join(series) or "none"
        )
    means = [mean for each in differences for mean, _ in each.here.values()]
    means += [each.paper for each in differences if each.paper is not None]
    if not np.isfinite(means).all():
        raise AmanetError("a difference is not finite", got=means)
    places = _places(differences)
    figure = new_figure(9.4, 1.3 + ROW_INCHES * (max(places) + 1) + (0.35 if title else 0))
    headline(figure, title)
    axes = figure.add_subplot()
    reach = 1.15 * max(0.5, *np.abs(means))
    axes.axvspan(-reach, 0, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
    axes.axvline(0, color=SOFT, linewidth=1.0, zorder=1)
    for index, (name, colour) in enumerate(zip(series, SERIES_COLOURS, strict=False)):
        shift = 0.24 * (index - (len(series) - 1) / 2)
        rows = [(place + shift, each.here[name]) for place, each in zip(places, differences, strict=True) if name in each.here]
        _draw_series(axes, name, rows, colour)
    paper = [(each.paper, place) for place, each in zip(places, differences, strict=True) if each.paper is not None]
    if paper:
        points = np.array(paper, dtype=np.float64)
        axes.scatter(*points.T, marker="D", s=26, facecolors="none", edgecolors=ORANGE, linewidths=1.3, label="paper", zorder=4)
    axes.set(xlim=(-reach, reach), ylim=(max(places) + 0.6, -1.5), yticks=[], xlabel=X_LABEL)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    _write_labels(axes, differences, places)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(series) + 1, labelcolor=SOFT, handletextpad=0.4)
    return figure


def _places(differences: Sequence[Difference]) -> list[float]:
    """The heights of the rows, with one left free above each group for its name."""
    places: list[float] = []
    row = 0.0
    for index, each in enumerate(differences):
        row += 1.0 if index == 0 or each.group == differences[index - 1].group else 1.9
        places.append(row - 1.0)
    return places


def _draw_series(axes: Axes, name: str, rows: Sequence[tuple[float, tuple[float, float | None]]], colour: str) -> None:
    axes.scatter([], [], s=36, color=colour, label=f"{name}, 95 % interval")
    for height, (mean, half_width) in rows:
        if half_width is not None:
            axes.plot([mean - half_width, mean + half_width], [height, height], color=colour, linewidth=1.6, zorder=2)
        told = half_width is not None and abs(mean) > half_width
        axes.scatter(mean, height, s=36, facecolors=colour if told else PAPER, edgecolors=colour, linewidths=1.4, zorder=3)


def _write_labels(axes: Axes, differences: Sequence[Difference], places: Sequence[float]) -> None:
    """Left of the axes, the names of the two that are compared; in them, above each group, its name."""
    style: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "annotation_clip": False}
    for index, (each, place) in enumerate(zip(differences, places, strict=True)):
        axes.annotate(readable(each.better, CHARACTERS), (0, place), xytext=(-8, 1.5), va="bottom", fontsize=8, color=INK, **style)
        axes.annotate(f"over {readable(each.worse, CHARACTERS)}", (0, place), xytext=(-8, 0), va="top", fontsize=7, color=SOFT, **style)
        if index == 0 or each.group != differences[index - 1].group:
            axes.text(0.01, place - 0.92, each.group, va="center", fontsize=9, fontweight="bold", transform=axes.get_yaxis_transform())
            axes.axhline(place - 0.6, color=FAINT, linewidth=0.8, zorder=0)
