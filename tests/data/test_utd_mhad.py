"""The reader of UTD-MHAD: joints in the layout's order, and nothing but a FormatError for a file that is none."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from amanet.data.formats.utd_mhad import FILE_INDEX, read_skeleton_mat
from amanet.data.normalise import align
from amanet.data.published import get_dataset
from amanet.errors import FormatError
from amanet.skeleton import load_layout

KINECT20 = load_layout("kinect20")
FILE_ORDER = (
    *("head", "shoulder_center", "spine", "hip_center"),
    *("left_shoulder", "left_elbow", "left_wrist", "left_hand", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle", "right_foot"),
)


def mat_file(*, do_compression: bool = False, **variables: object) -> bytes:
    buffer = BytesIO()
    savemat(buffer, variables, do_compression=do_compression)
    return buffer.getvalue()


def places(num_frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (20, 3, num_frames))


def with_value(value: float) -> np.ndarray:
    array = places()
    array[3, 1, 2] = value
    return array


SOUND, PACKED = mat_file(d_skel=places()), mat_file(do_compression=True, d_skel=places())


def in_layout_words(name: str) -> str:
    side, _, joint = name.partition("_")
    return f"{joint}_{side}" if side in {"left", "right"} else name.replace("center", "centre")


def test_the_order_of_joints_is_the_layouts() -> None:
    assert tuple(in_layout_words(FILE_ORDER[index]) for index in FILE_INDEX) == KINECT20.joints


def test_the_order_written_here_is_that_of_the_data_set(shared: Path) -> None:
    lines = (shared / "data/utd_mhad/Skeleton/Skeleton_joint_order.txt").read_text().splitlines()
    assert [line.split(". ")[1].strip("; ") for line in lines if line[:1].isdigit()] == list(FILE_ORDER)


@pytest.mark.parametrize("content", [SOUND, PACKED], ids=["plain", "compressed"])
def test_places_are_read(content: bytes) -> None:
    clip = read_skeleton_mat(content, "x/a1_s1_t1_skeleton.mat")
    assert clip.joints.shape == (1, 4, 20, 3)
    assert clip.sample == "a1_s1_t1_skeleton"
    assert clip.present.all()
    for joint, index in enumerate(FILE_INDEX):
        np.testing.assert_array_equal(clip.joints[0, :, joint], places()[index].T.astype(np.float32))


def test_all_real_clips_are_read(shared: Path) -> None:
    dataset = get_dataset("utd-mhad")
    clips = [dataset.read(path.read_bytes(), path, "slot") for path in (shared / "data/utd_mhad/Skeleton").glob("*.mat")]
    assert len(clips) == 861
    assert {clip.label for clip in clips} == set(range(27))
    assert (min(clip.num_frames for clip in clips), max(clip.num_frames for clip in clips)) == (41, 125)


def test_real_places_are_read_as_scipy_reads_them(shared: Path) -> None:
    path = shared / "data/utd_mhad/Skeleton/a27_s8_t3_skeleton.mat"
    expected = loadmat(path)["d_skel"][list(FILE_INDEX)].transpose(2, 0, 1)
    np.testing.assert_array_equal(read_skeleton_mat(path.read_bytes(), path).joints[0], expected.astype(np.float32))


def test_real_bodies_stand_on_their_feet(shared: Path) -> None:
    clip = read_skeleton_mat((shared / "data/utd_mhad/Skeleton/a1_s1_t1_skeleton.mat").read_bytes(), "a")
    body = dict(zip(KINECT20.joints, align(clip, KINECT20).joints[0, 0], strict=True))
    assert body["head"][2] > 0.4
    assert max(body["foot_left"][2], body["foot_right"][2]) < -0.7
    assert body["shoulder_left"][0] > body["shoulder_right"][0]
    assert body["foot_left"][1] < body["ankle_left"][1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no MATLAB file"),
        (b"MATLAB 5.0 MAT-file" + b"\0" * 200, "no MATLAB file"),
        (SOUND[:124] + b"\1\0MI" + SOUND[128:], "no MATLAB file"),
        (SOUND[:150], "no array"),
        (SOUND[:-1], "wrong length"),
        (SOUND + b"\0", "wrong length"),
        (PACKED[:-1], "wrong length"),
        (PACKED + b"\0", "wrong length"),
        (PACKED[:200] + b"?" + PACKED[201:], "cannot be unpacked"),
        (mat_file(other=places()), "no array"),
        (mat_file(d_skel="text"), "no array"),
        (mat_file(d_skel=places()[0]), "no array"),
        (mat_file(d_skel=places().astype(np.complex128)), "no array"),
        (mat_file(d_skel=places().astype(np.float32)), "no array"),
        (mat_file(d_skel={"joints": 1}), "no array"),
        (mat_file(d_skel=places().transpose(2, 1, 0)), "wrong shape"),
        (mat_file(d_skel=places()[..., :0]), "wrong shape"),
        (mat_file(d_skel=with_value(np.nan)), "joint 4 in frame 3"),
        (mat_file(d_skel=with_value(-np.inf)), "joint 4 in frame 3"),
        (mat_file(d_skel=with_value(1e30)), "joint 4 in frame 3"),
        (mat_file(d_skel=places() * 0), "no joint"),
    ],
)
def test_damaged_files_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_skeleton_mat(content, "folder/a.mat")
    assert problem in str(caught.value)
    assert caught.value.where == "folder/a.mat"


def test_a_file_that_unpacks_to_more_than_any_clip_is_refused_early() -> None:
    packed = zlib.compress(bytes(200_000_000), 9)
    with pytest.raises(FormatError, match="wrong length"):
        read_skeleton_mat(SOUND[:128] + struct.pack("<II", 15, len(packed)) + packed, "a.mat")


@given(st.binary(max_size=500), st.booleans())
def test_arbitrary_bytes_are_refused(content: bytes, has_header: bool) -> None:
    with pytest.raises(FormatError):
        read_skeleton_mat(SOUND[:128] * has_header + content, "a.mat")


@pytest.mark.parametrize("sound", [SOUND, PACKED], ids=["plain", "compressed"])
def test_a_changed_byte_is_refused_or_changes_one_number(sound: bytes) -> None:
    original = read_skeleton_mat(sound, "a.mat")
    rng = np.random.default_rng(0)
    for place in range(124, len(sound)):
        content = bytearray(sound)
        content[place] ^= rng.integers(1, 256)
        try:
            clip = read_skeleton_mat(bytes(content), "a.mat")
        except FormatError:
            continue
        assert (clip.joints != original.joints).sum() <= (sound is SOUND)
