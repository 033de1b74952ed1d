"""Heat maps hold the matrices part by part; links are the strongest pairs."""

import numpy as np
import pytest

from amanet.errors import AmanetError
from amanet.pictures import action_correlations, hero, joint_correlations
from amanet.pictures.correlation import part_order, strongest_links
from amanet.skeleton import SkeletonClip, layout_names, load_layout
from amanet.skeleton.graph import adjacency, normalise_symmetric, with_self_loops
from fabricate.pose import standing_pose, waving_clip


@pytest.mark.parametrize("name", layout_names())
def test_heat_maps_hold_the_matrices_ordered_by_part(name):
    layout = load_layout(name)
    learned = np.random.default_rng(0).uniform(size=(layout.num_joints, layout.num_joints))
    matrices = {"Å": normalise_symmetric(with_self_loops(adjacency(layout))), "learned": learned}
    figure = joint_correlations(matrices, standing_pose(layout), layout, title="Both")
    figure.draw_without_rendering()
    order = part_order(layout)
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in maps] == list(matrices)
    for axes, matrix in zip(maps, matrices.values(), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), matrix[np.ix_(order, order)])


def test_actions_stand_under_their_names():
    layout = load_layout("sbu15")
    pose = standing_pose(layout)
    actions = {"punching": ({"Å": adjacency(layout), "learned": np.eye(15)}, pose), "hugging": ({"Å": adjacency(layout)}, pose)}
    figure = action_correlations(actions, layout, title="Both")
    figure.draw_without_rendering()
    assert [part.get_suptitle() for part in figure.subfigs] == ["punching", "hugging"]
    assert [sum(bool(axes.images) for axes in part.axes) for part in figure.subfigs] == [2, 1]
    with pytest.raises(AmanetError, match="no action"):
        action_correlations({}, layout)


def test_strongest_links_leave_out_bones_self_loops_and_zeros():
    layout = load_layout("sbu15")
    matrix = with_self_loops(adjacency(layout)) * 9
    matrix[5, 8] = 0.4
    matrix[11, 14] = matrix[14, 11] = 0.3
    links, strength = strongest_links(matrix, layout, 10)
    assert links.tolist() == [[5, 8], [11, 14]]
    assert strength.tolist() == [0.2, 0.3]
    assert strongest_links(matrix, layout, 1)[0].tolist() == [[11, 14]]
    assert len(strongest_links(matrix, layout, 0)[0]) == 0


def test_matrices_with_negative_entries_are_centred_on_zero():
    layout = load_layout("sbu15")
    matrix = np.random.default_rng(0).normal(size=(15, 15))
    image = joint_correlations({"signed": matrix}, standing_pose(layout), layout).axes[0].images[0]
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.abs(matrix).max())


def test_bad_matrices_are_refused():
    layout = load_layout("ntu25")
    pose = standing_pose(layout)
    with pytest.raises(AmanetError, match="no correlation matrix"):
        joint_correlations({}, pose, layout)
    with pytest.raises(AmanetError, match="'small' holds no correlations of layout ntu25"):
        joint_correlations({"small": np.ones((3, 3))}, pose, layout)
    with pytest.raises(AmanetError, match="holds no correlations"):
        joint_correlations({"nan": np.full((25, 25), np.nan)}, pose, layout)


def test_hero_composes_strip_bars_and_correlations():
    layout = load_layout("ntu25")
    joints, present = waving_clip(layout, bodies=2)
    clip = SkeletonClip("wave", joints, present, label=1)
    figure = hero(clip, layout, ("sit", "wave"), np.array([0.3, 0.7]), {"Å": adjacency(layout)}, joints[0, 0], title="A wave")
    figure.draw_without_rendering()
    assert len(figure.axes) == 1 + 1 + 2 + 1  # strip, bars, heat map over body, colour bar
    assert "wave ✓" in [label.get_text() for label in figure.axes[1].get_yticklabels()]
