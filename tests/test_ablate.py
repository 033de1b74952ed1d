"""Rows trained as a user does it: runs shared, stopped and gone on with, failures that leave the rest alone."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from amanet.ablate import _changed, ablate, run_folder
from amanet.ablations.result import TableResult
from amanet.cli import main
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError, RunError, StoreError
from amanet.experiment import Experiment, Machine, to_plain
from amanet.fusion import join
from amanet.metrics import Scores, top_k
from amanet.prepare import prepare
from amanet.trained import TRAINED_ON
from fabricate.own import write_own
from fabricate.runs import tiny_experiment, tiny_store, weights_digest
from fabricate.stores import fabricate_clip, write_store

TABLE = {
    "title": "Mine",
    "rows": [
        {"name": "joints"},
        {"name": "bones", "settings": {"stream": "bone"}},
        {"name": "both", "fuse": ["joints", "bones"]},
    ],
    "claims": [["both", "joints"]],
}
ON_CPU = Machine(accelerator="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return tiny_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def trained(store: ClipStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TableResult]:
    """A folder with a table of two streams and their sum, two seeds each, two trainings at once."""
    out = tmp_path_factory.mktemp("ablation")
    table = write_table(out / "mine.yaml", TABLE)
    (result,) = ablate(table, out, tiny_experiment(store), ON_CPU, jobs=2)
    return out, result


def write_table(path: Path, table: dict[str, object]) -> str:
    path.write_text(yaml.safe_dump(table))
    return str(path)


def test_numbers_are_those_of_the_runs(trained: tuple[Path, TableResult], store: ClipStore) -> None:
    out, result = trained
    for row, streams in zip(result.rows, (["joint"], ["bone"], ["joint", "bone"]), strict=True):
        for seed, found in zip((0, 1), row.seeds, strict=True):
            runs = [run_folder(out, tiny_experiment(store, stream=stream, seed=seed)) for stream in streams]
            scores = [Scores.read(run / "scores-test.parquet") for run in runs]
            fusion = join(dict(zip(streams, scores, strict=True))) if len(scores) > 1 else None
            joined = fusion.fused if fusion else scores[0]
            assert found.seed == seed
            assert found.top == pytest.approx([top_k(joined, k) for k in range(1, 6)])
            assert found.runs == tuple(run.name for run in runs)
            assert all((run / TRAINED_ON).is_file() for run in runs)
            assert found.repaired == (tuple(fusion.repaired(fusion.best_stream())) if fusion else ())
            assert found.broken == (tuple(fusion.broken(fusion.best_stream())) if fusion else ())
    assert result.clips == len(Scores.read(next((out / "runs").glob("*/scores-test.parquet"))).sample)
    assert result.rows[2].parameters == result.rows[0].parameters + result.rows[1].parameters
    assert result.rows[2].operations == result.rows[0].operations + result.rows[1].operations


def test_the_table_is_kept_as_page_and_as_numbers(trained: tuple[Path, TableResult]) -> None:
    out, result = trained
    assert (out / "mine.md").read_text() == result.markdown()
    assert TableResult.read(out / "mine.json") == result


def test_a_report_takes_what_is_written(trained: tuple[Path, TableResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, result = trained
    assert main(["report", str(tmp_path / "results.md"), str(out)]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in written] == ["results.md", "ntu60-xsub-mine-streams.png", "claims.png"]
    assert all(path.is_file() for path in written)
    assert "| both **over** joints | better |" in written[0].read_text()
    assert "\n".join(result.body()) in written[0].read_text()


def test_equal_settings_are_trained_once(trained: tuple[Path, TableResult], store: ClipStore, tmp_path: Path) -> None:
    """Another table with a row of the same settings trains only what is new."""
    out, _ = trained
    before = {run: weights_digest(run) for run in (out / "runs").iterdir()}
    times = {run: (run / "weights.safetensors").stat().st_mtime_ns for run in before}
    other = {"title": "Other", "rows": [{"name": "a"}, {"name": "b", "settings": {"network.alien_scale": 0.5}}]}
    ablate(write_table(tmp_path / "other.yaml", other), out, tiny_experiment(store), ON_CPU, seeds=(0,))
    assert len(list((out / "runs").iterdir())) == len(before) + 1
    assert times == {run: (run / "weights.safetensors").stat().st_mtime_ns for run in before}


def test_a_folder_is_told_by_the_settings_that_are_not_the_default(store: ClipStore) -> None:
    """Equal in every setting: equal folders. Unequal in any: folders of their own, whatever a later version adds."""
    start = tiny_experiment(store)
    variants = [
        start,
        replace(start, seed=1),
        replace(start, stream="bone"),
        replace(start, network=replace(start.network, alien="pinv")),
        replace(start, network=replace(start.network, block=replace(start.network.block, tail=False))),
        replace(start, recipe=replace(start.recipe, epochs=start.recipe.epochs + 1)),
    ]
    assert len({run_folder(Path("out"), each) for each in variants}) == len(variants)
    assert run_folder(Path("out"), replace(start)) == run_folder(Path("out"), start)
    default = to_plain(Experiment(benchmark=start.benchmark, store=start.store))
    assert _changed(default, default) == {}
    assert _changed({**default, "seed": 3}, default) == {"seed": 3}


def test_tables_of_one_seed_come_before_the_next_seed(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[Experiment] = []
    monkeypatch.setattr("amanet.ablate.train_all", lambda runs, machine, jobs: order.extend(runs.values()) or {})
    ablate("all", tmp_path, tiny_experiment(store), ON_CPU, seeds=(7, 3))
    assert [each.seed for each in order] == [7] * (len(order) // 2) + [3] * (len(order) // 2)
    assert order[0].stream == "joint"
    assert {each.stream for each in order[:6]} == {"joint", "bone", "joint-fused", "bone-fused"}, "the four streams come first"


def test_runs_find_their_clips_from_anywhere(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store named from the folder where the command was given is named whole in the runs."""
    wanted: list[Experiment] = []
    monkeypatch.setattr("amanet.ablate.train_all", lambda runs, machine, jobs: wanted.extend(runs.values()) or {})
    monkeypatch.chdir(store.path.parent)
    ablate("table9", tmp_path, replace(tiny_experiment(store), store=Path(store.path.name)), ON_CPU, seeds=(0,))
    assert {each.store for each in wanted} == {store.path}
    assert TableResult.read(tmp_path / "table9.json").example.store == store.path


