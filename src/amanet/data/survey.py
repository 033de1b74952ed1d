"""What the clips of a store are like: a few numbers a clip, measured in one pass with the memory of a few clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from amanet.data.store import ClipStore
from amanet.skeleton import SkeletonLayout

STEADY_FRAMES = 5
"""A bone seen in fewer frames of a body has no variation worth a word."""
SHORTEST = 1e-6


@dataclass(frozen=True)
class Survey:
    """Measures of each clip and each joint of a store.

    Attributes:
        missing: share of the joints that are absent where their body is there.
        briefest: share of the frames that show the body that is seen least.
        empty: share of the frames that show nobody.
        jump: the longest way of a joint from one frame to the next, in mean bones of the clip; 0 where no bone is seen to measure it by.
        unsteady: the largest variation of a bone of one body, standard deviation over mean; 0 for 2-D joints, as pictures shorten bones.
        forward: how far toes and bent knees point to where left and right shoulder say that the body faces, -1 to 1: see
            :func:`facing`; NaN where that cannot be told.
        upright: height of the trunk above the feet, over their distance, -1 to 1; NaN where that cannot be told.
        size: the mean length of a bone; 0 where none is seen.
        joint_missing: share of a joint's places that are absent where its body is there.
    """

    missing: Float[np.ndarray, " clip"]
    briefest: Float[np.ndarray, " clip"]
    empty: Float[np.ndarray, " clip"]
    jump: Float[np.ndarray, " clip"]
    unsteady: Float[np.ndarray, " clip"]
    forward: Float[np.ndarray, " clip"]
    upright: Float[np.ndarray, " clip"]
    size: Float[np.ndarray, " clip"]
    joint_missing: Float[np.ndarray, " joint"]


def survey(store: ClipStore, vertical: int) -> Survey:
    """Measures every clip.

    Args:
        store: read from its first byte to its last.
        vertical: the axis of its clips that points up.
    """
    measures, absent, shown = [], np.zeros(store.layout.num_joints), 0
    bodies, frames = (store.index[name].to_numpy().astype(np.int64) for name in ("bodies", "frames"))
    for rows, numbers in store.blocks():
        block = _Block.of(numbers, bodies[rows], frames[rows], store.layout)
        measures.append(block.measure(vertical))
        absent += (~block.present[block.seen]).sum(axis=0)
        shown += int(block.seen.sum())
    return Survey(*np.concatenate(measures, axis=1), joint_missing=absent / max(shown, 1))


@dataclass(frozen=True)
class _Block:
    """Clips one after the other: a pose is one body in one frame, a track the poses of one body, a clip one or more tracks."""

    places: Float32[np.ndarray, "pose joint axis"]
    present: Bool[np.ndarray, "pose joint"]
    seen: Bool[np.ndarray, " pose"]
    track_start: Int[np.ndarray, " track"]
    clip_start: Int[np.ndarray, " clip"]
    first_track: Int[np.ndarray, " clip"]
    frames: Int[np.ndarray, " clip"]
    layout: SkeletonLayout

    @classmethod
    def of(
        cls,
        numbers: Float32[np.ndarray, " number"],
        bodies: Int[np.ndarray, " clip"],
        frames: Int[np.ndarray, " clip"],
        layout: SkeletonLayout,
    ) -> "_Block":
        places = numbers.reshape(-1, layout.num_joints, layout.num_coords)[..., : layout.num_axes]
        present = ~np.isnan(places[..., 0])
        return cls(
            places=places,
            present=present,
            seen=np.asarray(present.any(axis=1)),
            track_start=_starts(np.repeat(frames, bodies)),
            clip_start=_starts(bodies * frames),
            first_track=_starts(bodies),
            frames=frames,
            layout=layout,
        )

    def measure(self, vertical: int) -> Float[np.ndarray, "measure clip"]:
        """The measures of a survey, in its order."""
        seen = self._sum(self.seen)
        missing = 1 - self._sum(self.present.sum(axis=1)) / np.maximum(seen * self.layout.num_joints, 1)
        in_track = np.add.reduceat(self.seen.astype(np.float64), self.track_start)
        length = np.diff(self.track_start, append=len(self.seen))
        briefest = np.minimum.reduceat(in_track / length, self.first_track)
        bones = self._bone_lengths()
        known = ~np.isnan(bones)
        mean_bone = self._sum(np.where(known, bones, 0).sum(axis=1)) / np.maximum(self._sum(known.sum(axis=1)), 1)
        way = np.maximum.reduceat(self._steps(), self.clip_start)
        jump = np.where(mean_bone > SHORTEST, way / np.maximum(mean_bone, SHORTEST), 0)
        unsteady = self._variation(bones) if self.layout.num_axes == 3 else np.zeros(len(jump))
        return np.stack([missing, briefest, self._empty(), jump, unsteady, self._forward(), self._upright(vertical), mean_bone])

    def _sum(self, values: np.ndarray) -> Float[np.ndarray, " clip"]:
        return np.add.reduceat(values.astype(np.float64), self.clip_start)

    def _empty(self) -> Float[np.ndarray, " clip"]:
        """The share of each clip's frames that show none of its bodies."""
        poses, start = len(self.seen), _starts(self.frames)
        in_track = np.arange(poses) - np.repeat(self.track_start, np.diff(self.track_start, append=poses))
        frame = in_track + np.repeat(start, np.diff(self.clip_start, append=poses))
        shown = np.zeros(self.frames.sum())
        shown[frame[self.seen]] = 1
        return 1 - np.add.reduceat(shown, start) / self.frames

    def _bone_lengths(self) -> Float[np.ndarray, "pose bone"]:
        child, parent = np.array(self.layout.bones).T
        return np.sqrt(((self.places[:, child] - self.places[:, parent]) ** 2).sum(axis=-1))

    def _steps(self) -> Float[np.ndarray, " pose"]:
        """The longest way of a joint of each pose from the pose before it; 0 for the first of a track."""
        ways = np.zeros(len(self.places), dtype=np.float64)
        squares = ((self.places[1:] - self.places[:-1]) ** 2).sum(axis=-1)
        ways[1:] = np.sqrt(np.where(np.isnan(squares), 0, squares).max(axis=1))
        ways[self.track_start] = 0
        return ways

    def _variation(self, bones: Float[np.ndarray, "pose bone"]) -> Float[np.ndarray, " clip"]:
        known = ~np.isnan(bones)
        length = np.where(known, bones, 0).astype(np.float64)
        count, total, squares = (np.add.reduceat(values, self.track_start) for values in (known.astype(np.float64), length, length**2))
        mean = total / np.maximum(count, 1)
        deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        variation = np.where((count >= STEADY_FRAMES) & (mean > SHORTEST), deviation / np.maximum(mean, SHORTEST), 0)
        return np.maximum.reduceat(variation.max(axis=1), self.first_track)

    def _forward(self) -> Float[np.ndarray, " clip"]:
        told = np.nan_to_num(facing(self.places, self.layout)) if self.layout.num_axes == 3 else np.zeros(len(self.places))
        return self._mean_of_told(told)

    def _upright(self, vertical: int) -> Float[np.ndarray, " clip"]:
        feet = named_joints(self.layout, "foot") or named_joints(self.layout, "ankle") or (self.layout.up[0],)
        axis = self.places[:, self.layout.up[1]] - self.places[:, list(feet)].mean(axis=1)
        length = np.sqrt((axis**2).sum(axis=-1))
        with np.errstate(invalid="ignore", divide="ignore"):
            told = np.where(length > SHORTEST, axis[:, vertical] / length, 0)
        return self._mean_of_told(np.nan_to_num(told))

    def _mean_of_told(self, told: Float[np.ndarray, " pose"]) -> Float[np.ndarray, " clip"]:
        """Mean over the poses that tell something, that is, where ``told`` is not 0; NaN for clips in which none does."""
        count = self._sum(told != 0)
        return np.where(count > 0, self._sum(told) / np.maximum(count, 1), np.nan)


