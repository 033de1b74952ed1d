"""Mended clips: gaps close on straight lines and never beyond, unsure joints are absent, and nothing is mended unasked."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.dataset import ClipSampling, fit_clip
from amanet.data.mend import Mend, drop_unsure, fill_gaps
from amanet.data.normalise import RECIPES, get_recipe
from amanet.errors import ClipError, ExperimentError, LayoutError
from amanet.model import Network, NetworkConfig
from amanet.prepare import prepare
from amanet.skeleton import ClipBatch, SkeletonClip, load_layout
from fabricate.ntu import skeleton_file

NTU25, COCO17 = load_layout("ntu25"), load_layout("coco17")


def line(seen: list[int], frames: int = 12) -> SkeletonClip:
    """Two bodies of one joint each on a straight way; the first is there in some frames, the second in all."""
    joints = np.zeros((2, frames, 1, 3), dtype=np.float32)
    joints[..., 0] = np.arange(frames)[None, :, None] * np.array([2, 5])[:, None, None]
    present = np.ones((2, frames, 1), dtype=bool)
    present[0] = np.isin(np.arange(frames), seen)[:, None]
    return SkeletonClip("a", np.where(present[..., None], joints, np.float32(0)), present)


@pytest.mark.parametrize(("longest", "filled"), [(1, [3]), (2, [3]), (3, [3, 5, 6, 7]), (100, [3, 5, 6, 7])])
def test_gaps_up_to_the_longest_close_on_the_straight_line(longest: int, filled: list[int]) -> None:
    before = line([2, 4, 8])
    after = fill_gaps(before, longest)
    assert np.flatnonzero(after.present[0, :, 0]).tolist() == sorted([2, 4, 8, *filled])
    np.testing.assert_allclose(after.joints[0, :, 0, 0], np.where(after.present[0, :, 0], 2 * np.arange(12), 0), rtol=1e-6)
    np.testing.assert_array_equal(after.joints[1], before.joints[1])


@given(st.integers(0, 1000), st.integers(1, 30))
def test_mending_twice_is_mending_once_and_keeps_what_was_seen(seed: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    present = rng.uniform(size=(2, 15, 17)) < 0.5
    present[0, 0, 0] = True
    joints = np.where(present[..., None], rng.uniform(0.3, 1, (2, 15, 17, 3)), 0).astype(np.float32)
    clip, mend = SkeletonClip("a", joints, present), Mend(0.5, longest)
    try:
        once = mend.apply(clip, COCO17)
    except ClipError:
        return
    twice = mend.apply(once, COCO17)
    np.testing.assert_array_equal(twice.present, once.present)
    np.testing.assert_array_equal(twice.joints, once.joints)
    sure = clip.present & (clip.joints[..., 2] >= 0.5)
    assert once.present[sure].all()
    np.testing.assert_array_equal(once.joints[sure], clip.joints[sure])


def test_joints_of_a_low_score_are_absent_in_the_batch() -> None:
    joints = np.random.default_rng(0).uniform(0.1, 1, (1, 9, 17, 3)).astype(np.float32)
    clip = SkeletonClip("a", joints, np.ones((1, 9, 17), dtype=bool), 0)
    normalised = get_recipe("aligned+score0.4").apply(clip, COCO17)
    batch = ClipBatch.stack([fit_clip(normalised, ClipSampling(frames=9))])
    np.testing.assert_array_equal(batch.present.numpy()[0, 0], joints[0, ..., 2] >= np.float32(0.4))
    assert not batch.joints[~batch.present].any()
    np.testing.assert_array_equal(RECIPES["aligned"].apply(clip, COCO17).present, True)


def test_joints_that_are_dropped_and_filled_count_as_both() -> None:
    joints = np.full((1, 5, 17, 3), 0.9, dtype=np.float32)
    joints[0, [0, 2], :3, 2] = 0.1  # three joints unsure at the beginning and between sure ones
    clip = SkeletonClip("a", joints, np.ones((1, 5, 17), dtype=bool))
    clip = clip.with_joints(clip.joints, clip.present & (np.arange(17) != 16) | (np.arange(5) != 3)[:, None])  # and one missing once
    mend = Mend(least_score=0.5, longest_gap=1)
    assert mend.count(clip, COCO17) == {"unsure_joints": 6, "filled_joints": 4}
    np.testing.assert_array_equal(mend.apply(clip, COCO17).present.sum(), 5 * 17 - 3)
    assert Mend(longest_gap=1).count(clip, COCO17) == {"unsure_joints": 0, "filled_joints": 1}


def test_what_cannot_be_mended_is_refused() -> None:
    clip = line([0])
    with pytest.raises(LayoutError, match="no score"):
        drop_unsure(clip, NTU25, 0.5)
    unsure = SkeletonClip("a", np.full((1, 2, 17, 3), 0.1, dtype=np.float32), np.ones((1, 2, 17), dtype=bool))
    with pytest.raises(ClipError, match="no joint"):
        get_recipe("aligned+score0.5").apply(unsure, COCO17)


@pytest.mark.parametrize(
    "name", ["aligned+", "aligned+fill0", "aligned+fill", "aligned+score0.30", "aligned+score2", "msg3d+fill5", "x", ""]
)
def test_names_of_recipes_have_one_spelling(name: str) -> None:
    with pytest.raises(ExperimentError, match="there is no recipe"):
        get_recipe(name)


def test_a_store_says_how_it_was_mended_and_counts_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for action in (1, 7):
        (raw / f"S001C001P001R001A{action:03}.skeleton").write_bytes(skeleton_file([[0], [0], [], [0], [], [], [0]]))
    store = prepare("ntu60", raw, tmp_path / "filled", recipe="aligned+fill1", workers=1)
    assert store.recipe == "aligned+fill1"
    assert [store.clip(row).present[0, :, 0].tolist() for row in (0, 1)] == [[True, True, True, True, False, False, True]] * 2
    assert json.loads((store.path / "report.json").read_text())["mended"] == {"filled_joints": 2 * 25}


@pytest.mark.parametrize("absent", [0.0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("bodies", "frames"), [(1, 1), (1, 2), (2, 40), (6, 30)])
@pytest.mark.parametrize("recipe", ["aligned", "aligned+fill5"])
def test_outputs_stay_finite_with_half_of_the_joints_missing(absent: float, bodies: int, frames: int, recipe: str) -> None:
    """Up to six bodies that flicker and come back, clips of a frame or two, 0 to 50 % of the joints absent."""
    rng = np.random.default_rng(bodies * frames)
    present = rng.uniform(size=(bodies, frames, 25)) >= absent
    present &= (rng.uniform(size=(bodies, frames, 1)) < 0.8) | (frames < 3)
    present[0, 0, 1] = True
    joints = np.where(present[..., None], rng.normal(0, 1, (bodies, frames, 25, 3)), 0).astype(np.float32)
    clip = get_recipe(recipe).apply(SkeletonClip("a", joints, present, 0), NTU25)
    assert clip.num_bodies <= 2
    assert clip.num_frames == frames
    logits = tiny_network()(*inputs(clip))
    assert logits.isfinite().all()


def test_a_clip_of_ten_thousand_frames_is_cut_to_what_a_network_takes() -> None:
    rng = np.random.default_rng(0)
    present = rng.uniform(size=(1, 10_000, 25)) < 0.9
    joints = np.where(present[..., None], rng.normal(0, 1, (1, 10_000, 25, 3)), 0).astype(np.float32)
    clip = get_recipe("aligned+fill5").apply(SkeletonClip("a", joints, present, 0), NTU25)
    assert tiny_network()(*inputs(clip)).isfinite().all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_never_become_a_clip(number: float) -> None:
    joints = np.zeros((1, 3, 25, 3), dtype=np.float32)
    joints[0, 1, 2, 0] = number
    with pytest.raises(ClipError, match="not finite"):
        SkeletonClip("a", joints, np.ones((1, 3, 25), dtype=bool))


def test_a_clip_with_every_joint_missing_is_refused() -> None:
    with pytest.raises(ClipError, match="no joint of any body"):
        SkeletonClip("a", np.zeros((1, 3, 25, 3), dtype=np.float32), np.zeros((1, 3, 25), dtype=bool))


def tiny_network() -> Network:
    return Network(NetworkConfig(width=6), NTU25, num_classes=3, num_bodies=2).eval()


def inputs(clip: SkeletonClip) -> tuple:
    batch = ClipBatch.stack([fit_clip(clip, ClipSampling(frames=16, bodies=2))])
    return batch.joints, batch.present
