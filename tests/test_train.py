"""Training: what a run leaves behind, its exactness under kills, failures and several processes."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amanet.checkpoint import StateFolder
from amanet.data.benchmark import Part
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError, PlaceError, RunError, TrainingError
from amanet.evaluate import evaluate
from amanet.experiment import Experiment, Machine, Recipe, read_experiment, write_experiment
from amanet.metrics import Scores, accuracy
from amanet.model import Network
from amanet.prepare import prepare
from amanet.show import show
from amanet.skeleton import ClipBatch, SkeletonClip
from amanet.train import _Training, resume, train
from amanet.trained import TRAINED_ON
from amanet.training.progress import TrainingDisplay
from amanet.training.step import balanced_weights
from amanet.training.step_graph import Learned, StepGraph
from fabricate.own import write_own
from fabricate.runs import TINY_RECIPE, TINY_SAMPLING, tiny_experiment, tiny_store, weights_digest
from fabricate.stores import fabricate_clip, ntu_samples, write_store

KILLS = int(os.environ.get("AMANET_KILLS", "5"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return tiny_store(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def undisturbed(store: ClipStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    train(tiny_experiment(store), run)
    return run


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "amanet", *map(str, arguments)]


def start(run: Path, *flags: object) -> "subprocess.Popen[str]":
    """A run in a process group of its own, which was written but not begun."""
    return subprocess.Popen(
        command("train", "--resume", run, *flags), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def new_run(folder: Path, experiment: Experiment) -> Path:
    """A run folder with nothing but its settings."""
    folder.mkdir()
    write_experiment(experiment, folder / "experiment.yaml")
    return folder


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_is_promised(undisturbed: Path, store: ClipStore) -> None:
    assert read_experiment(undisturbed / "experiment.yaml") == tiny_experiment(store)
    train_records = [record for record in records(undisturbed) if record["part"] == "train"]
    assert [record["epoch"] for record in train_records] == [0, 1, 2]
    assert [record["learning_rate"] for record in train_records] == pytest.approx([0.05, 0.05, 0.005])
    assert train_records[-1]["steps"] == 3 * math.ceil(10 / 4)
    scores = Scores.read(undisturbed / "scores-test.parquet")
    assert scores.sample == tuple(ntu_samples((3,), (1, 2, 3, 4, 5)))
    assert scores.label.tolist() == [0, 1, 2, 3, 4]
    assert len(list(undisturbed.glob("state-*.pt"))) == 2


def test_evaluation_gives_the_scores_of_the_last_epoch(undisturbed: Path) -> None:
    kept = Scores.read(undisturbed / "scores-test.parquet")
    again = evaluate(undisturbed)
    np.testing.assert_allclose(again.logits, kept.logits, atol=1e-5)
    assert again.sample == kept.sample


@pytest.mark.parametrize(
    ("setting", "other", "named"), [("frames: 8", "frames: 16", "sampling"), ("stream: joint", "stream: bone", "stream")]
)
def test_settings_that_changed_are_not_taken_for_those_of_the_weights(
    undisturbed: Path, tmp_path: Path, setting: str, other: str, named: str
) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    settings = (run / "experiment.yaml").read_text()
    assert setting in settings
    (run / "experiment.yaml").write_text(settings.replace(setting, other))
    for use in (evaluate, show):
        with pytest.raises(RunError, match=rf"{named} changed since these weights were trained(.|\n)*put it back"):
            use(run)


def test_scoring_is_counted_down_where_it_takes_long(
    undisturbed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(undisturbed)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("amanet.training.scoring.QUIET_SECONDS", 0.0)
    evaluate(undisturbed)
    assert re.search(r"^scoring 5 of 5 clips, .* clips/s, .* in all$", capsys.readouterr().err, re.MULTILINE)


def test_no_bar_of_the_training_is_beside_that_of_scoring(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[bool] = []

    def score(training: _Training, part: Part) -> Scores:
        bars.append(training.display.progress.live.is_started)
        return scored(training, part)

    def step(display: TrainingDisplay, *_: object, **__: object) -> None:
        bars.append(display.progress.live.is_started)

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(TrainingDisplay, "step", step)
    scored = _Training._score
    monkeypatch.setattr(_Training, "_score", score)
    train(tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=2, milestones=())), tmp_path / "run", Machine(evaluate_every=1))
    assert bars == 2 * [True, True, True, False]


def test_clips_that_a_run_was_trained_on_are_no_test(undisturbed: Path, tmp_path: Path) -> None:
    """As where the split is another one now."""
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    trained_on = (run / TRAINED_ON).read_text().splitlines()
    assert sorted(trained_on) == ntu_samples((1, 2), (1, 2, 3, 4, 5))
    settings = (run / "experiment.yaml").read_text()
    changed = settings.replace("validation_performers: []", "validation_performers: [1]")
    (run / "experiment.yaml").write_text(changed)
    with pytest.raises(RunError, match="5 of 5 clips to score are clips that this run was trained on") as caught:
        evaluate(run, "validation")
    assert trained_on[0] in str(caught.value)
    assert not (run / "scores-validation.parquet").exists()
    (run / "experiment.yaml").write_text(settings)
    assert sorted(evaluate(run, "train").sample) == sorted(trained_on)


def test_a_finished_run_takes_more_epochs(undisturbed: Path, store: ClipStore, tmp_path: Path) -> None:
    """Written into its settings; it ends as one that was to have them from the beginning."""
    longer = with_more_epochs(undisturbed, store, tmp_path / "longer")
    evaluate(longer, "train")
    resume(longer)
    train(tiny_experiment(store, recipe=MORE_EPOCHS), tmp_path / "at once")
    assert weights_digest(longer) == weights_digest(tmp_path / "at once") != weights_digest(undisturbed)
    assert {path.name for path in longer.glob("*-t[er]*.*")} == {"scores-test.parquet", "classes-test.csv"}


MORE_EPOCHS = replace(TINY_RECIPE, epochs=TINY_RECIPE.epochs + 1)


def with_more_epochs(run: Path, store: ClipStore, place: Path) -> Path:
    """A copy of a finished run whose settings ask for more."""
    shutil.copytree(run, place)
    write_experiment(tiny_experiment(store, recipe=MORE_EPOCHS), place / "experiment.yaml")
    return place


def test_the_weights_of_fewer_epochs_never_count_as_those_of_more(
    undisturbed: Path, store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a run is killed when its last state is written and its weights are not."""

    def killed(self: object) -> None:
        raise KeyboardInterrupt

    run = with_more_epochs(undisturbed, store, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("amanet.train._Training._finish", killed)
        with pytest.raises(KeyboardInterrupt):
            resume(run)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        evaluate(run)
    resume(run)
    assert weights_digest(run) != weights_digest(undisturbed)


def test_a_finished_run_without_states_cannot_go_on(undisturbed: Path, store: ClipStore, tmp_path: Path) -> None:
    run = with_more_epochs(undisturbed, store, tmp_path / "run")
    for state in run.glob("state-*.pt"):
        state.unlink()
    with pytest.raises(RunError, match=r"on the way to 4 epochs(.|\n)*weights of 3"):
        resume(run)
    write_experiment(tiny_experiment(store), run / "experiment.yaml")
    resume(run)
    (run / "scores-test.parquet").unlink()
    with pytest.raises(RunError, match=r"without scores(.|\n)*amanet evaluate"):
        resume(run)
    evaluate(run)
    resume(run)
    assert weights_digest(run) == weights_digest(undisturbed)


def test_the_seed_decides_and_the_machine_does_not(undisturbed: Path, store: ClipStore, tmp_path: Path) -> None:
    train(tiny_experiment(store), tmp_path / "again", Machine(loader_workers=2, recompute=True))
    train(tiny_experiment(store, seed=1), tmp_path / "other")
    assert weights_digest(tmp_path / "again") == weights_digest(undisturbed)
    assert weights_digest(tmp_path / "other") != weights_digest(undisturbed)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_what_cannot_be_printed_stops_no_training(store: ClipStore, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=1, milestones=())))
    with Path("/dev/full").open("wb") as full:
        subprocess.run(command("train", "--resume", run), stderr=full, stdout=subprocess.DEVNULL, check=False)
    assert (run / "weights.safetensors").is_file()


