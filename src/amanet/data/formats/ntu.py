"""NTU RGB+D 60 and 120: a strict reader of ``.skeleton`` files (Kinect v2, 25 joints).

A file is text: the number of frames; per frame the number of bodies, 0 to 6; per body a header of ten numbers, the number of joints, and
for each joint a line of twelve: x y z in metres as the sensor sees them (x to its left, y up, z away from it), the joint's pixel in the
depth and in the colour image, an orientation, and how it was tracked. Every number is checked, also those that nobody uses: a file with
a damaged line is not to be trusted in the others.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, Int64

from amanet.data.clip_size import MOST_NUMBERS
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

NUM_JOINTS = 25
NUM_SLOTS = 4
"""Bodies of a frame that are read by slot; later ones are ghosts of the sensor."""
SMALLEST_BODY = 600
"""Bytes that the lines of one body take at least."""
LINES_OF_BODY = 2 + NUM_JOINTS
UNPACK = "unpack the file again from the archive"


@dataclass(frozen=True)
class NtuRecording:
    """What a ``.skeleton`` file holds: one row for each body in each frame, in the order of the file.

    Attributes:
        sample: the file's name without its suffix.
        num_frames: length of the recording; frames without a body have no row.
        frame: the frame of each row, from 0.
        slot: the body's place in the list of its frame, from 0.
        body_id: the sensor's name for the body, the same as long as it keeps track of it.
        joints: metres, in the sensor's frame of reference.
        tracking: how the sensor came by each joint: 0 not tracked, 1 inferred, 2 tracked.
    """

    sample: str
    num_frames: int
    frame: Int64[np.ndarray, " row"]
    slot: Int64[np.ndarray, " row"]
    body_id: Int64[np.ndarray, " row"]
    joints: Float32[np.ndarray, "row 25 3"]
    tracking: Int8[np.ndarray, "row 25"]

    def by_slot(self) -> SkeletonClip:
        """Bodies by their place in each frame's list, the first four, as MS-G3D reads them.

        A body moves to another slot when one before it enters or leaves.
        """
        kept = self.slot < NUM_SLOTS
        return self._as_clip(self.slot[kept], kept)

    def by_body_id(self) -> SkeletonClip:
        """Bodies by the sensor's id, in order of appearance: one that leaves and comes back keeps its row and its time."""
        _, first_row, which = np.unique(self.body_id, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first_row))
        return self._as_clip(rank[which], np.ones(len(which), dtype=bool))

    def _as_clip(self, body: Int64[np.ndarray, " kept"], kept: np.ndarray) -> SkeletonClip:
        joints = np.zeros((body.max() + 1, self.num_frames, NUM_JOINTS, 3), dtype=np.float32)
        joints[body, self.frame[kept]] = self.joints[kept]
        # No joint lies within the sensor: the format's three zeros mean that the joint was not seen.
        x, y, z = np.moveaxis(joints != 0, -1, 0)
        return SkeletonClip(sample=self.sample, joints=joints, present=x | y | z)


def read_skeleton(content: bytes, path: Path | str) -> NtuRecording:
    """The recording in the content of a ``.skeleton`` file with LF or CRLF lines.

    Args:
        content: the bytes of the file.
        path: where they come from, for the sample's name and for error messages.

    Raises:
        FormatError: the file is damaged, or no body is in any frame; the message names the file and the line.
    """
    from amanet.data.formats.ntu_scanner import SOUND, scan  # loads the compiler

    text = _plain_lines(content, path)
    most_rows = len(text) // SMALLEST_BODY + 1
    rows = np.empty((most_rows, 3), dtype=np.int64)
    joints = np.empty((most_rows, NUM_JOINTS, 3), dtype=np.float32)
    tracking = np.empty((most_rows, NUM_JOINTS), dtype=np.int8)
    fault, place, num_frames, num_rows, exact = scan(np.frombuffer(text, dtype=np.uint8), rows, joints, tracking)
    if fault != SOUND:
        raise _explain(fault, place, text, path)
    if not exact:
        joints = _convert_long_numbers(text)
    rows, joints, tracking = rows[:num_rows].copy(), joints[:num_rows].copy(), tracking[:num_rows].copy()
    if not joints.any():
        raise FormatError("no body in any frame", where=path, got=f"{num_frames} frames")
    frame, slot, body_id = rows.T
    recording = NtuRecording(Path(path).stem, int(num_frames), frame, slot, body_id, joints, tracking)
    _check_ids(recording, path)
    return recording


