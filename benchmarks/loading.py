"""Clips a second from a store to batches as a network takes them, beside the padded array that other tools of the field keep.

A store of synthetic clips of real length (32 to 300 frames, two people in a fifth) and, of the same clips, one array of float32 in which
every clip is two bodies of 300 frames, read by a plain `Dataset` through a memory map. Turn by turn, with the files in the page cache:
``python benchmarks/loading.py --clips 2000 --workers 2``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from recordings import file_names
from torch.utils.data import DataLoader, Dataset

from amanet.data.dataset import ClipDataset, ClipSampling
from amanet.data.published import get_dataset
from amanet.data.sampler import make_loader
from amanet.data.store import ClipStore
from amanet.data.store_writer import StoreWriter, encode_clips
from amanet.skeleton import SkeletonClip, load_layout

FRAMES, BODIES, BATCH = 300, 2, 32


class PaddedArray(Dataset[tuple[np.ndarray, int]]):
    """One array (clip, coord, frame, joint, body), mapped into memory."""

    def __init__(self, path: Path) -> None:
        self.clips = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.array(self.clips[index]), 0


def draw_clips(number: int) -> Iterable[SkeletonClip]:
    rng = np.random.default_rng(0)
    for name in file_names(number):
        frames = int(np.clip(rng.lognormal(np.log(77), 0.4), 32, FRAMES))
        joints = rng.normal(size=(2 if rng.uniform() < 0.2 else 1, frames, 25, 3)).astype(np.float32)
        yield SkeletonClip(Path(name).stem, joints, np.ones(joints.shape[:-1], bool), 0)


def write(folder: Path, number: int) -> tuple[ClipStore, Path]:
    """The clips as a store and as a padded array."""
    source = get_dataset("ntu120")
    padded = np.lib.format.open_memmap(folder / "padded.npy", "w+", np.float32, (number, 3, FRAMES, 25, BODIES))
    writer = StoreWriter(
        folder / "store", dataset="ntu120", layout=load_layout("ntu25"), recipe="aligned", class_names=source.class_names, max_bodies=BODIES
    )
    with writer:
        for index, clip in enumerate(draw_clips(number)):
            writer.extend(encode_clips([clip], [source.parse(clip.sample)]))
            padded[index, :, : clip.num_frames, :, : clip.num_bodies] = clip.joints.transpose(3, 1, 2, 0)
    padded.flush()
    return ClipStore.open(folder / "store"), folder / "padded.npy"


def rate(batches: Iterable[object], clips: int) -> float:
    """Clips a second, the start of the workers left out."""
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    for _ in iterator:
        pass
    return (clips - BATCH) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3, help="after one that warms up")
    arguments = parser.parse_args()
    number, workers = arguments.clips, arguments.workers
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store, padded = write(Path(folder), number)
        rows = np.arange(number)
        turned = ClipSampling(frames=FRAMES, fit="resize", rotate=15.0)

        def ours(sampling: ClipSampling, *, training: bool) -> Iterable[object]:
            dataset = ClipDataset(store, rows, sampling, 0, training=training)
            return make_loader(dataset, batch_size=BATCH, seed=0, epoch=0, shuffle=True, workers=workers)

        ways: dict[str, Callable[[], Iterable[object]]] = {
            "padded array": lambda: DataLoader(PaddedArray(padded), BATCH, shuffle=True, num_workers=workers),
            "store, replayed": lambda: ours(ClipSampling(frames=FRAMES), training=True),
            "store, cut, resized and turned": lambda: ours(turned, training=True),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(arguments.turns + 1):
            for name, batches in ways.items():
                found = rate(batches(), number)
                if turn:
                    rates[name].append(found)
        print(f"{number} clips to {BODIES} bodies of {FRAMES} frames, batches of {BATCH}, {workers} workers")
        for name, found in rates.items():
            ratios = [mine / theirs for mine, theirs in zip(found, rates["padded array"], strict=True)]
            print(f"  {name:<32} {statistics.median(found):8.0f} clips/s   {statistics.median(ratios):5.2f} times the first")
        sizes = [sum(path.stat().st_size for path in Path(folder).glob(pattern)) / number / 1e3 for pattern in ("store/*", "padded.npy")]
        print(f"  on disk, a clip: store {sizes[0]:.1f} kB, padded array {sizes[1]:.1f} kB")


if __name__ == "__main__":
    main()
