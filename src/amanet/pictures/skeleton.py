"""Bodies on paper: an orthographic view, a body drawn limb by limb, and the film strip of a clip."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType

from amanet.errors import ClipError, LayoutError
from amanet.pictures.style import INK, PAPER, SIDE_COLOURS, SOFT, Side, bare, headline, joint_sides, new_figure, styled, tint
from amanet.skeleton import SkeletonLayout

Vertical = Literal["y", "z"]
_STRIP_HEIGHT = 2.1  # inches from the ground line to the top of the strip
_STRIP_WIDTHS = (6.0, 16.0)  # inches, least and most
_LETTERS_PER_INCH = 14


@dataclass(frozen=True)
class View:
    """Where an orthographic picture is taken from.

    Attributes:
        vertical: ``"y"`` for what a camera recorded (y up, z away from the camera), ``"z"`` for aligned clips (z up, left shoulder
            towards +x). Either way a person who faces the camera shows the left side of the body on the right of the picture.
        azimuth: degrees to walk around the body, counter-clockwise seen from above; 3-D only.
    """

    vertical: Vertical = "y"
    azimuth: float | int = 0.0

    @classmethod
    def prepared(cls, recipe: str, layout: SkeletonLayout) -> "View":
        """The view of clips prepared by a recipe: in 3-D z is up, unless they were left as recorded."""
        return cls("y" if recipe == "raw" or layout.num_axes == 2 else "z")

    def project(self, places: Float[np.ndarray, "*shape joint coord"], layout: SkeletonLayout) -> Float[np.ndarray, "*shape joint 3"]:
        """Places on paper: to the right, up, and towards the viewer, in the unit of the input.

        Raises:
            LayoutError: a vertical axis or an azimuth that 2-D joints do not have.
        """
        if layout.num_axes == 2:
            if self.vertical != "y" or self.azimuth:
                raise LayoutError(
                    "2-D joints have one view", expected='vertical="y" and no azimuth', got=f"{self.vertical}, {self.azimuth}"
                )
            return np.concatenate([places[..., :2], np.zeros_like(places[..., :1])], axis=-1)
        x, y, z = np.moveaxis(places[..., :3], -1, 0)
        right, up, near = (-x, y, -z) if self.vertical == "y" else (x, z, -y)
        turn = np.deg2rad(self.azimuth)
        return np.stack([np.cos(turn) * right - np.sin(turn) * near, up, np.sin(turn) * right + np.cos(turn) * near], axis=-1)


FRONT = View()


def draw_body(
    axes: Axes,
    paper: Float[np.ndarray, "joint 3"],
    present: Bool[np.ndarray, " joint"],
    layout: SkeletonLayout,
    *,
    colours: Sequence[ColorType] | None = None,
    width: float = 2.6,
    fade: float = 0.0,
) -> None:
    """Draw one body: bones from far to near, then its joints; what is absent is not drawn.

    Args:
        axes: where to.
        paper: joints as ``View.project`` gives them.
        present: which joints were seen.
        layout: of the body.
        colours: one a joint, also for the bone to its parent; by side unless given.
        width: of the bones, in points.
        fade: share of white mixed into the colours, to set a body back.
    """
    if colours is None:
        colours = [SIDE_COLOURS[side] for side in joint_sides(layout)]
    bones = np.array([bone for bone in layout.bones if present[list(bone)].all()], dtype=np.int64).reshape(-1, 2)
    bones = bones[np.argsort(paper[bones, 2].mean(axis=1), kind="stable")]
    shades = [tint(colours[joint], fade) for joint in range(layout.num_joints)]
    axes.add_collection(
        LineCollection(list(paper[bones, :2]), colors=[shades[joint] for joint, _ in bones], linewidths=width, capstyle="round", zorder=2)
    )
    sizes = np.array([3.4 if "head" in name else 1.45 for name in layout.joints])
    axes.scatter(
        *paper[present, :2].T,
        s=(sizes[present] * width) ** 2,
        c=[shades[joint] for joint in np.flatnonzero(present)],
        edgecolors=PAPER,
        linewidths=0.25 * width,
        clip_on=False,
        zorder=3,
    )


@styled
def film_strip(
    joints: Float[np.ndarray, "body frame joint coord"],
    present: Bool[np.ndarray, "body frame joint"],
    layout: SkeletonLayout,
    *,
    title: str | None = None,
    note: str | None = None,
    num_frames: int = 8,
    span: tuple[int, int] | None = None,
    view: View = FRONT,
) -> Figure:
    """The bodies of a clip at evenly spaced frames, on one ground line and in one scale.

    Hands and feet leave a fading trail of where they were since the pose before. Every pose is centred on its bodies, so a clip that
    walks away stays in the picture, and what a tilted camera recorded has each body stand on the line. The first body has full colour,
    the others are lighter.

    Args:
        joints: places of the joints.
        present: which joints were seen; the others are not drawn.
        layout: of the bodies.
        title: written above.
        note: a sentence or two, written smaller below the title.
        num_frames: poses to show; fewer where the clip has fewer frames with a body.
        span: show frames from the first up to, without, the second; the whole clip unless given.
        view: where the picture is taken from.

    Raises:
        ClipError: no joint is present, in the span, or ``num_frames`` is not positive.
        LayoutError: the joints are not of this layout, or the layout has no such view.
    """
    strip = _Strip.of(joints, present, layout, num_frames, view, span)
    width = float(np.clip(_STRIP_HEIGHT * strip.width / strip.height, *_STRIP_WIDTHS))
    lines = textwrap.wrap(note, int(_LETTERS_PER_INCH * width)) if note else []
    figure = new_figure(width + 0.3, width * strip.height / strip.width + (1.0 if title else 0.65) + 0.2 * len(lines))
    headline(figure, title)
    axes = _draw_strip(figure, strip)
    if lines:
        axes.set_title("\n".join(lines), fontsize=9, color=SOFT)
    return figure


def draw_film_strip(
    figure: FigureBase,
    joints: Float[np.ndarray, "body frame joint coord"],
    present: Bool[np.ndarray, "body frame joint"],
    layout: SkeletonLayout,
    *,
    num_frames: int = 8,
    view: View = FRONT,
) -> None:
    """``film_strip`` into a figure, or a part of one, that exists."""
    _draw_strip(figure, _Strip.of(joints, present, layout, num_frames, view))


@dataclass(frozen=True)
class _Strip:
    """A clip on paper, with the frames to show and the room they take, in the unit of the clip."""

    paper: Float[np.ndarray, "body frame joint 3"]
    present: Bool[np.ndarray, "body frame joint"]
    layout: SkeletonLayout
    frames: Int[np.ndarray, " shown"]
    middle: Float[np.ndarray, " shown"]
    pitch: float
    height: float

    @property
    def width(self) -> float:
        return self.pitch * len(self.frames)

    @classmethod
    def of(
        cls,
        joints: Float[np.ndarray, "body frame joint coord"],
        present: Bool[np.ndarray, "body frame joint"],
        layout: SkeletonLayout,
        num_frames: int,
        view: View,
        span: tuple[int, int] | None = None,
    ) -> "_Strip":
        first, end = span or (0, present.shape[1])
        inside = np.arange(present.shape[1])
        present = present & ((first <= inside) & (inside < end))[None, :, None]
        _check_clip(joints, present, layout, num_frames)
        paper = view.project(joints.astype(np.float64), layout)
        seen = np.flatnonzero(present.any(axis=(0, 2)))
        frames = seen[np.linspace(0, len(seen) - 1, min(num_frames, len(seen))).round().astype(np.int64)]
        shown, mask = paper[:, frames], present[:, frames]
        one_floor = view.vertical == "z" or layout.num_axes == 2
        floor = np.where(mask, shown[..., 1], np.inf).min(axis=None if one_floor else (1, 2))
        floor = np.broadcast_to(np.where(np.isfinite(floor), floor, 0), len(paper))
        paper = paper - floor[:, None, None, None] * np.array([0, 1, 0])
        shown = paper[:, frames]
        least = np.where(mask[..., None], shown, np.inf).min(axis=(0, 2))
        most = np.where(mask[..., None], shown, -np.inf).max(axis=(0, 2))
        middle = (least[:, 0] + most[:, 0]) / 2
        height = max(float(most[:, 1].max()), 1e-6)
        room = float((most - least)[:, 0].max())
        return cls(paper, present, layout, frames, middle, pitch=max(1.15 * room + 0.14 * height, 0.45 * height), height=height)


def _check_clip(joints: np.ndarray, present: np.ndarray, layout: SkeletonLayout, num_frames: int) -> None:
    if joints.shape[:3] != present.shape or joints.shape[2] != layout.num_joints or joints.shape[3] < layout.num_axes:
        raise LayoutError(
            f"the clip is not of layout {layout.name}",
            expected=f"joints (body, frame, {layout.num_joints}, {layout.num_coords}) and present (body, frame, {layout.num_joints})",
            got=f"{joints.shape} and {present.shape}",
        )
    if num_frames < 1:
        raise ClipError("a film strip shows at least one frame", got=f"num_frames={num_frames}")
    if not present.any():
        raise ClipError("the clip holds no joint to draw", got=f"{joints.shape[0]} bodies, {joints.shape[1]} frames, none present")
    if not np.isfinite(joints[present]).all():
        raise ClipError("the clip holds numbers that are not finite", expected="finite places, or absence in the mask")


def _draw_strip(figure: FigureBase, strip: _Strip) -> Axes:
    axes = figure.add_subplot()
    bare(axes)
    tips, colours = _tips(strip.layout), [SIDE_COLOURS[side] for side in joint_sides(strip.layout)]
    before = strip.frames[0]
    for slot, frame in enumerate(strip.frames):
        shift = np.array([(slot + 0.5) * strip.pitch - strip.middle[slot], 0.0, 0.0])
        near = np.where(strip.present[:, frame], strip.paper[:, frame, :, 2], 0).sum(axis=1) / strip.present[:, frame].sum(axis=1).clip(
            min=1
        )
        for body in np.argsort(near, kind="stable"):
            fade = 0.0 if body == 0 else 0.45
            for joint in tips:
                _draw_trail(axes, strip, int(body), joint, (int(before), int(frame)), shift, tint(colours[joint], fade))
            draw_body(axes, strip.paper[body, frame] + shift, strip.present[body, frame], strip.layout, fade=fade)
        text = f"{frame + 1}" if slot else f"frame {frame + 1}"
        axes.text((slot + 0.5) * strip.pitch, -0.05 * strip.height, text, ha="center", va="top", fontsize=8, color=SOFT)
        before = frame
    axes.axhline(-0.02 * strip.height, color="#B9C0CA", linewidth=0.9, zorder=1)
    axes.set(xlim=(0, strip.width), ylim=(-0.14 * strip.height, 1.08 * strip.height), aspect="equal")
    _draw_key(axes, strip.layout)
    return axes


def _draw_key(axes: Axes, layout: SkeletonLayout) -> None:
    """Which colour is which side, in a line at the lower right."""
    sides: list[Side] = [side for side in ("left", "trunk", "right") if side in joint_sides(layout)]
    lines = [Line2D([], [], color=SIDE_COLOURS[side], linewidth=2.6, label=side) for side in sides]
    axes.legend(
        handles=lines, loc="upper right", bbox_to_anchor=(1.0, 0.03), ncols=len(lines), handlelength=1.1, columnspacing=1.2, labelcolor=SOFT
    )


def _tips(layout: SkeletonLayout) -> tuple[int, ...]:
    """The ends of the limbs: joints without children in the parts that do not hold the body's centre."""
    parents = {parent for _, parent in layout.bones}
    limbs = [part for part in layout.parts if layout.centre not in part.joints]
    return tuple(joint for part in limbs for joint in part.joints if joint not in parents)


