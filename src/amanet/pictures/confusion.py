"""The confusion matrix of ten classes or a hundred and twenty, with the pairs that are confused most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from amanet.errors import AmanetError
from amanet.pictures.style import FAINT, INK, MISTAKE, ORANGE, PAPER, SOFT, STRENGTH, bare, readable, styled, tint

_HEADLINE: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "color": INK, "va": "top"}
_MOST_WRITTEN = 16
"""Up to this many classes every cell has its number written in it."""


@styled
def confusion_matrix(
    counts: Integer[np.ndarray, "class class"], class_names: Sequence[str], *, num_pairs: int = 12, title: str | None = None
) -> Figure:
    """Share of the clips of each class (row) that were taken for each class (column), and the most confused pairs beside it.

    What is right is blue, what is wrong orange; both scales rise fast at the low end, so that a share of one percent is seen. Rows of
    classes without a clip are grey.

    Args:
        counts: clips of the true class (row) predicted as the class (column).
        class_names: one a class.
        num_pairs: confused pairs to list.
        title: written above.

    Raises:
        AmanetError: counts and names do not fit, counts are negative, or there is no clip at all.
    """
    if counts.shape != (len(class_names), len(class_names)) or (counts < 0).any() or not counts.any():
        raise AmanetError(
            "the counts are not those of a confusion matrix",
            expected=f"{len(class_names)} by {len(class_names)} counts of clips, some of them above 0",
            got=f"shape {counts.shape}, smallest {counts.min(initial=0)}, sum {counts.sum()}",
        )
    names = [readable(name, 30) for name in class_names]
    shares = row_shares(counts)
    side = float(np.clip(0.105 * len(names), 3.4, 12.5))
    letters = float(np.clip(72 * 0.88 * side / len(names), 4.0, 9.0))
    room = 0.4 + 0.0093 * letters * max(map(len, names))  # inches, for the longest name
    width, height = room + side + 4.0, max(side + room + 0.9, 4.4)
    figure = Figure(figsize=(width, height))
    accuracy = float(np.trace(counts) / counts.sum())
    figure.text(0.1 / width, 1 - 0.1 / height, title or f"{100 * accuracy:.1f} % of {counts.sum():,} clips recognised", **_HEADLINE)
    low = height - 0.6 - side
    grid = figure.add_axes((room / width, low / height, side / width, side / height))
    pairs = figure.add_axes(((room + side + 0.4) / width, 0.02, 3.5 / width, 1 - 0.02 - 0.6 / height))
    _draw_grid(grid, shares, names, letters)
    _draw_pairs(pairs, shares, [readable(name, 22) for name in class_names], num_pairs, lines=height / 0.42)
    return figure


def row_shares(counts: Integer[np.ndarray, "class class"]) -> Float[np.ndarray, "class class"]:
    """Counts divided by the sum of their row; NaN in the rows of classes without a clip."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def most_confused(shares: Float[np.ndarray, "class class"], count: int) -> Int[np.ndarray, "pair 2"]:
    """(true, predicted) of the largest shares off the diagonal, largest first; no pair that never happened."""
    wrong = np.nan_to_num(shares)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = np.stack(np.unravel_index(order, wrong.shape), axis=1)
    return pairs[wrong[pairs[:, 0], pairs[:, 1]] > 0]


def _draw_grid(axes: Axes, shares: Float[np.ndarray, "class class"], names: Sequence[str], letters: float) -> None:
    right = np.eye(len(names), dtype=bool)
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    axes.imshow(np.where(np.isnan(shares), 1.0, np.nan), cmap="Greys", vmin=0, vmax=8)
    axes.imshow(np.where(right, np.nan, shares), cmap=MISTAKE, norm=norm)
    axes.imshow(np.where(right, shares, np.nan), cmap=STRENGTH, norm=norm)
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="predicted", ylabel="true")
    axes.set_xticklabels(names, rotation=90, fontsize=letters)
    axes.set_yticklabels(names, fontsize=letters)
    axes.tick_params(length=0, pad=2)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color=FAINT, linewidth=0.25 if len(names) > 40 else 0.6)
    axes.spines[:].set_visible(False)
    if len(names) <= _MOST_WRITTEN:
        for row, column in np.argwhere(np.nan_to_num(shares) >= 0.005):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color=PAPER if share > (0.2 if row == column else 0.4) else INK,
            )


def _draw_pairs(axes: Axes, shares: Float[np.ndarray, "class class"], names: Sequence[str], num_pairs: int, lines: float) -> None:
    """The most confused pairs from the top, a line each: share, bar, and the two names; there is room for ``lines``."""
    bare(axes)
    axes.set(xlim=(0, 1), title="Most confused: true → predicted")
    pairs = most_confused(shares, num_pairs)
    axes.set_ylim(max(lines, len(pairs) + 1.0), -0.6)
    if len(pairs) == 0:
        axes.text(0, 0, "none: every clip was recognised", color=SOFT, fontsize=8.5)
    for line, (true, predicted) in enumerate(pairs):
        share = shares[true, predicted]
        axes.text(0.0, line, f"{100 * share:.0f} %", fontsize=8.5, fontweight="bold", color=INK, va="center")
        axes.barh(line + 0.42, share * 0.83, left=0.17, height=0.09, color=ORANGE)
        axes.barh(line + 0.42, 0.83, left=0.17, height=0.09, color=tint(ORANGE, 0.85), zorder=0)
        axes.text(0.17, line, f"{names[true]} → {names[predicted]}", fontsize=7.5, color=INK, va="center")
