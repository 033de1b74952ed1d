"""Clips keep their meaning when they are brought to one shape, and the parts of a benchmark follow the names of the samples."""

import lzma

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amanet.data.dataset import (
    ClipDataset,
    ClipSampling,
    add_bodies,
    augment,
    choose_bodies,
    frame_positions,
    resample,
    rotation,
    split_rows,
)
from amanet.data.published import BENCHMARKS, get_benchmark, get_dataset
from amanet.errors import ExperimentError
from amanet.skeleton import SkeletonClip, load_layout
from fabricate.stores import fabricate_clip, ntu_samples, ragged_clips, write_store

SAMPLE = "S001C002P001R001A001"
NTU25 = load_layout("ntu25")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("stores") / "store", ragged_clips())


def every_clip(store, sampling, *, training=False, epoch=0, seed=0):
    dataset = ClipDataset(store, np.arange(len(store)), sampling, seed, training=training)
    return [dataset[epoch, position] for position in range(len(dataset))]


@pytest.mark.parametrize("fit", ["replay", "resize"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("frames", "bodies"), [(1, 1), (16, 2), (100, 4)])
def test_clips_have_the_shape_asked_for(store, fit, training, frames, bodies):
    for clip in every_clip(store, ClipSampling(frames=frames, fit=fit, bodies=bodies), training=training):
        assert clip.joints.shape == (bodies, frames, 25, 3)
        assert clip.joints.dtype == np.float32
        assert not clip.joints[~clip.present].any()


def test_replay_repeats_from_the_start(store):
    clip, stored = every_clip(store, ClipSampling(frames=50, bodies=1), training=True)[1], store.clip(1)
    np.testing.assert_array_equal(clip.joints[0], np.tile(stored.joints[0], (7, 1, 1))[:50])
    assert stored.num_frames == 8


def test_without_augmentation_training_sees_what_evaluation_sees(store):
    pairs = zip(every_clip(store, ClipSampling(), training=True, epoch=9, seed=4), every_clip(store, ClipSampling()), strict=True)
    assert all(np.array_equal(one.joints, two.joints) for one, two in pairs)


@given(length=st.integers(1, 40), frames=st.integers(1, 50))
def test_resampling_a_whole_clip_is_the_interpolation_of_torch(length, frames):
    clip = fabricate_clip(SAMPLE, frames=length)
    ours = resample(clip, frame_positions(0.0, float(length), frames))
    signal = torch.from_numpy(clip.joints).permute(0, 2, 3, 1).reshape(1, -1, length)
    theirs = torch.nn.functional.interpolate(signal, frames, mode="linear").reshape(1, 25, 3, frames).permute(0, 3, 1, 2)
    np.testing.assert_allclose(ours.joints, theirs, atol=2e-5)
    assert ours.present.all()


@settings(max_examples=50)
@given(data=st.data(), length=st.integers(1, 12), absent=st.floats(0, 0.95))
def test_resampling_respects_absence(data, length, absent):
    clip = fabricate_clip(data.draw(st.sampled_from(ntu_samples(range(1, 9), range(1, 9)))), 2, length, absent)
    place = data.draw(st.floats(0, length - 1))
    before, after, weight = int(np.floor(place)), int(np.ceil(place)), place - np.floor(place)
    if not clip.present[:, [before, after]].any():
        return
    got = resample(clip, np.array([place]))
    for body, joint in np.ndindex(2, 25):
        ends = [
            (clip.joints[body, frame, joint], share)
            for frame, share in ((before, 1 - weight), (after, weight))
            if clip.present[body, frame, joint]
        ]
        assert got.present[body, 0, joint] == bool(ends)
        if ends and len(ends) == 2:
            np.testing.assert_allclose(got.joints[body, 0, joint], sum(joints * share for joints, share in ends), atol=1e-5)
        elif ends:
            np.testing.assert_array_equal(got.joints[body, 0, joint], ends[0][0])
        else:
            assert not got.joints[body, 0, joint].any()


def test_a_cut_where_nobody_is_seen_falls_back_on_frames_where_somebody_is():
    clip = fabricate_clip(SAMPLE, frames=100)
    present = clip.present.copy()
    present[:, 3:] = False
    clip = clip.with_joints(clip.joints, present)
    got = resample(clip, frame_positions(50.0, 30.0, 6))
    np.testing.assert_array_equal(got.joints[0], clip.joints[0, [0, 0, 1, 1, 2, 2]])


@given(start=st.floats(0, 50), length=st.floats(1, 50), frames=st.integers(1, 100))
def test_positions_stay_inside_the_cut_and_are_even(start, length, frames):
    positions = frame_positions(start, length, frames)
    assert len(positions) == frames
    assert positions.min() >= start - 1e-9
    assert positions.max() <= start + length - 1 + 1e-9
    assert (np.diff(positions) >= 0).all()
    np.testing.assert_allclose(positions + positions[::-1], 2 * start + length - 1, atol=1e-9)


def test_training_cuts_differ_by_epoch_and_evaluation_keeps_the_middle(store):
    sampling = ClipSampling(frames=20, fit="resize", test_crop=0.5)
    one, again, two = (every_clip(store, sampling, training=True, epoch=epoch)[-1].joints for epoch in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    stored = store.clip(2)
    middle = resample(stored, frame_positions(stored.num_frames / 4, stored.num_frames / 2, 20))
    np.testing.assert_array_equal(every_clip(store, sampling)[2].joints, choose_bodies(middle, 2).joints)


def test_randomness_follows_from_seed_epoch_and_sample(store):
    sampling = ClipSampling(frames=10, rotate=30.0)
    rows = np.array([7, 3])
    some = ClipDataset(store, rows, sampling, 1, training=True)
    everything = every_clip(store, sampling, training=True, epoch=2, seed=1)
    np.testing.assert_array_equal(some[2, 0].joints, everything[7].joints)
    np.testing.assert_array_equal(some[2, 1].joints, everything[3].joints)
    assert some.samples == [store.samples[7], store.samples[3]]
    assert not np.array_equal(every_clip(store, sampling, training=True, epoch=2, seed=2)[7].joints, everything[7].joints)


@given(st.integers(0, 100))
def test_turning_and_growing_keep_angles_and_the_origin(seed):
    clip = fabricate_clip(SAMPLE, 2, 5, 0.2)
    changed = augment(clip, NTU25, ClipSampling(rotate=180.0, scale=0.3), np.random.default_rng(seed))
    lengths, before = np.linalg.norm(changed.joints, axis=-1), np.linalg.norm(clip.joints, axis=-1)
    factors = lengths[clip.present] / before[clip.present]
    assert 0.7 - 1e-5 <= factors.min() <= factors.max() <= 1.3 + 1e-5
    np.testing.assert_allclose(factors, factors[0], rtol=1e-4)
    one, two = clip.joints[clip.present][:20], clip.joints[clip.present][20:40]
    one_after, two_after = changed.joints[clip.present][:20], changed.joints[clip.present][20:40]
    np.testing.assert_allclose((one_after * two_after).sum(-1), factors[0] ** 2 * (one * two).sum(-1), atol=1e-3)
    assert np.linalg.det(changed.joints[clip.present][:3]) * np.linalg.det(clip.joints[clip.present][:3]) > 0
    np.testing.assert_array_equal(changed.present, clip.present)


def test_rotation_turns_about_x_then_y_then_z():
    quarter = np.pi / 2
    np.testing.assert_allclose(rotation(np.array([quarter, 0, 0])) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([0, quarter, 0])) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([0, 0, quarter])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([quarter, quarter, 0])) @ [0, 1, 0], [1, 0, 0], atol=1e-12)


