"""Which clips make up which batch: a pure function of the seed and the epoch, whatever the workers and processes."""

import math
import multiprocessing
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset, Sampler

from amanet.data.dataset import ClipDataset
from amanet.errors import AmanetError, ExperimentError, RunError
from amanet.skeleton import ClipBatch


class EpochBatches(Sampler[list[tuple[int, ...]]]):
    """The batches of one epoch, each a list of (epoch, position in the data set).

    The clips are shuffled and cut into as few batches as needed, of nearly equal size, so that each clip comes once and no batch is tiny.
    Balanced by their labels, as many clips are drawn that each class comes equally often; an index of three numbers is then a clip that
    comes again, and the third how often it came before.
    Each batch is cut the same way over the processes: together they see the batch that one process would.

    Args:
        num_clips: clips of the data set.
        batch_size: clips of a batch over all processes, at most.
        seed: of the order.
        epoch: which epoch, from 0.
        start_batch: batches to leave out because they are done already.
        rank: which process this is.
        world_size: how many there are.
        shuffle: false to keep the order, for evaluation.
        balanced_labels: labels of the clips, to show each class equally often.

    Raises:
        ExperimentError: no clip, or batches too small to give every process one.
    """

    def __init__(
        self,
        num_clips: int,
        batch_size: int,
        seed: int,
        epoch: int,
        *,
        start_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        balanced_labels: Int[np.ndarray, " clip"] | None = None,
    ) -> None:
        if num_clips < 1 or batch_size < 1 or not 0 <= rank < world_size:
            raise ExperimentError("there is nothing to make batches of", got=f"{num_clips} clips, batch size {batch_size}, rank {rank}")
        self.num_batches = -(-num_clips // batch_size)
        if num_clips // self.num_batches < world_size:
            raise ExperimentError(
                f"a batch has fewer clips than there are processes ({world_size})",
                got=f"{num_clips} clips in batches of at most {batch_size}",
                cure="use larger batches or fewer processes",
            )
        self.num_clips = num_clips
        self.seed = seed
        self.epoch = epoch
        self.start_batch = start_batch
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.balanced_labels = balanced_labels

    def __len__(self) -> int:
        return max(0, self.num_batches - self.start_batch)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        order = np.arange(self.num_clips)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.balanced_labels is not None:
            order = draw_balanced(self.balanced_labels, rng)
        if self.shuffle:
            rng.shuffle(order)
        came: Counter[int] = Counter()
        indices: list[tuple[int, ...]] = []
        for position in order.tolist():
            indices.append((self.epoch, position, came[position]) if came[position] else (self.epoch, position))
            came[position] += 1
        for batch in np.array_split(np.arange(self.num_clips), self.num_batches)[self.start_batch :]:
            yield [indices[place] for place in np.array_split(batch, self.world_size)[self.rank].tolist()]


def draw_balanced(labels: Int[np.ndarray, " clip"], rng: np.random.Generator) -> Int[np.ndarray, " clip"]:
    """As many positions as there are labels, of each class equally many, give or take one.

    Within a class each clip comes equally often, give or take one: those of a class that is larger than its share come once or not at all.
    """
    classes = rng.permutation(np.unique(labels))
    shares = [len(share) for share in np.array_split(np.arange(len(labels)), len(classes))]
    drawn = []
    for label, share in zip(classes, shares, strict=True):
        clips = np.flatnonzero(labels == label)
        rounds = [rng.permutation(clips) for _ in range(math.ceil(share / len(clips)))]
        drawn.append(np.concatenate([clips[:0], *rounds])[:share])
    return np.concatenate(drawn)


def make_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    balanced: bool = False,
    start_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[ClipBatch]:
    """The batches of one epoch, while every global random number generator is left alone.

    Workers are started anew each epoch and never forked from a process that runs threads: from a clean server process where the system
    has one (Linux, macOS), spawned elsewhere. So a script that uses workers guards its start with ``if __name__ == "__main__"``.

    Args:
        dataset: the clips.
        batch_size: see :class:`EpochBatches`, like all down to ``world_size``.
        seed: of the order.
        epoch: which epoch, from 0.
        shuffle: false to keep the order, for evaluation.
        balanced: show each class equally often.
        start_batch: batches that are done already.
        rank: which process this is.
        world_size: how many there are.
        workers: processes that prepare batches; 0 prepares them in this one. The batches are the same.
        pin_memory: put batches into page-locked memory, for a GPU.

    Raises:
        StoreError: the store was replaced or damaged since it was opened; raised as the batches are taken.
    """
    batches = EpochBatches(
        len(dataset),
        batch_size,
        seed,
        epoch,
        start_batch=start_batch,
        rank=rank,
        world_size=world_size,
        shuffle=shuffle,
        balanced_labels=dataset.labels if balanced else None,
    )
    context = None
    if workers:
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        context.set_forkserver_preload([__name__])
    loader = DataLoader(
        _Batches(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        multiprocessing_context=context,
        generator=torch.Generator().manual_seed(0),
    )
    return _raised(loader)


class _Batches(Dataset[ClipBatch | Exception]):
    """A data set whose items are batches, or what went wrong: raised in a worker it would come as text with tracebacks in it.

    It is opened when it is first asked, so that this can go wrong in a worker, too.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        self._dataset: ClipDataset | None = dataset

    def __getstate__(self) -> bytes:
        return pickle.dumps(self._dataset)  # from this process to one that it starts, as the loader sends everything; never a file

    def __setstate__(self, parcel: bytes) -> None:
        self._dataset, self._parcel = None, parcel

    def __getitems__(self, indices: Sequence[tuple[int, ...]]) -> ClipBatch | Exception:
        try:
            dataset = self._dataset = self._dataset if self._dataset is not None else pickle.loads(self._parcel)
            return ClipBatch.stack([dataset[index] for index in indices])
        except (AmanetError, OSError) as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch


def _raised(batches: Iterable[ClipBatch | Exception]) -> Iterator[ClipBatch]:
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        yield batch


@contextmanager
def lost_workers_explained() -> Iterator[None]:
    """Within it the end of a worker that nobody asked for, which torch may tell at any moment, is a RunError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        cure = "take fewer --loader_workers, or 0, and go on with --resume"
        raise RunError("a process that reads clips was killed, most likely for its memory", got=error, cure=cure) from error
