"""Pictures: one artist a drawing. They take arrays and a layout, never files or networks, and give back a matplotlib figure."""

from amanet.pictures.charts import learning_curves, probabilities, stream_bars, sweep
from amanet.pictures.confusion import confusion_matrix
from amanet.pictures.correlation import action_correlations, joint_correlations
from amanet.pictures.differences import Difference, difference_chart
from amanet.pictures.hero import hero
from amanet.pictures.overview import Overview, overview_page
from amanet.pictures.parts import groups_picture, part_frames
from amanet.pictures.skeleton import View, film_strip
from amanet.pictures.style import save_figure

__all__ = [
    "Difference",
    "Overview",
    "View",
    "action_correlations",
    "confusion_matrix",
    "difference_chart",
    "film_strip",
    "groups_picture",
    "hero",
    "joint_correlations",
    "learning_curves",
    "overview_page",
    "part_frames",
    "probabilities",
    "save_figure",
    "stream_bars",
    "sweep",
]
