"""From a store to clips of equal shape: length, augmentation, number of bodies; and which rows train, validate and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int
from torch.utils.data import Dataset

from amanet.data.benchmark import OWN_PREFIX, PARTS, Benchmark, OwnBenchmark, Part, own_benchmark_name
from amanet.data.padding import replay
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError
from amanet.skeleton import SkeletonClip, SkeletonLayout

Members = dict[Part, Bool[np.ndarray, " clip"]]
"""Which clips are in each part of a split."""
Rows = dict[Part, Int[np.ndarray, " clip"]]
"""The clips of each part, as rows of a store."""
MOST_FRAMES, MOST_BODIES = 100_000, 100
"""Of a clip as a network sees it: more than a file of one's own may hold, or a camera sees."""
NOBODY = -1
"""A performer whom nobody named."""


@dataclass(frozen=True)
class ClipSampling:
    """How a stored clip becomes one that a network sees.

    The augmentations (``rotate``, ``scale``, ``mirror``, the random cut of ``resize``) act in training only; the paper names none.

    Attributes:
        frames: length of every clip.
        fit: ``replay`` repeats a clip from its start (the paper); ``resize`` cuts a part out of it and resamples that.
        crop: smallest and largest fraction of the clip that ``resize`` cuts out in training, at a random place.
        test_crop: fraction that ``resize`` keeps around the middle when it does not train.
        bodies: bodies of every clip; absent ones are added, those after the first ones left out.
        rotate: largest random angle about each axis, degrees; 2-D clips turn in their plane.
        scale: largest random change of size, as a fraction.
        mirror: swap left and right in every second clip; not for classes that differ by the side.
    """

    frames: int = 300
    fit: Literal["replay", "resize"] = "replay"
    crop: tuple[float, float] = (0.5, 1.0)
    test_crop: float = 0.95
    bodies: int = 2
    rotate: float = 0.0
    scale: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        low, high = self.crop
        bounds = {
            f"frames must be 1 to {MOST_FRAMES}": 1 <= self.frames <= MOST_FRAMES,
            f"bodies must be 1 to {MOST_BODIES}": 1 <= self.bodies <= MOST_BODIES,
            "fit must be replay or resize": self.fit in ("replay", "resize"),
            "crop must be two fractions, the smaller first": 0 < low <= high <= 1,
            "test_crop must be a fraction": 0 < self.test_crop <= 1,
            "rotate must be an angle from 0 to 180 degrees": 0 <= self.rotate <= 180,
            "scale must be 0 or more and below 1": 0 <= self.scale < 1,
        }
        for rule, holds in bounds.items():
            if not holds:
                raise ExperimentError(rule, got=self)


class ClipDataset(Dataset[SkeletonClip]):
    """Some rows of a store as clips of equal shape (``bodies``, ``frames``, joint, coord).

    An item is asked for as (epoch, position), or (epoch, position, time) where it comes several times an epoch: what is random in it
    follows from these, the seed and the sample's name alone, so neither the order of the clips nor the number of workers changes it.

    Args:
        store: where the clips are.
        rows: which of them, in the order of the positions.
        sampling: length, bodies and augmentation.
        seed: of the augmentation.
        training: whether to augment.
    """

    def __init__(self, store: ClipStore, rows: Int[np.ndarray, " clip"], sampling: ClipSampling, seed: int, *, training: bool) -> None:
        self.store = store
        self.rows = rows
        self.sampling = sampling
        self.seed = seed
        self.training = training

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def samples(self) -> list[str]:
        """Names of the clips, in the order of the positions."""
        return self.store.index["sample"].take(pa.array(self.rows)).to_pylist()

    @property
    def labels(self) -> Int[np.ndarray, " clip"]:
        """Classes of the clips, in the order of the positions."""
        return self.store.index["label"].to_numpy()[self.rows].astype(np.int64)

    def __getitem__(self, index: tuple[int, ...]) -> SkeletonClip:
        epoch, position, *time = index
        clip = self.store.clip(int(self.rows[position]))
        if not self.training:
            return fit_clip(clip, self.sampling)
        rng = np.random.default_rng([self.seed, epoch, crc32(clip.sample.encode()), *time])
        return fit_clip(augment(clip, self.store.layout, self.sampling, rng), self.sampling, rng)


