"""Charts hold the numbers they were given, and refuse what they cannot show."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from amanet.errors import AmanetError
from amanet.pictures import confusion_matrix, learning_curves, probabilities, stream_bars, sweep
from amanet.pictures.confusion import most_confused, row_shares
from amanet.skeleton import SkeletonClip, load_layout
from fabricate.pose import waving_clip

EPOCHS = [
    {"epoch": 1, "train_loss": 2.0, "train_accuracy": 0.3, "held_out_accuracy": 0.2, "learning_rate": 0.1},
    {"epoch": 2, "train_loss": 1.0, "train_accuracy": 0.6, "learning_rate": 0.1},
    {"epoch": 3, "train_loss": 0.5, "train_accuracy": 0.9, "held_out_accuracy": 0.7, "learning_rate": 0.01},
]


@pytest.mark.parametrize("held_out", [0.30, 0.32, 0.31])
def test_last_values_of_learning_curves_do_not_hide_each_other(held_out: float) -> None:
    figure = learning_curves([{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 0.31, "held_out_loss": held_out}])
    figure.draw_without_rendering()
    loss, _ = figure.axes
    first, second = (each.get_window_extent() for each in loss.texts)
    assert not first.overlaps(second)


def test_a_rate_that_glides_has_no_drops():
    """As of a cosine, whose last epochs halve it again and again."""
    rates = (0.1, 0.08, 0.05, 0.02, 0.001)
    loss = learning_curves([{"epoch": 1 + at, "train_loss": 1.0 + at, "learning_rate": rate} for at, rate in enumerate(rates)]).axes[0]
    assert len(loss.lines) == 1


def test_learning_curves_hold_the_metrics_and_mark_the_drop():
    loss, accuracy = learning_curves(EPOCHS, title="A run").axes
    curve, drop = loss.lines
    assert np.asarray(curve.get_xydata()).tolist() == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert drop.get_xdata() == [2.5, 2.5]
    assert np.asarray(accuracy.lines[1].get_xydata()).tolist() == [[1, 0.2], [3, 0.7]]


def test_learning_without_numbers_is_refused():
    for epochs in ([], [{"epoch": 1}], [{"train_loss": 1.0}]):
        with pytest.raises(AmanetError, match="no learning to draw"):
            learning_curves(epochs)
    with pytest.raises(AmanetError, match="not fractions"):
        learning_curves([{"epoch": 1, "train_accuracy": 93.0}])


@pytest.mark.parametrize("classes", [2, 10, 60, 120])
def test_confusion_matrix_names_every_class_inside_the_figure(classes):
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    names = [f"a class with a long name {index}" for index in range(classes)]
    figure = confusion_matrix(counts, names)
    figure.draw_without_rendering()
    grid = figure.axes[0]
    assert [label.get_text() for label in grid.get_yticklabels()] == names
    wrong, right = (np.asarray(image.get_array()) for image in grid.images[1:])
    drawn = np.where(np.eye(classes, dtype=bool), right, wrong)
    np.testing.assert_allclose(drawn, counts / counts.sum(axis=1, keepdims=True))
    for text in [*grid.get_xticklabels(), *grid.get_yticklabels(), grid.xaxis.label, grid.yaxis.label, *figure.axes[1].texts]:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_classes_without_a_clip_have_no_shares_and_no_pairs():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 3, 4]])
    shares = row_shares(counts)
    assert np.isnan(shares[1]).all()
    assert most_confused(shares, 5).tolist() == [[2, 1], [0, 1], [2, 0]]
    confusion_matrix(counts, ("a", "b", "c")).draw_without_rendering()


def test_counts_that_are_no_confusion_matrix_are_refused():
    for counts in (np.zeros((2, 2), dtype=np.int64), np.array([[1, -1], [0, 1]]), np.ones((3, 3), dtype=np.int64)):
        with pytest.raises(AmanetError, match="not those of a confusion matrix"):
            confusion_matrix(counts, ("a", "b"))


def test_probabilities_show_the_best_first_and_mark_the_truth():
    axes = probabilities(("sit", "wave", "fall"), np.array([0.2, 0.1, 0.7]), top=2, truth=0).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fall", "sit ✓"]
    assert [bar.get_width() for bar in axes.patches[2:] if isinstance(bar, Rectangle)] == [0.7, 0.2]


def test_probabilities_stand_under_the_film_strip():
    layout = load_layout("kinect20")
    clip = SkeletonClip("wave", *waving_clip(layout))
    figure = probabilities(("sit", "wave"), np.array([0.2, 0.8]), clip=clip, layout=layout, title="wave")
    figure.draw_without_rendering()
    assert len(figure.axes) == 2
    with pytest.raises(AmanetError, match="a clip and its layout"):
        probabilities(("sit", "wave"), np.array([0.2, 0.8]), clip=clip)


def test_predictions_over_other_classes_are_refused():
    with pytest.raises(AmanetError, match="not over these classes"):
        probabilities(("sit",), np.array([0.2, 0.8]))
    with pytest.raises(AmanetError, match="not over these classes"):
        probabilities(("sit", "wave"), np.array([0.2, 0.8]), truth=2)
    with pytest.raises(AmanetError, match="not fractions"):
        probabilities(("sit", "wave"), np.array([20.0, 80.0]))


def test_sweep_is_drawn_in_order_with_the_paper_beside_it():
    axes = sweep([1.4, 1.2, 1.0], [0.7, 0.8, 0.6], [0.01, 0.02, 0.0], "scale", paper={1.2: 0.9, 1.0: 0.85}).axes[0]
    ours, paper = axes.lines
    assert np.asarray(ours.get_xydata()).tolist() == [[1.0, 0.6], [1.2, 0.8], [1.4, 0.7]]
    assert np.asarray(paper.get_xydata()).tolist() == [[1.0, 0.85], [1.2, 0.9]]
    with pytest.raises(AmanetError, match="one mean and one spread"):
        sweep([1.0], [0.5, 0.6], [0.0], "scale")
    with pytest.raises(AmanetError, match="one mean and one spread"):
        sweep([], [], [], "scale")


def test_stream_bars_hold_every_accuracy():
    streams = {"joint": [0.8, 0.9, 0.95], "bone": [0.82, 0.91, 0.96]}
    axes = stream_bars(streams, title="Streams").axes[0]
    dots = [np.asarray(item.get_offsets())[:, 0].tolist() for item in axes.collections]
    assert dots == [list(column) for column in zip(*streams.values(), strict=True)]
    with pytest.raises(AmanetError, match="fall from top-1"):
        stream_bars({"joint": [0.9, 0.8]})
    for bad in ({}, {"joint": []}, {"joint": [0.9], "bone": [0.8, 0.9]}):
        with pytest.raises(AmanetError, match="no common top-1"):
            stream_bars(bad)
