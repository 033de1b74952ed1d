"""Looking at a store: numbers, a page, film strips with their sentences, and a store that stays as it was."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from amanet.cli import main
from amanet.errors import AmanetError, ExperimentError, StoreError
from amanet.inspect import inspect
from amanet.pictures import Overview, overview_page
from amanet.skeleton import load_layout
from fabricate.stores import ragged_clips, write_store


def test_a_store_is_looked_at_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = write_store(tmp_path / "store", ragged_clips())
    before = {path.name: path.read_bytes() for path in store.path.iterdir()}
    assert main(["inspect", str(store.path)]) == 0
    assert "inspection.md" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in store.path.iterdir()} == before
    folder = tmp_path / "store-inspection"
    facts = json.loads((folder / "inspection.json").read_text())
    assert (facts["clips"], facts["bodies"], facts["frames"]["longest"]) == (12, {"1": 4, "2": 4, "3": 4}, 38)
    text = (folder / "inspection.md").read_text()
    kinds = [each["kind"] for each in facts["strange"]]
    assert {"longest", "shortest", "missing", "jump", "bodies"} <= set(kinds)
    for each in facts["strange"]:
        assert each["why"] in text
        picture = matplotlib.image.imread(folder / f"{each['kind']}-{each['sample']}.png")
        assert np.ptp(picture[..., :3]) > 0.2


def test_frames_that_show_nobody_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = ragged_clips()
    clips[1].present[:, 2:5] = clips[4].present[:, :4] = False
    store = write_store(tmp_path / "store", [clip.with_joints(clip.joints) for clip in clips])
    assert inspect(store.path).facts["frames"]["empty"] == 7
    assert "in 7 of the frames" in capsys.readouterr().out


def test_paths_are_printed_whole_however_narrow_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = write_store(tmp_path / f"a store of a {'very ' * 15}long name", ragged_clips())
    found = inspect(store.path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(store.path)
    assert lines[-1] == f"written to {found.folder}; begin with inspection.md"


def test_what_stands_in_brackets_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["wave [/b]", *(f"[red]{number}" for number in range(59))]
    store = write_store(tmp_path / "a [store]", ragged_clips(), class_names=names)
    inspect(store.path)
    said = capsys.readouterr().out
    assert "[red]" in said or "wave [/b]" in said
    assert "[store]" in said


def test_what_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", ragged_clips())
    with pytest.raises(StoreError, match="no store"):
        inspect(tmp_path)
    with pytest.raises(ExperimentError, match="how many to draw"):
        inspect(store.path, clips=-1)
    (tmp_path / "file").write_text("3")
    with pytest.raises(AmanetError, match="folder cannot be made"):
        inspect(store.path, tmp_path / "file")


def test_a_flipped_bit_is_noticed_before_anything_is_said(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", ragged_clips())
    content = bytearray((store.path / "joints.npy").read_bytes())
    content[-100] ^= 1
    (store.path / "joints.npy").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        inspect(store.path)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_parts_of_an_overview_that_do_not_fit_are_refused() -> None:
    layout, numbers = load_layout("ntu25"), np.ones(3, dtype=np.int64)
    with pytest.raises(AmanetError, match="do not fit each other"):
        overview_page(Overview(numbers, numbers, numbers * 0, ["a"], {}, np.zeros(24), np.zeros((24, 3))), layout)
