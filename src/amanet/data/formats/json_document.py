"""Strict JSON: a document that is walked value by value, and each value knows where it stands, as in ``data[3].skeleton[1].pose``."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from amanet.errors import FormatError

SHOWN = 40
"""Characters of a wrong value that an error repeats."""


class Node(NamedTuple):
    """A value of a document.

    Attributes:
        value: what stands there.
        path: the file.
        parent: the object or list that it stands in, None for the document itself.
        key: its name or index therein.
    """

    value: Any
    path: Path | str
    parent: "Node | None" = None
    key: str | int = ""

    @property
    def place(self) -> str:
        """Where it stands, for error messages; nothing for the document itself."""
        if self.parent is None:
            return ""
        if isinstance(self.key, str) and self.key.isidentifier():
            return f"{self.parent.place}.{self.key}".removeprefix(".")
        return f"{self.parent.place}[{self.key!a}]"

    def fields(self, *names: str) -> list["Node"]:
        """The values of an object with exactly these fields, in this order."""
        if type(self.value) is not dict or self.value.keys() != set(names):
            self.refuse("is no object of the right fields", expected=f"the fields {', '.join(names)}")
        return [Node(self.value[name], self.path, self, name) for name in names]

    def entries(self) -> Iterator[tuple[str, "Node"]]:
        """The names and values of an object of any fields."""
        if type(self.value) is not dict:
            self.refuse("is no object")
        return ((name, Node(value, self.path, self, name)) for name, value in self.value.items())

    def items(self) -> Iterator["Node"]:
        """The values of a list."""
        if type(self.value) is not list:
            self.refuse("is no list")
        return (Node(value, self.path, self, index) for index, value in enumerate(self.value))

    def text(self) -> str:
        """A string."""
        if type(self.value) is not str:
            self.refuse("is no text")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if type(self.value) is not bool:
            self.refuse("is neither true nor false")
        return self.value

    def whole(self, low: int, high: int) -> int:
        """An integer within bounds."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.refuse("is wrong", expected=f"an integer from {low} to {high}")
        return self.value

    def numbers(self, count: int, low: float, high: float) -> list[float]:
        """A list of so many numbers within bounds."""
        if type(self.value) is not list or len(self.value) != count or not set(map(type, self.value)) <= {int, float}:
            self.refuse("is no list of the right numbers", expected=f"{count} numbers")
        if min(self.value) < low or max(self.value) > high:
            wrong = next(index for index, number in enumerate(self.value) if not low <= number <= high)
            Node(self.value[wrong], self.path, self, wrong).refuse("is out of bounds", expected=f"a number from {low:g} to {high:g}")
        return list(map(float, self.value))

    def rows(self, shape: tuple[int, int], low: float, high: float) -> list[float]:
        """The numbers of a list of lists, one after the other, of so many lists of so many numbers within bounds."""
        count, length = shape
        rows = self.items()
        if len(self.value) != count:
            self.refuse("has the wrong length", expected=f"{count} lists of {length} numbers")
        return list(chain.from_iterable(row.numbers(length, low, high) for row in rows))

    def refuse(self, problem: str, *, expected: object = None, got: object = None) -> NoReturn:
        """Raises FormatError about this value."""
        got = describe(self.value) if got is None else got
        cure = "download the file again, or unpack it again from the archive"
        raise FormatError(f"{self.place or 'the document'} {problem}", where=self.path, expected=expected, got=got, cure=cure)


def read_json(content: bytes, path: Path | str, max_bytes: int) -> Node:
    """The document in the content of a file.

    Raises:
        FormatError: too long, no UTF-8, no JSON (the message names the line), a field twice, a number that is none, or too deep.
    """
    if len(content) > max_bytes:
        raise FormatError("the file is too long", where=path, expected=f"at most {max_bytes} bytes", got=len(content))
    try:
        return Node(parse_json(content.decode()), path)
    except UnicodeDecodeError as error:
        raise FormatError("this is no text", where=path, expected="JSON in UTF-8", cure="download the file again") from error
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FormatError(f"this is no JSON: {error}", where=path, line=line, cure="download the file again") from error


def parse_json(text: str) -> Any:
    """What a text of JSON says.

    Raises:
        ValueError: no JSON, a field twice, or a number that is none.
        RecursionError: too deep.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has a field twice")
    return fields


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def describe(value: Any) -> str:
    """A short text about a value of any size."""
    if type(value) is dict:
        shown = ", ".join(ascii(name)[:SHOWN] for name in list(value)[:4])
        return f"an object of {len(value)} fields: {shown}" if value else "an object without fields"
    if type(value) is list:
        return f"a list of {len(value)}"
    return ascii(value)[:SHOWN]