def test_small_angles_are_small():
    clip = fabricate_clip(SAMPLE, 1, 5)
    for seed in range(20):
        changed = augment(clip, NTU25, ClipSampling(rotate=1.0), np.random.default_rng(seed))
        assert 0 < np.abs(changed.joints - clip.joints).max() < 3 * np.radians(1) * np.linalg.norm(clip.joints, axis=-1).max()


def test_mirror_swaps_the_sides_in_about_half_of_the_clips():
    clip = fabricate_clip(SAMPLE, 1, 5, 0.3)
    left, right = NTU25.joints.index("hand_left"), NTU25.joints.index("hand_right")
    swapped = 0
    for seed in range(40):
        changed = augment(clip, NTU25, ClipSampling(mirror=True), np.random.default_rng(seed))
        if not np.array_equal(changed.joints, clip.joints):
            swapped += 1
            np.testing.assert_allclose(changed.joints[:, :, left], clip.joints[:, :, right] * [-1, 1, 1], atol=1e-6)
            np.testing.assert_array_equal(changed.present[:, :, left], clip.present[:, :, right])
    assert 10 < swapped < 30


def test_flat_clips_turn_in_their_plane_and_keep_their_scores():
    layout = load_layout("kinetics18")
    rng = np.random.default_rng(0)
    clip = SkeletonClip("clip", rng.normal(size=(1, 4, 18, 3)).astype(np.float32), np.ones((1, 4, 18), bool), 0)
    changed = augment(clip, layout, ClipSampling(rotate=90.0, mirror=True), rng)
    np.testing.assert_allclose(np.sort(changed.joints[..., 2]), np.sort(clip.joints[..., 2]))
    lengths = [np.sort(np.linalg.norm(each.joints[..., :2], axis=-1)) for each in (changed, clip)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert not np.allclose(changed.joints, clip.joints)


def test_bodies_that_are_never_seen_are_the_first_to_go():
    clip = fabricate_clip(SAMPLE, 3, 5)
    present = clip.present.copy()
    present[0] = False
    clip = clip.with_joints(clip.joints, present)
    np.testing.assert_array_equal(choose_bodies(clip, 2).joints, clip.joints[1:])
    np.testing.assert_array_equal(choose_bodies(clip, 3).joints, clip.joints)
    wider = add_bodies(clip, 5)
    assert not wider.present[3:].any()
    np.testing.assert_array_equal(wider.joints[:3], clip.joints)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"frames": 0}, {"bodies": 0}, {"rotate": -1.0}, {"rotate": 200.0}, {"rotate": float("nan")}, {"scale": 1.0}, {"scale": -0.1}),
        *({"crop": (0.0, 1.0)}, {"crop": (0.9, 0.5)}, {"crop": (0.5, 1.5)}, {"test_crop": 0.0}, {"test_crop": 1.1}),
    ],
)
def test_impossible_sampling_is_refused(wrong):
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        ClipSampling(**wrong)


