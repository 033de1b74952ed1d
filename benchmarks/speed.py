"""A training step and inference on a CPU, AMANet beside what it is compared with, turn by turn in one run.

In each turn each network has a process of its own, as its users would run it, takes a step of each kind, and then one that is timed: what
another network leaves of the memory changes how long a step takes. Machines are shared and noisy, so what counts are the ratios: the
median over turns of the ratio within a turn, with the extremes; and the ratio of the fastest turns, since other work on a machine only
ever slows one down.
``python benchmarks/speed.py --threads 2 --turns 5``. Of 16 clips of NTU RGB+D, 13 hold one body: ``--batch 16 --alone 13``.
With ``--memory`` the peak of a training step of ``--batch`` clips, each network in a process of its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from contenders import CONTENDERS, Contender, draw

from amanet.cost import counter, matrix_product_rate

FIRST = "published-msg3d"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def count_operations(contender: Contender, joints: torch.Tensor) -> float:
    """Operations of one clip's forward pass."""
    contender.module.eval()
    with torch.inference_mode(), counter() as found:
        contender.logits(joints)
    return float(found.get_total_flops())


def time_steps(key: str, batch: int, frames: int, alone: int) -> None:
    """Prints the seconds a clip of a training step, and of inference, in this process, each behind one like it."""
    contender = CONTENDERS[key]()
    joints, labels = draw(batch, frames, alone=alone)
    for step in (lambda: contender.train_step(joints, labels), lambda: contender.infer(joints)):
        step()
        print(seconds(step) / batch)


def for_each() -> Iterator[tuple[str, str]]:
    """What this program prints for each network, in a process of its own."""
    for key in CONTENDERS:
        yield key, subprocess.run([sys.executable, *sys.argv, "--only", key], check=True, stdout=subprocess.PIPE, text=True).stdout


def compare(batch: int, frames: int, turns: int, alone: int) -> None:
    contenders = {key: make() for key, make in CONTENDERS.items()}
    joints, _ = draw(1, frames)
    operations = {key: count_operations(each, joints) for key, each in contenders.items()}
    clips = f"{batch} clips, {alone} of one body and {batch - alone} of two, {frames} frames, 25 joints"
    print(f"{clips}; float32, {torch.get_num_threads()} threads, torch {torch.__version__}")
    found: dict[str, dict[str, list[float]]] = {what: {key: [] for key in contenders} for what in ("training step", "inference")}
    ceilings: list[float] = []
    for _ in range(turns):
        ceilings.append(matrix_product_rate("cpu", repeats=3))
        for key, printed in for_each():
            for times, took in zip(found.values(), map(float, printed.split()), strict=True):
                times[key].append(took)
    for what, times in found.items():
        print(f"\n{what}: seconds a clip, and how many times as fast as {contenders[FIRST].name}")
        print(f"  {'':<24} {'median':>7}  {'median':>6}  {'least':>5}  {'most':>5}  {'fastest turns':>13}")
        for key, took in times.items():
            ratios = [slow / fast for slow, fast in zip(times[FIRST], took, strict=True)]
            spread = f"{statistics.median(ratios):6.2f}  {min(ratios):5.2f}  {max(ratios):5.2f}  {min(times[FIRST]) / min(took):13.2f}"
            print(f"  {contenders[key].name:<24} {statistics.median(took):7.3f}  {spread}  {operations[key] / 1e9:5.1f} GFLOP, forward")
        passes = 3 if what == "training step" else 1
        reached = [passes * operations["amanet"] / took / top for took, top in zip(times["amanet"], ceilings, strict=True)]
        over_literal = [slow / fast for slow, fast in zip(times["literal-amanet"], times["amanet"], strict=True)]
        fastest = min(times["literal-amanet"]) / min(times["amanet"])
        print(f"  AMANet is {statistics.median(over_literal):.2f} times as fast as to the letter, {fastest:.2f} times in the fastest turns")
        if not alone:  # else it computes less than what was counted
            print(f"  and reaches {statistics.median(reached):.0%} of a matrix product's {statistics.median(ceilings) / 1e9:.0f} GFLOP/s")


def peak_memory(key: str, batch: int, frames: int, alone: int) -> None:
    """Prints what a training step adds to the memory of this process at its peak."""
    contender = CONTENDERS[key]()
    joints, labels = draw(batch, frames, alone=alone)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    contender.train_step(joints, labels)
    print(f"  {contender.name:<24} {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20:6.2f} GiB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2, help="clips of a step")
    parser.add_argument("--alone", type=int, default=0, help="clips among them that hold one body instead of two")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5, help="times that each network is measured")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--only", choices=list(CONTENDERS), help="this network, in this process; prints its numbers alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    sizes = arguments.batch, arguments.frames, arguments.alone
    if arguments.only:
        (peak_memory if arguments.memory else time_steps)(arguments.only, *sizes)
    elif arguments.memory:
        clips = f"{arguments.batch} clips of {arguments.frames} frames, {arguments.alone} of them of one body alone"
        print(f"peak memory of a training step of {clips}, float32", flush=True)
        for _, printed in for_each():
            print(printed, end="", flush=True)
    else:
        compare(arguments.batch, arguments.frames, arguments.turns, arguments.alone)
