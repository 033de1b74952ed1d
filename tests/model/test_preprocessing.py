"""DP against loops (Eqs. 3-8), and what must hold for any input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from amanet.errors import LayoutError
from amanet.model.preprocessing import DP, DP_CHOICES, AlienChoice, acceleration, relative_coordinates, velocity
from amanet.skeleton import SkeletonLayout, layout_names, load_layout, stream_layout
from amanet.skeleton.layout import JointGroup
from reference import equations

LAYOUTS_3D = [name for name in layout_names() if load_layout(name).num_axes == 3]


def make_joints(layout: SkeletonLayout, frames: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, layout.num_joints, 3))


def run(module: torch.nn.Module, joints: np.ndarray, present: np.ndarray | None = None) -> np.ndarray:
    batch = torch.from_numpy(joints)[None, None]
    seen = torch.ones(batch.shape[:-1], dtype=torch.bool) if present is None else torch.from_numpy(present)[None, None]
    return module(batch, seen)[0, 0].numpy()


def loop_parts(layout: SkeletonLayout) -> list[tuple[list[int], int, int, tuple[int, int]]]:
    return [
        (list(part.joints), part.origin, part.anchor, layout.across if layout.root in part.joints else layout.up) for part in layout.parts
    ]


@pytest.mark.parametrize("name", LAYOUTS_3D)
@pytest.mark.parametrize("alien", ["frame", "pinv"])
def test_groups_stand_in_order_and_equal_the_loops(name: str, alien: AlienChoice) -> None:
    layout = load_layout(name)
    joints = make_joints(layout)
    loop = equations.alien_frame if alien == "frame" else equations.alien_pinv
    expected = [
        joints,
        equations.relative(joints, layout.centre),
        loop(joints, loop_parts(layout), 1.2),
        equations.velocity(joints),
        equations.acceleration(joints),
    ]
    dp = DP(layout, "vel+acc+both", alien, 1.2)
    assert dp.num_channels == 15
    np.testing.assert_allclose(run(dp, joints), np.concatenate(expected, axis=-1), atol=1e-9)


@pytest.mark.parametrize("choice", DP_CHOICES)
def test_channels_are_as_many_as_announced(choice: str) -> None:
    for name in layout_names():
        dp = DP(load_layout(name), choice)  # type: ignore[arg-type]
        assert run(dp, make_joints(load_layout(name))).shape[-1] == dp.num_channels


def test_two_dimensional_layouts_keep_their_score_once() -> None:
    layout = load_layout("kinetics18")
    joints = make_joints(layout)
    found = run(DP(layout, "vel+acc+alien"), joints)
    assert found.shape[-1] == 9
    np.testing.assert_array_equal(found[..., :3], joints)
    part = next(part for part in layout.parts if part.name == "left_arm")
    np.testing.assert_allclose(found[:, part.origin, 3:5], 0, atol=1e-12)


@pytest.mark.parametrize("name", LAYOUTS_3D)
def test_origins_map_to_zero_and_anchors_to_s(name: str) -> None:
    layout = load_layout(name)
    joints = make_joints(layout)
    for part in layout.parts:
        if part.anchor not in part.joints:
            continue
        alien = run(DP(layout, "vel+acc+alien", "frame", 1.7), joints)[..., 3:6]
        np.testing.assert_allclose(alien[:, part.origin], 0, atol=1e-9)
        np.testing.assert_allclose(alien[:, part.anchor], np.tile([1.7, 0, 0], (len(joints), 1)), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    turn=arrays(np.float64, 3, elements=st.floats(-3, 3)),
    move=arrays(np.float64, 3, elements=st.floats(-5, 5)),
    size=st.floats(0.2, 5),
    name=st.sampled_from(LAYOUTS_3D),
)
def test_moving_frames_do_not_see_where_how_turned_or_how_large_a_body_is(
    turn: np.ndarray, move: np.ndarray, size: float, name: str
) -> None:
    layout = load_layout(name)
    joints = make_joints(layout)
    moved = size * joints @ Rotation.from_rotvec(turn).as_matrix().T + move
    dp = DP(layout, "vel+acc+alien", "frame")
    np.testing.assert_allclose(run(dp, moved)[..., 3:6], run(dp, joints)[..., 3:6], atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
    alien=st.sampled_from(["frame", "pinv"]),
    same=st.booleans(),
    name=st.sampled_from(layout_names()),
)
def test_never_nan_whatever_is_missing_or_degenerate(seed: int, share: float, alien: AlienChoice, same: bool, name: str) -> None:
    layout = load_layout(name)
    rng = np.random.default_rng(seed)
    joints = make_joints(layout, seed=seed) * (0 if same else 1) + rng.normal()
    present = rng.random(joints.shape[:2]) > share
    found = run(DP(layout, "vel+acc+both", alien), joints * present[..., None], present)
    assert np.isfinite(found).all()
    assert not found[~present][:, 3:].any()


@pytest.mark.parametrize("name", layout_names())
def test_the_fused_scale_has_alien_coordinates_of_every_part(name: str) -> None:
    """Of all its joints but the origins."""
    layout = stream_layout(load_layout(name), "joint-fused")
    alien = run(DP(layout, "vel+acc+alien"), make_joints(layout))[..., 3 : 3 + layout.num_axes]
    origins = {part.origin for part in layout.parts}
    assert [joint for joint in range(layout.num_joints) if not alien[:, joint].any()] == sorted(origins)


NTU = load_layout("ntu25")


def without_trunk(layout: SkeletonLayout) -> SkeletonLayout:
    """Its fused scale, if one group held all of the trunk."""
    trunk = next(part.joints for part in layout.parts if layout.root in part.joints)
    others = [group for group in layout.groups if group.joints[0] not in trunk]
    return stream_layout(replace(layout, groups=(JointGroup("trunk", trunk), *others)), "joint-fused")


@pytest.mark.parametrize(
    "layout",
    [without_trunk(NTU), without_trunk(load_layout("openpose25")), replace(NTU, up=(1, 1)), replace(NTU, up=(NTU.across[0], 20))],
    ids=["no trunk", "no trunk in 2-D", "no up", "up along an arm"],
)
def test_a_part_without_a_frame_is_refused(layout: SkeletonLayout) -> None:
    with pytest.raises(LayoutError, match="has no frame of reference"):
        DP(layout, "vel+acc+alien")
    DP(layout, "vel+acc+alien", "pinv")
    DP(layout, "vel+acc")


def test_a_short_bone_gives_zeros_and_not_huge_numbers() -> None:
    layout = load_layout("ntu25")
    joints = make_joints(layout)
    arm = next(part for part in layout.parts if part.name == "left_arm")
    joints[:, arm.origin] = joints[:, arm.anchor] + 1e-6
    alien = run(DP(layout, "vel+acc+alien"), joints)[..., 3:6]
    assert not alien[:, list(arm.joints)].any()


def test_a_limb_along_the_trunk_gives_zeros_and_not_any_direction() -> None:
    joints = make_joints(NTU)
    arm = next(part for part in NTU.parts if part.name == "left_arm")
    joints[:, arm.origin] = joints[:, arm.anchor] + joints[:, NTU.up[1]] - joints[:, NTU.up[0]] + 1e-6
    alien = run(DP(NTU, "vel+acc+alien"), joints)[..., 3:6]
    assert not alien[:, list(arm.joints)].any()


def test_derivatives_of_absent_joints_are_zero() -> None:
    joints = torch.randn(1, 1, 6, 2, 3, dtype=torch.float64)
    present = torch.ones(1, 1, 6, 2, dtype=torch.bool)
    present[0, 0, 3, 0] = False
    speed, known = velocity(joints * present[..., None], present)
    change = acceleration(speed, known)
    assert not speed[0, 0, 3:5, 0].any()
    assert not change[0, 0, 3:6, 0].any()
    torch.testing.assert_close(speed[0, 0, 5, 0], joints[0, 0, 5, 0] - joints[0, 0, 4, 0])
    torch.testing.assert_close(relative_coordinates(joints, present, 0)[0, 0, 3], torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("alien", ["frame", "pinv"])
def test_gradients(alien: AlienChoice) -> None:
    layout = load_layout("sbu15")
    joints = torch.from_numpy(make_joints(layout, frames=3))[None, None].requires_grad_()
    present = torch.ones(joints.shape[:-1], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: DP(layout, "vel+acc+both", alien)(x, present), joints)