def test_parts_follow_the_names(store):
    parts = split_rows(store, get_benchmark("ntu60-xsub"))
    names = {part: {sample[8:12] for sample in np.array(store.samples)[rows]} for part, rows in parts.items()}
    assert names == {"train": {"P001", "P002"}, "validation": set(), "test": {"P003"}}
    held_out = split_rows(store, get_benchmark("ntu60-xsub"), validation_performers=[2])
    assert [len(held_out[part]) for part in ("train", "validation", "test")] == [4, 4, 4]
    assert sorted(np.concatenate(list(held_out.values()))) == list(range(12))


def test_a_performer_who_does_not_train_cannot_be_held_out(store):
    with pytest.raises(ExperimentError, match="do not train") as caught:
        split_rows(store, get_benchmark("ntu60-xsub"), validation_performers=[2, 3])
    assert caught.value.got == "3"


def test_store_of_another_data_set_is_refused(store):
    with pytest.raises(ExperimentError, match="not of the benchmark ntu120-xset") as caught:
        split_rows(store, get_benchmark("ntu120-xset"))
    assert caught.value.got == "a store of ntu60"


def test_parts_that_are_empty_are_refused_with_their_counts(tmp_path):
    store = write_store(tmp_path / "store", [fabricate_clip(SAMPLE)])
    with pytest.raises(ExperimentError, match="nothing to train or nothing to test") as caught:
        split_rows(store, get_benchmark("ntu60-xsub"))
    assert caught.value.got == "1 clips for train, 0 clips for validation, 0 clips for test"


def test_every_tenth_name_of_ntu_goes_where_the_rule_says(tmp_path, shared):
    names = lzma.decompress((shared / "data/ntu/lists/ntu_available_names.txt.xz").read_bytes()).decode().split()
    held = sorted(name for name in names if get_dataset("ntu60").holds(name))
    store = write_store(tmp_path / "store", [fabricate_clip(name, frames=1) for name in held[::10]])
    for name in ("ntu60-xsub", "ntu60-xview"):
        benchmark = BENCHMARKS[name]
        parts = split_rows(store, benchmark)
        expected = sum(benchmark.in_training(benchmark.dataset.parse(sample)) for sample in held[::10])
        assert (len(parts["train"]), len(parts["test"])) == (expected, len(store) - expected)
