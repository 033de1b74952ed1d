"""The verb ``train``: one stream of one network on one benchmark, in call order, exact to resume.

All randomness follows from (seed, epoch, batch): the order of the clips, their augmentation, dropout. So a state is weights, optimiser and
a place in the epoch, and a run that was stopped anywhere ends bit for bit where an undisturbed one does.
"""

import json
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.utilities import rank_zero_only
from torch.optim import SGD

from amanet.checkpoint import StateFolder
from amanet.data.benchmark import Part
from amanet.data.dataset import ClipDataset, held_out_part, split_rows
from amanet.data.published import get_benchmark
from amanet.data.sampler import lost_workers_explained, make_loader
from amanet.data.store import ClipStore
from amanet.errors import RunError, TrainingError, first_of
from amanet.experiment import EXPERIMENT_FILE, Experiment, Machine, Recipe, read_experiment, write_experiment
from amanet.metrics import METRICS_FILE, Accuracy, Scores, accuracy, read_metrics, scores_file, write_scores
from amanet.model import Network, synchronise_statistics
from amanet.skeleton import ClipBatch
from amanet.system.devices import open_devices
from amanet.system.interrupt import StopRequest
from amanet.system.lock import alone
from amanet.system.places import in_shell, make_folder, write_file
from amanet.trained import WEIGHTS_FILE, NetworkCard, open_store, save_trained, write_trained_on
from amanet.training.events import EventLog
from amanet.training.place import Place
from amanet.training.progress import TrainingDisplay
from amanet.training.scoring import score_clips, score_source
from amanet.training.step import TrainingStep, balanced_weights, sum_over_processes

LOCK_FILE = ".training"


def train(experiment: Experiment, run: Path, machine: Machine = Machine()) -> Accuracy:
    """Train a network into a new run folder.

    Leaves ``experiment.yaml``, ``metrics.jsonl``, ``weights.safetensors``, ``scores-PART.parquet`` and the newest training states.

    Args:
        experiment: everything that decides the result.
        run: folder to write, which must not hold a run yet.
        machine: where it computes.

    Returns:
        Accuracy of the last epoch on the held-out part: validation where there are clips for it, else test.

    Raises:
        ExperimentError: the settings contradict each other, the store, or this machine.
        RunError: the folder holds a run already.
        PlaceError: the folder cannot be written.
        TrainingError: the loss, the gradient or a score is not finite; the last good state is kept.
    """
    if (run / EXPERIMENT_FILE).exists():
        raise RunError(
            "there is a run in this folder already",
            where=run,
            cure=f"go on with it: amanet train --resume {in_shell(run)}, or name another folder",
        )
    experiment = replace(experiment, store=experiment.store.absolute())
    return _Training(experiment, ClipStore.open(experiment.store), run, machine).go()


def resume(run: Path, machine: Machine = Machine()) -> Accuracy:
    """Go on with a run that was stopped; a finished one is left as it is and its accuracy returned, also without its training states."""
    if not (run / EXPERIMENT_FILE).is_file():
        raise RunError(
            "this folder holds no run", where=run, expected=f"{EXPERIMENT_FILE} in it", cure="name the folder that amanet train wrote"
        )
    experiment = read_experiment(run / EXPERIMENT_FILE)
    return _Training(experiment, open_store(experiment, run), run, machine).go(resuming=True)