def test_a_loader_worker_that_is_killed_is_an_error_that_says_so(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ForkServerProcess.start

    def begin_and_kill(worker: ForkServerProcess) -> None:
        begin(worker)
        worker.kill()

    monkeypatch.setattr(ForkServerProcess, "start", begin_and_kill)
    with pytest.raises(RunError, match=r"was killed, most likely for its memory(.|\n)*fewer --loader_workers"):
        train(tiny_experiment(store), tmp_path / "run", Machine(loader_workers=1))


def test_a_cuda_graph_is_of_one_gpu(store: ClipStore, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="CUDA graph") as caught:
        train(tiny_experiment(store), tmp_path / "run", Machine(accelerator="cpu", cuda_graph=True))
    assert "1 of kind cpu" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_a_cuda_graph_learns_what_its_steps_learn() -> None:
    """Each of several shapes, warmed up, captured and replayed, against the same steps by themselves."""
    clips = [torch.randn(size, 1, 2, 3, 3, device="cuda") for size in (4, 4, 3, 4, 4, 4, 4)]
    found = list[list[torch.Tensor]]()
    for graphed in (False, True):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 5)).cuda()

        def learn(batch: ClipBatch, share: float | torch.Tensor, network: torch.nn.Module = network) -> Learned:
            logits = network(batch.joints)
            losses = torch.nn.functional.cross_entropy(logits, batch.label, reduction="none")
            (losses.sum() * share).backward()
            return logits.detach(), losses.detach()

        take = StepGraph(learn, list(network.parameters())) if graphed else learn
        learned = list[torch.Tensor]()
        for joints in clips:
            label = torch.arange(len(joints), device="cuda")
            learned += take(ClipBatch(tuple(map(str, label)), joints, joints.any(-1), label), 0.5)
        found.append([*learned, *(weight.grad for weight in network.parameters() if weight.grad is not None)])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.timeout(600)
