"""Clips: what they refuse, and that absence stays zero and masked."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from amanet.errors import ClipError, LayoutError
from amanet.skeleton import SkeletonClip, load_layout


def make_clip(sample: str = "a", bodies: int = 2, frames: int = 4, joints: int = 3, label: int | None = 1) -> SkeletonClip:
    rng = np.random.default_rng(list(sample.encode()))
    present = np.ones((bodies, frames, joints), dtype=bool)
    return SkeletonClip(sample, rng.normal(size=(*present.shape, 3)).astype(np.float32), present, label)


def test_sizes() -> None:
    clip = make_clip(bodies=2, frames=4)
    assert (clip.num_bodies, clip.num_frames) == (2, 4)
    with pytest.raises(FrozenInstanceError):
        clip.label = 2  # type: ignore[misc]


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (1, 0, 3, 3), (1, 4, 0, 3)])
def test_a_clip_of_nothing_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ClipError, match="clip empty holds no joint of any body"):
        SkeletonClip("empty", np.zeros(shape, np.float32), np.ones(shape[:3], bool))


def test_a_clip_in_which_nothing_is_seen_is_refused() -> None:
    with pytest.raises(ClipError, match="no joint of any body in any frame"):
        SkeletonClip("blind", np.ones((1, 4, 3, 3), np.float32), np.zeros((1, 4, 3), bool))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    joints = np.zeros((1, 4, 3, 3), np.float32)
    joints[0, 2, 1, 0] = number
    with pytest.raises(ClipError, match="not finite"):
        SkeletonClip("wild", joints, np.ones((1, 4, 3), bool))


def test_its_numbers_are_nan_where_absent() -> None:
    clip = make_clip()
    present = clip.present.copy()
    present[0, 1] = False
    numbers = clip.with_joints(clip.joints, present).numbers
    np.testing.assert_array_equal(np.isnan(numbers), np.broadcast_to(~present[..., None], numbers.shape))
    np.testing.assert_array_equal(numbers[present], clip.joints[present])


def test_a_clip_that_is_not_of_a_layout_is_refused() -> None:
    make_clip(joints=17).check_fit(load_layout("coco17"))
    with pytest.raises(LayoutError, match=r"clip a is not of the layout coco17\n.*17 joints of 3 numbers\n.*16 joints of 3"):
        make_clip(joints=16).check_fit(load_layout("coco17"))


def test_other_places_are_zero_where_absent() -> None:
    clip = make_clip()
    present = clip.present.copy()
    present[0, 1] = False
    moved = clip.with_joints(clip.joints + 1, present)
    assert (moved.joints[0, 1] == 0).all()
    np.testing.assert_array_equal(moved.joints[present], clip.joints[present] + 1)
    assert (moved.sample, moved.label) == (clip.sample, clip.label)
    kept = moved.with_joints(np.ones_like(moved.joints))
    np.testing.assert_array_equal(kept.present, present)
    np.testing.assert_array_equal(kept.joints, np.broadcast_to(present[..., None], kept.joints.shape))
