"""A store gives back what was written, notices damage, and never leaves half of itself behind."""

import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amanet.data.store import INDEX_SCHEMA, ClipStore
from amanet.data.store_writer import StoreWriter, encode_clips
from amanet.errors import AmanetError, StoreError
from amanet.skeleton import load_layout
from amanet.skeleton.layout import describe_layout
from fabricate.stores import fabricate_clip, ragged_clips, write_store


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return write_store(tmp_path / "store", ragged_clips())


def test_clips_come_back_bit_for_bit(store):
    clips = ragged_clips()
    assert len(store) == len(clips)
    for row, clip in enumerate(clips):
        read = store.clip(row)
        assert (read.sample, read.label) == (clip.sample, clip.label)
        np.testing.assert_array_equal(read.joints, clip.joints)
        np.testing.assert_array_equal(read.present, clip.present)


def test_absence_is_nan_on_disk_and_zero_in_memory(store):
    numbers = np.load(store.path / "joints.npy")
    assert np.isnan(numbers).sum() == 3 * sum((~clip.present).sum() for clip in ragged_clips())
    assert not any(store.clip(row).joints[~store.clip(row).present].any() for row in range(len(store)))


def test_index_tells_who_and_what(store):
    assert store.index.schema.equals(INDEX_SCHEMA)
    row = store.index.slice(5, 1).to_pylist()[0]
    assert row["sample"] == "S001C002P002R001A002"
    assert (row["label"], row["performer"], row["camera"], row["setup"]) == (1, 2, 2, 1)
    assert store.header.dataset == "ntu60"
    assert len(store.class_names) == 60


def test_clips_of_a_store_are_writable_and_independent(store):
    store.clip(0).joints[...] = 7
    np.testing.assert_array_equal(store.clip(0).joints, ragged_clips()[0].joints)


def test_store_travels_as_its_path_and_what_it_holds(store):
    parcel = pickle.dumps(store)
    assert len(parcel) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(store.clip, (3,)).sample == store.clip(3).sample


def test_same_clips_same_bytes(store, tmp_path):
    again = write_store(tmp_path / "again", ragged_clips())
    assert again.header.content == store.header.content
    for name in ("joints.npy", "index.parquet", "store.json"):
        assert (again.path / name).read_bytes() == (store.path / name).read_bytes()
    other = write_store(tmp_path / "other", ragged_clips()[1:])
    assert other.header.content != store.header.content


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_noticed(store, data):
    path = store.path / data.draw(st.sampled_from(["joints.npy", "index.parquet", "store.json"]))
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    damaged = bytearray(before)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        if (path.name == "joints.npy" and place < 128) or json_says_the_same(before, bytes(damaged)):
            return  # spaces that mean nothing
        with pytest.raises(AmanetError):
            ClipStore.open(store.path).verify()
    finally:
        path.write_bytes(before)


