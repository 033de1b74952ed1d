"""What a person sees while many files are worked on: how many are done, how fast, how long it will take."""

import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS = 20.0
"""Between two lines where the output is no terminal."""


class Countdown:
    """A bar in a terminal; elsewhere (a log file, CI) a line at the beginning, at the end and now and then between.

    Args:
        doing: what is done to the files, as in ``preparing``.
        total: how many there are.
        done: how many of them were done before.
    """

    def __init__(self, doing: str, total: int, done: int = 0) -> None:
        self.doing, self.total, self.done = doing, total, done
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files{task.fields[state]}"))
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.progress.add_task(doing, total=total, completed=done, state="")
        self._done_before = done
        self._began = time.monotonic()
        self._next_line = self._began

    def __enter__(self) -> "Countdown":
        self.progress.start()
        self._show("")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def advance(self, files: int) -> None:
        """So many more are done."""
        self.done += files
        seconds = time.monotonic() - self._began
        rate = (self.done - self._done_before) / seconds
        rest = timedelta(seconds=round(seconds if self.done == self.total else (self.total - self.done) / rate))
        self._show(f", {rate:,.0f} files/s, {rest} {'in all' if self.done == self.total else 'left'}")

    def _show(self, state: str) -> None:
        self.progress.update(self.task, completed=self.done, state=state)
        if self.console.is_terminal or (time.monotonic() < self._next_line and self.done < self.total):
            return
        self._next_line = time.monotonic() + LINE_SECONDS
        self.console.print(f"{self.doing} {self.done:,} of {self.total:,} files{state}", highlight=False)