def _check_ids(recording: NtuRecording, path: Path | str) -> None:
    """Refuse more bodies than one clip can hold, as each takes memory for all frames; the error names the first that is too many."""
    most = MOST_NUMBERS // (recording.num_frames * NUM_JOINTS * 3)
    first_rows = np.sort(np.unique(recording.body_id, return_index=True)[1])
    if len(first_rows) > most:
        row = int(first_rows[most])
        line = 2 + int(recording.frame[row]) + LINES_OF_BODY * row + 1
        expected = f"up to {most} bodies in {recording.num_frames} frames"
        raise FormatError("these are too many bodies", where=path, line=line, expected=expected, got=len(first_rows), cure=UNPACK)


def _plain_lines(content: bytes, path: Path | str) -> bytes:
    """The content with LF lines, one at its end and nothing after it."""
    if b"\r" in content:
        content = _without_carriage_returns(content, path)
    if content.endswith(b"\n") and not content.endswith((b"\n\n", b" \n")):
        return content  # as it should be: a copy would take a fifth of the time of the scan
    return content.rstrip(b" \n") + b"\n"


def _without_carriage_returns(content: bytes, path: Path | str) -> bytes:
    text = np.frombuffer(content, dtype=np.uint8)
    returns, feeds = text == ord("\r"), text == ord("\n")
    if np.array_equal(returns[:-1], feeds[1:]) and not feeds[0] and not returns[-1]:
        return text[~returns].tobytes()  # bytes.replace takes twice as long
    *lines, _ = content.split(b"\n")
    first_ending = bool(lines) and lines[0].endswith(b"\r")
    odd = [number for number, line in enumerate(lines, start=1) if line.endswith(b"\r") != first_ending or b"\r" in line[:-1]]
    raise FormatError(
        "the lines end in different ways",
        where=path,
        line=odd[0] if odd else len(lines) + 1,
        expected="LF or CRLF throughout",
        cure=UNPACK,
    )


def _convert_long_numbers(text: bytes) -> Float32[np.ndarray, "row 25 3"]:
    """Places of the joints of a sound file whose numbers have more digits than the scanner converts exactly."""
    lines = (line.split() for line in text.splitlines())
    places = [[float(number) for number in line[:3]] for line in lines if len(line) == 12]
    return np.array(places).astype(np.float32).reshape(-1, NUM_JOINTS, 3)


def _explain(fault: int, place: int, text: bytes, path: Path | str) -> FormatError:
    from amanet.data.formats import ntu_scanner as part

    problem, expected = {
        part.FRAME_COUNT: (
            "the file does not begin with its number of frames",
            f"an integer from 1 to {part.MAX_FRAMES}, alone on the line",
        ),
        part.BODY_COUNT: ("a frame does not begin with its number of bodies", f"an integer from 0 to {part.MAX_BODIES}, alone on the line"),
        part.BODY_HEADER: ("the header of a body is damaged", "10 numbers: id, 6 flags, lean in x and y, tracking state 0 to 2"),
        part.BODY_TWICE: ("a body is listed twice in one frame", "another body id"),
        part.JOINT_COUNT: ("a body does not have the joints of a Kinect v2", f"{NUM_JOINTS}, alone on the line"),
        part.JOINT: (
            "the line of a joint is damaged",
            "12 numbers: x y z in metres, 4 in pixels, 4 of an orientation, tracking state 0 to 2",
        ),
        part.REST: ("the file goes on after its last frame", "as many frames as the first line says"),
    }[fault]
    if place >= len(text) - 1:
        problem, got = f"the file ends too early: {problem}", "the end of the file"
    else:
        got = ascii(text[place : place + 40].split(b"\n")[0].decode("latin-1"))
    line = text.count(b"\n", 0, place) + 1
    return FormatError(problem, where=path, line=line, expected=expected, got=got, cure=UNPACK)
