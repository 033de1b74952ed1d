"""What a person sees while a network trains: where it stands, how well it does, how long it will take."""

import sys
import time
from collections import deque
from contextlib import suppress
from statistics import fmean
from types import TracebackType
from typing import IO, Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from torch import nn

from amanet.experiment import Experiment
from amanet.system.countdown import duration

LINE_SECONDS = 60.0
"""Of silence before another line where the output is no terminal."""
STEPS = 100
"""The time of a step is the mean over so many."""


class _Unheard:
    """The stream of errors, where a training goes on when nobody can hear it: its disk is full, or who read it has ended."""

    def __init__(self) -> None:
        self.stream = sys.stderr

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class TrainingDisplay:
    """A bar over all steps of a run, a line an epoch; silent on all processes but the first.

    Where the output is no terminal (a log file, CI) there is no bar, but a line a minute. The time that is left is that of the steps: what
    scoring held-out clips takes is not in it.
    """

    def __init__(self, visible: bool, epochs: int) -> None:
        self.console = Console(file=cast("IO[str]", _Unheard()), quiet=not visible)
        self.epochs = epochs
        self.progress = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=self.console,
            transient=True,
            disable=not (visible and self.console.is_terminal),
        )
        self.task: TaskID | None = None
        self._epoch = self._steps = self._begun_at = self._done = 0
        self._taken: deque[float] = deque(maxlen=STEPS)
        self._began = self._next_line = 0.0
        self._last_step: float | None = None  # the first step is not timed: it compiles, and readies the device

    def __enter__(self) -> "TrainingDisplay":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pause()

    def announce(self, experiment: Experiment, network: nn.Module, clips: dict[str, int], device: torch.device, resumed_at: int) -> None:
        """One line on what is about to be trained."""
        weights = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        parts = ", ".join(f"{count:,} {part}" for part, count in clips.items())
        where = f"on {device.type}, {experiment.precision}"
        self.note(f"{experiment.benchmark}, {experiment.stream} stream: {parts} clips; {weights:,} parameters {where}")
        if resumed_at:
            self.note(f"resumed after {resumed_at:,} steps")

    def begin_epoch(self, epoch: int, steps: int, done: int) -> None:
        """Show an epoch of so many steps, of which some may be done."""
        self._epoch, self._steps, self._begun_at, self._done = epoch, steps, done, done
        self._began = time.monotonic()
        self._next_line = self._began + LINE_SECONDS
        if self._last_step is not None:
            self._last_step = self._began
        if self.task is None:
            self.task = self.progress.add_task("", total=steps * self.epochs, epoch=epoch + 1, epochs=self.epochs, state="")
        self.progress.update(self.task, completed=epoch * steps + done, epoch=epoch + 1)
        self.progress.start()

    def step(self, loss: float, top1: float, rate: float) -> None:
        """Another step is done; loss and accuracy are those of the epoch so far."""
        now = time.monotonic()
        if self._last_step is not None:
            self._taken.append(now - self._last_step)
        self._last_step = now
        self._done += 1
        if self.task is not None:
            state = [f"loss {loss:.3f}", f"top-1 {top1:.1%}", f"rate {rate:.4g}", *self._left_in_all()]
            self.progress.update(self.task, advance=1, state="  ".join(state))
        if not self.console.is_terminal and now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            where = f"epoch {self._epoch + 1}/{self.epochs}, step {self._done:,}/{self._steps:,}"
            self.note(", ".join([where, f"loss {loss:.3f}", f"top-1 {top1:.1%}", *self._pace()]))

    def pause(self) -> None:
        """No bar until the next epoch, as something else is shown."""
        self.progress.stop()

    def end_epoch(self, records: list[dict[str, Any]]) -> None:
        """One line with what the epoch came to, and how long it took; where it was resumed, since then."""
        epoch = records[-1]["epoch"]
        found = [f"{record['part']} loss {record['loss']:.3f} top-1 {record['top1']:.1%}" for record in records if record["epoch"] == epoch]
        took = f"{duration(time.monotonic() - self._began)}{' since it was resumed' if self._begun_at else ''}"
        times = ", ".join([took, *self._left_in_all()])
        self.note(f"epoch {epoch + 1:>3}/{self.epochs}  " + "   ".join([*found, times]))

    def _pace(self) -> list[str]:
        """How fast it goes and how long it will take, once that is known."""
        if not self._taken:
            return []
        seconds = fmean(self._taken)
        epoch = duration(seconds * (self._steps - self._done))
        return [f"{duration(seconds)} a step", f"{epoch} left in this epoch", f"{duration(seconds * self._steps_left())} in all"]

    def _left_in_all(self) -> list[str]:
        """How long the rest of the training will take, once that is known and there is one."""
        steps = self._steps_left()
        return [f"{duration(fmean(self._taken) * steps)} left"] if self._taken and steps else []

    def _steps_left(self) -> int:
        return (self.epochs - self._epoch) * self._steps - self._done

    def note(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @staticmethod
    def warn(text: str) -> None:
        """Something the user should know before the display starts."""
        Console(file=cast("IO[str]", _Unheard())).print(text, style="yellow", markup=False, soft_wrap=True)
