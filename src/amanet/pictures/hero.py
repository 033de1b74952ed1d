"""The picture at the top of the README: a clip, what the network says of it, and what it looked at."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from amanet.pictures.charts import draw_probabilities
from amanet.pictures.correlation import draw_joint_correlations
from amanet.pictures.skeleton import FRONT, View, draw_film_strip
from amanet.pictures.style import headline, new_figure, styled
from amanet.skeleton import SkeletonClip, SkeletonLayout


@styled
def hero(
    clip: SkeletonClip,
    layout: SkeletonLayout,
    class_names: Sequence[str],
    probs: Float[np.ndarray, " class"],
    matrices: Mapping[str, Float[np.ndarray, "row column"]],
    pose: Float[np.ndarray, "joint coord"],
    *,
    top: int = 5,
    view: View = FRONT,
    title: str | None = None,
) -> Figure:
    """Film strip above; beneath it the prediction on the left and the correlations between joints on the right.

    The bar of the clip's own label, where it has one, is marked as the truth.

    Args:
        clip: one action.
        layout: of its bodies.
        class_names: one a class.
        probs: of the classes, as fractions.
        matrices: up to three correlations between joints, by the name to write above each.
        pose: joints of one body, all seen, to draw the links on.
        top: classes to show.
        view: where the bodies are seen from.
        title: written above.

    Raises:
        AmanetError: as ``film_strip``, ``probabilities`` and ``joint_correlations`` raise it.
    """
    figure = new_figure(12.0, 8.6)
    headline(figure, title, size=14.0)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.9, 5.6)).ravel()
    draw_film_strip(above, clip.joints, clip.present, layout, num_frames=9 if clip.num_bodies == 1 else 6, view=view)
    left, right = below.subfigures(1, 2, squeeze=False, width_ratios=(1.0, 0.72 * len(matrices) + 0.2)).ravel()
    headline(left, "What is it?", size=11.0)
    draw_probabilities(left, class_names, probs, top=top, truth=clip.label, thickness=0.26)
    headline(right, "Which joints look at which?", size=11.0)
    draw_joint_correlations(right, matrices, pose, layout, view=view)
    return figure
