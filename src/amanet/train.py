"""The verb ``train``: one stream of one network on one benchmark, in call order, exact to resume.

All randomness follows from (seed, epoch, batch): the order of the clips, their augmentation, dropout. So a state is weights, optimiser and
a place in the epoch, and a run that was stopped anywhere ends bit for bit where an undisturbed one does.
"""

import json
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from amanet.checkpoint import StateFolder, make_folder, write_file
from amanet.data.benchmark import get_benchmark
from amanet.data.dataset import ClipDataset, Part, split_rows
from amanet.data.sampler import make_loader
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError, RunError, TrainingError
from amanet.experiment import EXPERIMENT_FILE, METRICS_FILE, Experiment, Recipe, read_experiment, write_experiment
from amanet.metrics import Accuracy, Scores, accuracy
from amanet.model import Network, synchronise_statistics
from amanet.progress import TrainingDisplay
from amanet.scoring import score_clips, score_source
from amanet.skeleton import ClipBatch
from amanet.trained import NetworkCard, save_trained


@dataclass(frozen=True)
class Machine:
    """Where a run computes and how it keeps itself safe; nothing here but the number of devices can change its result.

    Attributes:
        accelerator: ``auto`` takes a GPU where there is one.
        devices: devices of each node, one process a device; for their effect see ``Experiment.synchronise_statistics``.
        nodes: machines; start the same command on each under torchrun.
        loader_workers: processes that read clips beside the one that trains.
        checkpoint_minutes: a state is kept this often, and at the end of each epoch.
        evaluate_every: epochs between looks at the held-out clips; the last epoch is always evaluated.
        tensorboard: write TensorBoard events too.
    """

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    nodes: int = 1
    loader_workers: int = 0
    checkpoint_minutes: float = 10.0
    evaluate_every: int = 5
    tensorboard: bool = False


