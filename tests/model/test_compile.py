"""`network.compile()` sees one graph without a break, and computes the same; so does `torch.jit.trace`.

In a process of its own, as the compiler cannot look into the shape checks of the tests.
"""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from amanet.model import Network, presets
from amanet.skeleton import load_layout


@pytest.mark.parametrize("preset", ["amanet", "msg3d"])
def test_a_network_is_one_graph(preset: str) -> None:
    done = subprocess.run([sys.executable, __file__, preset], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["training", "evaluation", "traced"]


def compare(preset: str, *, training: bool) -> None:
    torch.manual_seed(0)
    layout = load_layout("sbu15")
    config = replace(getattr(presets, preset)(), width=6)
    network = Network(config, layout, num_classes=5, num_bodies=2).double().train(training)
    joints = torch.randn(2, 2, 12, layout.num_joints, 3, dtype=torch.float64)
    joints[:, 1] = 0  # one body alone, as in most clips
    expected = network(joints, joints.any(-1))
    network.compile(backend="eager", fullgraph=True)
    found = network(joints, joints.any(-1))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    found.sum().backward()


def trace(preset: str) -> None:
    """What ``torch.jit.trace`` saw of one clip gives the logits of another."""
    layout = load_layout("sbu15")
    torch.manual_seed(0)
    network = Network(replace(getattr(presets, preset)(), width=6), layout, num_classes=5, num_bodies=2).double().eval()
    one, other = torch.randn(2, 1, 2, 12, layout.num_joints, 3, dtype=torch.float64)
    with torch.no_grad():
        traced = torch.jit.trace(network, one)  # pyright: ignore[reportPrivateImportUsage]
        torch.testing.assert_close(traced(other), network(other), rtol=1e-9, atol=1e-9)  # pyright: ignore[reportCallIssue]


if __name__ == "__main__":
    for mode in ("training", "evaluation"):
        compare(sys.argv[1], training=mode == "training")
        print(mode)
    trace(sys.argv[1])
    print("traced")