def fit_clip(clip: SkeletonClip, sampling: ClipSampling, rng: np.random.Generator | None = None) -> SkeletonClip:
    """A clip of any length and number of bodies brought to those of ``sampling``; without ``rng`` as in evaluation."""
    clip = choose_bodies(clip, sampling.bodies)
    if sampling.fit == "replay":
        return add_bodies(replay(clip, sampling.frames), sampling.bodies)
    low, high = sampling.crop
    fraction = sampling.test_crop if rng is None else rng.uniform(low, high)
    place = 0.5 if rng is None else rng.uniform()
    length = max(1.0, fraction * clip.num_frames)
    positions = frame_positions(place * (clip.num_frames - length), length, sampling.frames)
    return add_bodies(resample(clip, positions), sampling.bodies)


def frame_positions(start: float, length: float, frames: int) -> Float[np.ndarray, " frame"]:
    """Where to sample a part of a clip, in frames of the clip: the middles of ``frames`` equal pieces of it, as image resizing does."""
    middles = start + (np.arange(frames) + 0.5) * (length / frames) - 0.5
    return middles.clip(start, start + length - 1)


def resample(clip: SkeletonClip, positions: Float[np.ndarray, " frame"]) -> SkeletonClip:
    """The clip at fractional frames, by linear interpolation between the frames around each.

    Between a seen and an absent joint the seen one holds, between two absent ones the joint is absent. Where nobody at all is seen at
    any of the positions, the frames in which somebody is are taken instead.
    """
    before, after = np.floor(positions).astype(int), np.ceil(positions).astype(int)
    seen_before, seen_after = clip.present[:, before], clip.present[:, after]
    if not (seen_before.any() or seen_after.any()):
        seen_frames = np.flatnonzero(clip.present.any(axis=(0, 2)))
        return resample(clip, seen_frames[np.linspace(0, len(seen_frames) - 1, len(positions)).round().astype(int)].astype(float))
    weight = (positions - before).astype(np.float32)[:, None]
    if clip.present.all():
        weight = weight[..., None]
    else:
        weight = np.where(seen_before & seen_after, weight, seen_after)[..., None].astype(np.float32)
    joints = clip.joints[:, after]
    start = clip.joints[:, before]
    joints -= start
    joints *= weight
    joints += start
    return SkeletonClip(clip.sample, joints, seen_before | seen_after, clip.label)


def augment(clip: SkeletonClip, layout: SkeletonLayout, sampling: ClipSampling, rng: np.random.Generator) -> SkeletonClip:
    """The clip turned about the origin, grown or shrunk, and mirrored, as ``sampling`` allows."""
    angles = np.radians(rng.uniform(-1, 1, size=3) * sampling.rotate)
    factor = 1 + rng.uniform(-1, 1) * sampling.scale
    flip = sampling.mirror and rng.uniform() < 0.5
    if not flip and sampling.rotate == sampling.scale == 0:
        return clip
    axes = layout.num_axes
    if axes == 2:
        angles[:2] = 0
    change = np.eye(3)
    change[:axes, :axes] = factor * rotation(angles)[:axes, :axes]
    joints, present = clip.joints, clip.present
    if flip:
        change = change @ np.diag([-1, 1, 1])
        joints, present = joints[:, :, list(layout.mirror)], present[:, :, list(layout.mirror)]
    changed = joints.reshape(-1, 3) @ change.T.astype(np.float32)
    return SkeletonClip(clip.sample, changed.reshape(joints.shape), present, clip.label)


