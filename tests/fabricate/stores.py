"""Clips and stores of random numbers, of every shape and with gaps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from amanet.data.published import get_dataset
from amanet.data.store import ClipStore
from amanet.data.store_writer import StoreWriter, encode_clips
from amanet.skeleton import SkeletonClip, load_layout


def fabricate_clip(sample: str, bodies: int = 1, frames: int = 20, absent: float = 0.0, dataset: str = "ntu60") -> SkeletonClip:
    """A clip whose numbers follow from its name; ``absent`` is the fraction of joints that are not seen.

    Where names of the data set tell no class, it is of the first.
    """
    source = get_dataset(dataset)
    rng = np.random.default_rng(list(sample.encode()))
    shape = (bodies, frames, load_layout(source.layout).num_joints)
    present = rng.uniform(size=shape) >= absent
    present[0, 0, 0] = True
    joints = rng.normal(size=(*shape, 3)).astype(np.float32)
    return SkeletonClip(sample, np.where(present[..., None], joints, np.float32(0)), present, source.parse(sample).label or 0)


def ntu_samples(performers: Sequence[int], actions: Sequence[int]) -> list[str]:
    """Names of NTU RGB+D, sorted."""
    return sorted(f"S001C002P{performer:03}R001A{action:03}" for performer in performers for action in actions)


def write_store(
    path: Path,
    clips: Sequence[SkeletonClip],
    dataset: str = "ntu60",
    *,
    recipe: str = "aligned",
    overwrite: bool = False,
    class_names: Sequence[str] = (),
    splits: Mapping[str, Mapping[str, str]] | None = None,
) -> ClipStore:
    """A store of these clips; without names of classes, with those of the data set."""
    source = get_dataset(dataset)
    layout = load_layout(source.layout)
    writer = StoreWriter(
        path,
        dataset=dataset,
        layout=layout,
        recipe=recipe,
        class_names=class_names or source.class_names,
        max_bodies=max(source.max_bodies, *(clip.num_bodies for clip in clips)) if clips else source.max_bodies,
        splits=splits,
        overwrite=overwrite,
    )
    with writer:
        for clip in clips:
            writer.extend(encode_clips([clip], [source.parse(clip.sample)]))
    return ClipStore.open(path)


def ragged_clips() -> list[SkeletonClip]:
    """Twelve clips of 1 to 3 bodies and 1 to 40 frames, half of them with gaps."""
    samples = ntu_samples(performers=(1, 2, 3), actions=(1, 2, 3, 4))
    return [fabricate_clip(sample, 1 + i % 3, 1 + 7 * i % 40, 0.3 * (i % 2)) for i, sample in enumerate(samples)]
