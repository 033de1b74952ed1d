"""A clip as a table: a row a body and frame, a column a number of a joint, found by its name."""

from collections.abc import Sequence
from pathlib import Path

from amanet.data.own.numbers import ClipNumbers, gather
from amanet.data.own.table import read_table
from amanet.errors import FormatError, first_of
from amanet.skeleton import SkeletonLayout

AXES = {"xyz": ("x", "y", "z"), "xy-score": ("x", "y", "score")}
LARGEST_FRAME = 10**9


def read_csv(content: bytes, path: Path, layout: SkeletonLayout) -> ClipNumbers:
    """The numbers in the content of a ``.csv`` file.

    The columns may stand in any order; a file of one body needs no column ``body``. Frames are counted from the first one in the file;
    one that has no row is one that nobody is seen in.

    Raises:
        FormatError: no table, a column is missing, unknown or twice, a cell is no number, or a body has two rows in a frame; the message
            names the line.
    """
    header, lines = read_table(content, path)
    order = _find_columns(header, layout, path)
    frame_column = header.index("frame")
    body_column = header.index("body") if "body" in header else None
    rows: dict[tuple[int, int], tuple[int, list[float]]] = {}
    for line, cells in lines:
        if len(cells) != len(header):
            raise FormatError("a row has too few or too many cells", where=path, line=line, expected=len(header), got=len(cells))
        frame = _whole(cells[frame_column], "frame", path, line)
        body = 0 if body_column is None else _whole(cells[body_column], "body", path, line)
        if (body, frame) in rows:
            raise FormatError(f"body {body} has two rows in frame {frame}", where=path, line=line, got=f"line {rows[body, frame][0]} too")
        rows[body, frame] = line, _numbers(cells, order, header, path, line)
    first = min((frame for _, frame in rows), default=0)
    last = max((frame for _, frame in rows), default=-1)
    return gather({(body, frame - first): row for (body, frame), row in rows.items()}, last - first + 1, layout.num_joints, path)


def _find_columns(header: Sequence[str], layout: SkeletonLayout, path: Path) -> list[int]:
    """Where the numbers of the joints stand, in the order of the layout."""
    axes = AXES[layout.coordinates]
    if layout.coordinates == "xy-score" and not any(name.endswith("_score") for name in header):
        axes = axes[:2]
    wanted = [f"{joint}_{axis}" for joint in layout.joints for axis in axes]
    missing = [name for name in ("frame", *wanted) if name not in header]
    unknown = [name for name in header if name not in {"frame", "body", *wanted}]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing or unknown or twice:
        faults = {"missing": missing, "unknown": unknown, "twice": twice}
        raise FormatError(
            f"the columns are not those of a clip of the layout {layout.name}",
            where=path,
            line=1,
            expected=f"frame, body, {', '.join(wanted[:4])}, ... ({len(layout.joints)} joints of {', '.join(axes)}), commas between",
            got="; ".join(f"{fault}: {first_of(names)}" for fault, names in faults.items() if names),
            cure="rename the columns, or name the layout of your clips in dataset.toml (docs/data.md)",
        )
    return [header.index(name) for name in wanted]


def _numbers(cells: Sequence[str], order: Sequence[int], header: Sequence[str], path: Path, line: int) -> list[float]:
    numbers = []
    for column in order:
        cell = cells[column].strip()
        try:
            numbers.append(float("text" if "_" in cell else cell or "nan"))
        except ValueError:
            problem = f"the cell of column {header[column]} is no number"
            raise FormatError(problem, where=path, line=line, expected="a number, or nothing", got=repr(cell)) from None
    return numbers


def _whole(cell: str, column: str, path: Path, line: int) -> int:
    text = cell.strip()
    if not (text.isascii() and text.isdigit() and int(text[:12]) <= LARGEST_FRAME and len(text) <= 10):
        expected = f"a whole number from 0 to {LARGEST_FRAME}"
        raise FormatError(f"the cell of column {column} is no number", where=path, line=line, expected=expected, got=repr(cell))
    return int(text)
