"""What a person sees while a network trains: where it stands, how well it does, how long it will take."""

import sys
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from amanet.experiment import Experiment


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
    """A progress bar over all steps of a run, a line an epoch; silent on all processes but the first.

    Where the output is no terminal (a log file, CI) the bar is left out and the lines remain.
    """

    def __init__(self, visible: bool, epochs: int) -> None:
        self.console = Console(file=cast("IO[str]", _Unheard()), quiet=not visible)
        self.epochs = epochs
        self.progress = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (visible and self.console.is_terminal),
        )
        self.task: TaskID | None = None

    def __enter__(self) -> "TrainingDisplay":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def announce(self, experiment: Experiment, network: nn.Module, clips: dict[str, int], device: torch.device, resumed_at: int) -> None:
        """One line on what is about to be trained."""
        weights = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        parts = ", ".join(f"{count:,} {part}" for part, count in clips.items())
        where = f"on {device.type}, {experiment.precision}"
        self.console.print(
            f"{experiment.benchmark}, {experiment.stream} stream: {parts} clips; {weights:,} parameters {where}", soft_wrap=True
        )
        if resumed_at:
            self.console.print(f"resumed after {resumed_at:,} steps", soft_wrap=True)

    def begin_epoch(self, epoch: int, steps: int, done: int) -> None:
        """Show an epoch of so many steps, of which some may be done."""
        if self.task is None:
            self.task = self.progress.add_task("", total=steps * self.epochs, epoch=epoch + 1, epochs=self.epochs, state="")
        self.progress.update(self.task, completed=epoch * steps + done, epoch=epoch + 1)

    def step(self, loss: float, top1: float, rate: float) -> None:
        """Another step is done; loss and accuracy are those of the epoch so far."""
        if self.task is not None:
            self.progress.update(self.task, advance=1, state=f"loss {loss:.3f}  top-1 {top1:.1%}  rate {rate:.4g}")

    def end_epoch(self, records: list[dict[str, Any]]) -> None:
        """One line with what the epoch came to."""
        epoch = records[-1]["epoch"]
        found = [f"{record['part']} loss {record['loss']:.3f} top-1 {record['top1']:.1%}" for record in records if record["epoch"] == epoch]
        self.console.print(f"epoch {epoch + 1:>3}/{self.epochs}  " + "   ".join(found), highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark between the lines."""
        self.console.print(text, soft_wrap=True)

    @staticmethod
    def warn(text: str) -> None:
        """Something the user should know before the display starts."""
        Console(file=cast("IO[str]", _Unheard())).print(text, style="yellow", markup=False, soft_wrap=True)
