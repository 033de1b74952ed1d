"""Every figure that waits for a GPU, in one call of under ten minutes: ``python benchmarks/gpu.py --json figures.json``.

Ceilings of the card; training and inference of AMANet beside MS-G3D in its published form and AMANet to the letter, in bfloat16 and
float32, at several batches; how near the kernels of BN come to the memory's bandwidth; training steps as ``amanet train`` takes them,
with and without a CUDA graph, and on clips as NTU RGB+D has them, four in five of one body; peak memory at a batch of 16; an epoch end to
end, loader included, on synthetic clips; and last, compiled. What fails (for memory, most likely) is written down as failed, and the rest
goes on. With ``--device cpu --quick`` the same road is walked in small, but for what only a GPU has.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, draw, our_amanet, seen
from lightning_fabric import Fabric

from amanet.cost import count_operations
from amanet.data.dataset import split_rows
from amanet.data.published import get_benchmark
from amanet.experiment import Recipe
from amanet.model import Network
from amanet.model.normalisation import BatchNorm
from amanet.prepare import prepare
from amanet.skeleton import ClipBatch
from amanet.synthesize import synthesize
from amanet.training.step import TrainingStep

EPOCH_CLIPS = 40_091
ALONE = 0.8
"""Clips of NTU RGB+D that hold one body, about."""


class Figures:
    """Prints every figure as it comes, keeps it, and writes it down."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.found: dict[str, Any] = {}

    def take(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            value = work()
        except (RuntimeError, torch.OutOfMemoryError, subprocess.CalledProcessError) as error:
            value = f"failed: {str(error).splitlines()[0]}"
        self.keep(name, value)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return value

    def keep(self, name: str, value: Any) -> None:
        self.found[name] = value
        print(f"{name:<84} {value:.4g}" if isinstance(value, float) else f"{name:<84} {value}", flush=True)
        if self.file is not None:
            self.file.write_text(json.dumps(self.found, indent=1))


def seconds(work: Callable[[], object], device: str, repeats: int, warm_up: int = 2) -> float:
    """Median time of a call, after some that warm up."""
    times: list[float] = []
    for turn in range(repeats + warm_up):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if turn >= warm_up:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches at best: TFLOP/s in bfloat16 and GB/s."""

    half: float
    copied: float


def ceilings(figures: Figures, device: str, side: int) -> Ceilings:
    def multiply(kind: torch.dtype) -> float:
        left, right = torch.randn(2, side, side, device=device).to(kind)
        return 2 * side**3 / seconds(lambda: left @ right, device, 5) / 1e12

    def copy() -> float:
        source = torch.randn(4 * side * side, device=device)
        target = torch.empty_like(source)
        return 8 * source.numel() / seconds(lambda: target.copy_(source), device, 5) / 1e9

    figures.take("matrix product, float32, TFLOP/s", lambda: multiply(torch.float32))
    half = figures.take("matrix product, bfloat16, TFLOP/s", lambda: multiply(torch.bfloat16))
    return Ceilings(half, figures.take("copy, read and written, GB/s", copy))


def rates(figures: Figures, ceiling: Ceilings, device: str, batches: list[int], frames: int, repeats: int) -> None:
    """Clips a second of each network, precision and batch; how many times those of MS-G3D's published form; the share of the ceiling."""
    plans = [(key, half, batches[0]) for half in (True, False) for key in ("published-msg3d", "msg3d", "literal-amanet", "amanet")]
    plans += [(key, half, batch) for batch in batches[1:] for half, key in ((True, "published-msg3d"), (True, "amanet"), (False, "amanet"))]
    operations = count_operations(our_amanet_network(), draw(1, frames)[0])["all"]
    for key, half, batch in plans:
        one = Rate(key, device, batch, frames, half=half)
        for what, work, passes in (("training", one.train, 3), ("inference", one.infer, 1)):
            name = f"{what}, {'bf16' if half else 'fp32'}, batch {batch}: "
            rate = figures.take(f"{name}{key}, clips/s", partial(one.rate, work, repeats))
            published = figures.found.get(f"{name}published-msg3d, clips/s")
            if key == "amanet" and isinstance(rate, float):
                if isinstance(published, float):
                    figures.keep(f"{name}times MS-G3D's published form", rate / published)
                if half:
                    figures.keep(f"{name}share of the matrix product's rate", passes * operations * rate / 1e12 / ceiling.half)
        del one


def our_amanet_network() -> Network:
    network = our_amanet().module
    assert isinstance(network, Network)
    return network


class Rate:
    """A contender on a device."""

    def __init__(self, key: str, device: str, batch: int, frames: int, *, half: bool, compiled: bool = False) -> None:
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


def bandwidth(figures: Figures, ceiling: Ceilings, device: str, bodies: int, repeats: int) -> None:
    """BN, residual and ReLU over the tokens of STFEM's windows of 5 frames: what they must read and write, over the time."""
    norm = BatchNorm(96).to(device)
    tokens, residual, gradient = (torch.randn(bodies, 300, 125, 96, device=device, dtype=torch.bfloat16) for _ in range(3))
    tokens.requires_grad_()
    residual.requires_grad_()

    def forward() -> float:
        with torch.no_grad():
            return 4 * tokens.nbytes / seconds(lambda: norm(tokens, residual, activates=True), device, repeats) / 1e9

    def both() -> float:
        def step() -> None:
            norm(tokens, residual, activates=True).backward(gradient)
            tokens.grad = residual.grad = None

        return 12 * tokens.nbytes / seconds(step, device, repeats) / 1e9

    for name, work in (("BN, residual and ReLU", forward), ("with their gradients", both)):
        rate = figures.take(f"{name}, GB/s", work)
        if isinstance(rate, float):
            figures.keep(f"{name}, share of the copy's rate", rate / ceiling.copied)


def steps(figures: Figures, frames: int, repeats: int) -> None:
    """Steps of training as ``amanet train`` takes them, in bfloat16, batches copied to the GPU included."""
    plans = [(32, 16, False, 0.0), (32, 16, True, 0.0), (32, 32, True, 0.0), (64, 64, False, ALONE), (128, 128, False, ALONE)]
    for batch, micro, graph, alone in plans:
        name = f"step, batch {batch} in {micro}s{', CUDA graph' if graph else ''}{', 4 of 5 clips of one body' if alone else ''}, clips/s"
        figures.take(
            name, lambda batch=batch, micro=micro, graph=graph, alone=alone: step_rate(batch, micro, frames, repeats, alone, graph=graph)
        )


def step_rate(batch: int, micro: int, frames: int, repeats: int, alone: float, *, graph: bool) -> float:
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    network = our_amanet_network()
    network.shares_absent = not graph
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    wrapped, optimizer = fabric.setup(network.train(), optimizer)
    recipe = Recipe(batch_size=batch, micro_batch=micro, clip_gradient=5.0)
    step = TrainingStep(fabric, wrapped, optimizer, recipe, None, graph=graph)  # pyright: ignore[reportArgumentType]
    batches = cycle(_batches(batch, frames, alone))
    return batch / seconds(lambda: step.take(next(batches)), "cuda", repeats, warm_up=6)


def _batches(batch: int, frames: int, alone: float) -> Iterator[ClipBatch]:
    for _ in range(3):
        joints, labels = draw(batch, frames, alone=round(batch * alone))
        order = torch.randperm(batch)
        yield ClipBatch(tuple(map(str, range(batch))), joints[order], seen(joints[order]), labels).pin_memory()


def memory(figures: Figures, batch: int, frames: int) -> None:
    for key, half in product(("published-msg3d", "amanet", "recomputing-amanet"), (True, False)):

        def peak(key: str = key, half: bool = half) -> float:
            torch.cuda.reset_peak_memory_stats()
            Rate(key, "cuda", batch, frames, half=half).train()
            return torch.cuda.max_memory_allocated() / 2**30

        figures.take(f"peak memory of a training step, {'bf16' if half else 'fp32'}, batch {batch}: {key}, GiB", peak)


def repeats_itself(figures: Figures, batch: int, frames: int) -> None:
    """Whether a training step gives the same gradients twice, bit for bit."""

    def twice() -> bool:
        network = our_amanet_network().cuda()
        joints, labels = draw(batch, frames, "cuda")
        found = list[list[torch.Tensor]]()
        for _ in range(2):
            with torch.autocast("cuda", torch.bfloat16):
                logits = network(joints, seen(joints))
            torch.nn.functional.cross_entropy(logits.float(), labels).backward()
            found.append([weight.grad.clone() for weight in network.parameters() if weight.grad is not None])
            network.zero_grad()
        return all(torch.equal(*pair) for pair in zip(*found, strict=True))

    def twice_in_order() -> bool:
        with in_order():
            return twice()

    figures.take("a training step gives the same gradients twice", twice)
    figures.take("and with deterministic algorithms", twice_in_order)


@contextmanager
def in_order() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def epochs(figures: Figures, folder: Path, device: str, performers: int, frames: int) -> None:
    """An epoch of ``amanet train``, loader included, on synthetic clips, and how long one of NTU60 X-Sub takes at that rate."""
    synthesize(folder / "raw", performers=performers, replications=2, seed=0)
    store = prepare("ntu60", folder / "raw", folder / "store")
    clips = len(split_rows(store, get_benchmark("ntu60-xsub"))["train"])
    on_gpu = device == "cuda"
    for batch, micro, graph in [(32, 16, True), (128, 128, False)] if on_gpu else [(32, 16, False)]:
        name = f"end to end, batch {batch} in {micro}s{', CUDA graph' if graph else ''}"
        settings = {
            "benchmark": "ntu60-xsub",
            "store": folder / "store",
            "sampling.frames": frames,
            "recipe.batch_size": batch,
            "recipe.micro_batch": micro,
            "recipe.milestones": "[]",
            "recipe.clip_gradient": 5.0,
            "precision": "bf16-mixed" if on_gpu else "32-true",
            "accelerator": device,
            "loader_workers": 8 if on_gpu else 0,
            "evaluate_every": 100,
            "cuda_graph": str(graph).lower(),
        }
        took = figures.take(f"{name}: an epoch of {clips} clips, s", partial(epoch, settings, folder / f"in-{micro}s"))
        if isinstance(took, float):
            figures.keep(f"{name}: an epoch of {EPOCH_CLIPS} clips at that rate, minutes", took * EPOCH_CLIPS / clips / 60)


def epoch(settings: dict[str, object], folder: Path) -> float:
    """Time of an epoch: a training of three less one of one, so that neither start nor evaluation counts.

    In processes of their own, as workers of the loader begin by importing the script that started them, and this one is heavy.
    """

    def run(epochs: int) -> float:
        flags = [f"--{name}={value}" for name, value in {**settings, "recipe.epochs": epochs}.items()]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "amanet", "train", str(folder / str(epochs)), *flags], check=True)
        return time.perf_counter() - start

    once = run(1)
    return (run(3) - once) / 2


