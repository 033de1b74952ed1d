"""A trained network and all that is needed to use it, from and to the weights file of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch

from amanet.checkpoint import read_weights, write_weights
from amanet.data.benchmark import OWN_PREFIX, Dataset
from amanet.data.class_names import fault_of
from amanet.data.dataset import ClipSampling, fit_clip
from amanet.data.normalise import get_recipe
from amanet.data.own.dataset import OwnDataset
from amanet.data.published import get_dataset
from amanet.data.store import ClipStore
from amanet.errors import AmanetError, ClipError, LayoutError, RunError, first_of
from amanet.experiment import EXPERIMENT_FILE, Experiment, from_plain, to_plain
from amanet.model import Network, NetworkConfig
from amanet.skeleton import ClipBatch, SkeletonClip, SkeletonLayout, Stream
from amanet.system.places import in_shell, write_file

WEIGHTS_FILE = "weights.safetensors"
WEIGHTS_FORMAT = 2
TRAINED_ON = "trained-on.txt"
"""Of a run: the names of its training clips, a line each."""


@dataclass(frozen=True)
class NetworkCard:
    """What a network was made for: written into its weights file, and compared before it is used.

    Attributes:
        dataset: data set whose raw format it knows.
        normalisation: recipe that its clips were prepared with.
        layout: skeleton of its input.
        class_names: its classes.
        max_bodies: bodies that preparation keeps of a clip at most.
        num_bodies: bodies of a clip as the network sees it.
        stream: what it derives from the joints.
        network: its parts.
        sampling: how clips of any length become its input.

    Raises:
        AmanetError: there is no such data set or recipe, the layout has not as many joints as that of a published data set, or names of
            classes or numbers of bodies are none.
    """

    dataset: str
    normalisation: str
    layout: SkeletonLayout
    class_names: tuple[str, ...]
    max_bodies: int
    num_bodies: int
    stream: Stream
    network: NetworkConfig
    sampling: ClipSampling

    def __post_init__(self) -> None:
        expected = self.source.skeleton
        if self.layout.num_joints != expected.num_joints:
            raise LayoutError(
                f"a network for {self.dataset} takes skeletons of {expected.num_joints} joints", got=f"{self.layout.num_joints} joints"
            )
        get_recipe(self.normalisation)
        if self.num_bodies != self.sampling.bodies:
            raise RunError("a network sees the bodies that are sampled", expected=self.sampling.bodies, got=self.num_bodies)
        if fault := fault_of(self.class_names):
            raise RunError(fault)

    @property
    def source(self) -> Dataset | OwnDataset:
        """What reads raw clips of the kind that the network was trained on."""
        if self.dataset.startswith(OWN_PREFIX):
            return OwnDataset(self.dataset, self.layout, self.class_names, self.max_bodies)
        return get_dataset(self.dataset)

    def build(self) -> Network:
        """A fresh network of this kind; its first weights follow from torch's random state."""
        return Network(self.network, self.layout, len(self.class_names), self.num_bodies, self.stream)

    def batch(self, clips: Sequence[SkeletonClip]) -> ClipBatch:
        """Raw clips, of any length and number of bodies, as the network takes them: prepared just as its training clips were.

        Raises:
            ClipError: there is none.
            LayoutError: one is not of the layout.
        """
        if not clips:
            raise ClipError("there is no clip to make a batch of", expected="one or more")
        recipe = get_recipe(self.normalisation)
        return ClipBatch.stack([fit_clip(recipe.apply(clip, self.layout, self.max_bodies), self.sampling) for clip in clips])


def save_trained(network: Network, card: NetworkCard, run: Path) -> None:
    """Write the weights of a run with their card."""
    description: dict[str, Any] = {"format": WEIGHTS_FORMAT, **to_plain(card)}
    write_weights(run / WEIGHTS_FILE, network.state_dict(), description)


def write_trained_on(run: Path, samples: Sequence[str]) -> None:
    write_file(run / TRAINED_ON, "".join(f"{sample}\n" for sample in samples).encode())


def check_unseen(run: Path, samples: Sequence[str]) -> None:
    """Refuse to score clips that a run was trained on, as a split that was changed since would have it.

    Raises:
        RunError: some of the samples are among its training clips.
    """
    path = run / TRAINED_ON
    seen = set(path.read_bytes().split(b"\n")) if path.is_file() else set()
    if known := [sample for sample in samples if sample.encode() in seen]:
        raise RunError(
            f"{len(known):,} of {len(samples):,} clips to score are clips that this run was trained on, as the split was changed since",
            where=run,
            got=first_of(known),
            cure="train a new run on this store, or put the split back as it was",
        )


