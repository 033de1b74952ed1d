"""PYSKL's pickles: both kinds come back to the digit, and nothing that a pickle names is ever called."""

import io
import pickle
import re
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.formats.pickled_arrays import ArrayUnpickler, PickledArray, RefusedPickleError
from amanet.data.formats.pyskl import open_pyskl
from amanet.data.formats.pyskl_process import read_annotations
from amanet.errors import FormatError
from fabricate.pyskl import NTU_NAMES, annotation, annotations, bombs, gadgets

MEMORY, SECONDS = 1 << 30, 20
OPEN_ALL = """
import resource, sys
from pathlib import Path
from amanet.data.formats.pyskl import open_pyskl
from amanet.errors import FormatError
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with open_pyskl(path, int(sys.argv[2]), 1):
            pass
    except FormatError as error:
        print(error.problem)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A program that opens all files of a folder, says why it could not, and how much memory the largest reader took."""
IMPOSSIBLE = {
    "a dotted name": (pickle.UnpicklingError,),
    "an extension": (ValueError,),
    "an array over foreign memory": (TypeError,),
}
"""What Python itself refuses."""


def read(value: object, folder: Path) -> tuple[Any, list[Any]]:
    """The content of a pickle, and its clips."""
    path = folder / "annotations.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value))
    with open_pyskl(path, MEMORY, SECONDS) as content:
        return content, list(content.clips)


def test_joints_of_a_kinect_come_back_to_the_digit(tmp_path: Path) -> None:
    written = annotations()
    content, clips = read(written, tmp_path)
    assert (content.layout, content.num_clips, content.labels, content.max_bodies) == ("ntu25", 8, (0, 6), 2)
    assert content.splits == {"split_xsub": {name: "train" if place < 4 else "test" for place, name in enumerate(NTU_NAMES)}}
    for clip, source in zip(clips, written["annotations"], strict=True):
        assert (clip.sample, clip.label) == (source["frame_dir"], source["label"])
        np.testing.assert_array_equal(clip.joints, source["keypoint"].astype(np.float32))
        np.testing.assert_array_equal(clip.present, (source["keypoint"] != 0).any(-1))


def test_pixels_become_heights_of_the_picture_with_y_up(tmp_path: Path) -> None:
    source = annotation("a", 0, flat=True)
    source["keypoint"][0, 0, 0], source["keypoint"][0, 0, 1] = (960, 540), (1500, 0)
    source["keypoint_score"][0, 2, 3] = 0
    content, (clip,) = read([source], tmp_path)
    assert (content.layout, content.splits) == ("coco17", {})
    np.testing.assert_allclose(clip.joints[0, 0, :2, :2], [[0, 0], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(clip.present, source["keypoint_score"] > 0)
    np.testing.assert_array_equal(clip.joints[..., 2], source["keypoint_score"].astype(np.float32))


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_and_both_names_of_numpys_core(protocol: int) -> None:
    value = {"array": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)), "scalar": np.int64(7), "plain": [1.5, "x", None, (True,)]}
    content = pickle.dumps(value, protocol=protocol)
    old = content.replace(b"numpy._core.", b"numpy.core.") if protocol < 3 else content
    for each in (content, old):
        found: Any = ArrayUnpickler(io.BytesIO(each)).load()
        assert (found["scalar"], found["plain"]) == (7, value["plain"])
        assert isinstance(found["array"], PickledArray)
        np.testing.assert_array_equal(np.asarray(found["array"].values), value["array"])


def test_what_would_run_a_program_is_refused_and_never_called(tmp_path: Path) -> None:
    harmful = gadgets(tmp_path / "trace")
    assert len(harmful) >= 20
    for name, content in harmful.items():
        with pytest.raises((RefusedPickleError, *IMPOSSIBLE.get(name, ()))):
            ArrayUnpickler(io.BytesIO(content)).load()
    for name in ("os.system", "numpy.memmap", "an old instance"):
        with pytest.raises(FormatError, match="which no annotation needs"):
            read(harmful[name], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.pkl"]


def test_an_array_that_contradicts_itself_is_refused() -> None:
    good = pickle.dumps(np.zeros((2, 3), dtype=np.float32), protocol=2)
    for old, new in (
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
        (b"K\x02K\x03\x86", b"K\x02N\x86"),
        (b"f4", b"O8"),
        (b"f4", b"V4"),
        (b"f4", b"M8"),
    ):
        assert old in good
        with pytest.raises(RefusedPickleError):
            ArrayUnpickler(io.BytesIO(good.replace(old, new))).load()


def test_bombs_end_within_their_bounds(tmp_path: Path) -> None:
    """Measured from a process of its own: what a child takes begins with what its parent has."""
    for name, content in bombs().items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", OPEN_ALL, str(tmp_path), str(MEMORY)], capture_output=True, text=True, check=True)
    *refused, largest = done.stdout.splitlines()
    assert len(refused) == len(bombs())
    assert all(re.search(r"too much memory|was ended|no annotations", text) for text in refused)
    assert int(largest) * (1 if sys.platform == "darwin" else 1024) < MEMORY


def test_a_reader_that_is_killed_amid_a_clip_is_said_to_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, readers, start = tmp_path / "annotations.pkl", [], subprocess.Popen
    long = {**annotation("a", 0), "keypoint": np.ones((1, 3000, 25, 3), np.float32), "total_frames": 3000}
    path.write_bytes(pickle.dumps([long, long]))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: readers.append(start(*args, **options)) or readers[-1])
    with open_pyskl(path, MEMORY, SECONDS) as content:
        assert next(content.clips) is not None
        select.select([readers[0].stdout], [], [], SECONDS)  # it has begun with the second, of which a pipe does not hold all
        readers[0].kill()
        with pytest.raises(FormatError, match=r"the process that reads this pickle was ended(.|\n)*exit status -9"):
            next(content.clips)


