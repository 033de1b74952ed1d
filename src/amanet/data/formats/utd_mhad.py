"""UTD-MHAD: a strict reader of ``_skeleton.mat`` files (Kinect v1, 20 joints, one body)."""

from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

NUM_JOINTS = 20
FILE_INDEX = (3, 2, 1, 0, *range(4, NUM_JOINTS))
"""Where the file keeps each joint of the layout kinect20: the file counts the trunk from the head down, the layout from the hips up."""
LARGEST_PLACE = 20.0
"""Metres; the sensor sees no farther than 8."""


def read_skeleton_mat(content: bytes, path: Path | str) -> SkeletonClip:
    """The clip in the content of a ``_skeleton.mat`` file: one body, joints in the order of the layout kinect20, in metres.

    The file holds one array ``d_skel`` of (joint, coord, frame). The sample is named after the file's stem.

    Raises:
        FormatError: not a MATLAB file, another array, or places that are not finite or out of the sensor's reach.
    """
    places = _load_array(content, path)
    if not np.isfinite(places).all() or np.abs(places).max() > LARGEST_PLACE:
        raise FormatError(
            "a joint is nowhere the sensor could see it", where=path, expected=f"metres within ±{LARGEST_PLACE:g}", got=_worst(places)
        )
    joints = np.ascontiguousarray(places.transpose(2, 0, 1)[None, :, FILE_INDEX], dtype=np.float32)
    if not joints.any():
        raise FormatError("no joint in any frame", where=path, got=f"{joints.shape[1]} frames of zeros")
    # No joint lies within the sensor: three zeros mean that the joint was not seen.
    return SkeletonClip(sample=Path(path).stem, joints=joints, present=np.any(joints, axis=-1))


def _load_array(content: bytes, path: Path | str) -> np.ndarray:
    try:
        variables = loadmat(BytesIO(content), variable_names=["d_skel"])
    except Exception as error:  # loadmat promises no particular exception for a damaged file
        raise FormatError(f"this is not a readable MATLAB file: {error}", where=path, cure="download the file again") from error
    places = variables.get("d_skel")
    if not isinstance(places, np.ndarray) or places.dtype.kind != "f" or places.ndim != 3:
        raise FormatError("the file holds no array of joints", where=path, expected="d_skel of 20 joints, 3 coordinates, frames")
    if places.shape[:2] != (NUM_JOINTS, 3) or places.shape[2] < 1:
        raise FormatError("the array has the wrong shape", where=path, expected="(20, 3, frames)", got=places.shape)
    return places


def _worst(places: np.ndarray) -> str:
    broken = np.where(np.isfinite(places), np.abs(places), np.inf)
    joint, _, frame = np.unravel_index(np.argmax(broken), places.shape)
    return f"{places[joint, :, frame]} of joint {joint + 1} in frame {frame + 1}"
