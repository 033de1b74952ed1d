"""YAML files of settings as plain values: any file ends in values of a size that can be looked at, or in one error."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, get_args

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


def check_places(expected: Mapping[str, Parameter], plain: Any, where: Path | str | None = None, name: str = "") -> None:
    """Refuses what a parser would drop or take for a value: something else where settings by name belong, and nothing where a value does.

    Args:
        expected: parameters by name, of a dataclass or a function (:func:`inspect.signature`).
        plain: the settings, by names that may be dotted. One that is required may be empty, as in a form that is yet to be filled in.
        where: the file they are from.
        name: dotted, of the setting whose settings these are.

    Raises:
        ExperimentError: a setting is of another form; its name is said.
    """
    if not isinstance(plain, dict):
        problem = f"these settings cannot be read: {name or 'the whole'} is no table of names and values"
        raise ExperimentError(problem, where=where, got="nothing" if plain is None else plain)
    for each, value in plain.items():
        first, _, rest = str(each).partition(".")
        parameter = expected.get(first)
        if parameter is None:
            continue  # that there is no such setting is for the parser to say
        kind, dotted = parameter.annotation, f"{name}.{first}" if name else first
        if is_dataclass(kind):
            check_places(signature(kind).parameters, {rest: value} if rest else value, where, dotted)  # pyright: ignore[reportArgumentType]
        elif value is None and parameter.default is not Parameter.empty and type(None) not in get_args(kind):
            cure = "write a value, or leave the line out for the default"
            raise ExperimentError(f"the setting {dotted} is empty", where=where, cure=cure)
