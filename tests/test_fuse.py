"""Runs fused as a user does it: files that are left, weights searched on held-out performers, and what is refused."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amanet.cli import main
from amanet.errors import RunError
from amanet.fuse import fuse, stream_names
from amanet.metrics import Scores
from amanet.train import train
from fabricate.runs import tiny_experiment, tiny_store

ONE_EPOCH = {"epochs": 1, "milestones": ()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two streams whose validation performer is one of the training performers."""
    folder = tmp_path_factory.mktemp("runs")
    store = tiny_store(folder)
    for stream in ("joint", "bone-fused"):
        experiment = tiny_experiment(store, stream=stream, validation_performers=(2,))
        train(replace(experiment, recipe=replace(experiment.recipe, **ONE_EPOCH)), folder / stream)
    return [folder / "joint", folder / "bone-fused"]


def test_fused_scores_are_the_mean_of_probabilities(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fused"
    assert main(["fuse", str(out), *map(str, runs)]) == 0
    printed = capsys.readouterr().out
    parts = [Scores.read(run / "scores-test.parquet") for run in runs]
    fused = Scores.read(out / "scores-test.parquet")
    powers = [np.exp(part.logits.astype(np.float64)) for part in parts]
    expected = np.mean([power / power.sum(-1, keepdims=True) for power in powers], axis=0)
    np.testing.assert_allclose(np.exp(fused.logits), expected, rtol=1e-4)
    summary = json.loads((out / "fusion.json").read_text())
    assert summary["weights"] == [0.5, 0.5]
    top1 = float((expected.argmax(-1) == parts[0].label).mean())
    assert summary["top1_to_top5"]["joint + bone-fused"][0] == pytest.approx(top1)
    assert f"{100 * top1:6.2f}" in printed
    assert (out / "streams.png").stat().st_size > 1000
    assert (out / "confusion_test.png").stat().st_size > 1000
    assert (out / "classes-test.csv").is_file()


def test_the_scores_of_a_run_are_never_written_over(runs: list[Path]) -> None:
    before = (runs[0] / "scores-test.parquet").read_bytes()
    with pytest.raises(RunError, match="take the place of this run's"):
        fuse(runs[0], runs)
    assert (runs[0] / "scores-test.parquet").read_bytes() == before


def test_changed_clips_are_listed(runs: list[Path], tmp_path: Path) -> None:
    found = fuse(tmp_path / "fused", runs)
    rows = list(csv.DictReader((tmp_path / "fused/changed.csv").read_text().splitlines()))
    changed = {sample for name in found.streams for sample in (*found.repaired(name), *found.broken(name))}
    assert {row["sample"] for row in rows} == changed
    for row in rows:
        assert (row["fused"] == row["class"]) != all(row[name] == row["class"] for name in found.streams)


def test_weights_are_searched_on_the_held_out_performers(runs: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs]
    scores = Scores.read(copies[0] / "scores-validation.parquet")
    sure = np.eye(scores.logits.shape[1], dtype=np.float32)[scores.label] * 20
    replace(scores, logits=sure).write(copies[0] / "scores-validation.parquet")  # on these performers the first is always right
    other = Scores.read(copies[1] / "scores-validation.parquet")
    replace(other, logits=-sure).write(copies[1] / "scores-validation.parquet")
    found = fuse(tmp_path / "fused", copies, "search")
    assert found.weights == (1.0, 0.0)
    test = fuse(tmp_path / "alone", copies, (2.0, 0.0))
    np.testing.assert_array_equal(found.fused.logits, test.fused.logits)
    assert found.fused.source["part"] == "test"


def test_a_search_without_held_out_performers_is_refused(runs: list[Path], tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    experiment = tiny_experiment(store)
    train(replace(experiment, recipe=replace(experiment.recipe, **ONE_EPOCH)), tmp_path / "run")
    with pytest.raises(RunError, match=r"the validation part of this run is empty(.|\n)*--validation_performers"):
        fuse(tmp_path / "fused", [runs[0], tmp_path / "run"], "search")
    assert not (tmp_path / "fused").exists()


def test_scores_go_by_the_stream_that_they_are_of(runs: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    settings = (copy / "experiment.yaml").read_text()
    (copy / "experiment.yaml").write_text(settings.replace("stream: joint\n", "stream: bone\n"))
    with pytest.raises(RunError, match=r"scores are of another stream(.|\n)*expected: bone\n *got: joint\n"):
        fuse(tmp_path / "fused", [copy, runs[1]], part="validation")


def test_runs_on_other_clips_are_refused_by_name(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fuse(tmp_path / "whole", runs)
    copy = Path(shutil.copytree(runs[1], tmp_path / "copy"))
    scores = Scores.read(copy / "scores-test.parquet")
    less = replace(scores, sample=scores.sample[1:], label=scores.label[1:], logits=scores.logits[1:])
    less.write(copy / "scores-test.parquet")
    assert main(["fuse", str(tmp_path / "fused"), str(runs[0]), str(copy)]) == 2
    error = capsys.readouterr().err
    assert f"1 only in joint: {scores.sample[0]}" in error
    assert not (tmp_path / "fused").exists()


def test_runs_of_one_stream_go_by_their_folders(runs: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs[0], tmp_path / "again"))
    assert stream_names([*runs, copy]) == ["joint (joint)", "bone-fused", "joint (again)"]
    with pytest.raises(RunError, match="named twice"):
        stream_names([runs[0], runs[0]])
