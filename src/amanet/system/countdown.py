"""What a person sees of long work: how much of it is done, how fast, how long it will take."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS = 20.0
"""Between two lines where the output is no terminal."""


class Countdown:
    """A bar in a terminal; elsewhere (a log file, CI) a line at the beginning, at the end and now and then between.

    Args:
        doing: what is done, as in ``preparing``.
        total: how many there are to do it to.
        done: how many of them were done before.
        unit: what they are.
        quiet: seconds for which nothing is shown; work that is done by then is never seen.
        visible: whether anything is shown at all; of several processes the first does.
    """

    def __init__(self, doing: str, total: int, done: int = 0, *, unit: str = "files", quiet: float = 0.0, visible: bool = True) -> None:
        self.doing, self.total, self.done, self.unit = doing, total, done, unit
        self.console = Console(stderr=True, quiet=not visible)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit + "{task.fields[state]}"))
        self.progress = Progress(*columns, console=self.console, disable=not (visible and self.console.is_terminal))
        self.task = self.progress.add_task(doing, total=total, completed=done, state="")
        self._done_before = done
        self._began = time.monotonic()
        self._next_line = self._shown_from = self._began + quiet

    def __enter__(self) -> "Countdown":
        self._show("")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def advance(self, number: int) -> None:
        """So many more are done."""
        if self.done == self.total:
            return
        self.done = min(self.total, self.done + number)
        seconds = time.monotonic() - self._began
        rate = (self.done - self._done_before) / seconds
        rest = f"{duration(seconds)} in all" if self.done == self.total else f"{duration((self.total - self.done) / rate)} left"
        self._show(f", {rounded(rate)} {self.unit}/s, {rest}")

    def _show(self, state: str) -> None:
        now = time.monotonic()
        if now < self._shown_from:
            return
        self.progress.start()
        self.progress.update(self.task, completed=self.done, state=state)
        if self.console.is_terminal or (now < self._next_line and self.done < self.total):
            return
        self._next_line = now + LINE_SECONDS
        self.console.print(f"{self.doing} {self.done:,} of {self.total:,} {self.unit}{state}", highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time as a person says it: ``2.4 s``, ``45 min``, ``40 h``."""
    unit, length = ("h", 3600) if seconds >= 5400 else ("min", 60) if seconds >= 90 else ("s", 1)
    return f"{rounded(seconds / length)} {unit}"


def rounded(number: float) -> str:
    """A whole number, or two digits of one below 10."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
