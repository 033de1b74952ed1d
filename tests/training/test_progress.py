"""What is seen of a training is right, in a terminal and in a log."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from amanet.experiment import Experiment
from amanet.training import progress
from amanet.training.progress import TrainingDisplay


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the module sees it."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def step(display: TrainingDisplay, clock: list[float], seconds: float, times: int = 1) -> None:
    for _ in range(times):
        clock[0] += seconds
        display.step(loss=3.1, top1=0.125, rate=0.05)


def records(epoch: int) -> list[dict[str, object]]:
    return [{"epoch": epoch, "part": "train", "loss": 3.1, "top1": 0.125}]


def test_a_log_gets_a_line_a_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """The first step, which compiles, is no measure of the others; nor is what lies between two epochs."""
    with TrainingDisplay(visible=True, epochs=3) as display:
        display.begin_epoch(0, steps=100, done=60)
        step(display, clock, 25)
        step(display, clock, 2, times=18)
        assert capsys.readouterr().err.splitlines() == [
            "epoch 1/3, step 79/100, loss 3.100, top-1 12.5%, 2 s a step, 42 s left in this epoch, 7.4 min in all"
        ]
        step(display, clock, 2, times=21)
        clock[0] += 40
        display.end_epoch(records(0))
        clock[0] += 500
        display.begin_epoch(1, steps=100, done=0)
        step(display, clock, 2, times=100)
        display.end_epoch(records(1))
        display.begin_epoch(2, steps=100, done=0)
        step(display, clock, 0.4, times=100)
        display.end_epoch(records(2))
    assert capsys.readouterr().err.splitlines() == [
        "epoch   1/3  train loss 3.100 top-1 12.5%   2.4 min since it was resumed, 6.7 min left",
        "epoch 2/3, step 30/100, loss 3.100, top-1 12.5%, 2 s a step, 2.3 min left in this epoch, 5.7 min in all",
        "epoch 2/3, step 60/100, loss 3.100, top-1 12.5%, 2 s a step, 80 s left in this epoch, 4.7 min in all",
        "epoch 2/3, step 90/100, loss 3.100, top-1 12.5%, 2 s a step, 20 s left in this epoch, 3.7 min in all",
        "epoch   2/3  train loss 3.100 top-1 12.5%   3.3 min, 3.3 min left",
        "epoch   3/3  train loss 3.100 top-1 12.5%   40 s",
    ]


def test_a_terminal_gets_a_bar_that_is_gone_between_epochs(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    with TrainingDisplay(visible=True, epochs=2) as display:
        display.begin_epoch(0, steps=100, done=0)
        step(display, clock, 2, times=50)
        display.progress.refresh()
        assert display.progress.live.is_started
        display.pause()
        assert not display.progress.live.is_started
        display.begin_epoch(1, steps=100, done=0)
        assert display.progress.live.is_started
    seen = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "epoch 1/2" in seen
    assert " 50/200 loss 3.100  top-1 12.5%  rate 0.05  5 min left" in seen
    assert "a step" not in seen


def test_lines_of_a_log_are_not_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    display = TrainingDisplay(visible=True, epochs=1)
    experiment = Experiment(benchmark="ntu60-xsub", store=tmp_path, stream="joint-fused")
    display.announce(experiment, torch.nn.Linear(1000, 1000), {"train": 39_889, "test": 16_487}, torch.device("cpu"), resumed_at=0)
    display.warn(f"{'state ' * 20}is damaged")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "ntu60-xsub, joint-fused stream: 39,889 train, 16,487 test clips; 1,001,000 parameters on cpu, 32-true"
    assert second == f"{'state ' * 20}is damaged"