def check_experiment(card: NetworkCard, experiment: Experiment, run: Path) -> None:
    """Refuse to take for the weights' own settings what was changed since they were trained.

    Raises:
        RunError: the stream, the network or the sampling differs.
    """
    changed = [name for name in ("stream", "network", "sampling") if getattr(card, name) != getattr(experiment, name)]
    if changed:
        problem = f"{', '.join(changed)} changed since these weights were trained"
        raise RunError(problem, where=run / EXPERIMENT_FILE, cure="put it back as it was, or train a new run")


def open_store(experiment: Experiment, run: Path) -> ClipStore:
    """The store that a run was trained on.

    Raises:
        RunError: it is not where it was.
        StoreError: it is damaged.
    """
    if not experiment.store.exists():
        cure = "write its new place there as store, or give it to amanet evaluate as --store"
        raise RunError("the store of this run is not where it was", where=run / EXPERIMENT_FILE, expected=experiment.store, cure=cure)
    return ClipStore.open(experiment.store)


def load_trained(run: Path | str, device: torch.device | Literal["cpu"] = "cpu") -> tuple[Network, NetworkCard]:
    """The network of a run, ready to evaluate, and its card.

    Args:
        run: folder of a finished training, or its weights file.
        device: where the network is to compute.

    Raises:
        RunError: the run has no weights yet, or they are damaged or of another version.
    """
    run = Path(run)
    path = run / WEIGHTS_FILE if run.is_dir() else run
    if not path.is_file() and not (run / EXPERIMENT_FILE).is_file():
        raise RunError("there is no run here", where=run, expected=f"{WEIGHTS_FILE} in it", cure="name the folder that amanet train wrote")
    if not path.is_file():
        raise RunError(
            "there are no weights here",
            where=path,
            cure=f"name a run whose training has ended, or end it: amanet train --resume {in_shell(run)}",
        )
    tensors, description = read_weights(path)
    version = description.pop("format", None)
    if version != WEIGHTS_FORMAT:
        raise RunError("these weights are of another version of amanet", where=path, expected=f"format {WEIGHTS_FORMAT}", got=version)
    try:
        card: NetworkCard = from_plain(NetworkCard, description, path)
        with torch.device("meta"):
            expected = {name: weight.shape for name, weight in card.build().state_dict().items()}
    except (AmanetError, RuntimeError, MemoryError, OverflowError) as error:  # PyTorch's own are of sizes that no network has
        reason = error.problem if isinstance(error, AmanetError) else type(error).__name__
        raise RunError(f"the network that these weights are of is not described as it should be: {reason}", where=path) from error
    wrong = sorted(name for name in expected.keys() | tensors.keys() if name not in tensors or expected.get(name) != tensors[name].shape)
    if wrong:
        raise RunError(
            "the weights do not fit the network that the file describes", where=path, got=f"other shapes of {', '.join(wrong[:5])}"
        )
    network = card.build()
    network.load_state_dict(tensors)
    return network.to(device).eval(), card


def check_store(card: NetworkCard, store: ClipStore, run: Path) -> None:
    """Refuse clips that are not of the kind that the network was trained on."""
    skeletons = [f"layout {layout.name} of {layout.num_joints} joints" for layout in (card.layout, store.layout)]
    if card.layout.joints != store.layout.joints:
        raise RunError(
            "the store's skeleton is not the one that the network was trained on",
            where=run,
            expected=skeletons[0],
            got=skeletons[1],
            cure="train a network on this store, or name a store of the run's layout; its joints cannot stand for another's",
        )
    kinds = {
        "data set": (card.dataset, store.dataset),
        "recipe": (card.normalisation, store.recipe),
        "layout": (card.layout.name, store.layout.name),
        "coordinates": (card.layout.coordinates, store.layout.coordinates),
        "number of bodies": (card.max_bodies, store.header.max_bodies),
        "class names": (card.class_names, store.class_names),
    }
    for kind, (trained, found) in kinds.items():
        if trained != found:
            raise RunError(
                f"the store's {kind} is not the one that the network was trained on",
                where=run,
                expected=trained,
                got=found,
                cure="prepare the clips again with the run's recipe, or name another store",
            )
    if other := [each.name for each in fields(SkeletonLayout) if getattr(card.layout, each.name) != getattr(store.layout, each.name)]:
        raise RunError(
            "the store's layout was changed since the network was trained",
            where=run,
            expected=f"layout {card.layout.name} as it was",
            got=f"another {', '.join(other)}",
            cure="prepare the clips again with the layout as it was, or train a network on this store",
        )
