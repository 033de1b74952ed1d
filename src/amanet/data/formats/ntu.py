"""NTU RGB+D 60 and 120: a strict reader of ``.skeleton`` files (Kinect v2, 25 joints)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, Int64

from amanet.skeleton import SkeletonClip


@dataclass(frozen=True)
class NtuRecording:
    """A ``.skeleton`` file: one row for each body observed in a frame, in the order of the file."""

    sample: str
    num_frames: int
    frame: Int64[np.ndarray, " row"]
    slot: Int64[np.ndarray, " row"]
    body_id: Int64[np.ndarray, " row"]
    joints: Float32[np.ndarray, "row 25 3"]
    tracking: Int8[np.ndarray, "row 25"]

    def by_slot(self) -> SkeletonClip:
        """Bodies as the file lists them in a frame, slots 0 to 3."""
        raise NotImplementedError

    def by_body_id(self) -> SkeletonClip:
        """Bodies as the sensor told them apart: one that leaves and comes back keeps its place and its time."""
        raise NotImplementedError


def read_skeleton(content: bytes, path: Path | str) -> NtuRecording:
    """The recording in the content of a ``.skeleton`` file."""
    raise NotImplementedError
