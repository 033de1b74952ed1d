"""Correlations between joints, the paper's Fig. 8: heat maps, and the strongest links over the body."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from amanet.errors import AmanetError
from amanet.pictures.skeleton import FRONT, View, draw_body, fit_body
from amanet.pictures.style import (
    INK,
    ORANGE,
    SIGNED,
    SOFT,
    STRENGTH,
    check_pose,
    headline,
    new_figure,
    part_colours,
    readable,
    styled,
)
from amanet.skeleton import SkeletonLayout

BONE_LINK, MOTION_LINK = INK, ORANGE


@styled
def joint_correlations(
    matrices: Mapping[str, Float[np.ndarray, "row column"]],
    pose: Float[np.ndarray, "joint coord"],
    layout: SkeletonLayout,
    *,
    num_links: int = 16,
    view: View = FRONT,
    title: str | None = None,
) -> Figure:
    """Each matrix as a heat map, and beneath it its strongest links on the body (Fig. 8).

    Rows and columns are ordered by body part, which the coloured bars name. A link is the mean of both directions between two
    different joints; its width and opacity follow its strength, relative to the strongest of its matrix. Links along a bone are
    dark and straight, and all drawn; the strongest of the others, which only the action makes, are orange arcs.

    Args:
        matrices: name to be written above, and the correlations; row: the joint that looks, column: the joint it looks at.
        pose: joints of the body the links are drawn on, all of them.
        layout: of both.
        num_links: links to draw for each matrix besides the bones.
        view: where the body is seen from.
        title: written above.

    Raises:
        AmanetError: no matrix, or one that is not joints by joints of this layout, or numbers that are not finite.
    """
    figure = new_figure(0.5 + 2.75 * len(matrices), 7.2 if title else 6.9)
    headline(figure, title)
    draw_joint_correlations(figure, matrices, pose, layout, num_links=num_links, view=view)
    return figure


@styled
def action_correlations(
    actions: Mapping[str, tuple[Mapping[str, Float[np.ndarray, "row column"]], Float[np.ndarray, "joint coord"]]],
    layout: SkeletonLayout,
    *,
    num_links: int = 16,
    view: View = FRONT,
    title: str | None = None,
) -> Figure:
    """Several actions one under another, each as ``joint_correlations`` draws it (the whole of Fig. 8).

    Args:
        actions: what to write above each, and its matrices and pose.
        layout: of all.
        num_links: links to draw for each matrix besides the bones.
        view: where the bodies are seen from.
        title: written above.

    Raises:
        AmanetError: there is no action, or as ``joint_correlations`` raises it.
    """
    if not actions:
        raise AmanetError("there is no action to draw", expected="at least one")
    columns = max(len(matrices) for matrices, _ in actions.values())
    figure = new_figure(0.5 + 2.75 * columns, 6.9 * len(actions) + (0.3 if title else 0))
    headline(figure, title, size=14.0)
    parts = figure.subfigures(len(actions), 1, squeeze=False).ravel()
    for part, (name, (matrices, pose)) in zip(parts, actions.items(), strict=True):
        headline(part, name)
        draw_joint_correlations(part, matrices, pose, layout, num_links=num_links, view=view)
    return figure


def draw_joint_correlations(
    figure: FigureBase,
    matrices: Mapping[str, Float[np.ndarray, "row column"]],
    pose: Float[np.ndarray, "joint coord"],
    layout: SkeletonLayout,
    *,
    num_links: int = 16,
    view: View = FRONT,
) -> None:
    """``joint_correlations`` into a figure, or a part of one, that exists."""
    check_pose(pose, layout)
    _check_matrices(matrices, layout)
    paper = view.project(pose.astype(np.float64), layout)
    grid = figure.subplots(2, len(matrices), squeeze=False, height_ratios=(1.0, 1.25))
    for column, (name, matrix) in enumerate(matrices.items()):
        _draw_heat_map(figure, grid[0, column], name, matrix, layout, label_parts=column == 0)
        _draw_links(grid[1, column], matrix, paper, layout, num_links)
    _draw_key(figure)


def _check_matrices(matrices: Mapping[str, Float[np.ndarray, "row column"]], layout: SkeletonLayout) -> None:
    if not matrices:
        raise AmanetError("there is no correlation matrix to draw", expected="at least one")
    for name, matrix in matrices.items():
        if matrix.shape != (layout.num_joints, layout.num_joints) or not np.isfinite(matrix).all():
            raise AmanetError(
                f"matrix {name!r} holds no correlations of layout {layout.name}",
                expected=f"{layout.num_joints} by {layout.num_joints} finite numbers",
                got=f"shape {matrix.shape}",
            )


def part_order(layout: SkeletonLayout) -> Int[np.ndarray, " joint"]:
    """Joints part by part, the order of rows and columns in the heat maps."""
    return np.array([joint for part in layout.parts for joint in part.joints])


def _draw_heat_map(
    figure: FigureBase, axes: Axes, name: str, matrix: Float[np.ndarray, "joint joint"], layout: SkeletonLayout, *, label_parts: bool
) -> None:
    order = part_order(layout)
    top = max(float(np.abs(matrix).max()), 1e-12)
    signed = bool((matrix < 0).any())
    image = axes.imshow(matrix[np.ix_(order, order)], cmap=SIGNED if signed else STRENGTH, vmin=-top if signed else 0, vmax=top)
    axes.set_title(name, color=INK, pad=6)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _draw_part_bars(axes, layout, label_parts=label_parts)
    bar = figure.colorbar(
        image, ax=axes, orientation="horizontal", shrink=0.72, aspect=26, pad=0.04, ticks=[-top, 0, top] if signed else [0, top]
    )
    bar.ax.set_xticklabels([f"{tick:.2g}" for tick in bar.get_ticks()])
    bar.ax.tick_params(length=0, labelsize=7, pad=2)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _draw_part_bars(axes: Axes, layout: SkeletonLayout, *, label_parts: bool) -> None:
    """Coloured bars left of and under the heat map, one a part, and fine white lines between the parts."""
    start, width, total = 0.0, 0.035, layout.num_joints
    for part, colour in zip(layout.parts, part_colours(layout), strict=True):
        size = len(part.joints)
        low, span = start / total, size / total
        for corner, extent in (((-1.8 * width, 1 - low - span), (width, span)), ((low, -1.8 * width), (span, width))):
            bar = Rectangle(corner, *extent, transform=axes.transAxes, facecolor=colour, edgecolor="white", linewidth=1.2, clip_on=False)
            axes.add_patch(bar)
        if label_parts:
            place = (-2.6 * width, 1 - low - span / 2)
            axes.annotate(readable(part.name), place, xycoords="axes fraction", ha="right", va="center", fontsize=7.5, color=SOFT)
        start += size
        if start < total:
            axes.axhline(start - 0.5, color=SOFT, linewidth=0.5, alpha=0.5)
            axes.axvline(start - 0.5, color=SOFT, linewidth=0.5, alpha=0.5)


def strongest_links(
    matrix: Float[np.ndarray, "joint joint"], layout: SkeletonLayout, count: int
) -> tuple[Int[np.ndarray, "link 2"], Float[np.ndarray, " link"]]:
    """The strongest pairs of joints that share no bone, weakest first, and their strengths: the size of the mean of both ways; no zeros."""
    both = np.abs((matrix + matrix.T) / 2)
    both[tuple(np.array(layout.bones).T)] = both[tuple(np.array(layout.bones).T[::-1])] = 0
    first, second = np.triu_indices(len(matrix), k=1)
    strength = both[first, second]
    chosen = np.argsort(strength, kind="stable")[len(strength) - min(count, len(strength)) :]
    chosen = chosen[strength[chosen] > 0]
    return np.stack([first[chosen], second[chosen]], axis=1), strength[chosen]


def _draw_links(
    axes: Axes, matrix: Float[np.ndarray, "joint joint"], paper: Float[np.ndarray, "joint 3"], layout: SkeletonLayout, num_links: int
) -> None:
    fit_body(axes, paper, margin=0.05)
    draw_body(axes, paper, np.ones(layout.num_joints, dtype=bool), layout, colours=[SOFT] * layout.num_joints, width=1.2, fade=0.6)
    bones = np.array(layout.bones)
    bone_strength = np.abs(matrix[bones[:, 0], bones[:, 1]] + matrix[bones[:, 1], bones[:, 0]]) / 2
    links, link_strength = strongest_links(matrix, layout, num_links)
    top = max(float(bone_strength.max()), float(link_strength.max(initial=0.0)), 1e-12)
    _draw_arcs(axes, paper[bones, :2], bone_strength / top, BONE_LINK, bend=0.0)
    _draw_arcs(axes, paper[links, :2], link_strength / top, MOTION_LINK, bend=0.2)


def _draw_arcs(axes: Axes, ends: Float[np.ndarray, "link 2 2"], share: Float[np.ndarray, " link"], colour: str, *, bend: float) -> None:
    """Quadratic curves between two places each, bent to one side by a share of their length, as strong as their share of the strongest."""
    start, end = ends[:, None, 0], ends[:, None, 1]
    chord = end - start
    control = (start + end) / 2 + bend * np.stack([-chord[..., 1], chord[..., 0]], axis=-1)
    t = np.linspace(0, 1, 24)[None, :, None]
    curves = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    shades = [to_rgba(colour, 0.1 + 0.8 * float(part)) for part in share]
    axes.add_collection(LineCollection(list(curves), colors=shades, linewidths=0.4 + 3.4 * share, capstyle="round", zorder=4))


def _draw_key(figure: FigureBase) -> None:
    kinds = ((BONE_LINK, "along a bone"), (MOTION_LINK, "made by the action alone"))
    lines = [Line2D([], [], color=colour, linewidth=2.4, label=label) for colour, label in kinds]
    figure.legend(handles=lines, loc="outside lower left", ncols=len(lines), handlelength=1.2, labelcolor=SOFT)
