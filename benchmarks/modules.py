"""Where the time of AMANet goes on a CPU: every module at the size it has for NTU RGB+D, forward and backward, beside its operations.

CPU seconds, so that other work on the machine disturbs less. ``python benchmarks/modules.py --threads 1``.
"""

import argparse
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amanet.cost import count_operations
from amanet.model import Network, NetworkConfig
from amanet.skeleton import load_layout

BODIES, FRAMES = 2, 300


@dataclass
class Spent:
    """CPU seconds of a module in a step."""

    forward: float = 0.0
    backward: float = 0.0


def measure(module: nn.Module, features: Tensor, turns: int) -> Spent:
    """The fastest of some turns after one that warms up."""
    features = features.detach().requires_grad_()
    best = Spent(float("inf"), float("inf"))
    for turn in range(turns + 1):
        start = time.process_time()
        output = module(features)
        middle = time.process_time()
        output.backward(torch.ones_like(output))
        end = time.process_time()
        if turn and end - start < best.forward + best.backward:
            best = Spent(middle - start, end - middle)
    return best


def inputs_of(network: Network, names: list[str], joints: Tensor) -> dict[str, Tensor]:
    """What each module sees in a forward pass."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name in names:

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found[name] = inputs[0].detach()

        hooks.append(network.get_submodule(name).register_forward_pre_hook(keep))
    with torch.no_grad():
        network(joints)
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = Network(NetworkConfig(), load_layout("ntu25"), num_classes=60, num_bodies=BODIES)
    joints = torch.randn(1, BODIES, FRAMES, 25, 3)
    operations = {name: count for name, count in count_operations(network, joints).items() if name.count(".") == 3 or name.endswith("tail")}
    inputs = inputs_of(network.train(), list(operations), joints)
    print(f"one clip of {BODIES} bodies and {FRAMES} frames, float32, {arguments.threads} threads, torch {torch.__version__}")
    print(f"{'module':<26}{'GFLOP':>7}{'forward':>10}{'GFLOP/s':>9}{'backward':>10}{'GFLOP/s':>9}")
    total = Spent()
    for name, count in operations.items():
        spent = measure(network.get_submodule(name), inputs[name], arguments.turns)
        total.forward += spent.forward
        total.backward += spent.backward
        print(row(name, count, spent))
    print(row("all", sum(operations.values()), total))


def row(name: str, operations: float, spent: Spent) -> str:
    work = operations / 1e9
    forward = f"{1e3 * spent.forward:7.0f} ms{work / spent.forward:9.0f}"
    return f"{name:<26}{work:7.2f}{forward}{1e3 * spent.backward:7.0f} ms{2 * work / spent.backward:9.0f}"


if __name__ == "__main__":
    main()
