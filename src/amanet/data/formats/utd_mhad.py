"""UTD-MHAD: a strict reader of ``_skeleton.mat`` files (Kinect v1, 20 joints, one body).

All files of the set are level 5 MAT-files of one variable, ``d_skel``, an array of doubles; this reader takes that and nothing else.
General readers of MAT-files are no choice for files that may be damaged: one changed byte can end the whole process in them.
"""

import struct
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float64

from amanet.data.clip_size import MOST_FRAMES
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

NUM_JOINTS = 20
FILE_INDEX = (3, 2, 1, 0, *range(4, NUM_JOINTS))
"""Where the file keeps each joint of the layout kinect20: the file counts the trunk from the head down, the layout from the hips up."""
LARGEST_PLACE = 20.0
"""Metres; the sensor sees no farther than 8."""

FILE_HEADER = 128
LEVEL_5_LITTLE_ENDIAN = b"\x00\x01IM"
TAG = struct.Struct("<II")  # type of an element, its size in bytes
MATRIX_HEADER = struct.Struct("<II II II II iii4x II6s2x II")
"""Tags and contents up to the numbers: matrix; flags; dimensions; name; numbers."""
INT8, INT32, UINT32, DOUBLE, MATRIX, COMPRESSED = 1, 5, 6, 9, 14, 15
DOUBLE_ARRAY = 6
ARRAY_OF_JOINTS = (MATRIX, UINT32, 8, DOUBLE_ARRAY, 0, INT32, 12, INT8, 6, b"d_skel", DOUBLE)
FRAME_BYTES = 8 * 3 * NUM_JOINTS


def read_skeleton_mat(content: bytes, path: Path | str) -> SkeletonClip:
    """The clip in the content of a ``_skeleton.mat`` file: one body, joints in the order of the layout kinect20, in metres.

    The sample is named after the file's stem.

    Raises:
        FormatError: not such a file, no joint at all, or places that are not finite or out of the sensor's reach.
    """
    places = _read_array(_unpack(content, path), path)
    if not np.isfinite(places).all() or np.abs(places).max() > LARGEST_PLACE:
        expected = f"metres within ±{LARGEST_PLACE:g}"
        raise FormatError("a joint is where the sensor cannot see", where=path, expected=expected, got=_worst(places))
    if not places.any():
        raise FormatError("no joint in any frame", where=path, got=f"{len(places)} frames of zeros")
    joints = places.transpose(0, 2, 1)[None, :, FILE_INDEX].astype(np.float32)
    # No joint lies within the sensor: three zeros mean that the joint was not seen.
    return SkeletonClip(sample=Path(path).stem, joints=joints, present=np.any(joints, axis=-1))


def _unpack(content: bytes, path: Path | str) -> bytes:
    """The one element of the file, unpacked if it is compressed."""
    if content[:6] != b"MATLAB" or content[124:FILE_HEADER] != LEVEL_5_LITTLE_ENDIAN or len(content) < FILE_HEADER + TAG.size:
        _refuse("this is no MATLAB file of level 5", path)
    kind, size = TAG.unpack_from(content, FILE_HEADER)
    if kind != COMPRESSED:
        return content[FILE_HEADER:]
    packed = content[FILE_HEADER + TAG.size :]
    if size != len(packed):
        _refuse("the MATLAB file has the wrong length", path, expected=f"{size} bytes in its variable", got=len(packed))
    unpacker = zlib.decompressobj()
    try:
        element = unpacker.decompress(packed, MATRIX_HEADER.size + MOST_FRAMES * FRAME_BYTES)
    except zlib.error as error:
        raise FormatError(f"the MATLAB file cannot be unpacked: {error}", where=path, cure="download the file again") from error
    if not unpacker.eof or unpacker.unused_data:
        _refuse("the MATLAB file has the wrong length", path)
    return element


def _read_array(element: bytes, path: Path | str) -> Float64[np.ndarray, "frame coord=3 joint=20"]:
    """The numbers of the array, which MATLAB keeps with the first index running fastest."""
    if len(element) < MATRIX_HEADER.size:
        _refuse("the MATLAB file has no array of joints", path)
    fields = MATRIX_HEADER.unpack_from(element)
    kind, size, *flags = fields[:6]
    (joints, coords, frames), (number_type, number_size) = fields[8:11], fields[14:]
    if (kind, *flags, *fields[6:8], *fields[11:14], number_type) != ARRAY_OF_JOINTS:
        _refuse("the MATLAB file has no array of joints", path, expected="one variable d_skel, three-dimensional, of doubles")
    if (joints, coords) != (NUM_JOINTS, 3) or not 1 <= frames <= MOST_FRAMES:
        _refuse("the array has the wrong shape", path, expected="(20, 3, frames)", got=(joints, coords, frames))
    if not len(element) == size + TAG.size == MATRIX_HEADER.size + number_size or number_size != frames * FRAME_BYTES:
        _refuse("the array has the wrong length", path, expected=f"{frames * FRAME_BYTES} bytes", got=number_size)
    return np.frombuffer(element, dtype="<f8", offset=MATRIX_HEADER.size).reshape(frames, 3, NUM_JOINTS)


def _refuse(problem: str, path: Path | str, *, expected: object = None, got: object = None) -> NoReturn:
    raise FormatError(problem, where=path, expected=expected, got=got, cure="download the file again")


def _worst(places: Float64[np.ndarray, "frame coord joint"]) -> str:
    size = np.where(np.isfinite(places), np.abs(places), np.inf)
    frame, _, joint = np.unravel_index(np.argmax(size), places.shape)
    return f"{places[frame, :, joint]} of joint {joint + 1} in frame {frame + 1}"
