"""A clip as an array, a ``.npy`` file; its reader is strict: it makes no object and evaluates no header."""

import math
import re
from io import BytesIO
from pathlib import Path

import numpy as np

from amanet.data.clip_size import check_size, most_people
from amanet.data.own.numbers import ClipNumbers
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

PREFIXES = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
"""Signature and version, and how many bytes tell the length of the header."""
LONGEST_HEADER = 4096
HEADER = re.compile(
    rb"\{\s*'descr'\s*:\s*'([<>|][fiu][1248])'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(\s*((?:\d{1,9}\s*,\s*){2,3}\d{1,9})\s*,?\s*\)\s*,?\s*\}\s*"
)
EXPECTED = "an array (body, frame, joint, coord) or (frame, joint, coord) of floats or whole numbers"
CURE = "write it with numpy.save(path, numbers.astype(numpy.float32))"


def as_npy(clip: SkeletonClip) -> bytes:
    """The content of a file that holds the clip: float32 (body, frame, joint, coord), NaN where a joint is absent."""
    buffer = BytesIO()
    np.save(buffer, clip.numbers)
    return buffer.getvalue()


def read_npy(content: bytes, path: Path, max_bodies: int) -> ClipNumbers:
    """The numbers in the content of a ``.npy`` file, of clips that so many people take part in at most.

    Raises:
        FormatError: no such file, of another version, type or number of axes, of another length than it says, or with the frames where
            the people should be.
    """
    size = PREFIXES.get(content[:8])
    if size is None:
        raise FormatError("this is no .npy file of version 1 or 2", where=path, expected=EXPECTED, got=content[:8], cure=CURE)
    start = 8 + size
    length = int.from_bytes(content[8:start], "little")
    header = content[start : start + length] if length <= LONGEST_HEADER else b""
    match = HEADER.fullmatch(header)
    if match is None:
        raise FormatError("this .npy file holds no clip", where=path, expected=EXPECTED, got=header[:120] or "no header", cure=CURE)
    try:
        kind = np.dtype(match[1].decode())
    except TypeError as error:
        raise FormatError(f"this .npy file holds no numbers: {error}", where=path, expected=EXPECTED, cure=CURE) from error
    shape = tuple(int(number) for number in match[3].split(b","))
    body, frame, joint, coord = shape if len(shape) == 4 else (1, *shape)
    if frame > 0 and body > most_people(frame, max_bodies):
        raise FormatError(
            "the axes of this array are in another order",
            where=path,
            expected=f"(body, frame, joint, coord), where up to {max_bodies} people take part",
            got=f"the shape {shape}, which is {body} people and {frame} frames",
            cure="if the frames come first, write numbers.transpose(1, 0, 2, 3)",
        )
    check_size(body, frame, joint * coord, path)
    held, needed = len(content) - start - length, math.prod(shape) * kind.itemsize
    if held != needed:
        raise FormatError(
            "this .npy file has another length than its header says", where=path, expected=f"{needed} bytes of numbers", got=held, cure=CURE
        )
    flat = np.frombuffer(content, dtype=kind, offset=start + length)
    numbers = flat.reshape(shape, order="F" if match[2] == b"True" else "C").reshape(body, frame, joint, coord)
    return ClipNumbers(numbers.astype(np.float64))