def facing(places: Float[np.ndarray, "pose joint 3"], layout: SkeletonLayout) -> Float[np.ndarray, " pose"]:
    """How far the legs of a body point to where its shoulders say that it faces, -1 to 1; a mirrored body is below 0.

    A body whose right-to-left shoulder line is s and whose trunk is u faces along s × u. Toes lie before ankles, and a knee lies before
    the line from hip to ankle (or foot), if it is bent. The cosine between that way and the sum of these vectors is given. One pose proves
    little, as feet are what sensors see worst; the mean over many clips does. NaN where a joint is absent, or the layout has no joints
    with such names: knee, ankle, foot or toe.

    Mirrored axes and exchanged names of left and right look the same: both turn s × u around.
    """
    (lower, upper), (left, right) = layout.up, layout.across
    way = np.cross(places[:, left] - places[:, right], places[:, upper] - places[:, lower]).astype(np.float64)
    legs = np.zeros_like(way)
    ankles = named_joints(layout, "ankle") or named_joints(layout, "foot")
    for toe in named_joints(layout, "toe") or named_joints(layout, "foot"):
        if layout.parents[toe] in ankles:
            legs += places[:, toe] - places[:, layout.parents[toe]]
    for ankle in ankles:
        knee = layout.parents[ankle]
        if knee in named_joints(layout, "knee"):
            legs += places[:, knee] - (places[:, layout.parents[knee]] + places[:, ankle]) / 2
    size = np.linalg.norm(way, axis=-1) * np.linalg.norm(legs, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > SHORTEST, (way * legs).sum(axis=-1) / size, np.nan)


def named_joints(layout: SkeletonLayout, word: str) -> tuple[int, ...]:
    """The joints with that word in their names."""
    return tuple(joint for joint, name in enumerate(layout.joints) if word in name.lower().replace("-", "_").split("_"))


def _starts(lengths: Int[np.ndarray, " part"] | Sequence[int]) -> Int[np.ndarray, " part"]:
    return np.cumsum(lengths) - lengths