class _Training:
    """A run in progress on this process."""

    def __init__(self, experiment: Experiment, store: ClipStore, run: Path, machine: Machine) -> None:
        self.experiment, self.store, self.run, self.machine = experiment, store, run, machine
        self.recipe: Recipe = experiment.recipe
        self.benchmark = get_benchmark(experiment.benchmark)
        self.rows = split_rows(self.store, self.benchmark, experiment.validation_performers)
        self.held_out: Part = held_out_part(self.rows)
        self.card = NetworkCard(
            dataset=self.store.dataset,
            normalisation=self.store.recipe,
            layout=self.store.layout,
            class_names=self.store.class_names,
            max_bodies=self.store.header.max_bodies,
            num_bodies=experiment.sampling.bodies,
            stream=experiment.stream,
            network=experiment.network,
            sampling=experiment.sampling,
        )
        self.states = StateFolder(run)
        self.place = Place()
        self.stop_request = StopRequest(lambda: self.display.note("stopping after this step ..."))
        self.scores: Scores | None = None
        self.fabric = open_devices(machine.accelerator, experiment.precision, machine.devices, machine.nodes)
        if machine.cuda_graph and not (self.fabric.device.type == "cuda" and self.fabric.world_size == 1):
            got = f"{self.fabric.world_size} of kind {self.fabric.device.type}"
            raise RunError("a CUDA graph is of one GPU", expected="one device of kind cuda", got=got, cure="leave cuda_graph out")

    def go(self, *, resuming: bool = False) -> Accuracy:
        with self._alone(), lost_workers_explained():
            self.fabric.launch()
            return self._train(resuming)

    def _train(self, resuming: bool) -> Accuracy:
        self._build()
        if resuming:
            self._restore()
            if self._is_finished():
                return accuracy(Scores.read(scores_file(self.run, self.held_out)))
        if self.fabric.global_rank == 0:
            self._begin(resuming)
        self.fabric.barrier()
        logs_events = self.machine.tensorboard and self.fabric.global_rank == 0
        self.events = EventLog(self.run, self.place.epoch) if logs_events else None
        clips = {part: len(rows) for part, rows in self.rows.items() if len(rows)}
        with TrainingDisplay(self.fabric.global_rank == 0, self.recipe.epochs) as self.display, self.stop_request:
            self.display.announce(self.experiment, self.network.module, clips, self.fabric.device, resumed_at=self.place.steps)
            while self.place.epoch < self.recipe.epochs:
                self._train_epoch()
                self._end_epoch()
        return self._finish()

    def _alone(self) -> AbstractContextManager[None]:
        """The run folder for this training alone; of its processes, the first takes the lock, before it starts the others."""
        if rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess] (known before the launch, from the environment)
            return nullcontext()
        make_folder(self.run)
        lock = self.run / LOCK_FILE
        return alone(lock, RunError("another process is training this run", where=self.run, cure="wait until it is done, or stop it"))

    def _build(self) -> None:
        torch.manual_seed(self.experiment.seed)
        network = self.card.build()
        network.recompute = self.machine.recompute
        network.shares_absent = not self.machine.cuda_graph
        synchronise_statistics(network, self.experiment.synchronise_statistics and self.fabric.world_size > 1)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        optimizer = SGD(
            trained,
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            nesterov=self.recipe.nesterov and self.recipe.momentum > 0,
        )
        # Gradients of (R x 1) kernels have two equally good memory orders, which DDP remarks on at every start.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.datasets = {
            part: ClipDataset(self.store, rows, self.experiment.sampling, self.experiment.seed, training=part == "train")
            for part, rows in self.rows.items()
        }
        weights = None
        if self.recipe.balance == "weights":
            weights = balanced_weights(self.datasets["train"].labels, len(self.card.class_names)).to(self.fabric.device)
        graph = self.machine.cuda_graph
        self.step = TrainingStep(self.fabric, self.network, self.optimizer, self.recipe, weights, graph=graph)

    def _begin(self, resuming: bool) -> None:
        """What the run folder says of the training to come, and no longer says of fewer epochs."""
        if not resuming:
            write_experiment(self.experiment, self.run / EXPERIMENT_FILE)
        if self.place.steps == 0:
            write_trained_on(self.run, self.datasets["train"].samples)
        for old in (self.run / WEIGHTS_FILE, *self.run.glob("scores-*.parquet"), *self.run.glob("classes-*.csv")):
            old.unlink(missing_ok=True)

    # -- one epoch ------------------------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        self.network.train()
        place, recipe = self.place, self.recipe
        total = num_batches(len(self.rows["train"]), recipe.batch_size)
        self.display.begin_epoch(place.epoch, total, place.batch)
        last_saved = time.monotonic()
        for batch in self._loader("train", shuffle=True):
            rate = recipe.rate_at(place.epoch + place.batch / total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(_step_seed(self.experiment.seed, place.epoch, place.batch, self.fabric.global_rank))
            taken = self.step.take(batch)
            if taken.any_bad:
                self._stop_training(taken.bad)
            place.count(taken)
            self.display.step(place.loss / place.clips, place.correct / place.clips, rate)
            stops = self._any_process(self.stop_request.asked)
            due = self._any_process(time.monotonic() - last_saved > 60 * self.machine.checkpoint_minutes)
            if place.batch < total and (due or stops):
                self._save_state()
                last_saved = time.monotonic()
                if stops:
                    raise KeyboardInterrupt

    def _end_epoch(self) -> None:
        place = self.place
        record: dict[str, Any] = {
            "epoch": place.epoch,
            "part": "train",
            "loss": place.loss / place.clips,
            "top1": place.correct / place.clips,
        }
        place.records.append({**record, "learning_rate": self.optimizer.param_groups[0]["lr"], "steps": place.steps})
        last = place.epoch == self.recipe.epochs - 1
        if (last or (place.epoch + 1) % self.machine.evaluate_every == 0) and len(self.rows[self.held_out]):
            self.display.pause()
            self.scores = self._score(self.held_out)
            found = accuracy(self.scores)
            place.records.append({"epoch": place.epoch, "part": self.held_out, **asdict(found)})
        self.display.end_epoch(place.records)
        place.next_epoch()
        if self.fabric.global_rank == 0:
            lines = "".join(json.dumps(each) + "\n" for each in place.records)
            write_file(self.run / METRICS_FILE, lines.encode())
            if self.events is not None:
                self.events.write(record for record in place.records if record["epoch"] == place.epoch - 1)
        self._save_state()
        if self._any_process(self.stop_request.asked) and not last:
            raise KeyboardInterrupt

    def _finish(self) -> Accuracy:
        """Weights and the scores of the last epoch."""
        scores = self.scores or self._score(self.held_out)
        if self.fabric.global_rank == 0:
            save_trained(self._bare_network(), self.card, self.run)
            write_scores(scores, self.run, self.held_out)
        self.fabric.barrier()
        return accuracy(scores)

    def _is_finished(self) -> bool:
        """Whether weights and scores of all epochs are there, which are written last; the training states may have been deleted since."""
        has_weights, has_scores = (self.run / WEIGHTS_FILE).is_file(), scores_file(self.run, self.held_out).is_file()
        if self.states.files() or not has_weights:
            return has_weights and has_scores and self.place.epoch >= self.recipe.epochs
        epochs = max(record["epoch"] + 1 for record in read_metrics(self.run))
        if epochs < self.recipe.epochs or not has_scores:
            got = f"weights of {epochs}" + ("" if has_scores else ", without scores")
            cure = "amanet evaluate scores its weights; for more epochs train into a new folder"
            expected = f"a state-*.pt on the way to {self.recipe.epochs} epochs"
            raise RunError("this run has nothing to go on from", where=self.run, expected=expected, got=got, cure=cure)
        return True

    # -- parts ----------------------------------------------------------------------------------------------------------------------

    def _bare_network(self) -> Network:
        module = self.network.module
        inner = getattr(module, "module", module)
        assert isinstance(inner, Network)
        return inner

    def _loader(self, part: Part, *, shuffle: bool) -> Iterator[ClipBatch]:
        return make_loader(
            self.datasets[part],
            batch_size=self.recipe.batch_size,
            seed=self.experiment.seed,
            epoch=self.place.epoch,
            start_batch=self.place.batch if shuffle else 0,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            shuffle=shuffle,
            balanced=part == "train" and shuffle and self.recipe.balance == "sampler",
            workers=self.machine.loader_workers,
            pin_memory=self.fabric.device.type == "cuda",
        )

    def _score(self, part: Part) -> Scores:
        source = score_source(self.experiment, self.card, part)
        samples = self.datasets[part].samples
        return score_clips(self.fabric, self.network, self._loader(part, shuffle=False), self.card.class_names, source, samples)

    def _any_process(self, yes: bool) -> bool:
        """Whether any process says yes: all of them learn it, as all of them must save or stop together."""
        return sum_over_processes(self.fabric, float(yes)) > 0

    def _stop_training(self, bad: list[str]) -> None:
        states = self.states.files()
        raise TrainingError(
            f"the {'loss' if bad else 'gradient, or the loss of another process,'} is not finite after {self.place.steps} steps",
            where=self.run,
            got=f"clips {first_of(bad)}" if bad else None,
            cure=f"lower recipe.learning_rate{' or look at these clips with amanet show' if bad else ''}; "
            + (f"the last good state is {states[-1].path.name}" if states else "no state had been written yet"),
        )

    # -- resuming --------------------------------------------------------------------------------------------------------

    def _save_state(self) -> None:
        if self.fabric.global_rank == 0:
            parts = {"network": self._bare_network().state_dict(), "optimizer": self.optimizer.state_dict()}
            self.states.save(self.place.steps, {"place": self.place.to_state(), "clips": self._clips(), **parts})
        self.fabric.barrier()

    def _clips(self) -> dict[str, Any]:
        """What decides which clips a run sees and in which order, as it stands in a training state."""
        experiment, recipe = self.experiment, self.recipe
        return {
            "store": self.store.header.content,
            "benchmark": experiment.benchmark,
            "validation_performers": list(experiment.validation_performers),
            "seed": experiment.seed,
            "recipe.batch_size": recipe.batch_size,
            "recipe.balance": recipe.balance,
        }

    def _check_clips(self, begun: object) -> None:
        """Refuses to go on with other clips, or in another order, than the run has seen so far."""
        now = self._clips()
        changed = [name for name, value in now.items() if not isinstance(begun, dict) or begun.get(name) != value]
        if changed:
            cure = f"put them back as they were ({EXPERIMENT_FILE}; the store as it was prepared), or train into a new folder"
            raise RunError(f"{', '.join(changed)} changed while the run was stopped", where=self.run, cure=cure)

    def _restore(self) -> None:
        if not self.states.files():
            return  # stopped before the first state was written: the first weights follow from the seed
        state, damaged = self.states.load()
        if damaged and self.fabric.global_rank == 0:
            names = ", ".join(path.name for path in damaged)
            TrainingDisplay.warn(f"{names} is damaged and was passed over; training goes on from the state before it")
        self._check_clips(state.get("clips"))
        try:
            self._bare_network().load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.place = Place.of_state(state["place"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            cure = f"put {EXPERIMENT_FILE} back as it was, resume with the version of amanet that began it, or train into a new folder"
            raise RunError("the training state does not fit the settings of the run", where=self.run, cure=cure) from error


def num_batches(clips: int, batch_size: int) -> int:
    """Steps of an epoch."""
    return math.ceil(clips / batch_size)


def _step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)[0] >> 1)