def test_folds_are_averaged(tmp_path: Path) -> None:
    samples = [f"S001C00{camera}P00{performer}R001A00{action}" for camera in (1, 2) for performer in (1, 3) for action in (1, 2, 3)]
    store = write_store(tmp_path / "store", [fabricate_clip(sample, frames=6) for sample in sorted(samples)])
    table = write_table(tmp_path / "mine.yaml", {"title": "t", "rows": [{"name": "a"}]})
    (result,) = ablate(table, tmp_path, tiny_experiment(store), ON_CPU, seeds=(0,), folds=("ntu60-xsub", "ntu60-xview"))
    runs = [run_folder(tmp_path, tiny_experiment(store)), *[run for run in (tmp_path / "runs").iterdir() if "xview" in run.name]]
    single = [[top_k(Scores.read(run / "scores-test.parquet"), k) for k in range(1, 6)] for run in runs]
    assert len(runs) == 2
    assert result.rows[0].seeds[0].top == pytest.approx(np.mean(single, axis=0))
    assert set(result.rows[0].seeds[0].runs) == {run.name for run in runs}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_table_goes_on(number: int, store: ClipStore, trained: tuple[Path, TableResult], tmp_path: Path) -> None:
    """Stopped by a signal in the middle of a training, the command ends with the weights of an undisturbed one, and leaves no process."""
    out, undisturbed = trained
    table = write_table(tmp_path / "mine.yaml", TABLE)
    settings = tmp_path / "settings.yaml"
    plain = to_plain(tiny_experiment(store))
    settings.write_text(yaml.safe_dump({name: value for name, value in plain.items() if name != "seed"}))
    command = [sys.executable, "-m", "amanet", "ablate", table, tmp_path / "out", "--config", settings, "--accelerator", "cpu"]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").glob("runs/*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert not list((tmp_path / "out").glob("runs/*/.training")), "no training is left behind"
    assert main([str(part) for part in command[3:]]) == 0
    for run in (out / "runs").iterdir():
        twin = tmp_path / "out/runs" / run.name
        if twin.exists():
            assert weights_digest(twin) == weights_digest(run)
    assert TableResult.read(tmp_path / "out/mine.json").rows == undisturbed.rows