def json_says_the_same(one: bytes, two: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(two)
    except ValueError:
        return False


def test_intact_store_verifies(store):
    store.verify()


@pytest.mark.parametrize("name", ["joints.npy", "index.parquet", "store.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "longer"])
def test_damage_is_noticed_at_opening(store, name, damage):
    path = store.path / name
    content = path.read_bytes()
    path.write_bytes({"missing": b"", "empty": b"", "half": content[: len(content) // 2], "longer": content + content}[damage])
    if damage == "missing":
        path.unlink()
    if damage == "longer" and name == "index.parquet":  # what is appended is never read
        ClipStore.open(store.path)
        return
    with pytest.raises(StoreError) as caught:
        ClipStore.open(store.path)
    assert caught.value.where
    assert caught.value.cure


def test_a_column_whose_name_is_no_text_is_refused(store):
    path = store.path / "index.parquet"
    path.write_bytes(path.read_bytes().replace(b"camera", b"\xf3amera"))
    with pytest.raises(StoreError, match="the index cannot be read"):
        ClipStore.open(store.path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 1}, "another format"),
        ({"layout": describe_layout(load_layout("sbu15")) | {"name": "ntu25"}}, "layout ntu25 has changed"),
        ({"layout": "ntu25"}, "cannot be understood"),
        ({"layout": describe_layout(load_layout("ntu25")) | {"centre": "tail"}}, "contradicts itself"),
        ({"max_bodies": "two"}, "cannot be understood"),
        ({"splits": ["split"]}, "other columns"),
        ({"class_names": ["one", "two"]}, "labels outside 0..1"),
        ({"class_names": 3}, "cannot be understood"),
        ({"class_names": [3]}, "cannot be understood"),
        ({"class_names": ["one", "one"]}, "there once: one"),
        ({"class_names": ["one", "two\n"]}, "there once: 'two"),
        ({"max_bodies": 0}, "of a body or more"),
        ({"max_bodies": 1}, "clips of more than 1 bodies"),
        ({"num_clips": 11}, "do not belong together"),
        ({"num_floats": 10}, "do not belong together"),
        ({"extra": 1}, "cannot be understood"),
    ],
)
def test_wrong_header_is_refused(store, change, problem):
    place = store.path / "store.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    with pytest.raises(AmanetError, match=problem):
        ClipStore.open(store.path)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("sample", "A", "not sorted or stand there twice"),
        ("sample", "S001C002P001R001A001", "not sorted or stand there twice"),
        ("label", 60, r"labels outside 0\.\.59"),
        ("label", -1, r"labels outside 0\.\.59"),
        ("bodies", 0, "no body or no frame"),
        ("frames", -3, "no body or no frame"),
        ("frames", 2**31 - 1, "longer than the store"),
        ("offset", 1, "do not follow one another"),
    ],
)
def test_wrong_index_is_refused_with_the_offender(store, column, value, problem):
    rows = store.index.to_pylist()
    rows[5][column] = value
    pq.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA), store.path / "index.parquet")
    with pytest.raises(StoreError, match=problem) as caught:
        ClipStore.open(store.path)
    assert rows[5]["sample"] in str(caught.value)


def test_a_clip_is_in_one_of_the_parts_of_a_split_or_in_none(tmp_path):
    clips = ragged_clips()
    one, two = clips[4].sample, clips[5].sample
    store = write_store(tmp_path / "store", clips, splits={"split": {one: "train"}})
    assert store.index["split"].to_pylist().count(None) == len(clips) - 1
    with pytest.raises(StoreError, match=rf"cells of split that are no part of a split(.|\n)*got: {two}\n"):
        write_store(tmp_path / "other", clips, splits={"split": {one: "train", two: "tests"}})


def test_first_ten_offenders_are_listed(store):
    rows = [{**row, "label": 99} for row in store.index.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA), store.path / "index.parquet")
    with pytest.raises(StoreError, match="and 2 more"):
        ClipStore.open(store.path)


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("hello")
    for path, problem in ((tmp_path, "no store"), (tmp_path / "nowhere", "nothing at this place"), (tmp_path / "file", "no store")):
        with pytest.raises(StoreError, match=problem):
            ClipStore.open(path)


def test_writer_refuses_unsorted_twofold_and_no_clips(tmp_path):
    clips = ragged_clips()
    for wrong in (clips[::-1], [clips[0], clips[0]], []):
        with pytest.raises(StoreError):
            write_store(tmp_path / "store", wrong)
    assert list(tmp_path.iterdir()) == []


def test_clip_without_label_is_refused():
    clip = fabricate_clip("S001C001P001R001A001")
    with pytest.raises(StoreError, match="without a label"):
        encode_clips([type(clip)(clip.sample, clip.joints, clip.present)], [])


def test_writer_leaves_nothing_behind_when_interrupted(tmp_path, store):
    writer = StoreWriter(tmp_path / "new", dataset="ntu60", layout=store.layout, recipe="raw", class_names=("a",), max_bodies=1)
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_only_a_store_is_overwritten_and_only_on_demand(tmp_path, store):
    with pytest.raises(StoreError, match="already"):
        write_store(store.path, ragged_clips()[:2])
    assert len(write_store(store.path, ragged_clips()[:2], overwrite=True)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(StoreError, match="something else"):
        write_store(tmp_path / "letters", ragged_clips(), overwrite=True)
    assert (tmp_path / "letters" / "dear.txt").exists()
