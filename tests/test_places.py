"""Places that are about to be written, and what is said of those that cannot be."""

from contextlib import suppress
from pathlib import Path

import pytest

from amanet.errors import AmanetError
from amanet.places import beside, clear, in_the_making


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
