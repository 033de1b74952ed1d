"""What a data set is like, on one page: lengths, classes, who and where, and a body coloured by how often its joints are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from amanet.errors import AmanetError
from amanet.pictures.skeleton import FRONT, View, draw_body, fit_body
from amanet.pictures.style import BLUE, FAINT, MISTAKE, ORANGE, SOFT, headline, new_figure, readable, styled
from amanet.skeleton import SkeletonLayout

_NAMED_CLASSES = 30
"""Up to this many classes each has its name beside its bar."""
_WORST_JOINTS = 12


@dataclass(frozen=True)
class Overview:
    """What there is to draw.

    Attributes:
        frames: of each clip.
        bodies: of each clip.
        labels: of each clip.
        class_names: one a label.
        groups: clips by number, for each thing that clips are recorded by and with, as in ``{"performer": {1: 20, 2: 18}}``.
        joint_missing: share of the places of a joint that are absent.
        pose: a whole body to colour.
    """

    frames: Int[np.ndarray, " clip"]
    bodies: Int[np.ndarray, " clip"]
    labels: Int[np.ndarray, " clip"]
    class_names: Sequence[str]
    groups: Mapping[str, Mapping[int, int]]
    joint_missing: Float[np.ndarray, " joint"]
    pose: Float[np.ndarray, "joint coord"]


@styled
def overview_page(overview: Overview, layout: SkeletonLayout, *, title: str | None = None, view: View = FRONT) -> Figure:
    """The distributions of a store on one page.

    Raises:
        AmanetError: there is no clip, or the parts do not fit each other.
    """
    sizes = {len(overview.frames), len(overview.bodies), len(overview.labels)}
    if len(sizes) > 1 or not len(overview.frames) or len(overview.joint_missing) != layout.num_joints:
        raise AmanetError(
            "the parts of the overview do not fit each other",
            expected=f"one number a clip, and {layout.num_joints} joints",
            got=f"{sizes} and {len(overview.joint_missing)}",
        )
    named = len(overview.class_names) <= _NAMED_CLASSES
    figure = new_figure(13.0, 7.4 if named else 7.0)
    headline(figure, title)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.35, 1)).ravel()
    lengths, classes = left.subplots(2, 1, gridspec_kw={"height_ratios": (1, 1.15)})
    _draw_lengths(lengths, overview.frames)
    _draw_classes(classes, np.bincount(overview.labels, minlength=len(overview.class_names)), overview.class_names)
    above, below = right.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1)).ravel()
    if overview.joint_missing.any():
        body, joints = above.subplots(1, 2, width_ratios=(1, 1.1))
        _draw_missing_joints(joints, overview.joint_missing, layout)
    else:
        body = above.subplots()
    _draw_missing_body(body, overview, layout, view)
    counts = {"bodies": dict(zip(*(part.tolist() for part in np.unique(overview.bodies, return_counts=True)), strict=True))}
    groups = {**counts, **{f"{name}s": held for name, held in overview.groups.items() if held}}
    for axes, (name, held) in zip(np.ravel(below.subplots(1, len(groups), squeeze=False)), groups.items(), strict=True):
        _draw_counts(axes, name, held)
    return figure


def _draw_lengths(axes: Axes, frames: Int[np.ndarray, " clip"]) -> None:
    """A histogram of whole frames with the median marked."""
    width = max(1, int(np.ceil((frames.max() - frames.min() + 1) / 60)))
    axes.hist(frames, bins=np.arange(frames.min(), frames.max() + width + 1, width) - 0.5, color=BLUE, edgecolor="white", linewidth=0.3)
    middle = float(np.median(frames))
    axes.axvline(middle, color=ORANGE, linewidth=1.6)
    axes.set(title=f"{len(frames):,} clips of {frames.min()} to {frames.max()} frames", ylabel="clips", xlabel="frames")
    axes.set_title(f"median {middle:g}", loc="right", color=ORANGE, fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(visible=False, axis="x")


def _draw_classes(axes: Axes, counts: Int[np.ndarray, " class"], class_names: Sequence[str]) -> None:
    """A bar a class, the smallest in a colour of their own."""
    places = np.arange(len(counts))
    colours = [ORANGE if count == counts.min() and np.ptp(counts) else BLUE for count in counts]
    axes.bar(places, counts, color=colours, width=0.78)
    least, most = (readable(class_names[end], 24) for end in (int(counts.argmin()), int(counts.argmax())))
    spread = f"{counts.min():,} ({least}) to {counts.max():,} ({most}) clips each" if np.ptp(counts) else f"{counts[0]:,} clips each"
    axes.set(title=f"{len(counts)} classes, {spread}", ylabel="clips", xlim=(-0.7, len(counts) - 0.3))
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if len(counts) <= _NAMED_CLASSES:
        axes.set_xticks(places, [readable(name, 22) for name in class_names], rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel("label")
    axes.tick_params(axis="x", length=0)


def _draw_missing_body(axes: Axes, overview: Overview, layout: SkeletonLayout, view: View) -> None:
    """A body of the data set, its joints the darker the more often they are missing."""
    paper = view.project(overview.pose.astype(np.float64), layout)
    most, clear = max(float(overview.joint_missing.max()), 0.01), FAINT if overview.joint_missing.any() else BLUE
    colours = [MISTAKE(0.12 + 0.75 * share / most) if share > 0 else clear for share in overview.joint_missing]
    draw_body(axes, paper, np.ones(layout.num_joints, dtype=bool), layout, colours=colours, width=4.2)
    fit_body(axes, paper)
    axes.set_title("where joints are missing" if overview.joint_missing.any() else "no joint of a body that is seen is missing")


def _draw_missing_joints(axes: Axes, shares: Float[np.ndarray, " joint"], layout: SkeletonLayout) -> None:
    """The joints that are missing most often."""
    worst = np.argsort(-shares, kind="stable")[: min(_WORST_JOINTS, layout.num_joints)]
    rows = np.arange(len(worst))
    most = max(float(shares.max()), 0.01)
    axes.barh(rows, shares[worst], color=[MISTAKE(0.12 + 0.75 * share / most) for share in shares[worst]], height=0.66)
    for row, joint in enumerate(worst):
        axes.annotate(f"{shares[joint]:.1%}", (shares[joint], row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set(title="share missing", yticks=rows, ylim=(len(worst) - 0.4, -0.6), xlim=(0, 1.25 * most))
    axes.set_yticklabels([readable(layout.joints[joint]) for joint in worst])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_counts(axes: Axes, name: str, held: Mapping[int, int]) -> None:
    """Clips by a small number, a bar each."""
    order = sorted(held)
    axes.bar(np.arange(len(order)), [held[number] for number in order], color=BLUE, width=0.72)
    axes.set_title(name)
    letters = max(len(str(number)) for number in order)
    step = max(1, int(np.ceil(len(order) * (letters + 1) / 16)))
    axes.set_xticks(np.arange(0, len(order), step), [str(number) for number in order[::step]])
    if len(order) <= 4:
        for place, number in enumerate(order):
            axes.annotate(f"{held[number]:,}", (place, held[number]), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7.5)
    room = max(0.0, 3 - len(order)) / 2
    axes.set_xlim(-0.8 - room, len(order) - 0.2 + room)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.tick_params(axis="x", length=0, labelcolor=SOFT)
    axes.grid(visible=False, axis="x")
