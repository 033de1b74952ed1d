"""The film strip shows what is there, where it is, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.text import Text

from amanet.errors import AmanetError, ClipError, LayoutError
from amanet.pictures import View, film_strip, groups_picture, part_frames
from amanet.pictures.skeleton import spread_apart
from amanet.pictures.style import AMBER, BLUE, INK, ORANGE, SKY, joint_sides, part_colours
from amanet.skeleton import BodyPart, layout_names, load_layout
from fabricate.pose import standing_pose, waving_clip


def drawn_joints(figure):
    """Places of all joint dots, in drawing order."""
    dots = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    return np.concatenate([np.asarray(item.get_offsets()) for item in dots])


def drawn_bones(figure):
    lines = [item for item in figure.axes[0].collections if isinstance(item, LineCollection) and item.get_zorder() == 2]
    return [segment for item in lines for segment in item.get_segments()]


@pytest.mark.parametrize("name", layout_names())
@pytest.mark.parametrize("bodies", [1, 6])
def test_every_layout_draws_each_joint_and_bone_at_each_frame(name, bodies):
    layout = load_layout(name)
    figure = film_strip(*waving_clip(layout, bodies), layout, num_frames=4, title="Waving")
    figure.draw_without_rendering()
    assert len(figure.axes) == 1
    assert len(drawn_joints(figure)) == 4 * bodies * layout.num_joints
    assert len(drawn_bones(figure)) == 4 * bodies * len(layout.bones)


def test_joints_keep_their_shape_and_scale():
    layout = load_layout("ntu25")
    joints, present = waving_clip(layout)
    drawn = drawn_joints(film_strip(joints, present, layout, num_frames=2))[: layout.num_joints]
    expected = joints[0, 0, :, :2] * (-1, 1)  # the camera's x runs to the left of the picture
    np.testing.assert_allclose(drawn - drawn[0], expected - expected[0], atol=1e-6)


def test_absent_joints_and_their_bones_are_not_drawn():
    layout = load_layout("kinect20")
    joints, present = waving_clip(layout, bodies=2)
    elbow = layout.joints.index("elbow_left")
    present[0, :, elbow] = False
    present[1] = False
    joints[~present] = 1e6
    figure = film_strip(joints, present, layout, num_frames=3)
    assert len(drawn_joints(figure)) == 3 * (layout.num_joints - 1)
    assert len(drawn_bones(figure)) == 3 * (len(layout.bones) - 2)
    assert np.abs(drawn_joints(figure)).max() < 100


def test_frames_without_a_body_are_passed_over():
    layout = load_layout("sbu15")
    joints, present = waving_clip(layout, frames=10)
    present[:, 3:] = False
    labels = [text.get_text() for text in film_strip(joints, present, layout).axes[0].texts]
    assert labels == ["frame 1", "2", "3"]


def test_left_of_the_body_is_right_of_the_picture_in_both_views():
    layout = load_layout("ntu25")
    pose = standing_pose(layout)
    left, right = layout.across
    camera = View("y").project(pose, layout)
    aligned = View("z").project(pose[:, [0, 2, 1]] * (-1, 1, 1), layout)
    for paper in (camera, aligned):
        assert paper[left, 0] > paper[right, 0]
        assert paper[:, 1] == pytest.approx(pose[:, 1])


def test_half_a_turn_shows_the_back():
    layout = load_layout("ntu25")
    pose = np.random.default_rng(0).normal(size=(layout.num_joints, 3))
    front, back = View().project(pose, layout), View(azimuth=180).project(pose, layout)
    np.testing.assert_allclose(back, front * (-1, 1, -1), atol=1e-12)


def test_what_is_no_clip_is_refused():
    layout = load_layout("ntu25")
    joints, present = waving_clip(layout)
    with pytest.raises(ClipError, match="no joint to draw"):
        film_strip(joints, np.zeros_like(present), layout)
    with pytest.raises(ClipError, match="at least one frame"):
        film_strip(joints, present, layout, num_frames=0)
    with pytest.raises(LayoutError, match="not of layout kinect20"):
        film_strip(joints, present, load_layout("kinect20"))
    with pytest.raises(ClipError, match="not finite"):
        film_strip(np.full_like(joints, np.nan), present, layout)
    flat = load_layout("kinetics18")
    with pytest.raises(LayoutError, match="one view"):
        film_strip(*waving_clip(flat), flat, view=View("z"))


@pytest.mark.parametrize("name", layout_names())
def test_parts_and_groups_draw_on_every_layout(name):
    layout = load_layout(name)
    pose = standing_pose(layout)
    assert len(part_frames(layout, pose).axes) == 1
    with_alien = part_frames(layout, pose, alien=pose)
    with_alien.draw_without_rendering()
    assert len(with_alien.axes) == 1 + 6
    names = [text.get_text() for text in groups_picture(layout, pose).axes[1].texts]
    assert sorted(names) == sorted(group.name.replace("_", " ") for group in layout.groups)


def in_parts(layout, parts):
    """The layout with so many parts: all but the last of one joint, called head, left and right in turn."""
    sides = ("head", "left", "right")
    joints = [*((joint,) for joint in range(parts - 1)), tuple(range(parts - 1, layout.num_joints))]
    return replace(
        layout,
        parts=tuple(BodyPart(f"{sides[index % 3]}_{index}", held, held[0], (held[0] + 1) % 25) for index, held in enumerate(joints)),
    )


def test_parts_have_colours_of_their_own_however_many_they_are():
    shipped = load_layout("ntu25")
    assert [part.name for part in shipped.parts] == ["trunk", "left_arm", "right_arm", "left_leg", "right_leg"]
    assert part_colours(shipped) == (INK, BLUE, ORANGE, SKY, AMBER)
    for count in (1, 2, 6, 7, 20):
        layout = in_parts(shipped, count)
        colours = part_colours(layout)
        assert len(set(colours)) == count
        assert [colour for colour, part in zip(colours, layout.parts, strict=True) if "left" in part.name][:2] == [BLUE, SKY][: count // 2]
        pose = standing_pose(layout)
        figure = part_frames(layout, pose, alien=pose)
        said = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "five" not in said.lower()
        assert said.count("ring: the origin") == 1


def test_a_pose_of_another_layout_is_refused():
    pose = standing_pose(load_layout("ntu25"))
    for draw in (part_frames, groups_picture):
        with pytest.raises(AmanetError, match="not a body of layout sbu15"):
            draw(load_layout("sbu15"), pose)
        with pytest.raises(AmanetError, match="not finite"):
            draw(load_layout("ntu25"), pose * np.float32(np.nan))


@pytest.mark.parametrize("name", layout_names())
def test_mirrored_joints_lie_on_opposite_sides(name):
    layout = load_layout(name)
    sides = joint_sides(layout)
    opposite = {"left": "right", "right": "left", "trunk": "trunk"}
    assert all(sides[layout.mirror[joint]] == opposite[side] for joint, side in enumerate(sides))
    assert (sides[layout.across[0]], sides[layout.across[1]]) == ("left", "right")


def test_labels_are_spread_apart_and_stay_in_order():
    spread = spread_apart(np.array([1.0, 0.99, 0.98, 0.2]), 0.1)
    assert np.all(-np.diff(spread) >= 0.1 - 1e-12)
    assert spread[3] == 0.2
    assert spread[:3].mean() == pytest.approx(0.99)
