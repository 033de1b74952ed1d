"""Places on disk that are about to be written."""

from pathlib import Path

from amanet.errors import AmanetError


def beside(place: Path, suffix: str) -> Path:
    """A neighbour of the place, where something is made that takes the place in the end; its name has a suffix.

    Raises:
        AmanetError: the place is no name in a folder, as ``.`` and ``/`` are not, and so nothing can take it.
    """
    if place.name in ("", ".."):
        raise AmanetError("nothing can be put in this place", where=place, expected="the name of a folder", cure="name a folder in it")
    return place.with_name(place.name + suffix)