def test_kills_at_any_moment_change_nothing(undisturbed: Path, store: ClipStore, tmp_path: Path, workers: int) -> None:
    """SIGKILL to the whole process group at random moments, inside of writing states too, until the run ends."""
    run = new_run(tmp_path / "run", tiny_experiment(store))
    rng = random.Random(workers)
    kills = 0
    for _ in range(20 * KILLS):
        process = start(run, "--checkpoint_minutes", 0, "--loader_workers", workers)
        if kills < KILLS:
            wait_for_step(run, process)
            time.sleep(rng.uniform(0, 0.15))
        else:
            process.wait()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= min(2, KILLS)
    assert weights_digest(run) == weights_digest(undisturbed)
    assert records(run) == records(undisturbed)


def wait_for_step(run: Path, process: "subprocess.Popen[str]") -> None:
    """Until another state has been written, or the run has ended."""
    before = {state.path for state in StateFolder(run).files()}
    while process.poll() is None and {state.path for state in StateFolder(run).files()} <= before:
        time.sleep(0.005)


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(undisturbed: Path, store: ClipStore, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", tiny_experiment(store))
    process = start(run, "--checkpoint_minutes", 0)
    wait_for_step(run, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have ended in the very step
        assert process.returncode == 130
        assert f"amanet train --resume {run}" in errors
    resume(run)
    assert weights_digest(run) == weights_digest(undisturbed)


def test_two_trainings_of_one_run_are_refused(store: ClipStore, tmp_path: Path) -> None:
    """While one trains, another is told so and changes nothing; when the first is killed, its lock is no obstacle."""
    run = new_run(tmp_path / "run", tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=400)))
    process = start(run)
    while not (run / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    with pytest.raises(RunError, match="another process is training"):
        resume(run)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for state in StateFolder(run).files():
        state.path.unlink()
    write_experiment(tiny_experiment(store), run / "experiment.yaml")
    resume(run)
    assert not (run / ".training").exists()


def test_resuming_at_the_end_of_an_epoch(undisturbed: Path, store: ClipStore, tmp_path: Path) -> None:
    """A run whose last state is that of a finished epoch goes on with the order of the next one."""
    run = new_run(tmp_path / "run", tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=2, milestones=())))
    resume(run)
    write_experiment(tiny_experiment(store), run / "experiment.yaml")
    resume(run, Machine(loader_workers=2))
    assert weights_digest(run) == weights_digest(undisturbed)


@pytest.mark.parametrize("states", [True, False])
def test_a_finished_run_is_left_as_it_is(undisturbed: Path, tmp_path: Path, states: bool) -> None:
    """Also where its states were deleted to make room."""
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    if not states:
        for state in StateFolder(run).files():
            state.path.unlink()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in run.iterdir() if path.is_file()}
    assert resume(run) == accuracy(Scores.read(run / "scores-test.parquet"))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in run.iterdir() if path.is_file()} == before


