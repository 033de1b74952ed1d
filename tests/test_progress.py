"""What is seen of a training is right, in a terminal and in a log."""

from pathlib import Path

import pytest
import torch

from amanet.experiment import Experiment
from amanet.progress import TrainingDisplay


def test_lines_of_a_log_are_not_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    display = TrainingDisplay(visible=True, epochs=1)
    experiment = Experiment(benchmark="ntu60-xsub", store=tmp_path, stream="joint-fused")
    display.announce(experiment, torch.nn.Linear(1000, 1000), {"train": 39_889, "test": 16_487}, torch.device("cpu"), resumed_at=0)
    display.warn(f"{'state ' * 20}is damaged")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "ntu60-xsub, joint-fused stream: 39,889 train, 16,487 test clips; 1,001,000 parameters on cpu, 32-true"
    assert second == f"{'state ' * 20}is damaged"
