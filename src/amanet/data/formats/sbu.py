"""SBU Kinect Interaction: a strict reader of ``skeleton_pos.txt`` files (OpenNI tracker, two bodies of 15 joints).

A line is a frame: its number, then x, y, z of the joints of one body and of the other, scaled to the picture. They are brought back to
metres as the authors of the set say: x = 1.28 - 2.56 x', y = 0.96 - 1.92 y', z = 1.28 z'.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np

from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

NUM_BODIES, NUM_JOINTS = 2, 15
COLUMNS = 1 + 3 * NUM_BODIES * NUM_JOINTS
SCALE, ORIGIN = np.array([-2.56, -1.92, 1.28]), np.array([1.28, 0.96, 0.0])
LARGEST_PLACE = 20.0
"""Metres; the sensor sees no farther than 8."""
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", re.ASCII)
LONGEST_LINE = 4096


def read_skeleton_pos(content: bytes, path: Path | str) -> SkeletonClip:
    """The clip in the content of a ``skeleton_pos.txt`` file: two bodies, joints in the order of the layout sbu15, in metres.

    The sample is named after the file's stem.

    Raises:
        FormatError: not such a file, or a joint that is not within the sensor's reach; the message names the line.
    """
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError("this is no text", where=path, expected="ASCII", cure="download the file again") from error
    rows = [_read_line(line, path, number) for number, line in enumerate(lines, start=1)]
    if not rows:
        _refuse("the file is empty", path, None)
    for number, (before, row) in enumerate(pairwise(rows), start=2):
        if row[0] != before[0] + 1:
            _refuse("a frame is missing or out of order", path, number, expected=f"frame {before[0] + 1:.0f}", got=f"frame {row[0]:.0f}")
    scaled = np.array(rows)[:, 1:].reshape(len(rows), NUM_BODIES, NUM_JOINTS, 3).transpose(1, 0, 2, 3)
    places = scaled * SCALE + ORIGIN
    if np.abs(places).max() > LARGEST_PLACE:
        _, frame, joint, _ = np.unravel_index(np.abs(places).argmax(), places.shape)
        expected = f"metres within ±{LARGEST_PLACE:g}"
        _refuse("a joint is where the sensor cannot see", path, int(frame) + 1, expected=expected, got=f"joint {joint + 1}")
    present = np.any(scaled, axis=-1)  # three zeros mean that the joint was not seen
    if not present.any():
        _refuse("no joint in any frame", path, None)
    return SkeletonClip(sample=Path(path).stem, joints=(places * present[..., None]).astype(np.float32), present=present)


def _read_line(line: str, path: Path | str, number: int) -> list[float]:
    fields = line.split(",") if len(line) <= LONGEST_LINE else []
    if len(fields) != COLUMNS:
        _refuse("a line has the wrong length", path, number, expected=f"{COLUMNS} numbers between commas", got=f"{len(fields)}")
    wrong = [field for field in fields if NUMBER.fullmatch(field) is None]
    if wrong:
        _refuse("this is no number", path, number, got=repr(wrong[0][:40]))
    if not fields[0].isdigit():
        _refuse("a line begins with the number of its frame", path, number, got=repr(fields[0][:40]))
    return [float(field) for field in fields]


def _refuse(problem: str, path: Path | str, line: int | None, *, expected: object = None, got: object = None) -> NoReturn:
    raise FormatError(problem, where=path, line=line, expected=expected, got=got, cure="download the file again")
