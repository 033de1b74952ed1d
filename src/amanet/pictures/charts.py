"""Charts of runs: learning curves, predictions, sweeps of a setting, and the accuracies of the streams.

Accuracies and probabilities come as fractions of 1 and are written in percent.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator, PercentFormatter

from amanet.errors import AmanetError
from amanet.pictures.skeleton import FRONT, View, draw_film_strip
from amanet.pictures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    PAPER,
    SOFT,
    STRENGTH,
    check_fractions,
    headline,
    new_figure,
    readable,
    styled,
    tint,
)
from amanet.skeleton import SkeletonClip, SkeletonLayout

_CURVES = (("train", "train", INK), ("held_out", "held out", ORANGE))

_AXES_HEIGHT, _LINE_HEIGHT = 190, 9
"""Points from the bottom of a learning curve to its top, and of a line of text."""


@styled
def learning_curves(epochs: Sequence[Mapping[str, float | int]], *, title: str | None = None) -> Figure:
    """Loss and accuracy over the epochs, on the training and the held-out clips; drops of the learning rate are dashed lines.

    Args:
        epochs: one mapping an epoch, in order: ``epoch`` (counted from 1), and what was measured of ``train_loss``, ``held_out_loss``,
            ``train_accuracy``, ``held_out_accuracy``, ``learning_rate``. Other keys are left alone, epochs without a number skipped.
        title: written above.

    Raises:
        AmanetError: no epoch, an epoch without a number, nothing measured, or an accuracy that is no fraction.
    """
    measured = {f"{kind}_{what}" for kind, _, _ in _CURVES for what in ("loss", "accuracy")}
    if not any(measured & row.keys() for row in epochs) or not all("epoch" in row for row in epochs):
        raise AmanetError(
            "there is no learning to draw",
            expected=f"epochs with 'epoch' and any of {', '.join(sorted(measured))}",
            got=f"{len(epochs)} epochs",
        )
    figure = new_figure(9.0, 3.6)
    headline(figure, title)
    loss, accuracy = figure.subplots(1, 2)
    for kind, label, colour in _CURVES:
        _draw_curve(loss, epochs, f"{kind}_loss", label, colour)
        check = _draw_curve(accuracy, epochs, f"{kind}_accuracy", label, colour)
        if check.size:
            check_fractions("accuracies", check)
    loss.set(title="loss", xlabel="epoch", ylim=(0, 1.08 * loss.dataLim.y1 if loss.lines else 1))
    accuracy.set(title="accuracy", xlabel="epoch", ylim=(0, 1))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for axes in (loss, accuracy):
        _part_ends(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, labelcolor=SOFT, handlelength=1.4, borderaxespad=0.2)
        _mark_drops(axes, epochs, label=axes is loss)
    return figure


def _part_ends(axes: Axes) -> None:
    """Moves the two last values apart where one would be written over the other."""
    ends = sorted((each for each in axes.texts if isinstance(each, Annotation)), key=lambda each: each.xy[1])
    if len(ends) != 2:
        return
    low, high = axes.get_ylim()
    apart = (ends[1].xy[1] - ends[0].xy[1]) / (high - low) * _AXES_HEIGHT
    for end, direction in zip(ends, (-1, 1), strict=True):
        across, _ = end.xyann
        end.xyann = across, direction * max(0.0, _LINE_HEIGHT - apart) / 2


def _draw_curve(axes: Axes, epochs: Sequence[Mapping[str, float | int]], key: str, label: str, colour: str) -> Float[np.ndarray, " epoch"]:
    """One curve with its last value written at its end; gives back its values."""
    points = np.array([(row["epoch"], row[key]) for row in epochs if key in row], dtype=np.float64).reshape(-1, 2)
    if len(points):
        axes.plot(*points.T, color=colour, label=label, marker="o" if len(points) <= 12 else None, markersize=3.2)
        last = f"{100 * points[-1, 1]:.1f}" if key.endswith("accuracy") else f"{points[-1, 1]:.2f}"
        axes.annotate(
            last,
            points[-1].tolist(),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
        )
    return points[:, 1]


def _mark_drops(axes: Axes, epochs: Sequence[Mapping[str, float | int]], *, label: bool) -> None:
    """A dashed line before every epoch whose learning rate is at most half of that of the epoch before, where it falls in steps."""
    rates = [(row["epoch"], row["learning_rate"]) for row in epochs if "learning_rate" in row]
    if any(high / 2 < low < high for (_, high), (_, low) in pairwise(rates)):
        return
    for (before, high), (after, low) in pairwise(rates):
        if low > high / 2:
            continue
        place = (before + after) / 2
        axes.axvline(place, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        if label:
            style = {"rotation": 90, "ha": "right", "va": "top", "fontsize": 7, "color": SOFT}
            spot = {"xycoords": ("data", "axes fraction"), "xytext": (-3, 0), "textcoords": "offset points"}
            axes.annotate(f"learning rate {low:.2g}", (place, 0.97), **spot, **style)


@styled
def probabilities(
    class_names: Sequence[str],
    probs: Float[np.ndarray, " class"],
    *,
    top: int = 5,
    truth: int | None = None,
    clip: SkeletonClip | None = None,
    layout: SkeletonLayout | None = None,
    view: View = FRONT,
    title: str | None = None,
) -> Figure:
    """The most probable classes of one clip as bars, under its film strip where the clip and its layout are given.

    The bar of the true class, where it is known, is ink, and the others are blue.

    Raises:
        AmanetError: names and probabilities differ in number, probabilities are no fractions, or a clip comes without a layout.
    """
    if (clip is None) != (layout is None):
        raise AmanetError("a film strip takes a clip and its layout", got="one of the two")
    rows = min(top, len(class_names))
    bars_height = 0.55 + 0.3 * rows
    if clip is None or layout is None:
        figure = new_figure(6.4, bars_height + (0.35 if title else 0))
        headline(figure, title)
        draw_probabilities(figure, class_names, probs, top=top, truth=truth)
        return figure
    figure = new_figure(9.6, 2.9 + bars_height + (0.35 if title else 0))
    headline(figure, title)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.9, bars_height)).ravel()
    draw_film_strip(above, clip.joints, clip.present, layout, view=view)
    draw_probabilities(below, class_names, probs, top=top, truth=truth)
    return figure


def draw_probabilities(
    figure: FigureBase,
    class_names: Sequence[str],
    probs: Float[np.ndarray, " class"],
    *,
    top: int = 5,
    truth: int | None = None,
    thickness: float = 0.56,
) -> None:
    """The bars of ``probabilities`` into a figure, or a part of one, that exists; ``thickness`` is a share of the distance of two bars."""
    if len(class_names) != len(probs) or top < 1 or (truth is not None and not 0 <= truth < len(probs)):
        raise AmanetError(
            "the prediction is not over these classes",
            expected=f"{len(class_names)} probabilities, top of 1 or more, truth among them",
            got=f"{len(probs)}, top={top}, truth={truth}",
        )
    check_fractions("probabilities", probs)
    best = np.argsort(-probs, kind="stable")[:top]
    rows = np.arange(len(best))
    axes = figure.add_subplot()
    shades = [to_rgb(INK) if index == truth else tint(BLUE, 0.0 if row == 0 else 0.35) for row, index in enumerate(best)]
    axes.barh(rows, np.ones(len(best)), height=thickness, color=FAINT, zorder=1)
    axes.barh(rows, probs[best], height=thickness, color=shades, zorder=2)
    for row, index in enumerate(best):
        axes.text(
            1.012, row, f"{100 * probs[index]:.1f} %", va="center", fontsize=8.5, color=INK, fontweight="bold" if row == 0 else "normal"
        )
    axes.set(yticks=rows, xlim=(0, 1.0), ylim=(len(best) - 0.5, -0.5), xticks=[])
    axes.set_yticklabels([readable(class_names[int(index)]) + (" ✓" if index == truth else "") for index in best])
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


@styled
def sweep(
    values: Sequence[float | int],
    mean: Sequence[float],
    spread: Sequence[float],
    name: str,
    *,
    paper: Mapping[float, float] | None = None,
) -> Figure:
    """Accuracy over the values of one setting (as Fig. 7), the best marked; the paper's numbers, where given, beside ours.

    Args:
        values: of the setting.
        mean: mean accuracy over seeds for each value.
        spread: standard deviation over seeds, 0 for a single seed.
        name: of the setting.
        paper: value to the accuracy the paper states.

    Raises:
        AmanetError: the sequences differ in length or are empty, or accuracies are no fractions.
    """
    if not len(values) == len(mean) == len(spread) >= 1:
        raise AmanetError(
            "a sweep has one mean and one spread a value", got=f"{len(values)} values, {len(mean)} means, {len(spread)} spreads"
        )
    order = np.argsort(np.asarray(values, dtype=np.float64))
    x, y, error = (np.asarray(numbers, dtype=np.float64)[order] for numbers in (values, mean, spread))
    check_fractions("accuracies", y)
    figure = new_figure(5.4, 3.5)
    axes = figure.add_subplot()
    axes.fill_between(x, y - error, y + error, color=BLUE, alpha=0.14, linewidth=0)
    axes.plot(
        x,
        y,
        color=BLUE,
        marker="o",
        markersize=5,
        markeredgecolor=PAPER,
        label="here, mean ± deviation over seeds" if error.any() else "here",
    )
    if paper:
        check_fractions("accuracies of the paper", np.array(list(paper.values()), dtype=np.float64))
        axes.plot(*np.array(sorted(paper.items())).T, color=ORANGE, linestyle=(0, (4, 3)), marker="D", markersize=4.5, label="paper")
    best = int(np.argmax(y))
    axes.scatter(x[best], y[best], s=130, facecolors="none", edgecolors=BLUE, linewidths=1.3, zorder=4)
    axes.annotate(
        f"{100 * y[best]:.1f}", (x[best], y[best] + error[best]), xytext=(0, 9), textcoords="offset points", ha="center", color=BLUE
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel=readable(name), ylabel="accuracy")
    axes.margins(y=0.22)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, labelcolor=SOFT)
    return figure


@styled
def stream_bars(streams: Mapping[str, Sequence[float]], *, title: str | None = None) -> Figure:
    """Top-1 to top-k accuracy of each stream and fusion (as Fig. 9): a bar from top-1 to top-k with a dot for each.

    Args:
        streams: name to its accuracies at top-1, top-2, ...; all of one length, none falling.
        title: written above.

    Raises:
        AmanetError: no stream, accuracies that are no fractions, fall with k, or differ in number.
    """
    lengths = {len(accuracies) for accuracies in streams.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise AmanetError(
            "the streams have no common top-1 to top-k", expected="one or more streams, as many accuracies each", got=sorted(lengths)
        )
    table = np.array(list(streams.values()), dtype=np.float64)
    check_fractions("accuracies", table)
    if (np.diff(table, axis=1) < 0).any():
        raise AmanetError("accuracies fall from top-1 to top-k", expected="each at least the one before", got=table.tolist())
    rows, top = np.arange(len(table)), table.shape[1]
    figure = new_figure(6.6, 1.15 + 0.42 * len(table) + (0.35 if title else 0))
    headline(figure, title)
    axes = figure.add_subplot()
    axes.barh(rows, table[:, -1] - table[:, 0], left=table[:, 0], height=0.3, color=FAINT, zorder=1)
    shades = STRENGTH(np.linspace(0.85, 0.35, top))
    for k in range(top):
        axes.scatter(
            table[:, k], rows, s=52, color=shades[k : k + 1], edgecolors=PAPER, linewidths=0.8, zorder=top + 2 - k, label=f"top-{k + 1}"
        )
    for row, first in enumerate(table[:, 0]):
        axes.annotate(f"{100 * first:.1f}", (first, row), xytext=(-8, 0), textcoords="offset points", ha="right", va="center", fontsize=8.5)
    axes.set(yticks=rows, ylim=(len(table) - 0.4, -0.6))
    axes.set_yticklabels([readable(name) for name in streams])
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    low, high = float(table.min()), float(table.max())
    room = max(high - low, 0.02)
    axes.set_xlim(low - 0.2 * room, high + 0.06 * room)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=top, labelcolor=SOFT, handletextpad=0.1, columnspacing=1.2)
    return figure
