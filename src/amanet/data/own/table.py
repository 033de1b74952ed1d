"""Tables as text, ``labels.csv`` and clips: UTF-8, commas between columns, and a name above each."""

import csv
import io
from pathlib import Path

from amanet.errors import FormatError, first_of

SAVE_AS_UTF8 = "save it as UTF-8 (a table of Excel: as CSV UTF-8)"
SEPARATORS = {";": "semicolons", "\t": "tabs"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""What such a text begins with."""


def read_table(content: bytes, path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and each row with the line that it ends in; empty lines are left out.

    Raises:
        FormatError: another encoding than UTF-8, another separator than the comma, quotes that do not end, or a column without a name; the
            message names the line.
    """
    text = decode(content, path)
    try:
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(table.line_num, row) for row in table if row]
    except csv.Error as error:
        raise FormatError(f"this table cannot be read: {error}", where=path, expected="text in UTF-8, commas between columns") from error
    header = [name.strip() for name in lines[0][1]] if lines else []
    _check_names(header, path)
    return header, lines[1:]


def decode(content: bytes, path: Path) -> str:
    """The text in the content of a file, without the mark that some programs begin it with.

    Raises:
        FormatError: it is of another encoding than UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = "UTF-16" if content.startswith(UTF_16) else f"the byte 0x{content[error.start]:02x}, as of a Windows or Latin encoding"
        line = None if content.startswith(UTF_16) else content.count(b"\n", 0, error.start) + 1
        raise FormatError("this is no text in UTF-8", where=path, line=line, expected="UTF-8", got=got, cure=SAVE_AS_UTF8) from error


def _check_names(header: list[str], path: Path) -> None:
    for separator, name in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            cure = "save it with commas, and points in its numbers"
            raise FormatError(f"{name} separate the columns", where=path, line=1, expected="commas between columns", cure=cure)
    nameless = [str(place) for place, name in enumerate(header, start=1) if not name]
    if nameless:
        raise FormatError(
            "a column without a name" if len(nameless) == 1 else f"{len(nameless)} columns without a name",
            where=path,
            line=1,
            expected="a name above each column",
            got=f"none above column {first_of(nameless)} of {len(header)}",
            cure="remove what has no name; pandas writes none with to_csv(path, index=False)",
        )
