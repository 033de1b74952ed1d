"""YAML files of settings as plain values: any file ends in values of a size that can be looked at, or in one error."""

from pathlib import Path
from typing import Any

import yaml

from amanet.errors import ExperimentError

MOST_VALUES = 100_000


def read_settings(path: Path, what: str, cure: str | None = None) -> Any:
    """What a YAML file says.

    Parts of it may stand for others (``&name``, ``*name``), as long as all of it, written out, is of a size that a person could have
    meant: a file of ten short lines can stand for more values than any memory holds.

    Args:
        path: the file.
        what: it should hold, for the error.
        cure: what to do if it cannot be read.

    Raises:
        ExperimentError: the file cannot be read, is no YAML, stands for too much, or has a name that is no text.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        if _written_out(plain, {}) > MOST_VALUES:
            raise ValueError(f"written out, it would hold more than {MOST_VALUES:,} values")
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(f"{what} cannot be read: {error}", where=path, cure=cure) from error
    return plain


def _written_out(value: Any, known: dict[int, int]) -> int:
    """Values in a value, each as often as it stands for a part; ``known`` keeps those of parts that were counted.

    Raises:
        ValueError: a value is told by something else than a name.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # for a part that holds itself
        if isinstance(value, dict) and (nameless := [name for name in value if not isinstance(name, str)]):
            raise ValueError(f"{nameless[0]!r} is no name of a setting")
        members = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_out(member, known) for member in members)
    return known[id(value)]
