"""The reader of Northwestern-UCLA: metres in the layout's order, and nothing but a FormatError for a file that is none."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.archive import list_members
from amanet.data.dataset import split_rows
from amanet.data.formats.nucla import read_nucla
from amanet.data.normalise import align
from amanet.data.published import BENCHMARKS, get_dataset
from amanet.errors import EmptyClipError, FormatError
from amanet.skeleton import load_layout
from fabricate.raw import nucla_document
from fabricate.stores import fabricate_clip, write_store

NUCLA = get_dataset("nucla")
KINECT20 = load_layout("kinect20")
SAMPLE = "a08_s03_e01_v02"
PATH = f"all_sqe/{SAMPLE}.json"


def places(num_frames: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (num_frames, 20, 3)).round(6)


def content(**changes: Any) -> bytes:
    return json.dumps(nucla_document(SAMPLE, places(), 7) | changes).encode()


def changed(frame: int, joint: int, coord: int, value: object) -> bytes:
    skeletons = places().tolist()
    skeletons[frame][joint][coord] = value
    return content(skeletons=skeletons)


def test_places_are_read_as_written() -> None:
    clip = read_nucla(content(), PATH)
    np.testing.assert_array_equal(clip.joints[0], places().astype(np.float32))
    assert clip.present.all()
    assert (clip.sample, clip.label, NUCLA.class_names[6]) == (SAMPLE, 6, "donning")


def test_a_clip_of_one_frame_is_one() -> None:
    assert read_nucla(content(skeletons=places(1).tolist()), PATH).joints.shape == (1, 1, 20, 3)


def test_three_zeros_are_a_joint_that_was_not_seen() -> None:
    skeletons = places()
    skeletons[1, 7] = 0
    assert np.argwhere(~read_nucla(content(skeletons=skeletons.tolist()), PATH).present).tolist() == [[0, 1, 7]]


@pytest.mark.parametrize("skeletons", [[], np.zeros((2, 20, 3)).tolist()])
def test_a_clip_that_shows_nobody_says_so(skeletons: list[Any]) -> None:
    with pytest.raises(EmptyClipError, match="no joint in any frame"):
        read_nucla(content(skeletons=skeletons), PATH)


@pytest.mark.parametrize(
    ("damaged", "place"),
    [
        (b"", "no JSON"),
        (b"[]", "the document"),
        (content()[:-1], "no JSON"),
        (content(extra=1), "the document"),
        (b'{"file_name": "a", "skeletons": []}', "the document"),
        (content(file_name=1), "file_name"),
        (content(file_name="a08_s03_e01_v03"), "file_name"),
        (content(label=0), "label"),
        (content(label=11), "label"),
        (content(label="7"), "label"),
        (content(label=True), "label"),
        (content(skeletons={}), "skeletons"),
        (content(skeletons=[1]), "skeletons[0]"),
        (content(skeletons=[*places().tolist(), []]), "skeletons[3]"),
        (content(skeletons=np.zeros((1, 25, 3)).tolist()), "skeletons[0]"),
        (content(skeletons=np.zeros((1, 20, 2)).tolist()), "skeletons[0][0]"),
        (changed(1, 4, 2, None), "skeletons[1][4]"),
        (changed(1, 4, 2, "1"), "skeletons[1][4]"),
        (changed(1, 4, 2, True), "skeletons[1][4]"),
        (changed(1, 4, 2, [1]), "skeletons[1][4]"),
        (changed(1, 4, 2, 21), "skeletons[1][4][2]"),
        (changed(1, 4, 2, -1e300), "skeletons[1][4][2]"),
        (content().replace(b"[[[", b"[[[1e999, 0, 0], ["), "skeletons[0]"),
        (changed(2, 19, 0, 10**400), "skeletons[2][19][0]"),
        (content().replace(b"[[[", b"[[[NaN"), "no JSON"),
        (b" " * (4 << 20) + content(), "too long"),
    ],
)
def test_damaged_files_are_refused(damaged: bytes, place: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_nucla(damaged, PATH)
    assert caught.value.where == PATH
    assert place in caught.value.problem


@given(st.binary(max_size=300), st.integers(0, len(content()) - 1))
def test_arbitrary_bytes_are_refused(noise: bytes, place: int) -> None:
    with pytest.raises(FormatError):
        read_nucla(noise, PATH)
    with pytest.raises(FormatError):
        read_nucla(content()[:place], PATH)


def test_a_changed_byte_is_refused_or_changes_one_number() -> None:
    original = read_nucla(content(), PATH)
    rng = np.random.default_rng(0)
    for place in rng.permutation(len(content()))[:600]:
        damaged = bytearray(content())
        damaged[place] ^= rng.integers(1, 256)
        try:
            clip = read_nucla(bytes(damaged), PATH)
        except FormatError:
            continue
        assert (clip.joints != original.joints).sum() <= 1


def test_the_label_must_be_that_of_the_name() -> None:
    assert NUCLA.read(content(), PATH, "slot").label == 6
    with pytest.raises(FormatError, match="not that of its name") as caught:
        NUCLA.read(content(label=8), PATH, "slot")
    assert caught.value.where == PATH


@pytest.mark.parametrize("sample", ["a07_s01_e00_v01", "a10_s01_e00_v01", "a13_s01_e00_v01", "a00_s01_e00_v01"])
def test_numbers_that_no_action_has_are_refused(sample: str) -> None:
    with pytest.raises(FormatError, match="1 2 3 4 5 6 8 9 11 12"):
        NUCLA.parse(sample)


def test_cameras_1_and_2_train(tmp_path: Path) -> None:
    samples = [f"a{action:02}_s01_e00_v0{camera}" for action in (1, 12) for camera in (1, 2, 3)]
    store = write_store(tmp_path / "store", [fabricate_clip(sample, dataset="nucla") for sample in samples], "nucla")
    parts = split_rows(store, BENCHMARKS["nucla"])
    assert {part: [samples[row][-2:] for row in rows] for part, rows in parts.items()} == {
        "train": ["01", "02"] * 2,
        "validation": [],
        "test": ["03"] * 2,
    }
    assert store.index["label"].to_pylist() == [0, 0, 0, 9, 9, 9]


def test_real_clips_are_read(shared: Path) -> None:
    members = list_members([shared / "data/nucla_sample"], NUCLA.suffix, NUCLA.folders)
    clips = [NUCLA.read(member.read(), member.where, "slot") for member in members]
    assert Counter(clip.label for clip in clips) == dict.fromkeys(range(10), 2)
    assert (min(clip.num_frames for clip in clips), max(clip.num_frames for clip in clips)) == (14, 141)


def test_real_people_stand_on_their_feet_and_are_not_mirrored(shared: Path) -> None:
    """Head up, feet down, the left shoulder at larger x, and toes before ankles, towards -y: a mirrored body has them behind."""
    for path in sorted((shared / "data/nucla_sample").glob("*.json")):
        body = align(read_nucla(path.read_bytes(), path), KINECT20).joints[0]
        joint = {name: np.median(body[:5, index], axis=0) for index, name in enumerate(KINECT20.joints)}
        trunk = [joint[name][2] for name in ("ankle_left", "knee_left", "hip_left", "spine", "shoulder_centre", "head")]
        assert trunk == sorted(trunk)
        assert joint["shoulder_left"][0] > joint["shoulder_right"][0]
        assert sum(joint[f"foot_{side}"][1] - joint[f"ankle_{side}"][1] for side in ("left", "right")) < 0
