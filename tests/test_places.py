"""Places that are about to be written, and what is said of those that cannot be."""

from pathlib import Path

import pytest

from amanet.errors import AmanetError
from amanet.places import beside


def test_a_neighbour_has_a_suffix() -> None:
    assert beside(Path("some/store"), ".lock") == Path("some/store.lock")


@pytest.mark.parametrize("place", [".", "/", "..", "store/.."])
def test_what_is_no_name_in_a_folder_is_refused(place: str) -> None:
    with pytest.raises(AmanetError, match="nothing can be put"):
        beside(Path(place), ".lock")
