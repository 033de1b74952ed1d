"""A clip comes back the same from an array, a table and lines of JSON; what is damaged is refused with its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amanet.data.own.clip_file import read_own_clip
from amanet.errors import AmanetError, FormatError
from amanet.skeleton import SkeletonClip, SkeletonLayout, load_layout
from fabricate.own import as_csv, as_jsonl, as_npy, own_clip, stick

COCO = load_layout("coco17")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> SkeletonLayout:
    return stick(tmp_path_factory.mktemp("layout"))


@pytest.mark.parametrize("kind", ["npy", "csv", "jsonl"])
@pytest.mark.parametrize("two_dimensional", [False, True])
def test_the_same_clip_from_every_format(layout: SkeletonLayout, kind: str, two_dimensional: bool) -> None:
    layout = COCO if two_dimensional else layout
    clip = own_clip("walk.b", layout)
    content = {"npy": as_npy(clip.numbers), "csv": as_csv(clip, layout), "jsonl": as_jsonl(clip)}[kind]
    found = read_own_clip(content, Path(f"walk.b.{kind}"), layout)
    assert (found.sample, found.label) == ("walk.b", None)
    np.testing.assert_array_equal(found.present, clip.present)
    np.testing.assert_array_equal(found.joints, clip.joints)


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", "<i2", "<u1", "<i8"])
@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_arrays_of_one_body_and_of_every_kind_of_number(
    layout: SkeletonLayout, kind: str, order: Callable[[np.ndarray], np.ndarray]
) -> None:
    numbers = order(np.arange(1, 61).reshape(5, 4, 3).astype(kind))
    found = read_own_clip(as_npy(numbers), Path("a.npy"), layout)
    np.testing.assert_array_equal(found.joints, numbers[None].astype(np.float32))
    assert found.present.all()


def test_two_numbers_a_joint_have_a_score_of_one() -> None:
    numbers = np.random.default_rng(0).normal(size=(4, 17, 2))
    numbers[1, 3] = np.nan
    found = read_own_clip(as_npy(numbers), Path("a.npy"), COCO)
    assert not found.present[0, 1, 3]
    np.testing.assert_array_equal(found.joints[..., 2], found.present)
    header = ",".join(["frame", *(f"{joint}_{axis}" for joint in COCO.joints for axis in "xy")])
    table = header + "\n" + ",".join(["0", *map(str, range(34))]) + "\n"
    assert (read_own_clip(table.encode(), Path("a.csv"), COCO).joints[..., 2] == 1).all()


@pytest.mark.parametrize("kind", ["npy", "csv", "jsonl"])
def test_joints_with_a_score_are_absent_where_all_their_numbers_are_zero(kind: str) -> None:
    """A joint of which only the place, or only the score, is 0 was seen."""
    seen = own_clip("a", COCO, frames=4)
    joints, present = np.where(seen.joints == 0, 1, seen.joints), np.ones_like(seen.present)
    joints[0, 2], joints[0, 1, 5] = 0, 0
    present[0, 2], present[0, 1, 5] = False, False
    joints[0, 0, 3, :2], joints[0, 0, 4, 2] = 0, 0
    clip = SkeletonClip("a", joints, np.ones_like(present))
    content = {"npy": as_npy(joints), "csv": as_csv(clip, COCO), "jsonl": as_jsonl(clip)}[kind]
    found = read_own_clip(content, Path(f"a.{kind}"), COCO)
    np.testing.assert_array_equal(found.present, present)
    np.testing.assert_array_equal(found.joints, joints)


def test_a_clip_of_zeros_shows_nobody() -> None:
    with pytest.raises(FormatError, match="nobody is seen in any frame"):
        read_own_clip(as_npy(np.zeros((2, 17, 3))), Path("a.npy"), COCO)


@pytest.mark.parametrize("numbers", [np.zeros((2, 17, 2)), np.concatenate([np.zeros((2, 17, 2)), np.ones((2, 17, 1))], axis=-1)])
def test_a_score_does_not_make_a_place_of_zeros(numbers: np.ndarray) -> None:
    with pytest.raises(FormatError, match=r"joints all lie at exactly 0(.|\n)*body 1, frame 1 of 2, nose"):
        read_own_clip(as_npy(numbers), Path("a.npy"), COCO)


def test_frames_without_a_row_are_frames_without_anybody(layout: SkeletonLayout) -> None:
    header = ",".join(["frame", *(f"{joint}_{axis}" for joint in layout.joints for axis in "xyz")])
    rows = [",".join([str(frame), *map(str, range(1, 13))]) for frame in (7, 4)]
    found = read_own_clip("\r\n".join([header, *rows, ""]).encode("utf-8-sig"), Path("a.csv"), layout)
    assert found.present.any(-1).tolist() == [[True, False, False, True]]
    lines = b'{"bodies": []}\n{"bodies": [{"id": 1, "joints": [[1,2,3],[1,2,4],null,[1,2,5]]}]}\n{"bodies": []}'
    assert read_own_clip(lines, Path("a.jsonl"), layout).present.any(-1).tolist() == [[False, True, False]]


def changed(value: float, *place: int) -> np.ndarray:
    numbers = np.random.default_rng(1).normal(size=(2, 5, 4, 3))
    numbers[place] = value
    return numbers


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (changed(np.inf, 1, 2, 3, 0), r"not finite or no place(.|\n)*body 2, frame 3 of 5, hand_right"),
        (changed(2e6, 0, 0, 0, 0), "not finite or no place"),
        (changed(np.nan, 1, 2, 0, 0), r"some of its numbers(.|\n)*body 2, frame 3"),
        (changed(0, 1, 4), r"exactly 0(.|\n)*body 2, frame 5"),
        (changed(np.nan), "nobody is seen"),
        (np.zeros((2, 0, 4, 3)), "nobody is seen"),
        (np.ones((5, 25, 3)), r"layout stick(.|\n)*4 joints(.|\n)*25 joints of 3 numbers(.|\n)*layout.toml"),
        (np.ones((5, 4, 2)), "4 joints of 2 numbers"),
        (np.ones((5, 4)), "holds no clip"),
        (np.ones((1, 1, 5, 4, 3)), "holds no clip"),
        (np.ones((5, 4, 3), dtype=complex), "holds no clip"),
        (np.ones((5, 4, 3), dtype=bool), "holds no clip"),
        (np.ones((65, 65, 4, 3)), "too large"),
        (np.ones((65, 1, 4, 3)), "in another order"),
        (np.array([{"a": 1}], dtype=object), "holds no clip"),
    ],
)
def test_arrays_that_are_no_clips_are_refused(layout: SkeletonLayout, numbers: np.ndarray, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_own_clip(as_npy(numbers), Path("a.npy"), layout)


def test_frames_in_the_place_of_people_are_refused(layout: SkeletonLayout) -> None:
    """People who are more than the frames, and more than four times as many as take part, are none."""
    message = r"a\.npy: the axes of this array(.|\n)*\(body, frame, joint, coord\)(.|\n)*up to 2 people(.|\n)*\(40, 2, 4, 3\)"
    with pytest.raises(FormatError, match=message):
        read_own_clip(as_npy(np.ones((40, 2, 4, 3))), Path("a.npy"), layout, max_bodies=2)
    with pytest.raises(FormatError, match=r"\(5, 1, 4, 3\)"):
        read_own_clip(as_npy(np.ones((5, 1, 4, 3))), Path("a.npy"), layout, max_bodies=1)
    for shape in ((8, 1), (2, 1), (40, 40), (9, 30)):
        assert read_own_clip(as_npy(np.ones((*shape, 4, 3))), Path("a.npy"), layout, max_bodies=2).joints.shape[:2] == shape


HEADER = "frame,body," + ",".join(f"{joint}_{axis}" for joint in ("hip", "chest", "hand_left", "hand_right") for axis in "xyz")
ROW = "1,2,3,4,5,6,7,8,9,10,11,12"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEADER.replace("hip_x", "tail_x") + f"\n0,0,{ROW}\n", r"a\.csv:1(.|\n)*missing: hip_x; unknown: tail_x"),
        (HEADER.replace(",", ";") + "\n", r"a\.csv:1: semicolons separate the columns(.|\n)*commas"),
        (HEADER.replace(",", "\t") + "\n", r"a\.csv:1: tabs separate the columns"),
        ("," + HEADER + f"\n0,0,0,{ROW}\n", r"a\.csv:1: a column without a name(.|\n)*above column 1 of 15(.|\n)*index=False"),
        (HEADER + f",,\n0,0,{ROW},,\n", r"a\.csv:1: 2 columns without a name(.|\n)*above column 15, 16 of 16"),
        (HEADER + f"\n0,0,{ROW}\n1,0,{ROW},13\n", r"a\.csv:3: a row has too few or too many cells"),
        (HEADER + f"\n0,0,{ROW}\n0,0,{ROW}\n", r"a\.csv:3: body 0 has two rows in frame 0"),
        (HEADER + f"\n0,0,{ROW.replace('7', 'x7')}\n", r"a\.csv:2: the cell of column hand_left_x is no number"),
        (HEADER + f"\n0,0,{ROW.replace('7', 'inf')}\n", r"a\.csv:2: a number that is not finite"),
        (HEADER + f"\n0,0,{ROW}\n2,0,{ROW.replace('7', '')}\n", r"a\.csv:3: a joint with some of its numbers"),
        (HEADER + f"\n0.5,0,{ROW}\n", r"a\.csv:2: the cell of column frame"),
        (HEADER + f"\n0,0,{ROW}\n999999999,0,{ROW}\n", "too large to be one clip"),
        (HEADER + "\n", "nobody is seen"),
        ("", r"missing: frame"),
        ('"', "cannot be read"),
    ],
)
def test_tables_that_are_no_clips_are_refused_with_their_line(layout: SkeletonLayout, table: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_own_clip(table.encode(), Path("a.csv"), layout)


@pytest.mark.parametrize(("encoding", "place", "got"), [("utf-16", "", "UTF-16"), ("cp1252", ":2", "the byte 0xe9")])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_of_another_encoding_says_so(layout: SkeletonLayout, kind: str, encoding: str, place: str, got: str) -> None:
    with pytest.raises(FormatError, match=rf"a\.{kind}{place}: this is no text in UTF-8(.|\n)*got: {got}(.|\n)*save it as UTF-8"):
        read_own_clip("frame\né\n".encode(encoding), Path(f"a.{kind}"), layout)


GOOD = '{"bodies": [{"id": 1, "joints": [[1,2,3],[1,2,4],null,[1,2,5]]}]}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"a\.jsonl:2: this line is no JSON"),
        ("[1]", r"a\.jsonl:2: this line is no frame"),
        ('{"bodies": [], "time": 3}', "this line is no frame"),
        ('{"bodies": [{"joints": []}]}', r"a\.jsonl:2: a body of this frame is none"),
        ('{"bodies": [{"id": 1, "joints": [[1,2,"3"],null,null,null]}]}', "a body of this frame is none"),
        ('{"bodies": [{"id": 1, "joints": [[1,2,NaN],null,null,null]}]}', "NaN is no number of JSON"),
        ('{"bodies": [{"id": 1, "joints": [[1,2,1e999],null,null,null]}]}', r"a\.jsonl:2: a number that is not finite"),
        (f'{{"bodies": [{{"id": 1, "joints": [[1,2,{"9" * 400}],null,null,null]}}]}}', "a body of this frame is none"),
        ('{"bodies": [{"id": 1, "joints": [[1,2,3],null,null]}]}', r"a\.jsonl:2: the joints of a body are not always as many"),
        ('{"bodies": [{"id": 1, "joints": [[1,2],null,null,null]}]}', r"a\.jsonl:2: the numbers of a joint are not always as many"),
        ('{"bodies": [{"id": 1, "joints": [null,null,null,null]}, {"id": 1, "joints": [null,null,null,null]}]}', "body 1 stands twice"),
        ('{"bodies": [], "bodies": []}', r"a\.jsonl:2: (.|\n)*an object has a field twice"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_lines_that_are_no_frames_are_refused(layout: SkeletonLayout, line: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_own_clip((GOOD + line + "\n").encode(), Path("a.jsonl"), layout)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["npy", "csv", "jsonl"]), data=st.data())
def test_damaged_and_arbitrary_bytes_end_in_one_kind_of_error(layout: SkeletonLayout, kind: str, data: st.DataObject) -> None:
    clip = own_clip("a", layout, frames=3)
    whole = {"npy": as_npy(clip.joints + 1), "csv": as_csv(clip, layout), "jsonl": as_jsonl(clip)}[kind]
    start, part = data.draw(st.integers(0, len(whole))), data.draw(st.binary(max_size=4))
    content = data.draw(st.sampled_from([part * 20, whole[:start] + part + whole[start + 2 :]]))
    try:
        found = read_own_clip(content, Path(f"a.{kind}"), layout)
    except AmanetError as error:
        assert error.where == f"a.{kind}"  # noqa: PT017
    else:
        assert found.joints.shape[2:] == (4, 3)


def test_other_files_are_no_clips(layout: SkeletonLayout) -> None:
    with pytest.raises(FormatError, match="no file of a clip"):
        read_own_clip(b"", Path("a.pkl"), layout)
