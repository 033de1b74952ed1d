"""The four streams against loops over single joints, and the contracted layouts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amanet.skeleton import STREAMS, SkeletonLayout, Stream, derive_stream, layout_names, load_layout, stream_layout
from amanet.skeleton.graph import adjacency, hop_distance
from amanet.skeleton.layout import JointGroup
from amanet.skeleton.stream import _members, _parents, barycentres, bones, fuse_layout

LAYOUTS = layout_names()


def some_joints(layout: SkeletonLayout, seed: int, absent: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of three frames in float64, some of their joints absent and zero."""
    rng = np.random.default_rng(seed)
    present = rng.uniform(size=(2, 3, layout.num_joints)) >= absent
    joints = np.where(present[..., None], rng.normal(size=(*present.shape, 3)), 0)
    return torch.from_numpy(joints), torch.from_numpy(present)


def loop_bones(joints: np.ndarray, present: np.ndarray, layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """One frame's bones, joint by joint."""
    vectors, known = np.zeros_like(joints), np.zeros_like(present)
    for joint, parent in enumerate(layout.parents):
        known[joint] = present[joint] and present[parent]
        if known[joint]:
            vectors[joint] = joints[joint] - joints[parent]
            if layout.coordinates == "xy-score":
                vectors[joint, 2] = min(joints[joint, 2], joints[parent, 2])
    return vectors, known


def loop_barycentres(joints: np.ndarray, present: np.ndarray, layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """One frame's barycentres, group by group."""
    places, known = np.zeros((len(layout.groups), 3)), np.zeros(len(layout.groups), dtype=bool)
    for row, group in enumerate(layout.groups):
        seen = [joints[joint] for joint in group.joints if present[joint]]
        if seen:
            places[row], known[row] = sum(seen) / len(seen), True
    return places, known


@pytest.mark.parametrize("name", LAYOUTS)
@given(seed=st.integers(0, 2**32 - 1), absent=st.floats(0, 1))
def test_bones_are_those_of_the_loop(name: str, seed: int, absent: float) -> None:
    layout = load_layout(name)
    joints, present = some_joints(layout, seed, absent)
    vectors, known = bones(joints, present, layout)
    for index in np.ndindex(2, 3):
        expected, expected_known = loop_bones(joints[index].numpy(), present[index].numpy(), layout)
        np.testing.assert_allclose(vectors[index], expected, atol=1e-15)
        np.testing.assert_array_equal(known[index], expected_known)


@pytest.mark.parametrize("name", LAYOUTS)
@given(seed=st.integers(0, 2**32 - 1), absent=st.floats(0, 1))
def test_barycentres_are_those_of_the_loop(name: str, seed: int, absent: float) -> None:
    layout = load_layout(name)
    joints, present = some_joints(layout, seed, absent)
    places, known = barycentres(joints, present, layout.groups)
    for index in np.ndindex(2, 3):
        expected, expected_known = loop_barycentres(joints[index].numpy(), present[index].numpy(), layout)
        np.testing.assert_allclose(places[index], expected, atol=1e-14)
        np.testing.assert_array_equal(known[index], expected_known)


@pytest.mark.parametrize("stream", STREAMS)
def test_what_is_absent_has_no_say(stream: Stream) -> None:
    """Whatever number stands where a joint is absent, the features are the same."""
    layout = load_layout("ntu25")
    joints, present = some_joints(layout, 0)
    features, known = derive_stream(joints, present, layout, stream)
    noisy = torch.where(present[..., None], joints, torch.full_like(joints, 7.5))
    again, known_again = derive_stream(noisy, present, layout, stream)
    assert torch.equal(known, known_again)
    assert torch.equal(features[known], again[known])


@pytest.mark.parametrize("name", LAYOUTS)
def test_streams_have_the_shape_of_their_layout(name: str) -> None:
    layout = load_layout(name)
    joints, present = some_joints(layout, 1, absent=0)
    for stream in STREAMS:
        features, known = derive_stream(joints, present, layout, stream)
        num_nodes = stream_layout(layout, stream).num_joints
        assert features.shape == (2, 3, num_nodes, 3)
        assert known.shape == (2, 3, num_nodes)
        assert known.all()
    assert torch.equal(derive_stream(joints, present, layout, "joint")[0], joints)
    fused, _ = derive_stream(joints, present, layout, "joint-fused")
    fused_bones, _ = derive_stream(joints, present, layout, "bone-fused")
    assert torch.equal(fused_bones, bones(fused, torch.ones_like(fused[..., 0], dtype=torch.bool), fuse_layout(layout))[0])


def test_what_is_kept_after_inference_serves_a_training() -> None:
    layout = load_layout("ntu25")
    joints, present = some_joints(layout, 3)
    _parents.cache_clear()
    _members.cache_clear()
    with torch.inference_mode():
        derive_stream(joints, present, layout, "bone-fused")
        derive_stream(joints, present, layout, "bone")
    for stream in ("bone", "bone-fused"):
        derive_stream(joints.requires_grad_(), present, layout, stream)[0].square().sum().backward()
    assert joints.grad is not None


def test_bones_add_up_to_the_way_from_the_root() -> None:
    layout = load_layout("ntu25")
    joints, present = some_joints(layout, 2, absent=0)
    vectors, _ = bones(joints, present, layout)
    assert (vectors[..., layout.root, :] == 0).all()
    for joint in range(layout.num_joints):
        total, at = torch.zeros_like(vectors[..., 0, :]), joint
        while at != layout.root:
            total, at = total + vectors[..., at, :], layout.parents[at]
        torch.testing.assert_close(total, joints[..., joint, :] - joints[..., layout.root, :])


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_contracted_layout(name: str) -> None:
    layout = load_layout(name)
    fused = fuse_layout(layout)
    group_of = {joint: index for index, group in enumerate(layout.groups) for joint in group.joints}
    assert fused.name == f"{name}-fused"
    assert fused.joints == tuple(group.name for group in layout.groups)
    assert (hop_distance(adjacency(fused)) >= 0).all()
    assert {frozenset(bone) for bone in fused.bones} == {
        frozenset((group_of[joint], group_of[parent])) for joint, parent in layout.bones if group_of[joint] != group_of[parent]
    }
    assert fused.root == group_of[layout.root]
    assert fused.centre == group_of[layout.centre]
    assert fused.across == tuple(group_of[joint] for joint in layout.across)
    assert fused.up[0] == group_of[layout.up[0]] != fused.up[1]
    for joint in range(layout.num_joints):
        assert fused.mirror[group_of[joint]] == group_of[layout.mirror[joint]]
    assert [part.name for part in fused.parts] == [part.name for part in layout.parts]
    assert all(part.joints and part.origin != part.anchor for part in fused.parts)
    assert fuse_layout(fused) == replace(fused, name=f"{name}-fused-fused")


def regroup(layout: SkeletonLayout, **groups: str) -> SkeletonLayout:
    """The layout with other groups of its trunk."""
    index = {joint: place for place, joint in enumerate(layout.joints)}
    trunk = tuple(JointGroup(name, tuple(index[joint] for joint in joints.split())) for name, joints in groups.items())
    return replace(layout, groups=(*trunk, *(group for group in layout.groups if group.name not in ("torso", "head"))))


def test_where_a_group_holds_the_trunk_another_stands_in_for_one_end() -> None:
    layout = load_layout("ntu25")
    head = regroup(layout, pelvis="spine_base", torso="spine_mid spine_shoulder", neck="neck", head="head")
    assert fuse_layout(head).up == (1, 2)
    pelvis = regroup(layout, pelvis="spine_base", torso="spine_mid spine_shoulder neck head")
    assert fuse_layout(pelvis).up == (0, 1)
    none = regroup(layout, torso="spine_base spine_mid spine_shoulder neck head")
    assert fuse_layout(none).up == (0, 0)


def test_the_streams_are_the_four_of_the_paper() -> None:
    assert STREAMS == ("joint", "bone", "joint-fused", "bone-fused")
    layout = load_layout("ntu25")
    assert stream_layout(layout, "joint") is stream_layout(layout, "bone") is layout
    assert stream_layout(layout, "joint-fused") == stream_layout(layout, "bone-fused") == fuse_layout(layout)