def compiled(figures: Figures, batch: int, frames: int, repeats: int) -> None:
    one = Rate("amanet", "cuda", batch, frames, half=True, compiled=True)
    for what, work in (("training", one.train), ("inference", one.infer)):

        def start(work: Callable[[], None] = work) -> float:
            began = time.perf_counter()
            work()
            wait("cuda")
            return time.perf_counter() - began

        figures.take(f"compiled, {what}, bf16, batch {batch}: start-up, s", start)
        figures.take(f"compiled, {what}, bf16, batch {batch}: amanet, clips/s", partial(one.rate, work, repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small, to see that everything runs")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    device, quick = arguments.device, arguments.quick
    on_gpu, frames, repeats = device == "cuda", 10 if quick else 300, 1 if quick else 5
    figures = Figures(arguments.json)
    figures.keep("device", torch.cuda.get_device_name() if on_gpu else "CPU")
    figures.keep("torch", torch.__version__)
    ceiling = ceilings(figures, device, 512 if quick else 8192)
    rates(figures, ceiling, device, [1] if quick else [32, 128], frames, repeats)
    bandwidth(figures, ceiling, device, 1 if quick else 64, repeats)
    if on_gpu:
        steps(figures, frames, repeats)
        memory(figures, 16, frames)
        repeats_itself(figures, 8, frames)
    with tempfile.TemporaryDirectory() as folder:
        epochs(figures, Path(folder), device, 3 if quick else 20, frames)
    if on_gpu:
        compiled(figures, 32, frames, repeats)


if __name__ == "__main__":
    main()
