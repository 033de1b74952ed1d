"""What the preprocessing sees in a body: the parts with their own frames of reference, and the groups of the fused scale."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, FigureBase, SubFigure

from amanet.errors import AmanetError
from amanet.pictures.skeleton import FRONT, View, draw_body, fit_body, label_beside
from amanet.pictures.style import INK, PAPER, SOFT, bare, check_pose, headline, new_figure, part_colours, readable, styled, tint
from amanet.skeleton import SkeletonLayout, stream_layout


@styled
def part_frames(
    layout: SkeletonLayout,
    pose: Float[np.ndarray, "joint coord"],
    *,
    alien: Float[np.ndarray, "joint axis"] | None = None,
    scale: float | int = 1.2,
    view: View = FRONT,
) -> Figure:
    """The parts of alien relative coordinates (Alg. 1, Fig. 3): each in its colour, with its origin and its x axis.

    A ring marks the origin of a part and a diamond its anchor, the point that becomes (s, 0, 0); the arrow is its x axis. Beside the
    body, where ``alien`` is given, every part is drawn again in its own coordinates, x to the right and y up.

    Args:
        layout: of the body.
        pose: its joints, all of them.
        alien: the same joints in alien coordinates.
        scale: s, the distance of the anchor from the origin in alien coordinates.
        view: where the body is seen from.

    Raises:
        AmanetError: the pose or the coordinates are not of this layout, or not finite.
    """
    check_pose(pose, layout)
    if alien is None:
        figure = new_figure(4.6, 5.4)
        _draw_part_frames(figure, layout, pose, view)
        return figure
    if alien.shape[0] != layout.num_joints or alien.shape[1] < 2 or not np.isfinite(alien).all():
        raise AmanetError(
            "the alien coordinates are not of this body", expected=f"{layout.num_joints} finite joints", got=f"shape {alien.shape}"
        )
    figure = new_figure(9.4, 5.4)
    left, right = _side_by_side(figure, (1.0, 1.15))
    _draw_part_frames(left, layout, pose, view)
    _draw_alien_parts(right, layout, alien, scale)
    return figure


def _side_by_side(figure: Figure, widths: tuple[float, float]) -> tuple[SubFigure, SubFigure]:
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=widths).ravel()
    return left, right


def _draw_part_frames(figure: FigureBase, layout: SkeletonLayout, pose: Float[np.ndarray, "joint coord"], view: View) -> None:
    axes, paper = figure.add_subplot(), view.project(pose.astype(np.float64), layout)
    headline(figure, "The parts, each with its frame of reference", size=11.0)
    fit_body(axes, paper, margin=0.09)
    colour_of = {joint: colour for part, colour in zip(layout.parts, part_colours(layout), strict=True) for joint in part.joints}
    whole = np.ones(layout.num_joints, dtype=bool)
    draw_body(axes, paper, whole, layout, colours=[tint(colour_of[joint], 0.25) for joint in range(layout.num_joints)], width=3.6)
    for part in layout.parts:
        _draw_frame(
            axes, paper[part.origin, :2], paper[part.anchor, :2], colour_of[part.joints[0]], least=0.13 * float(np.ptp(paper[:, 1]))
        )
    _key_of_parts(axes, layout)


def _draw_frame(axes: Axes, origin: Float[np.ndarray, "2"], anchor: Float[np.ndarray, "2"], colour: str, *, least: float = 0.0) -> None:
    """A ring at the origin, a diamond at the anchor, and the x axis through both, ``least`` long or longer."""
    length = max(float(np.linalg.norm(anchor - origin)), 1e-9)
    x, y = origin + (anchor - origin) * max(1.3, least / length)
    arrow = {"arrowstyle": "-|>,head_length=0.45,head_width=0.2", "color": colour, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(x, y), xytext=(origin[0], origin[1]), arrowprops=arrow, zorder=7)
    axes.scatter(*origin, s=42, facecolors=PAPER, edgecolors=colour, linewidths=1.8, zorder=9)
    axes.scatter(*anchor, s=30, marker="D", facecolors=colour, edgecolors=PAPER, linewidths=1.0, zorder=8)


def _key_of_parts(axes: Axes, layout: SkeletonLayout) -> None:
    for part, colour in zip(layout.parts, part_colours(layout), strict=True):
        joint, anchor = readable(layout.joints[part.origin]), readable(layout.joints[part.anchor])
        axes.plot([], [], color=colour, linewidth=3.2, label=f"{readable(part.name)}: {joint} → {anchor}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=1, handlelength=1.2, labelcolor=SOFT, title_fontsize=8)


def _draw_alien_parts(figure: FigureBase, layout: SkeletonLayout, alien: Float[np.ndarray, "joint axis"], scale: float) -> None:
    headline(figure, "The same joints, each part in its own coordinates", size=11.0)
    rows = len(layout.parts) // 2 + 1  # with a place for the words
    grid = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, part, colour in zip(grid, layout.parts, part_colours(layout), strict=False):
        members = np.array(part.joints)
        bones = [(joint, parent) for joint, parent in layout.bones if joint in part.joints and parent in part.joints]
        axes.add_collection(
            LineCollection([alien[[joint, parent], :2] for joint, parent in bones], colors=colour, linewidths=2.6, capstyle="round")
        )
        axes.scatter(*alien[members, :2].T, s=22, c=colour, edgecolors=PAPER, linewidths=0.7, zorder=3)
        _draw_frame(axes, np.zeros(2), np.array([scale, 0.0]), colour)
        axes.set_title(readable(part.name), fontsize=9, color=colour)
        axes.margins(0.18)
        axes.set_aspect("equal", adjustable="datalim")
    for axes in grid[len(layout.parts) :]:
        bare(axes)
    words = f"ring: the origin, at (0, 0, 0)\ndiamond: the anchor, at ({scale:g}, 0, 0)\narrow: x axis; upwards: y"
    empty = grid[len(layout.parts)]
    empty.text(0.0, 0.55, words, transform=empty.transAxes, fontsize=8, color=SOFT, va="center", linespacing=1.7)


@styled
def groups_picture(layout: SkeletonLayout, pose: Float[np.ndarray, "joint coord"], *, view: View = FRONT) -> Figure:
    """The fused scale: on the left the groups of neighbouring joints, on the right the skeleton of their barycentres.

    Raises:
        AmanetError: the pose is not of this layout, or not finite.
    """
    check_pose(pose, layout)
    figure = new_figure(8.4, 5.4)
    left, right = _side_by_side(figure, (1.0, 1.0))
    paper = view.project(pose.astype(np.float64), layout)
    fused = stream_layout(layout, "joint-fused")
    centres = np.stack([paper[list(group.joints)].mean(axis=0) for group in layout.groups])
    axes = left.add_subplot()
    headline(left, f"{layout.num_joints} joints in {len(layout.groups)} groups", size=11.0)
    fit_body(axes, paper)
    _draw_groups(axes, paper, centres, layout, fused)
    axes = right.add_subplot()
    headline(right, f"Their {len(layout.groups)} barycentres, the fused scale", size=11.0)
    fit_body(axes, paper)
    draw_body(axes, centres, np.ones(len(centres), dtype=bool), fused, width=4.0)
    label_beside(axes, centres[:, :2], [readable(name) for name in fused.joints])
    return figure


def _draw_groups(
    axes: Axes,
    paper: Float[np.ndarray, "joint 3"],
    centres: Float[np.ndarray, "group 3"],
    layout: SkeletonLayout,
    fused: SkeletonLayout,
) -> None:
    """Each group as a soft band around its joints, and a ring at its barycentre."""
    part_of = {joint: index for index, part in enumerate(layout.parts) for joint in part.joints}
    colours = [part_colours(layout)[part_of[group.joints[0]]] for group in layout.groups]
    draw_body(axes, paper, np.ones(layout.num_joints, dtype=bool), layout, colours=[INK] * layout.num_joints, width=2.0, fade=0.55)
    for group, centre, colour in zip(layout.groups, centres, colours, strict=True):
        spokes = [np.stack([centre[:2], paper[joint, :2]]) for joint in group.joints]
        axes.add_collection(LineCollection(spokes, colors=colour, linewidths=17, alpha=0.28, capstyle="round", zorder=1))
        axes.scatter(*centre[:2], s=52, facecolors=PAPER, edgecolors=colour, linewidths=2.0, zorder=5)