@contextmanager
def room_for_little_more(further: int = 256 << 20) -> Iterator[None]:
    """Bounds the memory of this process, as a few bytes of pickle can ask for 32 GB; the reader's own process is bounded always."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + further, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded by what Linux tells of this process")
@given(st.binary(max_size=80))
def test_arbitrary_bytes_call_nothing(content: bytes) -> None:
    try:
        with room_for_little_more():
            found = ArrayUnpickler(io.BytesIO(b"\x80\x04" + content)).load()
    except Exception:
        return
    assert not callable(found) or isinstance(found, type) or found.__module__ == ArrayUnpickler.__module__


def change(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda whole: [{**whole["annotations"][0], **fields}]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: 3, "no annotations"),
        (lambda whole: [], "no annotations"),
        (lambda whole: {"annotations": whole["annotations"]}, "no annotations"),
        (lambda whole: {**whole, "split": {"xsub_train": [1]}}, "splits are none"),
        (lambda whole: [{"frame_dir": "a", "raw_file": "a.pkl"}], r"lacks label, total_frames, keypoint[^!]*raw files"),
        (change(frame_dir=3), "frame_dir is no name"),
        (change(label=-1), "label is no class"),
        (change(label=True), "label is no class"),
        (change(total_frames=9), "total_frames is not the length"),
        (change(keypoint=np.zeros((5, 25, 3))), "keypoint is no array"),
        (change(keypoint=np.zeros((1, 5, 25, 3), int)), "keypoint is no array"),
        (change(keypoint=[[0.0]]), "keypoint is no array"),
        (change(keypoint_score=np.zeros((1, 5, 25))), "keypoint_score is no array"),
        (change(img_shape="1080"), "img_shape is no height"),
        (lambda whole: [annotation("a", 0), annotation("b", 0, flat=True)], "several skeletons"),
        (lambda whole: pickle.dumps(whole)[:-9], "no complete pickle"),
        (lambda whole: b"", "no complete pickle"),
    ],
)
def test_what_is_no_file_of_annotations_is_refused(damage: Callable[[dict[str, Any]], Any], problem: str, tmp_path: Path) -> None:
    value = damage(annotations())
    path = tmp_path / "annotations.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value))
    with pytest.raises(FormatError, match=problem):
        list(read_annotations(path))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: 3, "no annotations"),
        (lambda whole: {**whole, "split": {"everything": []}}, "name of a split"),
        (lambda whole: {**whole, "split": {"a_train": ["x", "y"], "a_val": ["x"]}}, "1 clips are in two parts of split_a"),
        (change(keypoint=np.ones((1, 5, 24, 3))), "no layout is known"),
        (change(keypoint=np.full((1, 5, 25, 3), np.inf)), "no place"),
        (lambda whole: [{**annotation("a", 0, flat=True), "img_shape": None}], "lacks img_shape"),
    ],
)
def test_what_the_process_or_the_clips_refuse_names_the_file(damage: Callable[[dict[str, Any]], Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        read(damage(annotations()), tmp_path)
    assert str(tmp_path / "annotations.pkl") in str(caught.value)


def test_a_clip_of_nobody_is_none(tmp_path: Path) -> None:
    empty = {**annotation("a", 0), "keypoint": np.zeros((2, 5, 25, 3), np.float16)}
    assert read([empty], tmp_path)[1] == [None]


def test_validation_clips_test_where_no_others_do(tmp_path: Path) -> None:
    content, _ = read(
        {**annotations(), "split": {"train1": ["a"], "test1": ["b"], "val1": ["c"], "x_train": ["a"], "x_val": ["b"]}}, tmp_path
    )
    assert content.splits == {"split_1": {"a": "train", "b": "test", "c": "validation"}, "split_x": {"a": "train", "b": "test"}}
