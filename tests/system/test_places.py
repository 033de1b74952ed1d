"""Places that are about to be written, and what is said of those that cannot be."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from amanet.errors import AmanetError, PlaceError
from amanet.system.places import beside, clear, explained, in_the_making, write_file


def test_a_neighbour_has_a_suffix() -> None:
    assert beside(Path("some/store"), ".lock") == Path("some/store.lock")


@pytest.mark.parametrize("place", [".", "/", "..", "store/.."])
def test_what_is_no_name_in_a_folder_is_refused(place: str) -> None:
    with pytest.raises(AmanetError, match="nothing can be put"):
        beside(Path(place), ".lock")


def test_what_is_made_takes_the_place_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.writing").mkdir()  # a folder of the user
    (tmp_path / "a").mkdir()
    with suppress(KeyError), in_the_making(tmp_path / "a") as folder:
        (folder / "half").touch()
        raise KeyError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "a.writing"]
    with in_the_making(tmp_path / "a") as folder, in_the_making(tmp_path / "b") as other:
        (folder / "one").touch()
        (other / "two").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "a.writing", "b", "one", "two"]
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "a.writing").stat().st_mode


@pytest.mark.parametrize("there", [False, True])
def test_what_is_made_behind_a_link_takes_the_place_that_it_leads_to(tmp_path: Path, there: bool) -> None:
    (tmp_path / "link").symlink_to("disk")
    if there:
        (tmp_path / "disk").mkdir()
    with in_the_making(tmp_path / "link") as folder:
        (folder / "one").touch()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["disk", "link", "one"]


def test_only_what_a_command_left_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "store.writing"
    clear(folder, lambda path: False)
    folder.mkdir()
    (folder / "ours").touch()
    clear(folder, lambda path: path.name == "ours")
    assert not folder.exists()
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(AmanetError, match=r"something else(.|\n)*thesis.txt"):
        clear(folder, lambda path: path.name == "ours")
    assert (folder / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["no/file", "n" * 300])
def test_a_file_that_cannot_be_written_is_one_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlaceError, match="could not be written"):
        write_file(tmp_path / name, b"content")
    assert not list(tmp_path.iterdir())


def test_the_longest_names_that_a_disk_takes_are_written(tmp_path: Path) -> None:
    """Of 255 bytes, which are fewer letters of some alphabets."""
    for name in ("n" * 255, "\N{WAVING HAND SIGN}" * 63):
        write_file(tmp_path / name, b"content")
        with in_the_making(tmp_path / name[:-1]):
            pass
    assert len(list(tmp_path.iterdir())) == 4


def test_a_full_disk_costs_neither_the_old_file_nor_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlaceError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_no_two_write_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is to write the same file while another has written it, and has not yet put it in its place."""
    sync, reached, found = os.fsync, [], list[bytes]()

    def late(handle: int) -> None:
        if not reached:
            reached.append(handle)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(write_file, tmp_path / "file", b"other").result()
            found.append((tmp_path / "file").read_bytes())
        sync(handle)

    monkeypatch.setattr(os, "fsync", late)
    write_file(tmp_path / "file", b"one")
    assert found == [b"other"]
    assert (tmp_path / "file").read_bytes() == b"one"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_the_system_says_without_a_word_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="the disk: broken"), explained("the disk", tmp_path):
        raise OSError("broken")
