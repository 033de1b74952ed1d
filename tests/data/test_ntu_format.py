"""The .skeleton reader takes every number of a sound file, and nothing of a damaged one."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.formats.ntu import NtuRecording, read_skeleton
from amanet.errors import FormatError
from fabricate.ntu import BODY_ID, DAMAGES, damaged, number, skeleton_file

NUM_DAMAGED = int(os.environ.get("AMANET_DAMAGED_FILES", "1500"))
SLOWEST = 0.5
"""Seconds on a core that a damaged file may take."""
FLICKER = [[0], [], [1, 0], [1], [1, 0]]
"""Body 0 leaves and comes back in another slot."""


def plain_read(content: bytes) -> list[tuple[int, int, int, list[list[float]], list[int]]]:
    """Frame, slot, body id, places and tracking states of a sound file, by Python's own means."""
    lines: Iterator[list[str]] = (line.split() for line in content.decode().splitlines())
    rows = []
    for frame in range(int(next(lines)[0])):
        for slot in range(int(next(lines)[0])):
            body_id = int(next(lines)[0])
            joints = [next(lines) for _ in range(int(next(lines)[0]))]
            rows.append((frame, slot, body_id, [[float(v) for v in joint[:3]] for joint in joints], [int(joint[11]) for joint in joints]))
    return rows


def assert_reads_as_python(content: bytes, recording: NtuRecording) -> None:
    frame, slot, body_id, joints, tracking = zip(*plain_read(content), strict=True)
    np.testing.assert_array_equal(recording.frame, frame)
    np.testing.assert_array_equal(recording.slot, slot)
    np.testing.assert_array_equal(recording.body_id, body_id)
    np.testing.assert_array_equal(recording.joints, np.array(joints).astype(np.float32))
    np.testing.assert_array_equal(recording.tracking, tracking)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_number_is_read_as_python_reads_it(newline: str) -> None:
    content = skeleton_file(FLICKER, newline=newline)
    recording = read_skeleton(content, "somewhere/S001C001P001R001A001.skeleton")
    assert (recording.sample, recording.num_frames) == ("S001C001P001R001A001", 5)
    assert_reads_as_python(content, recording)


def test_real_clips_are_read_as_python_reads_them(shared: Path) -> None:
    for path in sorted((shared / "data/ntu/raw").glob("*.skeleton")):
        content = path.read_bytes()
        assert_reads_as_python(content, read_skeleton(content, path))


def test_line_ends_make_no_difference(shared: Path) -> None:
    lf = read_skeleton((shared / "data/ntu/raw/S001C001P001R001A001.skeleton").read_bytes(), "lf.skeleton")
    crlf = read_skeleton((shared / "data/ntu/crlf_S001C001P001R001A001.skeleton").read_bytes(), "crlf.skeleton")
    np.testing.assert_array_equal(lf.joints, crlf.joints)


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n \n"])
def test_blanks_after_the_end_mean_nothing(ending: str) -> None:
    content = skeleton_file([[0]])
    assert read_skeleton(content.rstrip() + ending.encode(), "a.skeleton").num_frames == 1


def with_place(token: str) -> bytes:
    """A file of one body whose first joint has this x."""
    lines = skeleton_file([[0]]).decode().splitlines()
    lines[4] = " ".join([token, *lines[4].split()[1:]])
    return "\n".join(lines).encode()


@given(
    st.floats(-99, 99),
    st.sampled_from([repr, number, "{:.3f}".format, "{:.17e}".format, "{:.20f}".format, "{:.25f}".format, "{:.9E}".format]),
)
def test_any_decimal_becomes_the_nearest_single(value: float, written) -> None:
    token = written(value)
    recording = read_skeleton(with_place(token), "a.skeleton")
    assert recording.joints[0, 0, 0] == np.float32(float(token))


@pytest.mark.parametrize(
    "token", ["0", "-0", "-0.0", "5e-324", "1E-300", "1.5e1", "1.5E+01", "0e0", "100", "0.000000000000000000000000000000000001"]
)
def test_unusual_decimals(token: str) -> None:
    assert read_skeleton(with_place(token), "a.skeleton").joints[0, 0, 0] == np.float32(float(token))


@pytest.mark.parametrize("token", ["+1", "1.", ".5", "01", "1e", "1e+", "1e1000", "100.1", "1d0", "1e1.5", "-", "0." + "1" * 50, "1f", "٣"])
def test_what_is_no_decimal(token: str) -> None:
    with pytest.raises(FormatError, match="joint"):
        read_skeleton(with_place(token), "a.skeleton")


def test_slots_and_ids_tell_bodies_apart_differently() -> None:
    recording = read_skeleton(skeleton_file(FLICKER), "a.skeleton")
    by_slot, by_id = recording.by_slot(), recording.by_body_id()
    assert by_slot.present[..., 0].tolist() == [[True, False, True, True, True], [False, False, True, False, True]]
    assert by_id.present[..., 0].tolist() == [[True, False, True, False, True], [False, False, True, True, True]]
    np.testing.assert_array_equal(by_id.joints[0, 2], by_slot.joints[1, 2])
    assert recording.body_id[0] == BODY_ID


def test_bodies_beyond_the_fourth_slot_are_left_out_by_slot_only() -> None:
    recording = read_skeleton(skeleton_file([[0, 1, 2, 3, 4, 5], [5]]), "a.skeleton")
    assert recording.by_slot().num_bodies == 4
    assert recording.by_body_id().num_bodies == 6


def test_a_joint_at_the_sensor_was_not_seen() -> None:
    lines = skeleton_file([[0]]).decode().splitlines()
    lines[6] = "0 0 0" + " 0" * 9
    clip = read_skeleton("\n".join(lines).encode(), "a.skeleton").by_body_id()
    assert np.flatnonzero(~clip.present).tolist() == [2]


