"""Every figure that waits for a GPU, in one call of under ten minutes: ``python benchmarks/gpu.py --json figures.json``.

Ceilings of the card, then training and inference of AMANet in float32 and bfloat16 at several batches, and compiled; MS-G3D in its
published form and AMANet to the letter beside them; peak memory at a batch of 16; and an epoch end to end, loader included, on synthetic
clips. What fails (for memory, most likely) is written down as failed, and the rest goes on. With ``--device cpu --quick`` the same road is
walked in small, but for compilation.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, draw

from amanet.data.dataset import ClipSampling, split_rows
from amanet.data.published import get_benchmark
from amanet.experiment import Experiment, Machine, Recipe
from amanet.prepare import prepare
from amanet.synthesize import synthesize
from amanet.train import train

EPOCH_CLIPS = 40_091


class Figures:
    """Prints every figure as it comes and keeps it."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def take(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            value = work()
        except (RuntimeError, torch.OutOfMemoryError) as error:
            value = f"failed: {str(error).splitlines()[0]}"
        self.found[name] = value
        print(f"{name:<64} {value:.4g}" if isinstance(value, float) else f"{name:<64} {value}", flush=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return value


def seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median time of a call, after two that warm up."""
    times: list[float] = []
    for turn in range(repeats + 2):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if turn > 1:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ceilings(figures: Figures, device: str, side: int) -> None:
    def multiply(kind: torch.dtype) -> float:
        left, right = torch.randn(2, side, side, device=device, dtype=kind)
        return 2 * side**3 / seconds(lambda: left @ right, device, 5) / 1e12

    def copy() -> float:
        source = torch.randn(side * side, device=device)
        target = torch.empty_like(source)
        return 8 * source.numel() / seconds(lambda: target.copy_(source), device, 5) / 1e9

    figures.take("matrix product, float32, TFLOP/s", lambda: multiply(torch.float32))
    figures.take("matrix product, bfloat16, TFLOP/s", lambda: multiply(torch.bfloat16))
    figures.take("copy, read and written, GB/s", copy)


def rates(figures: Figures, device: str, batches: list[int], frames: int, repeats: int) -> None:
    """Clips a second of each network, precision and batch."""
    plans = [(key, half, batches[0], False) for key in CONTENDERS for half in (False, True)]
    plans += [("amanet", half, batch, False) for half in (False, True) for batch in batches[1:]]
    if device == "cuda":
        plans += [("amanet", half, batches[0], True) for half in (False, True)]
    for key, half, batch, compiled in plans:
        what = f"{key}{', compiled' if compiled else ''}, {'bf16' if half else 'fp32'}, batch {batch}"
        one = Rate(key, device, batch, frames, half=half, compiled=compiled)
        figures.take(f"{what}: training, clips/s", partial(one.rate, one.train, repeats))
        figures.take(f"{what}: inference, clips/s", partial(one.rate, one.infer, repeats))
        del one
        torch.compiler.reset()


class Rate:
    """A contender on a device."""

    def __init__(self, key: str, device: str, batch: int, frames: int, *, half: bool, compiled: bool) -> None:
        self.contender = CONTENDERS[key]()
        self.contender.module.to(device)
        if compiled:
            self.contender.module.compile()
        self.device = device
        self.joints, self.labels = draw(batch, frames, device)
        self.cast = torch.autocast(device, torch.bfloat16, enabled=half)

    def rate(self, work: Callable[[], None], repeats: int) -> float:
        return len(self.joints) / seconds(work, self.device, repeats)

    def train(self) -> None:
        with self.cast:
            self.contender.train_step(self.joints, self.labels)

    def infer(self) -> None:
        with self.cast:
            self.contender.infer(self.joints)


def memory(figures: Figures, batch: int, frames: int) -> None:
    for key, half in product(("amanet", "recomputing-amanet"), (False, True)):

        def peak(key: str = key, half: bool = half) -> float:
            torch.cuda.reset_peak_memory_stats()
            Rate(key, "cuda", batch, frames, half=half, compiled=False).train()
            return torch.cuda.max_memory_allocated() / 2**30

        figures.take(f"{key}, {'bf16' if half else 'fp32'}, batch {batch}: peak memory of a training step, GiB", peak)


def epoch(figures: Figures, folder: Path, device: str, performers: int, frames: int) -> None:
    """An epoch through `amanet.train`, loader included, on synthetic clips, and how long one of NTU60 X-Sub takes at that rate."""
    synthesize(folder / "raw", performers=performers, replications=2, seed=0)
    store = prepare("ntu60", folder / "raw", folder / "store")
    clips = len(split_rows(store, get_benchmark("ntu60-xsub"))["train"])
    machine = Machine(accelerator="cuda" if device == "cuda" else "cpu", loader_workers=8 if device == "cuda" else 0, evaluate_every=100)

    def run(epochs: int) -> float:
        experiment = Experiment(
            benchmark="ntu60-xsub",
            store=folder / "store",
            sampling=ClipSampling(frames=frames),
            recipe=Recipe(epochs=epochs, milestones=(), clip_gradient=5.0),
            precision="bf16-mixed" if device == "cuda" else "32-true",
        )
        start = time.perf_counter()
        train(experiment, folder / f"run-{epochs}", machine)
        return time.perf_counter() - start

    took = figures.take(f"end to end, an epoch of {clips} clips, s", lambda: run(2) - run(1))
    if isinstance(took, float):
        figures.found[f"end to end, an epoch of {EPOCH_CLIPS} clips at that rate, minutes"] = took * EPOCH_CLIPS / clips / 60
        print(f"an epoch of NTU60 X-Sub takes {took * EPOCH_CLIPS / clips / 60:.1f} minutes at that rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small, to see that everything runs")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    device, quick = arguments.device, arguments.quick
    figures = Figures()
    figures.found["device"] = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    ceilings(figures, device, 512 if quick else 8192)
    rates(figures, device, [1] if quick else [32, 64, 128], 10 if quick else 300, 1 if quick else 5)
    if device == "cuda":
        memory(figures, 16, 300)
    with tempfile.TemporaryDirectory() as folder:
        epoch(figures, Path(folder), device, 3 if quick else 20, 10 if quick else 300)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures.found, indent=1))


if __name__ == "__main__":
    main()
