"""``labels.csv`` of a folder of one's own clips: what happens in each, who does it, and which part of a split it is in."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amanet.data.benchmark import PARTS
from amanet.data.own.table import read_table
from amanet.errors import FormatError, first_of

LABELS_FILE = "labels.csv"
CLIP_NAME = re.compile(r"\w[\w.+=@() -]{0,199}(?<!\s)")
SPLIT_COLUMN = re.compile(r"split(_[a-z0-9_]+)?", re.ASCII)
NAME_RULE = "letters, digits, spaces and . _ - + = @ ( )"
LARGEST_PERFORMER = 2**31 - 1
CURE = "mend this line (docs/data.md)"


@dataclass(frozen=True)
class OwnLabel:
    """A row of ``labels.csv``.

    Attributes:
        clip: name of the clip's file without its suffix.
        class_name: what happens in it; the column ``class``.
        performer: who acts, a number of 0 or more.
        splits: for each split that the clip takes part in, by the name of its column, ``train``, ``validation`` or ``test``; an empty cell
            is a clip that the split does not use.
        line: where the row ends in the file.
    """

    clip: str
    class_name: str
    performer: int | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


def read_labels(path: Path, class_names: Sequence[str] | None) -> tuple[list[OwnLabel], tuple[str, ...]]:
    """The rows, sorted by clip, and the names of the columns that are splits; without ``class_names`` any class may stand there.

    Raises:
        FormatError: no table, a column missing, unknown or twice, or rows with a name, class, performer or part that cannot be; the message
            names the first line and lists the first offenders.
    """
    try:
        header, rows = read_table(path.read_bytes(), path)
    except OSError as error:
        raise FormatError(f"this table cannot be read: {error}", where=path, expected="text in UTF-8, commas between columns") from error
    if not header:
        raise FormatError("the table is empty", where=path, expected="a line clip,class and a line for each clip")
    splits = _check_header(header, path)
    if not rows:
        raise FormatError("the table has no rows", where=path, expected="a line for each clip in clips/")
    _refuse_lines("rows with too few or too many cells", [(line, ",".join(row)) for line, row in rows if len(row) != len(header)], path)
    cells = [(line, dict(zip(header, (cell.strip() for cell in row), strict=True))) for line, row in rows]
    _check_cells(cells, class_names, splits, path)
    labels = [
        OwnLabel(
            clip=row["clip"],
            class_name=row["class"],
            performer=int(row["performer"]) if row.get("performer") else None,
            splits={name: row[name] for name in splits if row[name]},
            line=line,
        )
        for line, row in cells
    ]
    return sorted(labels, key=lambda label: label.clip), splits


def format_labels(labels: Iterable[OwnLabel]) -> str:
    """The table of these rows, with the columns that they need."""
    labels = list(labels)
    splits = sorted({name for label in labels for name in label.splits})
    performers = any(label.performer is not None for label in labels)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["clip", "class", *(["performer"] if performers else []), *splits])
    for label in labels:
        performer = ["" if label.performer is None else label.performer] if performers else []
        table.writerow([label.clip, label.class_name, *performer, *(label.splits.get(name, "") for name in splits)])
    return text.getvalue()


def _check_header(header: Sequence[str], path: Path) -> tuple[str, ...]:
    unknown = [name for name in header if name not in ("clip", "class", "performer") and not SPLIT_COLUMN.fullmatch(name)]
    if unknown or not {"clip", "class"} <= set(header) or len(set(header)) < len(header):
        raise FormatError(
            "the columns are not those of a table of labels",
            where=path,
            line=1,
            expected="clip and class, and perhaps performer, split, and split_NAME for further splits, each once, commas between",
            got=",".join(header)[:200],
        )
    return tuple(name for name in header if SPLIT_COLUMN.fullmatch(name))


def _check_cells(rows: list[tuple[int, dict[str, str]]], class_names: Sequence[str] | None, splits: Sequence[str], path: Path) -> None:
    known = {row["class"] for _, row in rows} - {""} if class_names is None else frozenset(class_names)
    first_line: dict[str, int] = {}
    for line, row in rows:
        first_line.setdefault(row["clip"], line)

    def refuse(problem: str, expected: str | None, column: str, fits: Callable[[str, int], object]) -> None:
        wrong = [(line, repr(row[column])) for line, row in rows if column in row and not fits(row[column], line)]
        _refuse_lines(problem, wrong, path, expected)

    refuse("clips whose names cannot be names of files", NAME_RULE, "clip", lambda name, _: CLIP_NAME.fullmatch(name))
    refuse("clips that stand there twice", "each clip once", "clip", lambda name, line: first_line[name] == line)
    strange = "rows without a class" if class_names is None else "classes that dataset.toml does not list"
    refuse(strange, first_of(list(class_names or ["a name"])), "class", lambda name, _: name in known)
    refuse("performers that are no numbers", f"0 to {LARGEST_PERFORMER}, or empty", "performer", lambda cell, _: _is_performer(cell))
    for column in splits:
        problem = f"cells of the column {column} that are no part of a split"
        refuse(problem, f"{', '.join(PARTS)}, or empty", column, lambda cell, _: cell in ("", *PARTS))


def _is_performer(cell: str) -> bool:
    return not cell or (cell.isascii() and cell.isdigit() and len(cell) <= 10 and int(cell) <= LARGEST_PERFORMER)


def _refuse_lines(problem: str, offenders: Sequence[tuple[int, str]], path: Path, expected: str | None = None) -> None:
    """Refuse rows: the first by its line, the first ten by what they say."""
    if offenders:
        raise FormatError(
            f"{len(offenders)} {problem}",
            where=path,
            line=offenders[0][0],
            expected=expected,
            got=first_of([f"{text} in line {line}" for line, text in offenders]),
            cure=CURE,
        )