@pytest.mark.parametrize("frames", [[[]], [[], [], []]])
def test_a_file_without_a_body_is_refused(frames: list[list[int]]) -> None:
    with pytest.raises(FormatError, match="no body in any frame"):
        read_skeleton(skeleton_file(frames), "a.skeleton")


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (1, "three", "number of frames"),
        (2, "7", "number of bodies"),
        (3, "1 0 1", "header"),
        (4, "24", "joints of a Kinect v2"),
        (9, "1 2 nan", "line of a joint"),
        (30, "frame", "number of bodies"),
        (57, "0 0 0", "line of a joint"),
    ],
)
def test_the_error_names_file_line_and_text(line: int, text: str, problem: str) -> None:
    lines = skeleton_file([[0], [0]]).decode().splitlines()
    lines[line - 1] = text
    with pytest.raises(FormatError, match=problem) as caught:
        read_skeleton("\n".join(lines).encode(), "folder/a.skeleton")
    assert str(caught.value).startswith(f"folder/a.skeleton:{line}: ")
    assert caught.value.got is not None


def test_a_file_of_more_frames_than_any_recording_is_refused() -> None:
    """An empty frame takes two bytes of the file, and 300 of memory for each body."""
    frames, rest = skeleton_file([[0]]).split(b"\n", 1)
    more = 10_000 - int(frames)
    assert read_skeleton(b"10000\n" + rest + b"0\n" * more, "a.skeleton").num_frames == 10_000
    with pytest.raises(FormatError, match=r"a\.skeleton:1: (.|\n)*number of frames(.|\n)*from 1 to 10000(.|\n)*10001"):
        read_skeleton(b"10001\n" + rest + b"0\n" * (more + 1), "a.skeleton")


def test_more_bodies_than_a_clip_can_hold_are_refused_with_the_line_of_the_first_that_is_too_many() -> None:
    content = skeleton_file([*([body] for body in range(90)), *[[]] * 4910])
    with pytest.raises(FormatError, match=r"too many bodies(.|\n)*up to 89 bodies in 5000 frames") as caught:
        read_skeleton(content, "a.skeleton")
    assert content.splitlines()[(caught.value.line or 0) - 1].startswith(str(BODY_ID + 89).encode())


def test_a_short_file_is_said_to_be_short() -> None:
    with pytest.raises(FormatError, match="ends too early"):
        read_skeleton(b"\n".join(skeleton_file([[0], [0]]).splitlines()[:40]), "a.skeleton")


def refuses(content: bytes) -> bool:
    """Whether the reader refuses the content with the right error, and soon."""
    start = time.process_time()
    try:
        read_skeleton(content, "a.skeleton")
    except FormatError:
        return time.process_time() - start < SLOWEST
    return False


def check_damages(files: list[bytes], number_of_files: int) -> None:
    read_skeleton(files[0], "a.skeleton")
    rng = np.random.default_rng(6)
    kinds = list(DAMAGES)
    for index in range(number_of_files):
        kind = kinds[index % len(kinds)]
        content = damaged(files[rng.integers(len(files))], kind, rng)
        assert refuses(content), f"damage {index} ({kind}) was accepted or took too long"


def test_no_damaged_file_is_accepted() -> None:
    """Set AMANET_DAMAGED_FILES to try more."""
    check_damages([skeleton_file(frames, seed=seed) for seed, frames in enumerate([FLICKER, [[0]], [[0], [0]], [[0, 1, 2]]])], NUM_DAMAGED)


def test_no_damaged_real_clip_is_accepted(shared: Path) -> None:
    check_damages([path.read_bytes() for path in sorted((shared / "data/ntu/raw").glob("*.skeleton"))], NUM_DAMAGED // 10)


@pytest.mark.parametrize(
    ("encode", "accepted"),
    [
        (lambda text: text.encode(), True),
        (lambda text: text.replace("\n", "\r\n").encode(), True),
        (lambda text: text.replace("\n", "\r").encode(), False),
        (lambda text: text.encode("utf-8-sig"), False),
        (lambda text: text.encode("utf-16"), False),
        (lambda text: text.replace(" ", "\N{NO-BREAK SPACE}").encode(), False),
        (lambda text: text.replace(" ", "\N{NO-BREAK SPACE}").encode("latin-1"), False),
        (lambda text: text.replace(" ", "\t").encode(), False),
        (lambda text: text.replace("\n", "\0\n", 1).encode(), False),
        (lambda text: text.encode() + b"\0", False),
    ],
)
def test_encodings_other_than_ascii_with_lf_or_crlf_are_refused(encode: Callable[[str], bytes], accepted: bool) -> None:
    assert refuses(encode(skeleton_file(FLICKER).decode())) != accepted


@pytest.mark.parametrize("line", [b"1", b" ", b"1 ", b"1.5 ", b"-", b"\r", b"\0", b"\xff"])
def test_a_line_of_16_megabytes_is_refused_soon(line: bytes) -> None:
    assert refuses(b"3\n1\n" + line * (2**24 // len(line)))


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        read_skeleton(content, "a.skeleton")


@given(st.lists(st.sampled_from([b"1", b"0", b"2", b"25", b"1 " * 10, b"0.5 " * 11 + b"2", b"-", b" ", b"\r"]), max_size=60))
def test_lines_of_the_right_kinds_in_any_order_are_refused_or_sound(lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    try:
        recording = read_skeleton(content, "a.skeleton")
    except FormatError:
        return
    assert_reads_as_python(content.rstrip(), recording)
