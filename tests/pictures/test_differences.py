"""Differences are drawn where they are, told apart from chance, and beside the paper's."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from amanet.errors import AmanetError
from amanet.pictures import Difference, difference_chart

DIFFERENCES = [
    Difference("Table 1", "a", "b", {"one": 0.4}, {"one": (1.0, 0.5), "two": (-0.2, 0.5)}),
    Difference("Table 1", "c", "b", {}, {"one": (2.0, None)}),
    Difference("Table 2", "d", "e", {"one": -0.6, "two": -0.6}, {}),
]


def test_means_intervals_and_the_papers_numbers_are_drawn():
    figure = difference_chart(DIFFERENCES, title="Claims")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    drawn = [(np.asarray(item.get_offsets()), item.get_facecolor()) for item in axes.collections]
    dots = [(float(x), len(colour) > 0 and bool(np.ptp(colour[0]))) for places, colour in drawn for x, _ in places]
    assert dots == [(1.0, True), (2.0, False), (-0.2, False), (0.4, False), (-0.6, False)], (
        "a dot without an interval, or over zero, is hollow"
    )
    bars = [tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.lines if len(set(np.asarray(line.get_ydata()).tolist())) == 1]
    assert [bar for bar in bars if bar != (0, 1)] == [(0.5, 1.5), (-0.7, 0.3)]
    heights = [float(y) for item in axes.collections[-1:] for _, y in np.asarray(item.get_offsets())]
    assert heights == sorted(heights), "from top to bottom"


def test_names_and_groups_are_written_once():
    axes = difference_chart(DIFFERENCES).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text.startswith("Table")] == ["Table 1", "Table 2"]
    assert [text for text in texts if text.startswith("over ")] == ["over b", "over b", "over e"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two", "paper"]


def test_any_number_of_series_is_told_apart():
    """Each has a colour and shape of its own, and in a row a height of its own, with room below for the next row."""
    here = {str(index): (1.0, 0.5) for index in range(12)}
    few = {"11": (2.0, None)}
    figure = difference_chart([Difference("Table 1", "a", "b", {"3": 0.4}, here), Difference("Table 1", "c", "b", {}, few)])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*here, "paper"]
    marks = [
        (str(item.get_edgecolor()), str(item.get_paths()[0].vertices)) for item in legend.legend_handles if isinstance(item, PathCollection)
    ]
    assert len(set(marks)) == 13
    dots = [np.asarray(item.get_offsets()) for item in axes.collections if str(item.get_label()).startswith("_")]
    heights = [float(y) for places in dots for x, y in places if x == 1.0]
    assert heights == sorted(set(heights))
    assert len(heights) == 12
    (below,) = [float(y) for places in dots for x, y in places if x == 2.0]
    assert below > max(heights) + 0.3
    assert min(heights) > 0 - 0.5, "below the name of the group"
    left = legend.get_window_extent().x0
    assert left > 0, "the legend has room"
    assert legend.get_window_extent().y1 <= figure.bbox.y1


def test_the_papers_numbers_stand_beside_their_series_where_they_differ():
    here = {"one": (1.0, 0.5), "two": (2.0, 0.5), "three": (3.0, 0.5)}
    rows = [Difference("Table 1", "a", "b", paper, here) for paper in ({"one": 0.4, "two": 0.4}, {"one": 0.5, "three": 0.6}, {})]
    places = [np.asarray(item.get_offsets()) for item in difference_chart(rows).axes[0].collections]
    paper = [(float(x), float(y)) for x, y in places[-1]]
    heights = {float(x): sorted(float(y) for found in places for z, y in found if z == x) for x in (1.0, 2.0, 3.0)}
    assert paper == [(0.4, heights[2.0][0]), (0.5, heights[1.0][1]), (0.6, heights[3.0][1])]


def test_where_nothing_was_measured_there_is_nothing_to_draw():
    with pytest.raises(AmanetError, match="no difference to draw"):
        difference_chart([Difference("Table 1", "a", "b", {"one": 0.4}, {})])


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(AmanetError, match="not finite"):
        difference_chart([Difference("Table 1", "a", "b", {}, {"one": (float("nan"), None)})])