@pytest.mark.parametrize("twice", [partial(ablate, seeds=(0, 0)), partial(ablate, folds=("ntu60-xsub", "ntu60-xsub"))])
def test_nothing_is_counted_twice(store: ClipStore, tmp_path: Path, twice: "partial[list[TableResult]]") -> None:
    table = write_table(tmp_path / "mine.yaml", TABLE)
    with pytest.raises(ExperimentError, match="each trained once"):
        twice(table, tmp_path / "out", tiny_experiment(store), ON_CPU)
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_leaves_the_others_alone(store: ClipStore, tmp_path: Path) -> None:
    rows = [{"name": "diverges", "settings": {"recipe.learning_rate": 1e30, "recipe.clip_gradient": None}}, {"name": "trains"}]
    table = write_table(tmp_path / "mine.yaml", {"title": "t", "rows": rows})
    with pytest.raises(RunError, match="1 of 2 trainings failed") as caught:
        ablate(table, tmp_path, tiny_experiment(store), ON_CPU, seeds=(0,))
    assert "the loss is not finite" in str(caught.value)
    result = TableResult.read(tmp_path / "mine.json")
    assert (result.rows[0].mean, result.rows[0].seeds) == (None, ())
    assert result.rows[1].mean is not None
    assert "not trained" in (tmp_path / "mine.md").read_text()


def test_folds_are_measured_on_the_same_part(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "mine")
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("wave,2,test,train", "wave,2,test,validation"))
    start = replace(tiny_experiment(prepare("own", folder, tmp_path / "store", workers=1)), benchmark="own")
    with pytest.raises(ExperimentError, match=r"the same part(.|\n)*test of own, validation of own-other"):
        ablate("table9", tmp_path / "out", start, ON_CPU, folds=("own", "own-other"))
    assert not (tmp_path / "out").exists()


def test_data_that_do_not_fit_are_said_before_anything_is_written(store: ClipStore, tmp_path: Path) -> None:
    for folds, where, error in ((("utd-mhad",), store.path, ExperimentError), ((), tmp_path / "nowhere", StoreError)):
        with pytest.raises(error):
            ablate("table9", tmp_path / "out", replace(tiny_experiment(store), store=where), ON_CPU, folds=folds)
        assert not (tmp_path / "out").exists()


def test_runs_on_a_store_prepared_otherwise_are_no_rows_of_a_table(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    table = write_table(tmp_path / "mine.yaml", {"title": "t", "rows": [{"name": "a"}]})
    (result,) = ablate(table, tmp_path / "out", tiny_experiment(store), ON_CPU, seeds=(0,))
    assert f"prepared by {store.recipe}; seed 0; width" in result.conditions()
    clips = [store.clip(row) for row in range(len(store))]
    again = write_store(store.path, clips, recipe="raw", overwrite=True)
    with pytest.raises(RunError, match="the store's recipe is not the one"):
        ablate(table, tmp_path / "out", tiny_experiment(again), ON_CPU, seeds=(0,))


def test_a_foreign_run_is_not_written_over(store: ClipStore, tmp_path: Path) -> None:
    table = write_table(tmp_path / "mine.yaml", {"title": "t", "rows": [{"name": "a"}]})
    run = run_folder(tmp_path, tiny_experiment(store))
    run.mkdir(parents=True)
    (run / "experiment.yaml").write_text(yaml.safe_dump(to_plain(tiny_experiment(store, seed=5))))
    with pytest.raises(RunError, match="another experiment"):
        ablate(table, tmp_path, tiny_experiment(store), ON_CPU, seeds=(0,))
