"""Batches: clips in order, as tensors, that move and are cut as one."""

import numpy as np
import torch

from amanet.skeleton import ClipBatch, SkeletonClip


def numbered_clip(sample: str, label: int | None) -> SkeletonClip:
    rng = np.random.default_rng(list(sample.encode()))
    present = rng.uniform(size=(2, 4, 3)) < 0.8
    return SkeletonClip(sample, rng.normal(size=(2, 4, 3, 3)).astype(np.float32) * present[..., None], present, label)


def test_a_batch_stacks_clips_in_order() -> None:
    clips = [numbered_clip("a", 4), numbered_clip("b", None), numbered_clip("c", 0)]
    batch = ClipBatch.stack(clips)
    assert len(batch) == 3
    assert batch.sample == ("a", "b", "c")
    assert batch.label.tolist() == [4, -1, 0]
    for row, clip in enumerate(clips):
        np.testing.assert_array_equal(batch.joints[row].numpy(), clip.joints)
        np.testing.assert_array_equal(batch.present[row].numpy(), clip.present)


def test_some_clips_of_a_batch() -> None:
    batch = ClipBatch.stack([numbered_clip(name, row) for row, name in enumerate("abcd")])
    middle = batch.select(slice(1, 3))
    assert middle.sample == ("b", "c")
    assert middle.label.tolist() == [1, 2]
    assert torch.equal(middle.joints, batch.joints[1:3])
    assert torch.equal(middle.present, batch.present[1:3])


def test_a_batch_moves_whole() -> None:
    moved = ClipBatch.stack([numbered_clip("a", 1)]).to("meta")
    assert {moved.joints.device.type, moved.present.device.type, moved.label.device.type} == {"meta"}
    assert moved.sample == ("a",)
