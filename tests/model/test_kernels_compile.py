"""The kernels of a GPU, compiled for cards that are not there: what the interpreter takes, a compiler may refuse.

In a process of its own, as kernels know no shape checks. Nothing that is compiled runs, so the network computes with what lies in memory.
"""

import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F

SHARED_MEMORY = 99 * 1024
"""Bytes that a program has on the smallest of the cards, a GeForce of compute capability 8.6."""

KERNELS = {"_sum_moments", "_sum_gradients", "_apply", "_gradients", "_sum_windows", "_mix", "_mix_backward"}


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton, in which the kernels are written, is for Linux alone")
@pytest.mark.parametrize("capability", ["80", "90"])
def test_kernels_compile_and_fit_a_card(capability: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, capability], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    shared = {name: int(number) for name, number in map(str.split, done.stdout.splitlines())}
    assert shared.keys() == KERNELS
    assert max(shared.values()) <= SHARED_MEMORY


def compile_all(capability: int) -> dict[str, int]:
    """Takes training steps and evaluations of AMANet at its size for NTU RGB+D; the most shared memory of each kernel, in bytes."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from amanet.model import Network, NetworkConfig, network, normalisation, normed_sum, stfem, tfem, windows
    from amanet.skeleton import load_layout

    class Card:
        """Stands for the driver of a card."""

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", capability, 32)

    shared = dict[str, int]()
    run: Any = JITFunction.run

    def compile_alone(kernel: Any, *arguments: Any, warmup: bool, **options: Any) -> None:
        made = run(kernel, *arguments, warmup=True, **options)
        name = kernel.fn.__name__
        shared[name] = max(shared.get(name, 0), made.metadata.shared)

    driver.set_active(Card())  # pyright: ignore[reportArgumentType]
    JITFunction.run = compile_alone  # pyright: ignore[reportAttributeAccessIssue]
    for module in (normalisation, normed_sum, tfem, windows):
        vars(module)["runs_kernels"] = lambda _: True
    for module in (stfem, tfem):
        vars(module)["works_in_pieces"] = lambda _: False
    network.FEWEST_SHARED = 2
    made = Network(NetworkConfig(), load_layout("ntu25"), 60, 2)
    for half, absent in product((False, True), (False, True)):
        joints = torch.randn(2, 2, 11, 25, 3)
        joints[1, 1] *= not absent
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            F.cross_entropy(made.train()(joints, joints.any(-1)).float(), torch.arange(2)).backward()
            with torch.no_grad():
                made.eval()(joints, joints.any(-1))
    return shared


if __name__ == "__main__":
    for name, number in compile_all(int(sys.argv[1])).items():
        print(name, number)
