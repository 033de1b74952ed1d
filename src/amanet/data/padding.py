"""Clips of different lengths brought to one."""

import numpy as np

from amanet.skeleton import SkeletonClip


def replay(clip: SkeletonClip, frames: int) -> SkeletonClip:
    """The clip brought to a number of frames: a shorter one is repeated from its start, a longer one sampled evenly, first to last."""
    if clip.num_frames <= frames:
        chosen = np.arange(frames) % clip.num_frames
    else:
        chosen = np.arange(frames) * (clip.num_frames - 1) // max(frames - 1, 1)
    return SkeletonClip(clip.sample, clip.joints[:, chosen], clip.present[:, chosen], clip.label)