@dataclass
class Place:
    """How far a run has come: the next batch of the next epoch, and what this epoch has summed up so far."""

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Begin another epoch."""
        self.epoch += 1
        self.batch = 0
        self.loss = self.correct = self.clips = 0.0


def train(experiment: Experiment, run: Path, machine: Machine = Machine()) -> Accuracy:
    """Train a network into a new run folder.

    Leaves ``experiment.yaml``, ``metrics.jsonl``, ``weights.safetensors``, ``scores-PART.parquet`` and the newest training states.

    Args:
        experiment: everything that decides the result.
        run: folder to write, which must not hold a run yet.
        machine: where it computes.

    Returns:
        Accuracy of the last epoch on the held-out part: validation performers where there are any, else the test part.

    Raises:
        ExperimentError: the settings contradict each other or the store.
        RunError: the folder holds a run already, or cannot be written.
        TrainingError: the loss is not finite; the last good state is kept.
    """
    if (run / EXPERIMENT_FILE).exists():
        raise RunError(
            "there is a run in this folder already", where=run, cure=f"go on with it: amanet train --resume {run}, or name another folder"
        )
    return _Training(experiment, run, machine).go()


def resume(run: Path, machine: Machine = Machine()) -> Accuracy:
    """Go on with a run that was stopped; a finished one is left as it is and its accuracy returned."""
    if not (run / EXPERIMENT_FILE).is_file():
        raise RunError(
            "this folder holds no run", where=run, expected=f"{EXPERIMENT_FILE} in it", cure="name the folder that amanet train wrote"
        )
    return _Training(read_experiment(run / EXPERIMENT_FILE), run, machine).go(resuming=True)


class _Training:
    """A run in progress on this process."""

    def __init__(self, experiment: Experiment, run: Path, machine: Machine) -> None:
        self.experiment, self.run, self.machine = experiment, run, machine
        self.recipe: Recipe = experiment.recipe
        self.store = ClipStore.open(experiment.store)
        self.benchmark = get_benchmark(experiment.benchmark)
        self.rows = split_rows(self.store, self.benchmark, experiment.validation_performers)
        self.held_out: Part = "validation" if experiment.validation_performers else "test"
        self.card = NetworkCard(
            dataset=self.store.dataset,
            normalisation=self.store.recipe,
            layout=self.store.layout,
            class_names=self.store.class_names,
            num_bodies=experiment.sampling.bodies,
            stream=experiment.stream,
            network=experiment.network,
            sampling=experiment.sampling,
        )
        self.states = StateFolder(run)
        self.place = Place()
        self.stop_asked = False
        self.scores: Scores | None = None
        self.fabric = Fabric(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            precision=experiment.precision,
            strategy="ddp" if machine.devices * machine.nodes > 1 else "auto",
        )

    def go(self, *, resuming: bool = False) -> Accuracy:
        self.fabric.launch()
        self._build()
        if resuming:
            self._restore()
        elif self.fabric.global_rank == 0:
            make_folder(self.run)
            write_experiment(self.experiment, self.run / EXPERIMENT_FILE)
        self.fabric.barrier()
        self.events = open_event_writer(self.run, self.place.epoch) if self.machine.tensorboard and self.fabric.global_rank == 0 else None
        clips = {part: len(rows) for part, rows in self.rows.items() if len(rows)}
        with TrainingDisplay(self.fabric.global_rank == 0, self.recipe.epochs) as self.display, self._stop_signals():
            self.display.announce(self.experiment, self.network.module, clips, self.fabric.device, resumed_at=self.place.steps)
            while self.place.epoch < self.recipe.epochs:
                self._train_epoch()
                self._end_epoch()
        return self._finish()

    def _build(self) -> None:
        torch.manual_seed(self.experiment.seed)
        network = self.card.build()
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

    # -- one epoch ------------------------------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        self.network.train()
        place, recipe = self.place, self.recipe
        total = num_batches(len(self.rows["train"]), recipe.batch_size)
        self.display.begin_epoch(place.epoch, total, place.batch)
        last_saved = time.monotonic()
        for batch in self._loader("train", shuffle=True):
            rate = learning_rate(recipe, place.epoch + place.batch / total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(_step_seed(self.experiment.seed, place.epoch, place.batch, self.fabric.global_rank))
            self._step(batch)
            place.batch += 1
            place.steps += 1
            self.display.step(place.loss / place.clips, place.correct / place.clips, rate)
            due = time.monotonic() - last_saved > 60 * self.machine.checkpoint_minutes
            if place.batch < total and (due or self._stop_is_asked()):
                self._save_state()
                last_saved = time.monotonic()
                if self.stop_asked:
                    raise KeyboardInterrupt

    def _step(self, batch: ClipBatch) -> None:
        """One optimiser step: the batch's mean gradient over all devices and micro batches."""
        batch = batch.to(self.fabric.device, non_blocking=True)
        clips = self._sum_over_processes(float(len(batch)))
        share = math.ceil(math.ceil(clips / self.fabric.world_size) / self.recipe.micro_batch)
        pieces = np.array_split(np.arange(len(batch)), share)
        loss_sum, correct = torch.zeros((), device=self.fabric.device), torch.zeros((), device=self.fabric.device)
        bad: list[str] = []
        for index, piece in enumerate(pieces):
            part = batch.select(slice(int(piece[0]), int(piece[-1]) + 1))
            waits = index < len(pieces) - 1 and self.fabric.world_size > 1
            with self.fabric.no_backward_sync(self.network) if waits else nullcontext():
                logits = self.network(part.joints, part.present)
                logits = logits.float() if logits.dtype == torch.bfloat16 else logits
                losses = F.cross_entropy(logits, part.label, reduction="none", label_smoothing=self.recipe.label_smoothing)
                # Processes average their gradients, so each counts its clips against an even share.
                self.fabric.backward(losses.sum() * (self.fabric.world_size / clips))
            bad += _not_finite(part, losses)
            loss_sum += losses.detach().sum()
            correct += (logits.argmax(-1) == part.label).sum()
        if self._sum_over_processes(float(len(bad))):
            self._stop_training(bad)
        if self.recipe.clip_gradient is not None:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.recipe.clip_gradient)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.place.loss += self._sum_over_processes(loss_sum.item())
        self.place.correct += self._sum_over_processes(correct.item())
        self.place.clips += clips

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
            self.scores = self._score(self.held_out)
            found = accuracy(self.scores)
            place.records.append({"epoch": place.epoch, "part": self.held_out, **asdict(found)})
        self.display.end_epoch(place.records)
        place.next_epoch()
        if self.fabric.global_rank == 0:
            lines = "".join(json.dumps(each) + "\n" for each in place.records)
            write_file(self.run / METRICS_FILE, lines.encode())
            self._log_events()
        self._save_state()
        if self._stop_is_asked() and not last:
            raise KeyboardInterrupt

    def _finish(self) -> Accuracy:
        """Weights and the scores of the last epoch."""
        scores = self.scores or self._score(self.held_out)
        if self.fabric.global_rank == 0:
            save_trained(self._bare_network(), self.card, self.run)
            scores.write(self.run / f"scores-{self.held_out}.parquet")
        self.fabric.barrier()
        return accuracy(scores)

    def _log_events(self) -> None:
        if self.events is None:
            return
        for record in self.place.records:
            for name, value in record.items():
                if record["epoch"] == self.place.epoch - 1 and name not in ("epoch", "part"):
                    self.events.add_scalar(f"{record['part']}/{name}", value, record["epoch"])
        self.events.flush()

    # -- parts ----------------------------------------------------------------------------------------------------------------------

    def _bare_network(self) -> Network:
        module = self.network.module
        inner = getattr(module, "module", module)
        assert isinstance(inner, Network)
        return inner

    def _loader(self, part: Part, *, shuffle: bool) -> Any:
        return make_loader(
            self.datasets[part],
            batch_size=self.recipe.batch_size,
            seed=self.experiment.seed,
            epoch=self.place.epoch,
            start_batch=self.place.batch if shuffle else 0,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            shuffle=shuffle,
            workers=self.machine.loader_workers,
            pin_memory=self.fabric.device.type == "cuda",
        )

    def _score(self, part: Part) -> Scores:
        source = score_source(self.experiment, self.card, part)
        samples = self.datasets[part].samples
        return score_clips(self.fabric, self.network, self._loader(part, shuffle=False), self.card.class_names, source, samples)

    def _sum_over_processes(self, value: float) -> float:
        if self.fabric.world_size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(total)
        return total.item()

    def _stop_training(self, bad: list[str]) -> None:
        states = self.states.files()
        raise TrainingError(
            f"the loss is not finite after {self.place.steps} steps",
            where=self.run,
            got=f"clips {', '.join(bad[:10])}" + (" ..." if len(bad) > 10 else "") if bad else "clips of another process",
            cure="lower recipe.learning_rate or look at these clips with amanet show; "
            + (f"the last good state is {states[-1].path.name}" if states else "no state had been written yet"),
        )

    # -- stopping and resuming --------------------------------------------------------------------------------------------------------

    def _save_state(self) -> None:
        if self.fabric.global_rank == 0:
            place = {**asdict(self.place), "records": json.dumps(self.place.records)}
            state = {"place": place, "network": self._bare_network().state_dict(), "optimizer": self.optimizer.state_dict()}
            self.states.save(self.place.steps, state)
        self.fabric.barrier()

    def _restore(self) -> None:
        if not self.states.files():
            return  # stopped before the first state was written: the first weights follow from the seed
        state, damaged = self.states.load()
        if damaged and self.fabric.global_rank == 0:
            names = ", ".join(path.name for path in damaged)
            TrainingDisplay.warn(f"{names} is damaged and was passed over; training goes on from the state before it")
        try:
            self._bare_network().load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.place = Place(**{**state["place"], "records": json.loads(state["place"]["records"])})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            cure = f"put {EXPERIMENT_FILE} back as it was, or train into a new folder"
            raise RunError("the training state does not fit the settings of the run", where=self.run, cure=cure) from error

    def _stop_is_asked(self) -> bool:
        if self._sum_over_processes(float(self.stop_asked)):
            self.stop_asked = True
        return self.stop_asked

    @contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM let the step in hand end and a state be written; a second Ctrl-C stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.stop_asked:
                raise KeyboardInterrupt
            self.stop_asked = True
            self.display.note("stopping after this step ...")

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def num_batches(clips: int, batch_size: int) -> int:
    """Steps of an epoch."""
    return math.ceil(clips / batch_size)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The rate at a moment of training, counted in epochs and parts of them."""
    rate = recipe.learning_rate * recipe.batch_size / recipe.reference_batch
    if epoch < recipe.warmup_epochs:
        rate *= (math.floor(epoch) + 1) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    return rate * recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)


def open_event_writer(run: Path, first_epoch: int) -> Any:
    """A writer of TensorBoard events into RUN/tensorboard; what an earlier try wrote from ``first_epoch`` on is dropped.

    Raises:
        ExperimentError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ExperimentError(
            "TensorBoard is not installed", cure='pip install "amanet[tensorboard]", or leave out --tensorboard'
        ) from error
    return SummaryWriter(str(run / "tensorboard"), purge_step=first_epoch)


def _step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)[0] >> 1)


def _not_finite(batch: ClipBatch, losses: Tensor) -> list[str]:
    """The clips whose loss is not finite."""
    if bool(losses.detach().sum().isfinite()):
        return []
    wrong = (~losses.detach().isfinite()).tolist()
    return [sample for sample, is_wrong in zip(batch.sample, wrong, strict=True) if is_wrong]
