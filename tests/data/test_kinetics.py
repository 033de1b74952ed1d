"""The readers of Kinetics-Skeleton: people from the middle of the picture, and nothing but a FormatError for a file that is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.dataset import split_rows
from amanet.data.formats.kinetics import read_kinetics, read_kinetics_labels
from amanet.data.published import BENCHMARKS, get_dataset
from amanet.errors import EmptyClipError, ExperimentError, FormatError
from fabricate.raw import kinetics_document
from fabricate.stores import fabricate_clip, write_store

KINETICS = get_dataset("kinetics")
NAMES = KINETICS.class_names
PATH = "kinetics_val/---QUuC4vJs.json"


def people(*numbers: int) -> list[np.ndarray]:
    """So many random people in each frame."""
    rng = np.random.default_rng(0)
    return [rng.uniform(0.05, 0.95, (number, 18, 3)).round(3) for number in numbers]


DOCUMENT = kinetics_document(people(2, 1), 354)
SOUND = json.dumps(DOCUMENT).encode()


def damaged(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(SOUND)
    change(document)
    return json.dumps(document).encode()


def read(content: bytes):
    return read_kinetics(content, PATH, NAMES)


def test_people_are_read_by_their_place_in_the_list() -> None:
    frames = people(1, 0, 3, 2)
    frames[2][1, 4, 2] = 0
    clip = read(json.dumps(kinetics_document(frames, 5)).encode())
    assert clip.joints.shape == (3, 4, 18, 3)
    assert (clip.sample, clip.label, NAMES[5]) == ("---QUuC4vJs", 5, "archery")
    for frame, bodies in enumerate(frames):
        for body in range(3):
            for joint in range(18):
                seen = body < len(bodies) and (frame, body, joint) != (2, 1, 4)
                assert clip.present[body, frame, joint] == seen
                x, y, score = bodies[body, joint] if seen else (0.5, 0.5, 0)
                np.testing.assert_allclose(clip.joints[body, frame, joint], (x - 0.5, 0.5 - y, score), rtol=0, atol=1e-6)


def test_frames_that_are_left_out_show_nobody() -> None:
    document = kinetics_document(people(1, 1, 1), 0, first=7)
    document["data"][2]["frame_index"] = 11
    clip = read(json.dumps(document).encode())
    assert clip.present.any(axis=(0, 2)).tolist() == [True, True, False, False, True]


def test_five_people_are_read_and_no_more() -> None:
    assert read(json.dumps(kinetics_document(people(7), 0)).encode()).num_bodies == 5


@pytest.mark.parametrize("frames", [[], people(0, 0), [np.zeros((1, 18, 3))]])
def test_a_clip_that_shows_nobody_says_so(frames: list[np.ndarray]) -> None:
    with pytest.raises(EmptyClipError, match="no body in any frame") as caught:
        read(json.dumps(kinetics_document(frames, 3)).encode())
    assert caught.value.where == PATH


def test_names_of_classes_are_compared_by_their_letters() -> None:
    label = NAMES.index("massaging person's head")
    document = kinetics_document(people(1), label) | {"label": "Massaging persons head "}
    assert read(json.dumps(document).encode()).label == label


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "no JSON"),
        (b"null", "the document"),
        (SOUND[:-1], "no JSON"),
        (SOUND.replace(b'"label_index"', b'"label"'), "a field twice"),
        (SOUND.replace(b"[0.", b"[NaN, 0.", 1), "NaN"),
        (b" " * (8 << 20) + SOUND, "too long"),
        (damaged(lambda it: it.pop("label")), "the document"),
        (damaged(lambda it: it.update(more=1)), "the document"),
        (damaged(lambda it: it.update(label=354)), "label"),
        (damaged(lambda it: it.update(label="texting")), "label is not the class of the label_index"),
        (damaged(lambda it: it.update(label_index=355)), "label is not the class of the label_index"),
        (damaged(lambda it: it.update(label_index=400)), "label_index"),
        (damaged(lambda it: it.update(label_index=-1)), "label_index"),
        (damaged(lambda it: it.update(label_index=354.0)), "label_index"),
        (damaged(lambda it: it.update(data={})), "data"),
        (damaged(lambda it: it["data"].append([])), "data[2]"),
        (damaged(lambda it: it["data"][1].pop("frame_index")), "data[1]"),
        (damaged(lambda it: it["data"][1].update(frame_index=1)), "data[1].frame_index is out of order"),
        (damaged(lambda it: it["data"][1].update(frame_index=10_001)), "data[1].frame_index"),
        (damaged(lambda it: it["data"][0].update(frame_index=-1)), "data[0].frame_index"),
        (damaged(lambda it: it["data"][0].update(frame_index=True)), "data[0].frame_index"),
        (damaged(lambda it: it["data"][1].update(skeleton=None)), "data[1].skeleton"),
        (damaged(lambda it: it["data"][0]["skeleton"][1].pop("score")), "data[0].skeleton[1]"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["pose"].pop()), "data[0].skeleton[1].pose"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["score"].append(0.5)), "data[0].skeleton[1].score"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["pose"].__setitem__(35, "0.5")), "data[0].skeleton[1].pose"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["pose"].__setitem__(35, 1.6)), "data[0].skeleton[1].pose[35]"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["pose"].__setitem__(0, -1)), "data[0].skeleton[1].pose[0]"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["score"].__setitem__(17, -0.1)), "data[0].skeleton[1].score[17]"),
        (damaged(lambda it: it["data"][0]["skeleton"][1]["score"].__setitem__(17, 10**400)), "data[0].skeleton[1].score[17]"),
        (damaged(lambda it: it["data"][0].update(skeleton=it["data"][0]["skeleton"] * 4 + [1])), "data[0].skeleton[8]"),
    ],
)
def test_damaged_files_are_refused(content: bytes, place: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(content)
    assert caught.value.where == PATH
    assert place in caught.value.problem
    assert not isinstance(caught.value, EmptyClipError)


@given(st.binary(max_size=300), st.integers(0, len(SOUND) - 1))
def test_arbitrary_bytes_are_refused(noise: bytes, place: int) -> None:
    for content in (noise, SOUND[:place], SOUND[:place] + noise[:1] * 2 + SOUND[place:] + b"]"):
        with pytest.raises(FormatError):
            read(content)


def test_a_changed_byte_is_refused_or_changes_one_joint() -> None:
    original = read(SOUND)
    rng = np.random.default_rng(0)
    for place in rng.permutation(len(SOUND))[:600]:
        content = bytearray(SOUND)
        content[place] ^= rng.integers(1, 256)
        try:
            clip = read(bytes(content))
        except FormatError:
            continue
        if clip.num_frames == original.num_frames:  # and not the number of a frame
            assert (clip.joints != original.joints).any(axis=-1).sum() <= 1


# The lists of labels


def listed(**changes: object) -> bytes:
    entry = {"has_skeleton": True, "label": "yoga", "label_index": 398} | changes
    return json.dumps({"---QUuC4vJs": entry, "--06iW-6N9s": entry | {"has_skeleton": False}}).encode()


def test_a_list_says_the_label_of_each_clip_and_which_show_nobody() -> None:
    assert read_kinetics_labels(listed(), "kinetics_val_label.json", NAMES) == {"---QUuC4vJs": 398, "--06iW-6N9s": None}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[]", "the document"),
        (listed()[:-1], "no JSON"),
        (listed().replace(b"--06iW-6N9s", b"---QUuC4vJs"), "a field twice"),
        (b'{"a": 1}', "a is no object"),
        (listed(more=1), "['---QUuC4vJs']"),
        (listed(has_skeleton=1), "['---QUuC4vJs'].has_skeleton"),
        (listed(label=1), "['---QUuC4vJs'].label"),
        (listed(label="zumba"), "['---QUuC4vJs'].label"),
        (listed(label_index="398"), "['---QUuC4vJs'].label_index"),
    ],
)
def test_damaged_lists_are_refused(content: bytes, place: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_kinetics_labels(content, "kinetics_val_label.json", NAMES)
    assert caught.value.where == "kinetics_val_label.json"
    assert place in caught.value.problem


# Names and parts


def test_the_folder_says_the_part_and_the_content_the_label() -> None:
    for part, trains in (("train", True), ("val", False)):
        key = KINETICS.parse(f"kinetics_{part}----QUuC4vJs")
        assert (key.part, key.label, key.action, key.performer) == (part, None, None, None)
        assert BENCHMARKS["kinetics"].in_training(key) == trains
    clip = KINETICS.read(SOUND, PATH, "slot")
    assert (clip.sample, clip.label, NAMES[354]) == ("kinetics_val----QUuC4vJs", 354, "testifying")
    assert NAMES[52] == "changing oil"


@pytest.mark.parametrize(
    "name", ["QUuC4vJs.json", "kinetics_test/---QUuC4vJs.json", "kinetics_val/---QUuC4vJ.json", "kinetics_val/a/---QUuC4vJs.json"]
)
def test_files_of_other_names_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="kinetics_train-0aBcDeFgHiJ"):
        KINETICS.read(SOUND, f"/{name}", "slot")


def test_no_performers_can_be_held_out(tmp_path: Path) -> None:
    samples = ["kinetics_train----QUuC4vJs", "kinetics_val----QUuC4vJs"]
    store = write_store(tmp_path / "store", [fabricate_clip(sample, dataset="kinetics") for sample in samples], "kinetics")
    assert {part: rows.tolist() for part, rows in split_rows(store, BENCHMARKS["kinetics"]).items()} == {
        "train": [0],
        "validation": [],
        "test": [1],
    }
    with pytest.raises(ExperimentError, match="kinetics does not say who performs"):
        split_rows(store, BENCHMARKS["kinetics"], validation_performers=[1])
