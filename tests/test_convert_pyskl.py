"""The clips of other tools become a data set of one's own, which can be prepared and split."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from amanet.cli import main
from amanet.convert_pyskl import convert_pyskl
from amanet.data.dataset import split_rows
from amanet.data.published import get_benchmark
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError, FormatError
from fabricate.pyskl import annotation, annotations


@pytest.mark.parametrize(("flat", "layout"), [(False, "ntu25"), (True, "coco17")])
def test_a_pickle_becomes_a_store_with_its_splits(flat: bool, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, own, store_path = (str(tmp_path / name) for name in ("NTU60 (2D).pkl", "own", "store"))
    Path(source).write_bytes(pickle.dumps(annotations(flat=flat)))
    assert main(["convert", "pyskl", source, own]) == 0
    assert f"8 clips of {layout}" in capsys.readouterr().err
    assert main(["prepare", "own", store_path, own, "--workers", "1", "--recipe", "raw"]) == 0
    store = ClipStore.open(store_path)
    assert (store.dataset, store.layout.name, store.class_names) == ("own:ntu60--2d-", layout, ("0", "6"))
    assert store.header.max_bodies == 2
    assert store.index["performer"].to_pylist() == [1, 1, 2, 2, 3, 3, 4, 4]
    parts = split_rows(store, get_benchmark("own-xsub"))
    assert (parts["train"].tolist(), parts["test"].tolist()) == ([0, 1, 2, 3], [4, 5, 6, 7])


def test_names_of_classes_and_of_files(tmp_path: Path) -> None:
    source, names = tmp_path / "kinetics.pkl", tmp_path / "names.txt"
    source.write_bytes(pickle.dumps([annotation("-x/1", 2), annotation("b", 0)]))
    names.write_text("wave\nsit\nclap, twice\n")
    out = convert_pyskl(source, tmp_path / "own", name="mine", class_names=names)
    assert (out / "labels.csv").read_text() == 'clip,class\n_-x_1,"clap, twice"\nb,wave\n'
    assert 'name = "mine"' in (out / "dataset.toml").read_text()
    names.write_text("wave\nsit\n")
    with pytest.raises(FormatError, match="a label has no name"):
        convert_pyskl(source, tmp_path / "other", class_names=names)
    names.write_text("wave\nsit\nsit\n")
    with pytest.raises(FormatError, match="stand there twice"):
        convert_pyskl(source, tmp_path / "other", class_names=names)
    assert not (tmp_path / "other").exists()


def test_clips_of_nobody_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = {**annotation("c", 1), "keypoint": np.zeros((1, 5, 25, 3))}
    source = tmp_path / "a.pkl"
    source.write_bytes(pickle.dumps([annotation("a", 0), annotation("b", 1), empty]))
    out = convert_pyskl(source, tmp_path / "own")
    assert "1 more were left out" in capsys.readouterr().err
    assert len(list((out / "clips").iterdir())) == 2


def test_what_cannot_be_converted_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "a.pkl"
    source.write_bytes(pickle.dumps([annotation("a", 0), annotation("a", 1)]))
    with pytest.raises(FormatError, match="written already"):
        convert_pyskl(source, tmp_path / "own")
    with pytest.raises(FormatError, match="no such file"):
        convert_pyskl(tmp_path / "b.pkl", tmp_path / "own")
    with pytest.raises(ExperimentError, match="no room"):
        convert_pyskl(source, tmp_path / "own", memory_gb=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]
