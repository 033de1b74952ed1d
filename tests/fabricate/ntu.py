"""Small ``.skeleton`` files in the real format, and forty ways to damage one."""

from collections.abc import Callable, Sequence

import numpy as np

BODY_ID = 72057594037931101
Lines = list[str]
Damage = Callable[[np.random.Generator, Lines], str | bytes]


def skeleton_file(bodies_of_frame: Sequence[Sequence[int]], *, seed: int = 0, newline: str = "\n") -> bytes:
    """A file in which frame ``f`` shows the bodies ``bodies_of_frame[f]``, given by number, walking about at random."""
    rng = np.random.default_rng(seed)
    lines = [str(len(bodies_of_frame))]
    for bodies in bodies_of_frame:
        lines.append(str(len(bodies)))
        for body in bodies:
            lean = " ".join(number(value) for value in rng.uniform(-1, 1, 2))
            lines += [f"{BODY_ID + body} 0 1 {rng.integers(5)} 0 {rng.integers(5)} 0 {lean} 2", "25"]
            lines += [joint_line(rng, body) for _ in range(25)]
    return newline.join([*lines, ""]).encode()


def joint_line(rng: np.random.Generator, body: int) -> str:
    place = rng.normal([body, 0, 3], 0.5)
    pixels = rng.uniform(0, 500, 2), rng.uniform(0, 1000, 2)
    orientation = rng.normal(size=4)
    values = np.concatenate([place, *pixels, orientation / np.linalg.norm(orientation)])
    return " ".join([*map(number, values), str(rng.choice([0, 1, 2], p=[0.02, 0.18, 0.8]))])


def number(value: float) -> str:
    """Seven digits, as the sensor's software writes them."""
    return f"{value:.7g}".replace("e", "E")


def _kind(line: str) -> int:
    return len(line.split())


def _any_line(rng: np.random.Generator, lines: Lines, *kinds: int) -> int:
    """A line that has one of these numbers of tokens."""
    return int(rng.choice([index for index, line in enumerate(lines) if _kind(line) in kinds]))


def _truncate_bytes(rng: np.random.Generator, lines: Lines) -> str:
    text = _text(lines)
    return text[: rng.integers(len(text) - 1)]


def _truncate_lines(rng: np.random.Generator, lines: Lines) -> str:
    return _text(lines[: rng.integers(1, len(lines))])


def _drop_start(rng: np.random.Generator, lines: Lines) -> str:
    return _text(lines[rng.integers(1, len(lines)) :])


def _drop_line(rng: np.random.Generator, lines: Lines) -> str:
    index = rng.integers(len(lines))
    return _text(lines[:index] + lines[index + 1 :])


def _repeat_line(rng: np.random.Generator, lines: Lines) -> str:
    index = rng.integers(len(lines))
    return _text(lines[: index + 1] + lines[index:])


def _repeat_block(rng: np.random.Generator, lines: Lines) -> str:
    start = int(rng.integers(len(lines)))
    return _text(lines[: start + 10] + lines[start:])


def _swap_lines(rng: np.random.Generator, lines: Lines) -> str:
    """Of different kinds: two joints that change places are another sound file."""
    one, other = _any_line(rng, lines, 12), _any_line(rng, lines, 1, 10)
    lines[one], lines[other] = lines[other], lines[one]
    return _text(lines)


def _join_lines(rng: np.random.Generator, lines: Lines) -> str:
    index = rng.integers(len(lines) - 1)
    return _text([*lines[:index], f"{lines[index]} {lines[index + 1]}", *lines[index + 2 :]])


def _split_line(rng: np.random.Generator, lines: Lines) -> str:
    index = _any_line(rng, lines, 10, 12)
    tokens = lines[index].split()
    cut = rng.integers(1, len(tokens))
    return _text([*lines[:index], " ".join(tokens[:cut]), " ".join(tokens[cut:]), *lines[index + 1 :]])


def _blank_line(rng: np.random.Generator, lines: Lines) -> str:
    index = rng.integers(len(lines))
    return _text([*lines[:index], "", *lines[index:]])


def _drop_token(rng: np.random.Generator, lines: Lines) -> str:
    return _edit_tokens(rng, lines, lambda tokens, index: tokens[:index] + tokens[index + 1 :])


def _repeat_token(rng: np.random.Generator, lines: Lines) -> str:
    return _edit_tokens(rng, lines, lambda tokens, index: tokens[: index + 1] + tokens[index:])


def _edit_tokens(rng: np.random.Generator, lines: Lines, edit: Callable[[list[str], int], list[str]]) -> str:
    line = int(rng.integers(len(lines)))
    tokens = lines[line].split()
    lines[line] = " ".join(edit(tokens, int(rng.integers(len(tokens)))))
    return _text(lines)


def _token_becomes(written: Callable[[str], str]) -> Damage:
    """A damage that writes one token of the file another way."""

    def damage(rng: np.random.Generator, lines: Lines) -> str:
        return _edit_tokens(rng, lines, lambda tokens, index: [*tokens[:index], written(tokens[index]), *tokens[index + 1 :]])

    return damage


def _line_becomes(kinds: Sequence[int], written: Callable[[np.random.Generator], str]) -> Damage:
    """A damage that writes one line of these kinds anew."""

    def damage(rng: np.random.Generator, lines: Lines) -> str:
        lines[_any_line(rng, lines, *kinds)] = written(rng)
        return _text(lines)

    return damage


def _column_becomes(kind: int, column: int, value: str) -> Damage:
    """A damage that writes one column of one joint (12) or header (10) anew."""

    def damage(rng: np.random.Generator, lines: Lines) -> str:
        index = _any_line(rng, lines, kind)
        tokens = lines[index].split()
        tokens[column] = value
        lines[index] = " ".join(tokens)
        return _text(lines)

    return damage


