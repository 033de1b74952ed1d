"""Places on disk that are about to be written, and what is made beside them until it takes the place."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from amanet.errors import AmanetError


def beside(place: Path, suffix: str) -> Path:
    """A neighbour of the place, whose name has a suffix.

    Raises:
        AmanetError: the place is no name in a folder, as ``.`` and ``/`` are not, and so nothing can take it.
    """
    if place.name in ("", ".."):
        raise AmanetError("nothing can be put in this place", where=place, expected="the name of a folder", cure="name a folder in it")
    return place.with_name(place.name + suffix)


@contextmanager
def in_the_making(place: Path) -> Iterator[Path]:
    """A folder that takes the place, where nothing or an empty folder is, if all goes well; else nothing is left of it.

    Its own name is nobody else's, so neither a folder of the user nor another process is in its way.

    Raises:
        AmanetError: the place is none (:func:`beside`), or no folder can be made there.
    """
    beside(place, "")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        around = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}-", dir=place.parent))
    except OSError as error:
        raise AmanetError(f"this folder cannot be made: {error.strerror}", where=place, cure="name another place") from error
    try:
        folder = around / "new"
        folder.mkdir()  # not as private as what is around it
        yield folder
        folder.replace(place)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def clear(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Removes a folder that an earlier command may have left.

    Raises:
        AmanetError: something else lies in it (:func:`refuse_others`).
    """
    refuse_others(folder, is_ours)
    shutil.rmtree(folder, ignore_errors=True)


def refuse_others(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Raises AmanetError where a folder that a command is to use holds what no command has put there."""
    strange = sorted(each.name for each in folder.iterdir() if not is_ours(each)) if folder.is_dir() else []
    if strange or (folder.exists() and not folder.is_dir()):
        cure = "move it away: its name is needed for a while"
        raise AmanetError("there is something else at this place", where=folder, got=", ".join(strange[:5]) or "a file", cure=cure)
