"""What a run is: everything that decides its result, as one frozen value, and the file it is kept in."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from amanet.data.dataset import ClipSampling
from amanet.data.published import get_benchmark
from amanet.errors import AmanetError, ExperimentError
from amanet.model import NetworkConfig
from amanet.settings_file import check_places, read_settings
from amanet.skeleton import Stream
from amanet.system.devices import Accelerator, Precision
from amanet.system.places import write_file

EXPERIMENT_FILE = "experiment.yaml"

LARGEST_SEED = 2**63 - 1

Balance = Literal["none", "weights", "sampler"]


@dataclass(frozen=True)
class Recipe:
    """How the network is trained: SGD on cross entropy (the paper's section Implementations).

    Attributes:
        epochs: times that every training clip is seen.
        batch_size: clips of one step, over all devices together.
        micro_batch: clips that a device holds at once; a larger share of a batch is accumulated. BN sees one micro batch at a time.
        learning_rate: for a batch of ``reference_batch`` clips; it is scaled linearly to ``batch_size``.
        reference_batch: see ``learning_rate``.
        schedule: ``steps`` multiplies the rate by ``decay`` at ``milestones``; ``cosine`` lets it fall to zero.
        milestones: epochs, counted from 0, that begin with a lower rate.
        decay: see ``schedule``.
        warmup_epochs: epochs over which the rate climbs to its height, an equal step each epoch; the paper names none.
        momentum: of SGD.
        nesterov: Nesterov's momentum, as MS-G3D trains.
        weight_decay: of SGD, on every weight.
        label_smoothing: part of the target spread over all classes; the paper names none.
        clip_gradient: longest gradient, by its norm over all weights; none by default.
        balance: for classes of unequal size. ``weights``: a training clip weighs N / (C n) in the loss, for N clips of C classes and n of
            its class. ``sampler``: an epoch shows each class equally often and as many clips as without it, so that clips of small
            classes come several times, and those of large ones not in every epoch.
    """

    epochs: int = 50
    batch_size: int = 32
    micro_batch: int = 16
    learning_rate: float = 0.05
    reference_batch: int = 32
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = (30, 40)
    decay: float = 0.1
    warmup_epochs: int = 0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    clip_gradient: float | None = None
    balance: Balance = "none"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "micro_batch", "learning_rate", "reference_batch"):
            if not 0 < getattr(self, name) < math.inf:
                raise ExperimentError(f"recipe.{name} makes no training", expected="more than 0", got=getattr(self, name))
        _check_bounds(
            self,
            "recipe.",
            {
                "decay": ("more than 0", 0 < self.decay < math.inf),
                "warmup_epochs": ("0 or more", self.warmup_epochs >= 0),
                "momentum": ("0 <= x < 1", 0 <= self.momentum < 1),
                "weight_decay": ("0 or more", 0 <= self.weight_decay < math.inf),
                "label_smoothing": ("0 <= x < 1, the part of the target that is spread", 0 <= self.label_smoothing < 1),
                "clip_gradient": ("more than 0, or null", self.clip_gradient is None or self.clip_gradient > 0),
            },
        )
        if self.schedule == "steps" and (list(self.milestones) != sorted(set(self.milestones)) or min(self.milestones, default=1) < 1):
            raise ExperimentError("recipe.milestones are epochs of 1 or more, in rising order", got=self.milestones)
        if self.schedule == "steps" and self.milestones and self.milestones[-1] >= self.epochs:
            raise ExperimentError(
                "a milestone lies behind the last epoch, so its lower learning rate would never be used",
                expected=f"recipe.milestones below recipe.epochs = {self.epochs}",
                got=self.milestones,
            )

    def rate_at(self, epoch: float) -> float:
        """The learning rate at a moment of training, counted in epochs and parts of them."""
        rate = self.learning_rate * self.batch_size / self.reference_batch
        if epoch < self.warmup_epochs:
            rate *= (math.floor(epoch) + 1) / self.warmup_epochs
        if self.schedule == "cosine":
            return rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return rate * self.decay ** sum(epoch >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the result of a run.

    Attributes:
        benchmark: the data set's protocol, which splits its clips into training and test.
        store: folder that ``amanet prepare`` wrote.
        stream: what the network sees of the joints.
        network: the network.
        sampling: how clips of any length become the network's input.
        recipe: how it is trained.
        validation_performers: training performers kept out of training, to choose settings on without touching the test part.
        seed: of the first weights, the order of the clips and their augmentation.
        precision: of the arithmetic.
        synchronise_statistics: whether BN looks at the micro batches of all devices together. Where a batch is one micro batch, and
            without dropout, the result then does not depend on the number of devices.
    """

    benchmark: str
    store: Path
    stream: Stream = "joint"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    sampling: ClipSampling = field(default_factory=ClipSampling)
    recipe: Recipe = field(default_factory=Recipe)
    validation_performers: tuple[int, ...] = ()
    seed: int = 0
    precision: Precision = "32-true"
    synchronise_statistics: bool = True

    def __post_init__(self) -> None:
        get_benchmark(self.benchmark)
        _check_bounds(self, "", {"seed": (f"0 to {LARGEST_SEED}", 0 <= self.seed <= LARGEST_SEED)})


@dataclass(frozen=True)
class Machine:
    """Where a run computes and how it keeps itself safe.

    Only the number of devices changes its result by more than rounding, and perhaps ``cuda_graph``, for which that was not measured.

    Attributes:
        accelerator: ``auto`` takes a GPU where there is one.
        devices: devices of each node, one process a device; for their effect see ``Experiment.synchronise_statistics``.
        nodes: machines; start the same command on each under torchrun.
        loader_workers: processes that read clips beside the one that trains.
        checkpoint_minutes: a state is kept this often, and at the end of each epoch.
        evaluate_every: epochs between looks at the held-out clips; the last epoch is always evaluated.
        tensorboard: write TensorBoard events too.
        recompute: compute what the gradient needs of each block again instead of keeping it: much less memory for a quarter more time.
        cuda_graph: replay a training step on one GPU as a CUDA graph, which pays where micro batches are small; absent bodies are then
            computed like present ones.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    nodes: int = 1
    loader_workers: int = 0
    checkpoint_minutes: float = 10.0
    evaluate_every: int = 5
    tensorboard: bool = False
    recompute: bool = False
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        _check_bounds(
            self,
            "",
            {
                "devices": ("1 or more", self.devices >= 1),
                "nodes": ("1 or more", self.nodes >= 1),
                "loader_workers": ("0 or more", self.loader_workers >= 0),
                "checkpoint_minutes": ("0 or more", self.checkpoint_minutes >= 0),
                "evaluate_every": ("1 or more", self.evaluate_every >= 1),
            },
        )


def _check_bounds(settings: Any, prefix: str, bounds: dict[str, tuple[str, bool]]) -> None:
    """Refuses the first setting that is not as expected."""
    for name, (expected, holds) in bounds.items():
        if not holds:
            raise ExperimentError(f"{prefix}{name} is out of its bounds", expected=expected, got=getattr(settings, name))


def to_plain(value: Any) -> Any:
    """A dataclass as dicts, lists, strings and numbers, as YAML and JSON hold them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: to_plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def differing(one: dict[str, Any], other: dict[str, Any], parents: str = "") -> Iterator[str]:
    """Dotted names of the settings in which two plain experiments differ."""
    for name, value in one.items():
        if isinstance(value, dict):
            yield from differing(value, other[name], f"{parents}{name}.")
        elif value != other[name]:
            yield parents + name


def from_plain(kind: type, plain: Any, where: Path | str) -> Any:
    """The dataclass that :func:`to_plain` wrote, every field checked by its type.

    Raises:
        ExperimentError: a field is unknown, missing or of the wrong type, or its value contradicts another.
    """
    check_places(signature(kind).parameters, plain, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "value")
    try:
        return parser.instantiate(parser.parse_object({"value": plain}))["value"]
    except (ArgumentError, TypeError, ValueError, OverflowError) as error:
        raise ExperimentError(f"these settings cannot be read: {error}", where=where) from error
    except AmanetError as error:
        error.where = str(where)
        raise


def write_experiment(experiment: Experiment, path: Path) -> None:
    """Every setting, resolved, as YAML."""
    write_file(path, yaml.safe_dump(to_plain(experiment), sort_keys=False).encode())


def read_experiment(path: Path) -> Experiment:
    """The experiment of a run folder's ``experiment.yaml``."""
    if not path.is_file():
        raise ExperimentError(
            "there is no run here", where=path.parent, expected=f"{path.name} in it", cure="name a folder that amanet train wrote"
        )
    plain = read_settings(path, "the settings of the run", "name a folder that amanet train wrote")
    return from_plain(Experiment, plain, path)
