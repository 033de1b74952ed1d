"""Pictures are written whole or not at all, the same bytes every time, and nothing of matplotlib's state changes."""

from pathlib import Path
from typing import BinaryIO

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from amanet.errors import AmanetError
from amanet.pictures import save_figure, stream_bars

BEGIN = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", BEGIN)
def test_each_format_is_written_the_same_twice(tmp_path: Path, suffix: str):
    paths = [tmp_path / "new folder" / f"{name}{suffix}" for name in ("one", "two")]
    for path in paths:
        save_figure(stream_bars({"joint": [0.5, 0.6]}), path)
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(BEGIN[suffix])
    assert first == second
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)


def test_a_failed_save_leaves_the_old_picture_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def half_written(_: Figure, target: BinaryIO, **__: object) -> None:
        target.write(b"half")
        raise RuntimeError("power cut")

    monkeypatch.setattr(Figure, "savefig", half_written)
    with pytest.raises(RuntimeError, match="power cut"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["figure.jpeg", "figure"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str):
    with pytest.raises(AmanetError, match=r"\.png, \.svg, \.pdf"):
        save_figure(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AmanetError, match="cannot be made"):
        save_figure(Figure(), tmp_path / "file" / "figure.png")


def test_the_callers_settings_come_back():
    before = dict(mpl.rcParams)
    stream_bars({"joint": [0.5]})
    assert dict(mpl.rcParams) == before
