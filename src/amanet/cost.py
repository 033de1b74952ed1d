"""The verb ``cost``: weights, operations and time of a network on this machine."""

import gc
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from amanet.data.benchmark import OwnBenchmark
from amanet.data.published import get_benchmark
from amanet.errors import ExperimentError
from amanet.experiment import Experiment, from_plain, to_plain
from amanet.model import Network, NetworkConfig
from amanet.model.linear import multiply
from amanet.model.threads import helped_by, helpers
from amanet.skeleton import Stream, load_layout
from amanet.system.countdown import duration

LOGGER = logging.getLogger(__name__)
PEAK_RESET, PROCESS_STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Where Linux resets and tells the peak memory of this process."""
PART = re.compile(r"Network\.blocks\.\d+(\.(path|windows)\.\w+|\.tail)?")
"""The counted modules that a report lists: blocks, and what fills their slots."""


@dataclass(frozen=True)
class Cost:
    """What a network costs; operations are counted as two a multiply-add, times are medians in seconds.

    Attributes:
        parameters: weights that are trained.
        flops: operations of one clip's forward pass, in all and by part.
        inference: forward pass of a batch.
        training: forward and backward pass of a batch.
        memory: bytes that a training step adds at its peak, weights' gradients included; None where the system does not say (a CPU
            outside of Linux, or in a container that hides it).
        batch: clips of it.
        bodies: bodies of each of its clips.
        ceiling: operations a second of a large matrix product on this machine, in the same run.
        clips: clips that an epoch trains on, where they are known.
        epochs: of a training.
    """

    parameters: int
    flops: dict[str, float]
    inference: float
    training: float
    memory: int | None
    batch: int
    bodies: int
    ceiling: float
    clips: int | None
    epochs: int

    @property
    def whole_training(self) -> float | None:
        """Seconds of the steps of all epochs, where the number of clips is known."""
        return None if self.clips is None else self.epochs * self.clips * self.training / self.batch


def cost(
    network: NetworkConfig = NetworkConfig(),
    layout: str = "ntu25",
    num_classes: int = 60,
    bodies: int = 2,
    frames: int = 300,
    batch: int = 2,
    stream: Stream = "joint",
    repeats: int = 3,
    clips: int | None = None,
    epochs: int = 50,
) -> Cost:
    """Count and time a network.

    Args:
        network: its parts.
        layout: skeleton of its input.
        num_classes: classes to tell apart.
        bodies: bodies of a clip.
        frames: frames of a clip.
        batch: clips of a timed step.
        stream: what the network sees of the joints.
        repeats: timed steps, after one that is not timed.
        clips: training clips; with them it is told what a whole training would take.
        epochs: of that training.

    Raises:
        ExperimentError: one of the numbers is not 1 or more.
    """
    sizes = {"num_classes": num_classes, "bodies": bodies, "frames": frames, "batch": batch, "repeats": repeats}
    for name, size in {**sizes, "clips": clips, "epochs": epochs}.items():
        if size is not None and size < 1:
            raise ExperimentError(f"there is no network to time with this {name}", expected="1 or more", got=size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    skeleton = load_layout(layout)
    made = Network(network, skeleton, num_classes, bodies, stream).to(device)
    shape = (bodies, frames, skeleton.num_joints, skeleton.num_coords)
    joints = torch.randn(batch, *shape, device=device)
    labels = torch.zeros(batch, dtype=torch.long, device=device)

    def infer() -> None:
        made.eval()
        with torch.inference_mode():
            made(joints)

    def train() -> None:
        made.train()
        F.cross_entropy(made(joints), labels).backward()
        made.zero_grad()

    memory = _peak_memory(train, device)  # first, as memory that was used before is not given back
    return Cost(
        parameters=sum(weight.numel() for weight in made.parameters() if weight.requires_grad),
        flops=count_operations(made, joints[:1]),
        inference=_time(infer, repeats, device),
        training=_time(train, repeats, device),
        memory=memory,
        batch=batch,
        bodies=bodies,
        ceiling=matrix_product_rate(device, repeats),
        clips=clips,
        epochs=epochs,
    )


def settings_of(plain: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """What :func:`cost` takes of the settings of an experiment, as in ``configs/``: a micro batch as it is trained with.

    Of a data set of one's own the store knows the layout, the classes and the clips, and the settings do not; this is remarked.

    Raises:
        ExperimentError: they are no settings of an experiment.
    """
    known = {field.name for field in fields(Experiment)}
    experiment = from_plain(Experiment, {"store": ".", **{name: value for name, value in plain.items() if name in known}}, where)
    benchmark, sampling, recipe = get_benchmark(experiment.benchmark), experiment.sampling, experiment.recipe
    found = {
        "network": to_plain(experiment.network),
        "bodies": sampling.bodies,
        "frames": sampling.frames,
        "batch": min(recipe.micro_batch, recipe.batch_size),
        "stream": experiment.stream,
        "epochs": recipe.epochs,
    }
    if isinstance(benchmark, OwnBenchmark):
        LOGGER.warning(f"{where} does not tell the skeleton, the classes and the clips: these are --layout, --num_classes and --clips")
        return found
    dataset = benchmark.dataset
    return {**found, "layout": dataset.layout, "num_classes": dataset.num_classes, "clips": benchmark.num_train}


def count_operations(network: Network, joints: torch.Tensor) -> dict[str, float]:
    """Operations of a forward pass, in all and by part of the network."""
    network.eval()
    with torch.inference_mode(), counter() as found:
        network(joints)
    parts: dict[str, float] = {"all": float(found.get_total_flops())}
    for module, counts in sorted(found.get_flop_counts().items()):
        if PART.fullmatch(module):
            parts[module.removeprefix("Network.")] = float(sum(counts.values()))
    return parts


def counter() -> FlopCounterMode:
    """PyTorch's counter, which does not know its fused attention for CPUs, the two matrix products that it is, products that are added to
    what is there, nor our compiled loops, which tell what they multiply.
    """
    unknown = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations,
        torch.ops.aten.addmm_: _product_operations,
        torch.ops.amanet.multiplied: lambda seen, operations, **_: operations,
    }
    return FlopCounterMode(display=False, depth=3, custom_mapping=unknown)


def _attention_operations(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    batch, group, queries, channels = query
    return 2 * batch * group * queries * key[-2] * (channels + value[-1])


def _product_operations(total: torch.Size, first: torch.Size, second: torch.Size, *_: object, **__: object) -> int:
    return 2 * first.numel() * second[-1]


def _time(step: Callable[[], object], repeats: int, device: str) -> float:
    step()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        times.append(time.perf_counter() - start)
    return median(times)


def _peak_memory(step: Callable[[], None], device: str) -> int | None:
    """What a step adds to the memory in use, at its peak."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()
    try:
        PEAK_RESET.write_text("5")  # the peak becomes what is in use now
    except OSError:  # another system, or a container that hides it
        return None
    before = _resident_peak()
    step()
    return _resident_peak() - before


