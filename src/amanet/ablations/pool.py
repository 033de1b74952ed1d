"""Several trainings side by side, each in a process of its own, so that one that fails or is stopped takes no other with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from amanet.errors import RunError
from amanet.experiment import EXPERIMENT_FILE, Experiment, Machine, read_experiment, to_plain, write_experiment
from amanet.metrics import METRICS_FILE
from amanet.system.cores import num_cores
from amanet.system.interrupt import StopRequest
from amanet.system.places import make_folder
from amanet.trained import WEIGHTS_FILE

LOG_FILE = "train.log"
POLL_SECONDS = 0.3
LOG_LINES = 12


@dataclass
class _Job:
    run: Path
    process: subprocess.Popen[bytes]


def train_all(experiments: dict[Path, Experiment], machine: Machine, jobs: int) -> dict[Path, str]:
    """Train every experiment into its run folder; finished runs are left as they are, stopped ones go on.

    What a training prints goes to ``train.log`` in its run. Ctrl-C or SIGTERM stops all of them as it stops one: each keeps its state.

    Args:
        experiments: by run folder.
        machine: where each one computes.
        jobs: trainings at once; the processor's cores are shared among them.

    Returns:
        The last lines that a run printed, for every run that failed.

    Raises:
        RunError: a folder holds a run of another experiment.
        PlaceError: a folder cannot be written.
    """
    for run, experiment in experiments.items():
        _lay_out(run, experiment)
    waiting = [run for run in experiments if not is_finished(run)]
    failed: dict[Path, str] = {}
    running: list[_Job] = []
    with _Display(experiments) as display, StopRequest(display.stopping) as stop_request:
        try:
            while waiting or running:
                if stop_request.asked:
                    raise KeyboardInterrupt
                while waiting and len(running) < jobs:
                    running.append(_start(waiting.pop(0), machine, jobs))
                time.sleep(POLL_SECONDS)
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    if job.process.returncode:
                        failed[job.run] = _tail(job.run / LOG_FILE)
                    display.done(job.run, job.process.returncode)
                display.refresh()
        finally:
            _stop(running)
    return failed


def is_finished(run: Path) -> bool:
    """Whether a run has its weights and its scores, which are written last."""
    return (run / WEIGHTS_FILE).is_file() and any(run.glob("scores-*.parquet"))


def _lay_out(run: Path, experiment: Experiment) -> None:
    """A run folder that ``amanet train --resume`` starts from its first step."""
    if (run / EXPERIMENT_FILE).is_file():
        there = read_experiment(run / EXPERIMENT_FILE)
        if replace(there, store=there.store.absolute()) != experiment:
            raise RunError("this folder holds a run of another experiment", where=run, cure="move it away, or name another folder")
        return
    make_folder(run)
    write_experiment(experiment, run / EXPERIMENT_FILE)


def _start(run: Path, machine: Machine, jobs: int) -> _Job:
    flags = [part for name, value in to_plain(machine).items() for part in (f"--{name}", str(value))]
    threads = str(max(1, num_cores() // jobs))
    with (run / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "amanet", "train", "--resume", str(run), *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)},
            start_new_session=True,  # a Ctrl-C is passed on once, by _stop, and not by the terminal too
        )
    return _Job(run, process)


def _stop(running: Sequence[_Job]) -> None:
    """Ask the trainings that still run to keep their state and end, and wait for it."""
    for job in running:
        job.process.send_signal(signal.SIGTERM)
    for job in running:
        job.process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


class _Display:
    """One bar over the epochs of all runs, and a line a run."""

    def __init__(self, experiments: dict[Path, Experiment]) -> None:
        self.experiments = experiments
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.fields[runs]}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        total = sum(experiment.recipe.epochs for experiment in experiments.values())
        self.task = self.progress.add_task("", total=total, completed=self._epochs(), runs=self._runs())

    def __enter__(self) -> "_Display":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def refresh(self) -> None:
        self.progress.update(self.task, completed=self._epochs(), runs=self._runs())

    def stopping(self) -> None:
        self.console.print("stopping the trainings; each keeps its state")

    def done(self, run: Path, code: int) -> None:
        outcome = "trained" if code == 0 else f"failed, see {run / LOG_FILE}"
        self.console.print(f"{self._runs()}  {run.name} {outcome}", highlight=False, markup=False, soft_wrap=True)

    def _runs(self) -> str:
        return f"{sum(map(is_finished, self.experiments)):>3}/{len(self.experiments)} runs"

    def _epochs(self) -> int:
        return sum(_epochs_done(run) for run in self.experiments)


def _epochs_done(run: Path) -> int:
    try:
        return (run / METRICS_FILE).read_text(encoding="utf-8").count('"part": "train"')
    except OSError:
        return 0
