"""Mending clips before a recipe normalises them: unsure joints become absent, short gaps are closed; both only on demand."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from amanet.errors import LayoutError
from amanet.skeleton import SkeletonClip, SkeletonLayout

MEND_NAME = re.compile(r"(?:\+score(0\.\d{0,2}[1-9]))?(?:\+fill([1-9]\d{0,2}))?", re.ASCII)
"""How the name of a recipe goes on where clips are mended first."""


@dataclass(frozen=True)
class Mend:
    """How clips are mended; doing it twice is doing it once.

    Attributes:
        least_score: 2-D joints of a lower score become absent; None leaves all.
        longest_gap: gaps of a joint up to this many frames are closed on the straight line between the frames around them, in which the
            same body has the joint; None leaves all.
    """

    least_score: float | None = None
    longest_gap: int | None = None

    @classmethod
    def of(cls, suffix: str) -> "Mend | None":
        """That of the end of a recipe's name, as in ``+score0.3+fill5``; None if it is none."""
        match = MEND_NAME.fullmatch(suffix)
        if match is None or not suffix:
            return None
        return cls(float(match[1]) if match[1] else None, int(match[2]) if match[2] else None)

    def apply(self, clip: SkeletonClip, layout: SkeletonLayout) -> SkeletonClip:
        """The mended clip.

        Raises:
            LayoutError: a least score, and joints that have none.
            ClipError: no joint is sure enough.
        """
        return self._fill(self._drop(clip, layout))

    def count(self, clip: SkeletonClip, layout: SkeletonLayout) -> Counter[str]:
        """Joints of all bodies and frames that are taken away, and that are filled in then, some of which may be the same."""
        sure = self._drop(clip, layout)
        unsure, filled = clip.present & ~sure.present, self._fill(sure).present & ~sure.present
        return Counter(filled_joints=int(filled.sum()), unsure_joints=int(unsure.sum()))

    def _drop(self, clip: SkeletonClip, layout: SkeletonLayout) -> SkeletonClip:
        return clip if self.least_score is None else drop_unsure(clip, layout, self.least_score)

    def _fill(self, clip: SkeletonClip) -> SkeletonClip:
        return clip if self.longest_gap is None else fill_gaps(clip, self.longest_gap)


def drop_unsure(clip: SkeletonClip, layout: SkeletonLayout, least: float) -> SkeletonClip:
    """The clip without the joints of a score below ``least``."""
    if layout.coordinates != "xy-score":
        raise LayoutError("joints of this layout have no score to judge them by", expected="a layout of 2-D joints", got=layout.name)
    return clip.with_joints(clip.joints, clip.present & (clip.joints[..., 2] >= np.float32(least)))


def fill_gaps(clip: SkeletonClip, longest: int) -> SkeletonClip:
    """The clip with each joint interpolated over gaps of up to ``longest`` frames; nothing before its first or after its last frame."""
    frames = np.arange(clip.num_frames)[None, :, None]
    before = np.maximum.accumulate(np.where(clip.present, frames, -1), axis=1)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(clip.present, frames, clip.num_frames), axis=1), axis=1), axis=1)
    fill = ~clip.present & (before >= 0) & (after < clip.num_frames) & (after - before <= longest + 1)
    body, frame, joint = np.nonzero(fill)
    start, end = before[fill], after[fill]
    share = ((frame - start) / (end - start))[:, None]
    joints = clip.joints.copy()
    joints[fill] = (1 - share) * clip.joints[body, start, joint] + share * clip.joints[body, end, joint]
    return clip.with_joints(joints, clip.present | fill)
