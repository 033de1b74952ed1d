"""The reader of SBU Kinect Interaction: metres in the layout's order, and nothing but a FormatError for a file that is none."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.archive import list_members
from amanet.data.formats.sbu import read_skeleton_pos
from amanet.data.normalise import align
from amanet.data.published import get_dataset
from amanet.errors import FormatError
from amanet.skeleton import load_layout
from fabricate.raw import sbu_file

SBU = get_dataset("sbu")
SBU15 = load_layout("sbu15")


def numbers(num_frames: int = 4) -> np.ndarray:
    """What a file says about the joints, (frame, body, joint, coord)."""
    return np.random.default_rng(0).uniform(0.1, 0.9, (num_frames, 2, 15, 3)).round(6)


SOUND = sbu_file(numbers())


def damaged(line: int, field: int, text: str) -> bytes:
    rows = [row.split(",") for row in SOUND.decode().splitlines()]
    rows[line - 1][field] = text
    return "\n".join(",".join(row) for row in rows).encode()


def unseen(*places: tuple[int, int, int]) -> np.ndarray:
    array = numbers()
    for place in places:
        array[place] = 0
    return array


@pytest.mark.parametrize(("first", "end"), [(1, "\n"), (0, "\r\n"), (37, "\n")])
def test_places_are_read_in_metres(first: int, end: str) -> None:
    clip = read_skeleton_pos(sbu_file(numbers(), first, end), "folder/skeleton_pos.txt")
    assert clip.joints.shape == (2, 4, 15, 3)
    assert clip.present.all()
    for body in range(2):
        for frame in range(4):
            for joint in range(15):
                x, y, z = numbers()[frame, body, joint]
                expected = (1.28 - 2.56 * x, 0.96 - 1.92 * y, 1.28 * z)
                np.testing.assert_allclose(clip.joints[body, frame, joint], expected, rtol=0, atol=1e-6)


def test_three_zeros_are_a_joint_that_was_not_seen() -> None:
    clip = read_skeleton_pos(sbu_file(unseen((2, 1, 14))), "a.txt")
    assert np.argwhere(~clip.present).tolist() == [[1, 2, 14]]
    assert not clip.joints[1, 2, 14].any()


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"", None, "empty"),
        (b"\xff\xfe", None, "no text"),
        (SOUND[:-30], 4, "wrong length"),
        (SOUND + b"\n", 5, "wrong length"),
        (SOUND.replace(b",", b" "), 1, "wrong length"),
        (b"9" * 10**6, 1, "wrong length"),
        (damaged(2, 0, "1"), 2, "out of order"),
        (damaged(3, 0, "4"), 3, "out of order"),
        (damaged(1, 0, "-1"), 1, "number of its frame"),
        (damaged(1, 0, "1.0"), 1, "number of its frame"),
        (damaged(2, 5, "nan"), 2, "no number"),
        (damaged(2, 5, "inf"), 2, "no number"),
        (damaged(4, 90, ""), 4, "no number"),
        (damaged(4, 1, " 0.5"), 4, "no number"),
        (damaged(4, 1, "1_0"), 4, "no number"),
        (damaged(3, 7, "1e9"), 3, "sensor cannot see"),
        (damaged(3, 7, "1e999"), 3, "sensor cannot see"),
        (sbu_file(np.zeros((3, 2, 15, 3))), None, "no joint"),
    ],
)
def test_damaged_files_are_refused(content: bytes, line: int | None, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_skeleton_pos(content, "folder/skeleton_pos.txt")
    assert problem in str(caught.value)
    assert caught.value.where == "folder/skeleton_pos.txt"
    assert caught.value.line == line


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_refused(content: bytes, has_beginning: bool) -> None:
    with pytest.raises(FormatError):
        read_skeleton_pos(SOUND[:-200] * has_beginning + content, "a.txt")


def test_a_changed_byte_is_refused_or_changes_one_number() -> None:
    original = read_skeleton_pos(SOUND, "a.txt")
    rng = np.random.default_rng(0)
    for place in range(len(SOUND)):
        content = bytearray(SOUND)
        content[place] ^= rng.integers(1, 256)
        try:
            clip = read_skeleton_pos(bytes(content), "a.txt")
        except FormatError:
            continue
        assert (clip.joints != original.joints).sum() <= 1


def test_a_clip_is_named_after_the_folders_around_it(tmp_path: Path) -> None:
    folder = tmp_path / "s03s02" / "05" / "002"
    folder.mkdir(parents=True)
    (folder / "skeleton_pos.txt").write_bytes(SOUND)
    (member,) = list_members([tmp_path], SBU.suffix, SBU.folders)
    assert member.sample == "s03s02-05-002"
    (deep,) = list_members([folder], SBU.suffix, SBU.folders)
    assert deep.sample == member.sample
    clip = SBU.read(deep.read(), folder / "skeleton_pos.txt", "slot")
    assert (clip.sample, clip.label, SBU.class_names[4]) == ("s03s02-05-002", 4, "shaking hands")


@pytest.mark.parametrize("name", ["s08s01-01-001", "s01s02-09-001", "s01s02-00-001", "s01s02-1-001", "s0102-01-001"])
def test_folders_of_other_names_are_refused(name: str) -> None:
    assert not SBU.holds(name)
    with pytest.raises(FormatError, match=r"s01s02-01-001|outside sbu"):
        SBU.read(SOUND, "/" + name.replace("-", "/") + "/skeleton_pos.txt", "slot")


def test_all_real_clips_are_read(shared: Path) -> None:
    members = list_members([shared / "data/sbu"], SBU.suffix, SBU.folders)
    clips = [SBU.read(member.read(), member.where, "slot") for member in members]
    assert len(clips) == 282
    assert len({clip.sample[:6] for clip in clips}) == 21
    assert [count for _, count in sorted(Counter(clip.label for clip in clips).items())] == [42, 43, 40, 41, 18, 21, 39, 38]
    assert (min(clip.num_frames for clip in clips), max(clip.num_frames for clip in clips)) == (10, 46)
    assert all(clip.num_bodies == 2 for clip in clips)


def test_real_people_stand_upright_and_face_each_other(shared: Path) -> None:
    path = shared / "data/sbu/s01s02/05/001/skeleton_pos.txt"
    clip = align(SBU.read(path.read_bytes(), path, "slot"), SBU15)
    joint = {name: clip.joints[:, 0, index] for index, name in enumerate(SBU15.joints)}
    assert (joint["head"][:, 2] > joint["torso"][:, 2]).all()
    assert (joint["torso"][:, 2] > joint["foot_left"][:, 2] + 0.4).all()
    across = joint["shoulder_left"] - joint["shoulder_right"]
    assert np.dot(across[0], across[1]) < 0
