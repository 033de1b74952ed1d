"""Places on disk: what is written appears whole or not at all, and a disk that does not play along is said in one sentence."""

import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from amanet.errors import PlaceError

DISK = "the disk does not play along"


@contextmanager
def explained(problem: str, place: Path, cure: str = "make room, or name another place") -> Iterator[None]:
    """Within it, what the system says about a file is a PlaceError: the problem, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise PlaceError(f"{problem}: {error.strerror or error}", where=error.filename or place, cure=cure) from error


def in_shell(path: Path) -> str:
    """The path as a command line takes it: in quotes where it needs them."""
    return shlex.quote(str(path))


def make_folder(path: Path) -> None:
    """Make a folder to write into, with those above it, where it is not there yet.

    Raises:
        PlaceError: something else is at this place, or the folder above it cannot be written.
    """
    with explained("this folder cannot be made", path, "name another place"):
        path.mkdir(parents=True, exist_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write under a temporary name, force to disk, rename: a reader never sees half a file, a full disk never costs the old one.

    Raises:
        PlaceError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}-{threading.get_native_id()}.tmp")  # nobody else's
    try:
        with explained("this file could not be written", path, "make room or fix the folder's rights, and go on"):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
    except PlaceError:
        with suppress(OSError):  # as for a name that is too long
            temporary.unlink()
        raise


def sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def beside(place: Path, suffix: str) -> Path:
    """A neighbour of the place, whose name has a suffix.

    Raises:
        PlaceError: the place is no name in a folder, as ``.`` and ``/`` are not, and so nothing can take it.
    """
    if place.name in ("", ".."):
        raise PlaceError("nothing can be put in this place", where=place, expected="the name of a folder", cure="name a folder in it")
    return place.with_name(place.name + suffix)


def behind_link(place: Path) -> Path:
    """Where a link leads, to something or to nothing yet, since a link cannot be replaced by a folder; any other place is itself."""
    return Path(os.path.realpath(place)) if place.is_symlink() else place


@contextmanager
def in_the_making(place: Path) -> Iterator[Path]:
    """A folder that takes the place, where nothing or an empty folder is, if all goes well; else nothing is left of it.

    Its own name is nobody else's, so neither a folder of the user nor another process is in its way.

    Raises:
        PlaceError: the place is none (:func:`beside`), or no folder can be made there.
    """
    place = behind_link(place)
    beside(place, "")
    with explained("this folder cannot be made", place, "name another place"):
        place.parent.mkdir(parents=True, exist_ok=True)
        around = Path(tempfile.mkdtemp(prefix=f".{place.name[:40]}-", dir=place.parent))
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
        PlaceError: something else lies in it (:func:`refuse_others`).
    """
    refuse_others(folder, is_ours)
    shutil.rmtree(folder, ignore_errors=True)


def refuse_others(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Raises PlaceError where a folder that a command is to use holds what no command has put there."""
    strange = sorted(each.name for each in folder.iterdir() if not is_ours(each)) if folder.is_dir() else []
    if strange or (folder.exists() and not folder.is_dir()):
        cure = "move it away: its name is needed for a while"
        raise PlaceError("there is something else at this place", where=folder, got=", ".join(strange[:5]) or "a file", cure=cure)