def rotation(angles: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """R_z R_y R_x for angles about x, y and z, in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def choose_bodies(clip: SkeletonClip, bodies: int) -> SkeletonClip:
    """The first bodies that are seen at all, at most so many."""
    if clip.num_bodies <= bodies:
        return clip
    first = np.argsort(~clip.present.any(axis=(1, 2)), kind="stable")[:bodies]
    return SkeletonClip(clip.sample, clip.joints[first], clip.present[first], clip.label)


def add_bodies(clip: SkeletonClip, bodies: int) -> SkeletonClip:
    """The clip with absent bodies behind its own, up to so many."""
    if clip.num_bodies == bodies:
        return clip
    joints: Float32[np.ndarray, "body frame joint coord"] = np.zeros((bodies, *clip.joints.shape[1:]), np.float32)
    present: Bool[np.ndarray, "body frame joint"] = np.zeros((bodies, *clip.present.shape[1:]), bool)
    joints[: clip.num_bodies], present[: clip.num_bodies] = clip.joints, clip.present
    return SkeletonClip(clip.sample, joints, present, clip.label)


def split_rows(store: ClipStore, benchmark: Benchmark | OwnBenchmark, validation_performers: Sequence[int] = ()) -> Rows:
    """Rows of a store that train, validate and test, by what the samples' names say, or of one's own clips by what the store says.

    Args:
        store: clips of the benchmark's data set, all or some of them.
        benchmark: the protocol.
        validation_performers: those of the training performers who are held out for validation, besides the clips that a split of one's
            own has for it.

    Raises:
        ExperimentError: the store is of another data set, a held-out performer does not train, or nothing is left to train or to test.
    """
    members = _split_own(store, benchmark) if isinstance(benchmark, OwnBenchmark) else _split_by_names(store, benchmark)
    performers = store.index["performer"].fill_null(NOBODY).to_numpy()
    held_out = members["train"] & np.isin(performers, list(validation_performers))
    training = set(performers[members["train"]].tolist()) - {NOBODY}
    if validation_performers and (performers == NOBODY).all():
        raise ExperimentError(f"{store.dataset} does not say who performs, so no performers can be held out for validation")
    strangers = set(validation_performers) - training
    if strangers:
        raise ExperimentError(
            f"these performers do not train in {benchmark.name}, so they cannot be held out for validation",
            expected=f"some of {', '.join(map(str, sorted(training)))}",
            got=", ".join(map(str, sorted(strangers))),
        )
    parts: Rows = {
        "train": np.flatnonzero(members["train"] & ~held_out),
        "validation": np.flatnonzero(members["validation"] | held_out),
        "test": np.flatnonzero(members["test"]),
    }
    if not len(parts["train"]) or not len(parts["test"]):
        raise ExperimentError(
            f"this store has nothing to train or nothing to test for {benchmark.name}",
            where=store.path,
            expected="one clip or more"
            if isinstance(benchmark, OwnBenchmark)
            else f"{benchmark.num_train} and {benchmark.num_test} clips in the whole data set",
            got=", ".join(f"{len(rows)} clips for {part}" for part, rows in parts.items()),
        )
    return parts


def held_out_part(rows: Rows) -> Part:
    """The part that training is measured on: validation where there is one, else test."""
    return "validation" if len(rows["validation"]) else "test"


def _split_by_names(store: ClipStore, benchmark: Benchmark) -> Members:
    if store.dataset != benchmark.dataset.name:
        raise ExperimentError(
            f"this store is not of the benchmark {benchmark.name}",
            where=store.path,
            expected=f"a store of {benchmark.dataset.name}",
            got=f"a store of {store.dataset}",
        )
    in_training = np.array([benchmark.in_training(benchmark.dataset.parse(sample)) for sample in store.samples])
    return {"train": in_training, "validation": np.zeros_like(in_training), "test": ~in_training}


def _split_own(store: ClipStore, benchmark: OwnBenchmark) -> Members:
    if not store.dataset.startswith(OWN_PREFIX):
        raise ExperimentError(
            f"the benchmark {benchmark.name} is for clips of your own",
            where=store.path,
            got=f"a store of {store.dataset}",
            cure="name one of its benchmarks (docs/data.md)",
        )
    if benchmark.column not in store.header.splits:
        others = [own_benchmark_name(column) for column in store.header.splits]
        performers = ", or dataset.toml its test_performers" if benchmark.column == "split" else ""
        raise ExperimentError(
            f"the clips of this store have no split {benchmark.name}",
            where=store.path,
            expected=f"one of the benchmarks {', '.join(others)}" if others else None,
            cure=f"give labels.csv a column {benchmark.column} of {', '.join(PARTS)}{performers}, and prepare again",
        )
    column = np.array(store.index[benchmark.column].to_pylist(), dtype=object)
    return {part: column == part for part in PARTS}
