"""Accuracies against loops over single clips, and score files that come back as they were or are refused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.errors import PlaceError, RunError
from amanet.metrics import Scores, accuracy, confusion, top_k, write_scores

SOURCE = {"benchmark": "ntu60-xsub", "part": "test", "stream": "bone", "layout": "ntu25"}


def make_scores(num_clips: int = 12, num_classes: int = 7, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    return Scores(
        sample=tuple(f"clip{row:03}" for row in range(num_clips)),
        label=rng.integers(num_classes, size=num_clips),
        logits=rng.normal(size=(num_clips, num_classes)).astype(np.float32),
        class_names=tuple(f"class {index}" for index in range(num_classes)),
        source=SOURCE,
    )


def scores_by_hand(label: list[int], logits: list[list[float]]) -> Scores:
    names = tuple(f"class {index}" for index in range(len(logits[0])))
    return Scores(tuple(f"clip{row}" for row in range(len(label))), np.array(label), np.array(logits, np.float32), names, SOURCE)


@given(num_clips=st.integers(1, 30), num_classes=st.integers(2, 9), seed=st.integers(0, 2**32 - 1))
def test_accuracies_are_those_of_the_loop(num_clips: int, num_classes: int, seed: int) -> None:
    scores = make_scores(num_clips, num_classes, seed)
    ranks, by_class, losses = [], {}, []
    for label, logits in zip(scores.label, scores.logits.astype(np.float64), strict=True):
        rank = sum(1 for other in logits if other > logits[label])
        ranks.append(rank)
        by_class.setdefault(label, []).append(rank == 0)
        losses.append(np.log(sum(np.exp(other) for other in logits)) - logits[label])
    found = accuracy(scores)
    assert found.top1 == pytest.approx(sum(rank < 1 for rank in ranks) / num_clips)
    assert found.top5 == pytest.approx(sum(rank < 5 for rank in ranks) / num_clips)
    assert found.per_class == pytest.approx(np.mean([sum(hits) / len(hits) for hits in by_class.values()]))
    assert found.loss == pytest.approx(sum(losses) / num_clips, rel=1e-5)
    for k in range(1, num_classes + 1):
        assert top_k(scores, k) == pytest.approx(sum(rank < k for rank in ranks) / num_clips)


def test_accuracies_by_hand() -> None:
    """Two of three clips of class 0 and none of the one of class 2 are named rightly; class 1 does not occur."""
    scores = scores_by_hand([0, 0, 0, 2], [[9, 1, 0], [9, 1, 0], [1, 9, 0], [9, 5, 1]])
    found = accuracy(scores)
    assert found.top1 == 0.5
    assert found.per_class == pytest.approx((2 / 3 + 0) / 2)
    assert top_k(scores, 2) == 0.75
    assert confusion(scores).tolist() == [[2, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_what_scores_say_of_each_class_is_a_table(tmp_path: Path) -> None:
    """Three clips of the first class, one of them taken for the second, which has none; one of the third, taken for the first."""
    scores = scores_by_hand([0, 0, 0, 2], [[9, 1, 0, 0], [9, 1, 0, 0], [1, 9, 0, 0], [9, 0, 1, 0]])
    scores = replace(scores, class_names=("a, b", "é", "c", "never"))
    write_scores(scores, tmp_path, "test")
    assert Scores.read(tmp_path / "scores-test.parquet").sample == scores.sample
    rows = list(csv.reader((tmp_path / "classes-test.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0] == ["class", "clips", "right", "recall", "precision", "most_taken_for", "times"]
    assert rows[1:] == [
        ["a, b", "3", "2", "0.6667", "0.6667", "é", "1"],
        ["é", "0", "0", "", "0.0000", "", ""],
        ["c", "1", "0", "0.0000", "", "a, b", "1"],
    ]


def test_five_highest_of_fewer_classes_are_all() -> None:
    scores = scores_by_hand([0, 1, 2], [[0, 1, 2], [3, 0, 1], [1, 2, 0]])
    assert accuracy(scores).top1 == 0
    assert accuracy(scores).top5 == 1


def test_confusion_counts_every_clip_once() -> None:
    scores = make_scores(50)
    counts = confusion(scores)
    assert counts.sum() == 50
    for true in range(7):
        for named in range(7):
            assert counts[true, named] == sum(scores.logits[row].argmax() == named for row in np.flatnonzero(scores.label == true))


@given(num_clips=st.integers(1, 5), num_classes=st.integers(1, 4))
def test_a_score_file_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, num_clips: int, num_classes: int) -> None:
    scores = replace(make_scores(num_clips, num_classes), class_names=('drink "water"', "é", "[b]", "d")[:num_classes])
    path = tmp_path_factory.mktemp("scores") / "scores-test.parquet"
    scores.write(path)
    again = Scores.read(path)
    assert (again.sample, again.class_names, again.source) == (scores.sample, scores.class_names, scores.source)
    np.testing.assert_array_equal(again.label, scores.label)
    np.testing.assert_array_equal(again.logits, scores.logits)
    assert again.logits.dtype == np.float32
    assert again.label.flags.writeable
    assert again.logits.flags.writeable
    if num_classes > 1:
        assert accuracy(again) == accuracy(scores)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_scores_are_written_over_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores-test.parquet"
    make_scores(seed=0).write(path)
    make_scores(5, seed=1).write(path)
    assert len(Scores.read(path).sample) == 5


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="could not be written"):
        make_scores().write(tmp_path / "no" / "scores-test.parquet")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage", "folder", "text"])
def test_damaged_score_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scores-test.parquet"
    make_scores().write(path)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        garbage = np.random.default_rng(0).bytes(len(content))
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "garbage": garbage, "text": b"sample,label\n"}[damage])
    with pytest.raises(RunError, match="cannot be read") as caught:
        Scores.read(path)
    assert str(path) in str(caught.value)
    assert "amanet evaluate" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("sample"),
        lambda table: table.drop_columns("logits"),
        lambda table: table.append_column("rank", pa.array([0] * len(table))),
        lambda table: table.replace_schema_metadata({}),
        lambda table: table.replace_schema_metadata({"class_names": '["one"]', "source": "{}"}),
        lambda table: table.replace_schema_metadata({"class_names": "[", "source": "{}"}),
        lambda table: table.replace_schema_metadata({**table.schema.metadata, b"class_names": b"3"}),
        lambda table: table.replace_schema_metadata({**table.schema.metadata, b"source": b"3"}),
        lambda table: table.replace_schema_metadata({**table.schema.metadata, b"source": json.dumps({**SOURCE, "part": 3})}),
        lambda table: table.replace_schema_metadata({**table.schema.metadata, b"class_names": json.dumps([1, 2, 3, 4, 5, 6, 7])}),
        lambda table: table.replace_schema_metadata({**table.schema.metadata, b"class_names": json.dumps([[]] * 7)}),
        lambda table: table.set_column(2, "logits", pa.array([1.0] * len(table))),
        lambda table: table.set_column(1, "label", pa.array(["drink"] * len(table))),
    ],
)
def test_tables_of_something_else_are_refused(tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = tmp_path / "scores-test.parquet"
    make_scores().write(path)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(RunError, match="cannot be read"):
        Scores.read(path)


def written(tmp_path: Path, scores: Scores) -> Path:
    path = tmp_path / "scores-test.parquet"
    scores.write(path)
    return path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sample": ("a", "c", "b")}, "are not sorted"),
        ({"sample": ("a", "a", "b")}, "are not sorted"),
        ({"label": np.array([0, 1, 4])}, "not from 0 to 3"),
        ({"label": np.array([0, -1, 2])}, "not from 0 to 3"),
        ({"logits": np.full((3, 4), np.nan, np.float32)}, "not finite"),
        ({"logits": np.full((3, 4), np.inf, np.float32)}, "not finite"),
        ({"class_names": ("a", "b", "b", "d")}, "there once"),
        ({"class_names": ("a", "b", "c\nd", "e")}, "there once"),
        ({"class_names": ("a", "b", "", "e")}, "there once"),
        ({"source": {"benchmark": "ntu60-xsub"}}, "what its scores are of"),
        ({"sample": (), "label": np.zeros(0, np.int64), "logits": np.zeros((0, 4), np.float32)}, "its clips are none"),
    ],
)
def test_scores_that_no_network_gave_are_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = written(tmp_path, replace(replace(make_scores(3, 4), sample=("a", "b", "c")), **change))
    with pytest.raises(RunError, match=problem):
        Scores.read(path)


@pytest.mark.parametrize("column", ["sample", "label", "logits"])
def test_scores_with_a_gap_are_refused(tmp_path: Path, column: str) -> None:
    path = written(tmp_path, make_scores())
    table = pq.read_table(path)
    gap = pa.array([None, *table[column].to_pylist()[1:]], table.schema.field(column).type)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, gap), path)
    with pytest.raises(RunError, match="cannot be read"):
        Scores.read(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_scores_in_silence(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    path = written(tmp_path_factory.mktemp("scores"), make_scores())
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = Scores.read(path)
    except RunError:
        return
    assert (found.sample, found.class_names, found.source) == (make_scores().sample, make_scores().class_names, SOURCE)
    np.testing.assert_array_equal(found.label, make_scores().label)
    np.testing.assert_array_equal(found.logits, make_scores().logits)