def _draw_trail(
    axes: Axes,
    strip: _Strip,
    body: int,
    joint: int,
    span: tuple[int, int],
    shift: Float[np.ndarray, "3"],
    colour: tuple[float, float, float],
) -> None:
    """The way of a joint between two frames, stronger towards the later one and broken where it was not seen."""
    frames = np.arange(span[0], span[1])
    frames = frames[strip.present[body, frames, joint] & strip.present[body, frames + 1, joint]]
    if frames.size == 0:
        return
    way = strip.paper[body, :, joint, :2] + shift[:2]
    segments = np.stack([way[frames], way[frames + 1]], axis=1)
    strength = 0.06 + 0.44 * ((frames + 1 - span[0]) / (span[1] - span[0])) ** 2
    axes.add_collection(
        LineCollection(
            list(segments), colors=[to_rgba(colour, float(alpha)) for alpha in strength], linewidths=2.0, capstyle="butt", zorder=1.5
        )
    )


def fit_body(axes: Axes, paper: Float[np.ndarray, "joint 3"], margin: float = 0.12) -> None:
    """Bare axes of equal scale with room for the whole body; ``margin`` is a share of its height or width, the larger one."""
    bare(axes)
    least, most = paper[:, :2].min(axis=0), paper[:, :2].max(axis=0)
    room = margin * max(float((most - least).max()), 1e-6)
    axes.set(xlim=(least[0] - room, most[0] + room), ylim=(least[1] - room, most[1] + room), aspect="equal")