def test_a_run_is_gone_on_with_from_any_folder(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.path.parent)
    experiment = tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=1, milestones=()))
    train(replace(experiment, store=Path(store.path.name)), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert read_experiment(tmp_path / "run" / "experiment.yaml") == experiment
    write_experiment(replace(experiment, store=tmp_path / "moved"), tmp_path / "run" / "experiment.yaml")
    with pytest.raises(RunError, match="not where it was"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_is_passed_over(undisturbed: Path, store: ClipStore, tmp_path: Path, damage: str) -> None:
    run = new_run(tmp_path / "run", tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=2, milestones=())))
    resume(run)
    write_experiment(tiny_experiment(store), run / "experiment.yaml")
    newest = StateFolder(run).files()[-1].path
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flip": bytes(content), "cut": bytes(content[:-100]), "empty": b""}[damage])
    _, damaged = StateFolder(run).load()
    assert damaged == [newest]
    resume(run)
    assert weights_digest(run) == weights_digest(undisturbed)


@pytest.mark.parametrize("clip_gradient", [None, 1.0])
def test_a_gradient_that_is_not_finite_moves_nothing(
    store: ClipStore, tmp_path: Path, clip_gradient: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient of infinity where the loss is finite, as of a square root at zero."""
    before = list[torch.Tensor]()

    class Rooted(Network):
        def forward(self, joints: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
            before[:] = [weight.detach().clone() for weight in self.parameters()]
            first = next(self.parameters())
            return super().forward(joints, present) + (first - first.detach()).sum().abs().sqrt()

    monkeypatch.setattr("amanet.trained.Network", Rooted)
    experiment = tiny_experiment(store, recipe=replace(TINY_RECIPE, clip_gradient=clip_gradient))
    training = _Training(experiment, store, tmp_path / "run", Machine(accelerator="cpu"))
    with pytest.raises(TrainingError, match=r"the gradient(.|\n)*is not finite after 0 steps"):
        training.go()
    for weight, unmoved in zip(training.network.parameters(), before, strict=True):
        torch.testing.assert_close(weight.detach(), unmoved, rtol=0, atol=0)


def test_a_state_of_no_place_in_a_training_is_refused(store: ClipStore, tmp_path: Path) -> None:
    """In a process whose types nobody checks."""
    trained = new_run(tmp_path / "trained", tiny_experiment(store, recipe=replace(TINY_RECIPE, epochs=1, milestones=())))
    resume(trained)
    state, _ = StateFolder(trained).load()
    write_experiment(tiny_experiment(store), trained / "experiment.yaml")
    changes: list[dict[str, Any]] = [{"epoch": -1}, {"batch": 0.5}, {"loss": "much"}, {"records": "[3]"}, {"hour": 3}]
    runs = [Path(shutil.copytree(trained, tmp_path / f"run{index}")) for index in range(len(changes))]
    for run, change in zip(runs, changes, strict=True):
        StateFolder(run).save(10**6, {**state, "place": {**state["place"], **change}})
    program = "import sys; from amanet.cli import main; print([main(['train', '--resume', run]) for run in sys.argv[1:]])"
    done = subprocess.run([sys.executable, "-c", program, *map(str, runs)], capture_output=True, text=True, check=False)
    assert done.stdout == "[2, 2, 2, 2, 2]\n"
    for run in runs:
        assert f"amanet train: {run}: the training state does not fit the settings of the run\n" in done.stderr
    assert done.stderr.count("\n") == 2 * len(runs)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, "seed changed"),
        ({"validation_performers": (1,)}, "validation_performers changed"),
        ({"recipe": {"batch_size": 2}}, "recipe.batch_size changed"),
        ({"recipe": {"balance": "sampler"}}, "recipe.balance changed"),
        ({"store": None}, "store changed"),
        ({"recipe": {"learning_rate": 0.001}}, None),
    ],
)
def test_a_run_goes_on_with_the_clips_it_has_seen_or_not_at_all(
    undisturbed: Path, store: ClipStore, tmp_path: Path, change: dict[str, Any], named: str | None
) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    begun = tiny_experiment(store)
    if "store" in change:
        clips = [store.clip(row) for row in range(len(store))]
        clips[0].joints[0, 0, 0] += 1
        change = {"store": write_store(tmp_path / "store", clips).path}
    recipe = replace(begun.recipe, epochs=begun.recipe.epochs + 1, **change.get("recipe", {}))
    write_experiment(replace(begun, **{**change, "recipe": recipe}), run / "experiment.yaml")
    if named is None:
        resume(run)
        assert len((run / "metrics.jsonl").read_text().splitlines()) > len((undisturbed / "metrics.jsonl").read_text().splitlines())
        return
    before = weights_digest(run)
    with pytest.raises(RunError, match=named):
        resume(run)
    assert weights_digest(run) == before


def test_every_failing_write_leaves_a_state_to_resume_from(store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StateFolder(tmp_path)
    folder.save(1, {"step": 1})
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os if name == "fsync" else Path, name, fail)
            with pytest.raises(PlaceError, match="No space left"):
                folder.save(2, {"step": 2})
        assert folder.load()[0] == {"step": 1}
        assert not list(tmp_path.glob(".*.tmp"))


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_state_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no training state"):
        StateFolder(tmp_path).load()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_clip(store: ClipStore, tmp_path: Path) -> None:
    clips = [store.clip(row) for row in range(len(store))]
    poisoned = clips[3]
    clips[3] = SkeletonClip(poisoned.sample, np.full_like(poisoned.joints, 3e38), poisoned.present, poisoned.label)
    bad = write_store(tmp_path / "store", clips)
    with pytest.raises(TrainingError, match="not finite") as caught:
        train(tiny_experiment(bad), tmp_path / "run")
    assert poisoned.sample in str(caught.value)
    assert all(torch.isfinite(weight).all() for weight in last_weights(tmp_path / "run"))


def last_weights(run: Path) -> list[torch.Tensor]:
    states = StateFolder(run)
    return [weight for weight in states.load()[0]["network"].values() if weight.is_floating_point()] if states.files() else []


@pytest.mark.timeout(300)
def test_two_processes_train_as_one(store: ClipStore, tmp_path: Path) -> None:
    """Equal losses to 1e-5, and every evaluated clip counted once, though neither part divides by two and classes weigh unequally."""
    samples = ntu_samples((1, 2, 3), (1, 2, 3, 4, 5, 6, 7))
    clips = [fabricate_clip(sample, bodies=2, frames=9) for sample in samples if not ("P001" in sample and sample[-1] in "567")]
    odd = write_store(tmp_path / "store", clips)
    network = replace(tiny_experiment(odd).network, dropout=0.0)
    # In float64, as rounding grows on clips of random numbers until the losses of two equal programs differ.
    experiment = tiny_experiment(odd, network=network, recipe=replace(TINY_RECIPE, micro_batch=4, balance="weights"), precision="64-true")
    one, two = new_run(tmp_path / "one", experiment), new_run(tmp_path / "two", experiment)
    resume(one, Machine(evaluate_every=1))
    done = subprocess.run(
        command("train", "--resume", two, "--devices", 2, "--accelerator", "cpu", "--evaluate_every", 1),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for ours, theirs in zip(records(one), records(two), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    kept = Scores.read(two / "scores-test.parquet")
    assert kept.sample == Scores.read(one / "scores-test.parquet").sample
    assert len(set(kept.sample)) == 7


@pytest.mark.timeout(300)
def test_no_process_is_without_a_clip_in_any_micro_batch(store: ClipStore, tmp_path: Path) -> None:
    """Ten clips in four batches of three or two, for two processes that would hold one clip at a time."""
    recipe = replace(TINY_RECIPE, epochs=1, batch_size=3, micro_batch=1, milestones=())
    run = new_run(tmp_path / "run", tiny_experiment(store, recipe=recipe))
    flags = ("--devices", 2, "--accelerator", "cpu")
    done = subprocess.run(command("train", "--resume", run, *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert records(run)[0]["steps"] == 4


def test_accumulated_micro_batches_give_the_gradient_of_the_batch(store: ClipStore, tmp_path: Path) -> None:
    """With statistics fixed by the same micro batches, the rate of one step is that of its whole batch."""
    found = []
    for micro in (2, 10):
        recipe = Recipe(epochs=1, batch_size=10, micro_batch=micro, learning_rate=0.0001, milestones=(), reference_batch=10)
        train(tiny_experiment(store, recipe=recipe, network=replace(tiny_experiment(store).network, dropout=0.0)), tmp_path / str(micro))
        found.append(records(tmp_path / str(micro))[0]["loss"])
    assert found[0] != found[1]  # BN sees micro batches, so the losses differ, but not by much
    assert found[0] == pytest.approx(found[1], rel=0.2)


def test_weights_of_classes_make_up_for_their_sizes(store: ClipStore, tmp_path: Path) -> None:
    labels = np.array([0, 0, 0, 2])
    assert balanced_weights(labels, 4).tolist() == pytest.approx([4 / 6, 0, 4 / 2, 0])
    assert balanced_weights(labels, 4)[labels].mean().item() == pytest.approx(1)
    plain, even = (replace(TINY_RECIPE, epochs=1, milestones=(), balance=balance) for balance in ("none", "weights"))
    for name, recipe in (("plain", plain), ("even", even)):
        train(tiny_experiment(store, recipe=recipe), tmp_path / name)
    assert weights_digest(tmp_path / "plain") == weights_digest(tmp_path / "even")  # classes of equal size weigh the same


def test_bf16_trains(store: ClipStore, tmp_path: Path) -> None:
    found = train(tiny_experiment(store, precision="bf16-mixed"), tmp_path / "run")
    assert math.isfinite(found.loss)


def test_tensorboard_events_are_written(store: ClipStore, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tiny_experiment(store), tmp_path / "run", Machine(tensorboard=True))
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_validation_performers_are_held_out_of_training(store: ClipStore, tmp_path: Path) -> None:
    train(tiny_experiment(store, validation_performers=(2,)), tmp_path / "run")
    assert {name[9:12] for name in Scores.read(tmp_path / "run" / "scores-validation.parquet").sample} == {"002"}
    assert not (tmp_path / "run" / "scores-test.parquet").exists()


def test_clips_for_validation_are_what_a_run_is_measured_on(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "mine", clips=16)
    labels = folder / "labels.csv"
    labels.write_text("\n".join(line.replace(",2,test", ",2,validation") for line in labels.read_text().splitlines()))
    store = prepare("own", folder, tmp_path / "store", workers=1)
    found = train(replace(tiny_experiment(store), benchmark="own"), tmp_path / "run")
    scores = Scores.read(tmp_path / "run/scores-validation.parquet")
    assert scores.sample == ("clip04", "clip05", "clip12", "clip13")
    assert accuracy(scores) == found
    assert len(evaluate(tmp_path / "run").sample) == 4
    assert "confusion_validation.png" in {path.name for path in show(tmp_path / "run", tmp_path / "pictures")}


def test_a_folder_with_a_run_is_not_written_over(undisturbed: Path, store: ClipStore) -> None:
    with pytest.raises(RunError, match="--resume"):
        train(tiny_experiment(store), undisturbed)
    with pytest.raises(RunError, match="holds no run"):
        resume(undisturbed / "figures")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "no training"),
        ({"milestones": (30, 60)}, "never be used"),
        ({"milestones": (9, 3)}, "rising"),
        ({"label_smoothing": 1.0}, "target"),
        ({"clip_gradient": -5.0}, "clip_gradient"),
        ({"decay": -1.0}, "decay"),
        ({"momentum": -1.0}, "momentum"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"warmup_epochs": -3}, "warmup_epochs"),
        ({"learning_rate": math.nan}, "learning_rate"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        Recipe(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        partial(Machine, devices=0),
        partial(Machine, nodes=0),
        partial(Machine, evaluate_every=0),
        partial(Machine, loader_workers=-1),
        partial(Machine, checkpoint_minutes=-1.0),
    ],
)
def test_machines_that_there_are_not_are_refused(make: partial[Machine]) -> None:
    with pytest.raises(ExperimentError, match=next(iter(make.keywords))):
        make()


def test_learning_rate_scales_warms_up_and_falls() -> None:
    recipe = Recipe(batch_size=64, warmup_epochs=2, milestones=(30, 40))
    assert [recipe.rate_at(epoch) for epoch in (0.0, 1.5, 2.0, 30.0, 49.9)] == pytest.approx([0.05, 0.1, 0.1, 0.01, 0.001])
    cosine = Recipe(schedule="cosine", epochs=10)
    assert [cosine.rate_at(epoch) for epoch in (0.0, 5.0, 10.0)] == pytest.approx([0.05, 0.025, 0])


def test_sampling_of_the_run_is_the_stores(store: ClipStore, tmp_path: Path) -> None:
    """Evaluating a run against a store of another recipe is refused."""
    run = tmp_path / "run"
    train(tiny_experiment(store, sampling=TINY_SAMPLING), run)
    text = (store.path / "store.json").read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in store.path.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    (moved / "store.json").write_text(text.replace('"aligned"', '"raw"'))
    with pytest.raises(RunError, match="recipe"):
        evaluate(run, store=moved)
