"""JSON is walked strictly: what is wrong is refused with its place in the document, and nothing else than FormatError comes out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.formats.json_document import Node, read_json
from amanet.errors import FormatError


def root(value: Any) -> Node:
    return read_json(json.dumps(value).encode(), "a.json", 10**6)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"", 1, "no JSON"),
        (b'{"a": 1', 1, "no JSON"),
        (b'{"a":\n 1,\n}', 3, "no JSON"),
        (b"1 2", 1, "no JSON"),
        (b'{"a": 1, "a": 1}', None, "a field twice"),
        (b"[NaN]", None, "NaN is no number"),
        (b"[-Infinity]", None, "-Infinity is no number"),
        (b"1" * 5000, None, "no JSON"),
        (b"[" * 100_000, None, "no JSON"),
        (b'"\xff"', None, "no text"),
        (b"\xef\xbb\xbf1", 1, "no JSON"),
        (b"1".join([b" "] * 600_000), None, "too long"),
    ],
)
def test_what_is_no_json_is_refused(content: bytes, line: int | None, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_json(content, "folder/a.json", 10**6)
    assert problem in str(caught.value)
    assert (caught.value.where, caught.value.line) == ("folder/a.json", line)


def test_values_know_their_place() -> None:
    _, second = root({"a": 1, "b": [[], [{"c": "text"}]]}).fields("a", "b")
    (node,) = list(second.items())[1].items()
    (text,) = node.fields("c")
    assert (node.place, text.place, text.text()) == ("b[1][0]", "b[1][0].c", "text")


@pytest.mark.parametrize(
    ("value", "ask", "place", "got"),
    [
        ({"a": 1}, lambda node: node.fields("b"), "the document", "an object of 1 fields: 'a'"),
        ({"a": 1, "b": 2}, lambda node: node.fields("a"), "the document", "an object of 2 fields"),
        ({}, lambda node: node.fields("a"), "the document", "an object without fields"),
        ([1], lambda node: node.fields("a"), "the document", "a list of 1"),
        ([1], lambda node: node.entries(), "the document", "a list of 1"),
        ({"a": 1}, lambda node: node.items(), "the document", "an object of 1 fields"),
        ({"a": 1}, lambda node: node.fields("a")[0].text(), "a", "1"),
        ({"a": 1}, lambda node: node.fields("a")[0].truth(), "a", "1"),
        ({"a": True}, lambda node: node.fields("a")[0].whole(0, 5), "a", "True"),
        ({"a": 1.0}, lambda node: node.fields("a")[0].whole(0, 5), "a", "1.0"),
        ({"a": 6}, lambda node: node.fields("a")[0].whole(0, 5), "a", "6"),
        ({"a": "x" * 1000}, lambda node: node.fields("a")[0].whole(0, 5), "a", "'xxx"),
        ([[1, 2]], lambda node: next(node.items()).numbers(3, 0.0, 9.0), "[0]", "a list of 2"),
        ([[1, True]], lambda node: next(node.items()).numbers(2, 0.0, 9.0), "[0]", "a list of 2"),
        ([[1, "2"]], lambda node: next(node.items()).numbers(2, 0.0, 9.0), "[0]", "a list of 2"),
        ([[1, 10]], lambda node: next(node.items()).numbers(2, 0.0, 9.0), "[0][1]", "10"),
        ([[-1e300, 1]], lambda node: next(node.items()).numbers(2, 0.0, 9.0), "[0][0]", "-1e+300"),
        ([[1, 2]], lambda node: node.rows((2, 2), 0.0, 9.0), "the document", "a list of 1"),
        ([[1, 2], [1]], lambda node: node.rows((2, 2), 0.0, 9.0), "[1]", "a list of 1"),
    ],
)
def test_wrong_values_are_refused_with_their_place(value: Any, ask: Any, place: str, got: str) -> None:
    with pytest.raises(FormatError) as caught:
        ask(root(value))
    assert caught.value.problem.startswith(f"{place} ")
    assert str(caught.value.got).startswith(got)
    assert len(str(caught.value.got)) < 200


def test_numbers_are_those_written() -> None:
    assert root([[1, 2.5], [0, -1]]).rows((2, 2), -1.0, 9.0) == [1, 2.5, 0, -1]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_document_or_refused(content: bytes) -> None:
    try:
        node = read_json(content, "a.json", 10**6)
    except FormatError:
        return
    assert json.loads(content) == node.value
