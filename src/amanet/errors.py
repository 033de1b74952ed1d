"""One family of errors, each a sentence that a user can act on: what is wrong, what was expected, what was got, what to do."""

from collections.abc import Sequence
from pathlib import Path

SHOWN_OFFENDERS = 10


class AmanetError(Exception):
    """A problem with the user's input or machine, never with the code.

    The command line prints it without a traceback; a caller of the library can read its parts.

    Args:
        problem: what is wrong, in one sentence.
        where: the file or folder it was found in.
        line: the line of that file, counted from 1.
        expected: what a correct input holds.
        got: what was found instead.
        cure: what the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: Path | str | None = None,
        line: int | None = None,
        expected: object = None,
        got: object = None,
        cure: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = None if where is None else str(where)
        self.line = line
        self.expected = expected
        self.got = got
        self.cure = cure

    def __str__(self) -> str:
        place = "" if self.where is None else f"{self.where}: "
        if place and self.line is not None:
            place = f"{self.where}:{self.line}: "
        details = {"expected": self.expected, "got": self.got, "what to do": self.cure}
        lines = [f"  {name}: {value}" for name, value in details.items() if value is not None]
        return "\n".join([place + self.problem, *lines])


class LayoutError(AmanetError):
    """A skeleton layout contradicts itself, or is not the one that is needed."""


class ClipError(AmanetError):
    """A clip holds nothing that can be recognised: wrong shape, no body, no frame, numbers that are not finite."""


class FormatError(AmanetError):
    """A raw file is not what its format says."""


class EmptyClipError(FormatError):
    """A raw file is sound, but shows nobody in any frame."""


class PlaceError(AmanetError):
    """A file or folder cannot be made, read or written: its disk is full, or its name or rights forbid it."""


class StoreError(AmanetError):
    """A prepared store is incomplete, damaged, in use, or made for something else."""


class ExperimentError(AmanetError):
    """The settings of an experiment contradict each other or the data."""


class RunError(AmanetError):
    """A run folder is missing a part, is damaged, or belongs to another experiment."""


class TrainingError(AmanetError):
    """What a network computes is not finite: losses in training, or scores."""


def first_of(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = len(names) - SHOWN_OFFENDERS
    return ", ".join(names[:SHOWN_OFFENDERS]) + (f" and {more} more" if more > 0 else "")