def _byte_becomes(choices: bytes) -> Damage:
    """A damage that turns one byte into another that no number holds there."""

    def damage(rng: np.random.Generator, lines: Lines) -> bytes:
        text = bytearray(_text(lines).encode())
        text[rng.integers(len(text) - 1)] = rng.choice(list(choices))
        return bytes(text)

    return damage


def _insert_byte(choices: bytes) -> Damage:
    def damage(rng: np.random.Generator, lines: Lines) -> bytes:
        text = _text(lines).encode()
        place = int(rng.integers(len(text) - 1))
        return text[:place] + bytes([rng.choice(list(choices))]) + text[place:]

    return damage


def _frame_count_off(rng: np.random.Generator, lines: Lines) -> str:
    lines[0] = str(int(lines[0]) + int(rng.choice([-1, 1, 2, 1000])))
    return _text(lines)


def _same_body_twice(rng: np.random.Generator, lines: Lines) -> str:
    """The frame's one body is listed a second time, and its count says so."""
    header = _any_line(rng, lines, 10)
    body = lines[header : header + 27]
    count = header - 1
    while _kind(lines[count]) != 1 or lines[count] == "25":
        count -= 27
    lines[count] = str(int(lines[count]) + 1)
    return _text(lines[:header] + body + lines[header:])


def _one_carriage_return(rng: np.random.Generator, lines: Lines) -> str:
    index = rng.integers(len(lines))
    lines[index] += "\r"
    return _text(lines)


def _one_bare_line_feed(rng: np.random.Generator, lines: Lines) -> str:
    return "\r\n".join(lines[:-1]).replace("\r\n", "\n", 1) + "\r\n" + lines[-1]


def _shuffle_lines(rng: np.random.Generator, lines: Lines) -> str:
    order = rng.permutation(len(lines))
    return _text([lines[index] for index in order])


def _text(lines: Sequence[str]) -> str:
    return "\n".join([*lines, ""])


DAMAGES: dict[str, Damage] = {
    "cut at a byte": _truncate_bytes,
    "cut at a line": _truncate_lines,
    "start is missing": _drop_start,
    "a line is missing": _drop_line,
    "a line is there twice": _repeat_line,
    "ten lines are there twice": _repeat_block,
    "two lines changed places": _swap_lines,
    "lines are shuffled": _shuffle_lines,
    "two lines became one": _join_lines,
    "a line became two": _split_line,
    "a blank line": _blank_line,
    "a number is missing": _drop_token,
    "a number is there twice": _repeat_token,
    "nan": _token_becomes(lambda _: "nan"),
    "inf": _token_becomes(lambda _: "-Infinity"),
    "1e30": _token_becomes(lambda _: "1e30"),
    "overflow": _token_becomes(lambda _: "1e999"),
    "hexadecimal": _token_becomes(lambda _: "0x1F"),
    "underscore": _token_becomes(lambda _: "1_0"),
    "decimal comma": _token_becomes(lambda token: token.replace(".", ",") if "." in token else token + ",0"),
    "two points": _token_becomes(lambda token: token + ".0.0"),
    "two signs": _token_becomes(lambda token: "--" + token.lstrip("-")),
    "exponent without digits": _token_becomes(lambda token: token + "e"),
    "padded with zeros": _token_becomes(lambda token: "00" + token.lstrip("-")),
    "a word": _token_becomes(lambda _: "joint"),
    "Arabic digits": _token_becomes(lambda _: "٣"),
    "a number of a megabyte": _token_becomes(lambda _: "1" * 1_000_000),
    "a quote": _token_becomes(lambda token: f'"{token}"'),
    "huge count": _line_becomes([1], lambda rng: str(10 ** int(rng.integers(7, 30)))),
    "negative count": _line_becomes([1], lambda rng: str(-int(rng.integers(1, 30)))),
    "fractional count": _line_becomes([1], lambda rng: f"{rng.integers(1, 30)}.5"),
    "another number of frames": _frame_count_off,
    "a body twice in a frame": _same_body_twice,
    "tracking state 3": _column_becomes(12, 11, "3"),
    "fractional tracking state": _column_becomes(12, 11, "1.5"),
    "body id beyond 64 bits": _column_becomes(10, 0, str(2**64)),
    "fractional body id": _column_becomes(10, 0, "7.2E16"),
    "unknown hand state": _column_becomes(10, 3, "9"),
    "body far away": _column_becomes(12, 2, "4000"),
    "a byte became a letter": _byte_becomes(b"abcxyzXYZ_/:;"),
    "a byte became NUL": _byte_becomes(b"\0"),
    "a byte lost its ASCII": _byte_becomes(bytes(range(128, 256))),
    "a control byte came in": _insert_byte(b"\0\x0b\x0c\x1a\x1b\x7f"),
    "byte order mark": lambda _, lines: b"\xef\xbb\xbf" + _text(lines).encode(),
    "UTF-16": lambda _, lines: _text(lines).encode("utf-16"),
    "one line with CRLF": _one_carriage_return,
    "one line without CRLF": _one_bare_line_feed,
    "CR alone": lambda _, lines: "\r".join(lines),
    "text after the end": lambda _, lines: _text([*lines, "0"]),
    "empty": lambda *_: "",
    "only blanks": lambda *_: " \n \n",
}
"""Each makes a file that is none from the lines of a sound one."""


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The content of a file, damaged in one way."""
    result = DAMAGES[kind](rng, content.decode().splitlines())
    return result if isinstance(result, bytes) else result.encode()
