"""A clip as lines of JSON: a line a frame, with the bodies that are seen in it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amanet.data.formats.json_document import parse_json
from amanet.data.own.numbers import ClipNumbers, gather
from amanet.data.own.table import decode
from amanet.errors import FormatError

Joints = list[list[int | float] | None]

LARGEST_WHOLE = 10**12
EXPECTED = '{"bodies": [{"id": 7, "joints": [[x, y, z], null, ...]}]}'


def read_jsonl(content: bytes, path: Path) -> ClipNumbers:
    """The numbers in the content of a ``.jsonl`` file.

    Bodies are told apart by their ids, which are whole numbers or texts; a frame without bodies has an empty list.

    Raises:
        FormatError: a line is no such frame, a body is twice in it, or joints differ in how many numbers they have; the message
            names the line.
    """
    lines = decode(content, path).removesuffix("\n").split("\n")
    bodies = [(number, *body) for number, line in enumerate(lines, start=1) for body in _read_frame(line, path, number)]
    num_joints = _one_number("joints of a body", [(line, len(joints)) for line, _, joints in bodies], path)
    num_coords = _one_number("numbers of a joint", [(line, len(joint)) for line, _, joints in bodies for joint in joints if joint], path)
    rows: dict[tuple[int | str, int], tuple[int, list[float]]] = {}
    for line, body, joints in bodies:
        if (body, line - 1) in rows:
            raise FormatError(f"body {body!r} stands twice in this frame", where=path, line=line)
        rows[body, line - 1] = line, [float(number) for joint in joints for number in joint or [math.nan] * num_coords]
    return gather(rows, len(lines), num_joints, path)


def _read_frame(text: str, path: Path, line: int) -> list[tuple[int | str, Joints]]:
    """The bodies of one line, each with its id."""
    try:
        frame = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this line is no JSON: {error}", where=path, line=line, expected=EXPECTED, got=ascii(text[:60])) from error
    if not isinstance(frame, dict) or frame.keys() != {"bodies"} or not isinstance(frame["bodies"], list):
        raise FormatError("this line is no frame", where=path, line=line, expected=EXPECTED, got=ascii(text[:60]))
    for body in frame["bodies"]:
        if not _is_body(body):
            raise FormatError("a body of this frame is none", where=path, line=line, expected=EXPECTED, got=ascii(body)[:80])
    return [(body["id"], body["joints"]) for body in frame["bodies"]]


def _is_body(body: object) -> bool:
    if not isinstance(body, dict) or body.keys() != {"id", "joints"} or type(body["id"]) not in (int, str):
        return False
    joints = body["joints"]
    return isinstance(joints, list) and all(joint is None or _is_place(joint) for joint in joints)


def _is_place(joint: Any) -> bool:
    """Whether it is two or three numbers; a whole number of more digits than a float holds is none."""
    kinds = isinstance(joint, list) and len(joint) in (2, 3) and all(type(number) in (int, float) for number in joint)
    return kinds and all(type(number) is float or abs(number) < LARGEST_WHOLE for number in joint)


def _one_number(what: str, found: Sequence[tuple[int, int]], path: Path) -> int:
    """The number that all lines agree on; 0 where there is none."""
    for line, number in found:
        if number != found[0][1]:
            raise FormatError(f"the {what} are not always as many", where=path, line=line, expected=found[0][1], got=number)
    return found[0][1] if found else 0