def _resident_peak() -> int:
    """The highest resident set of this process, in bytes, as Linux tells it in kibibytes."""
    lines = PROCESS_STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_product_rate(device: str, repeats: int) -> float:
    """Operations a second of a large matrix product: PyTorch's, or our own where that is faster, on as many threads."""
    size, threads = 2048 if device == "cpu" else 8192, torch.get_num_threads()
    one = torch.randn(size, size, device=device)
    out = torch.empty_like(one)
    taken = _time(lambda: torch.mm(one, one, out=out), repeats, device)
    if device == "cpu":
        with helped_by(helpers(threads - 1), threads):
            taken = min(taken, _time(lambda: multiply(one, one, out), repeats, device))
    return 2 * size**3 / taken


def report(found: Cost) -> str:
    """A cost as a few lines of text."""
    total = found.flops["all"]
    share = total * found.batch / found.inference / found.ceiling
    training_share = 3 * share * found.inference / found.training
    clip_ms = [1e3 * seconds / found.batch for seconds in (found.inference, found.training)]
    parts = {name: flops for name, flops in found.flops.items() if name != "all"}
    lines = [
        f"{found.parameters:,} parameters",
        f"{three_digits(total / 1e9)} GFLOP a clip, forward (2 a multiply-add)",
        *(f"  {name:<24} {three_digits(flops / 1e9):>10}  {flops / total:6.1%}" for name, flops in parts.items()),
        f"inference {clip_ms[0]:.0f} ms a clip, {share:.0%} of the {found.ceiling / 1e9:.0f} GFLOP/s that a matrix product reaches here",
        f"training  {clip_ms[1]:.0f} ms a clip, {training_share:.0%} of it if a step is three forward passes",
        f"batches of {found.batch} clips" + ("" if found.memory is None else f"; a training step takes {found.memory / 2**30:.2f} GiB"),
    ]
    if found.whole_training is not None:
        whole = f"{found.epochs} epochs of {found.clips:,} clips take {duration(found.whole_training)}"
        lines.append(f"{whole} where each has {found.bodies} {'body' if found.bodies == 1 else 'bodies'}, besides scoring")
    return "\n".join(lines)


def three_digits(number: float) -> str:
    """A number that is not negative with three digits that say something: ``37.6``, ``0.00123``."""
    return f"{number:,.{max(0, 2 - math.floor(math.log10(number)))}f}" if number else "0"