def label_beside(axes: Axes, places: Float[np.ndarray, "place 2"], names: Sequence[str]) -> None:
    """Names in two columns beside the drawing, each tied to its place by a fine line; none overlaps another.

    Call after the limits of the axes are set; they are widened to hold the columns.
    """
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    middle, gap, arm = float(np.median(places[:, 0])), 0.052 * (high - low), 0.03 * (high - low)
    for side, edge, members in ((-1, left, places[:, 0] < middle), (1, right, places[:, 0] >= middle)):
        rows = np.flatnonzero(members)[np.argsort(-places[members, 1], kind="stable")]
        for row, height in zip(rows, spread_apart(places[rows, 1], gap), strict=True):
            x, y = map(float, places[row])
            axes.plot([x, edge, edge + side * arm], [y, height, height], color=SOFT, linewidth=0.6, alpha=0.7, zorder=1)
            align = "left" if side > 0 else "right"
            axes.text(edge + 1.4 * side * arm, height, names[int(row)], ha=align, va="center", fontsize=8, color=INK)
    room = 0.36 * (high - low)
    axes.set_xlim(left - room, right + room)


def spread_apart(heights: Float[np.ndarray, " place"], gap: float) -> Float[np.ndarray, " place"]:
    """Heights, given from the highest to the lowest, moved as little as it takes to lie ``gap`` apart.

    Neighbours that are too close become one cluster, evenly spaced around the mean of its members; clusters that meet merge.
    """
    clusters: list[list[float]] = []
    for height in heights.tolist():
        clusters.append([height])
        while len(clusters) > 1 and _foot(clusters[-2], gap) - _top(clusters[-1], gap) < gap:
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    return np.array([_top(cluster, gap) - row * gap for cluster in clusters for row in range(len(cluster))])


def _top(cluster: list[float], gap: float) -> float:
    return sum(cluster) / len(cluster) + gap * (len(cluster) - 1) / 2


def _foot(cluster: list[float], gap: float) -> float:
    return sum(cluster) / len(cluster) - gap * (len(cluster) - 1) / 2
