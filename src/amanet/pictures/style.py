"""One look for every picture: palette, type, grid, and how a figure is made and saved.

Colours keep their distance for the three common kinds of colour blindness (blue against orange, never red against green), and side is
hue: what is left of the body is blue, what is right is orange, the trunk is ink. Nothing here touches pyplot or its global state.
"""

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.typing import ColorType

from amanet.errors import AmanetError
from amanet.pictures.fonts import families, matplotlib_silent, say_boxes
from amanet.skeleton import SkeletonLayout
from amanet.system.places import make_folder, write_file

Side = Literal["left", "right", "trunk"]

INK, SOFT, FAINT, PAPER = "#242B38", "#6B7484", "#E3E7EC", "#FFFFFF"
BLUE, ORANGE, SKY, AMBER, VIOLET, GREEN, ROSE = "#2468B0", "#D9581C", "#58B0E3", "#F2A73B", "#8A5AA8", "#1B9E8A", "#D987B5"
SIDE_COLOURS: dict[Side, str] = {"left": BLUE, "right": ORANGE, "trunk": INK}
PART_COLOURS: dict[Side, tuple[str, ...]] = {
    "trunk": (INK, VIOLET, SOFT),
    "left": (BLUE, SKY, GREEN),
    "right": (ORANGE, AMBER, ROSE),
}
"""Of the parts of each side in the order of the layout: those that ship have a trunk, arms, and legs."""

SERIES_COLOURS = (BLUE, VIOLET, SKY, AMBER, INK, GREEN, ROSE)
"""Of what was measured, beside what a paper says in orange."""

STRENGTH = LinearSegmentedColormap.from_list("amanet-strength", ["#FFFFFF", "#D5E4F2", "#7FB2DA", BLUE, "#123A6B", "#0B1A33"])
MISTAKE = LinearSegmentedColormap.from_list("amanet-mistake", ["#FFFFFF", "#FBE0CF", "#F0995F", ORANGE, "#8A2F08"])
SIGNED = LinearSegmentedColormap.from_list("amanet-signed", ["#8A2F08", ORANGE, "#FFFFFF", BLUE, "#123A6B"])

_RC: Any = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a letter
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": "#B9C0CA",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": "#B9C0CA",
    "ytick.color": "#B9C0CA",
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "figure.titlesize": 12,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "amanet",
    "pdf.fonttype": 42,
}
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"dpi": 150, "metadata": {"Software": None}},
    ".svg": {"metadata": {"Date": None}},
    ".pdf": {"metadata": {"CreationDate": None}},
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """The function, run under the house style; the caller's own matplotlib settings come back afterwards."""

    @wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context({**_RC, "font.family": families()}), matplotlib_silent():
            return draw(*args, **kwargs)

    return draw_in_style


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches that keeps its labels apart."""
    return Figure(figsize=(width, height), layout="constrained")


@styled
def save_figure(figure: Figure, path: Path | str) -> None:
    """Write the figure whole or not at all, as .png (150 dpi), .svg or .pdf; the same figure gives the same bytes.

    Raises:
        AmanetError: another suffix, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise AmanetError(
            "a picture of this kind cannot be written",
            where=path,
            expected=f"a name that ends in {', '.join(_FORMATS)}",
            got=path.suffix or "no suffix",
        )
    say_boxes(figure)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], **_FORMATS[path.suffix])
    make_folder(path.parent)
    write_file(path, content.getvalue())


def bare(axes: Axes) -> None:
    """Axes without frame, ticks or grid, for drawings that are no charts."""
    axes.set_axis_off()
    axes.grid(visible=False)


def headline(figure: FigureBase, text: str | None, *, size: float = 12.0) -> None:
    """A title at the left edge of the figure, where there is one to write."""
    if text:
        figure.suptitle(text, x=0.012, ha="left", fontsize=size, fontweight="bold", color=INK)


def tint(colour: ColorType, share: float) -> tuple[float, float, float]:
    """The colour mixed with that share of white, 0 to 1."""
    red, green, blue = (float(value + (1 - value) * share) for value in to_rgb(colour))
    return red, green, blue


def readable(name: str, limit: int = 40) -> str:
    """A joint, part or class name for people: spaces for underscores, cut with an ellipsis at ``limit`` letters."""
    words = name.replace("_", " ")
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"


def joint_sides(layout: SkeletonLayout) -> tuple[Side, ...]:
    """Side of each joint: the trunk where it mirrors itself, otherwise what its name, or that of its part, says."""
    part_of = {joint: part.name for part in layout.parts for joint in part.joints}
    return tuple(
        "trunk" if layout.mirror[joint] == joint else _named_side(f"{name}_{part_of[joint]}") for joint, name in enumerate(layout.joints)
    )


def _named_side(name: str) -> Side:
    words = name.lower().replace("-", "_").split("_")
    if "left" in words:
        return "left"
    return "right" if "right" in words else "trunk"


def part_colours(layout: SkeletonLayout) -> tuple[str, ...]:
    """Colour of each part, by its side; no two are the same, as beyond the third of a side they come again and paler."""
    colours: list[str] = []
    sides: list[Side] = [_named_side(part.name) for part in layout.parts]
    for index, side in enumerate(sides):
        paler, place = divmod(sides[:index].count(side), len(PART_COLOURS[side]))
        colours.append(to_hex(tint(PART_COLOURS[side][place], 1 - 0.55**paler)).upper())
    return tuple(colours)


def check_pose(pose: Float[np.ndarray, "joint coord"], layout: SkeletonLayout) -> None:
    """Refuse a pose that is not one of this layout's bodies, whole."""
    if pose.shape[0] != layout.num_joints or pose.shape[1] < layout.num_axes:
        raise AmanetError(
            f"the pose is not a body of layout {layout.name}",
            expected=f"{layout.num_joints} joints of {layout.num_axes} or more coordinates",
            got=f"shape {pose.shape}",
        )
    if not np.isfinite(pose).all():
        raise AmanetError("the pose holds numbers that are not finite", cure="choose a frame where every joint was seen")


def check_fractions(name: str, values: Float[np.ndarray, "*shape"]) -> None:
    """Refuse accuracies and probabilities that are not fractions of 1."""
    if values.size == 0 or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 + 1e-6:
        got = "nothing" if values.size == 0 else f"{values.min():g} to {values.max():g}"
        raise AmanetError(f"{name} are not fractions", expected="numbers from 0 to 1", got=got, cure="divide percent by 100")
