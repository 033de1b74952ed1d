"""`network.compile()` sees one graph without a break, and computes the same; so do other ways to follow the operations.

In a process of its own, as the compiler cannot look into the shape checks of the tests.
"""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad
from torch.fx.experimental.proxy_tensor import make_fx

from amanet.model import Network, presets
from amanet.model.attention import works_in_pieces
from amanet.skeleton import load_layout


@pytest.mark.parametrize("preset", ["amanet", "msg3d"])
def test_a_network_is_one_graph(preset: str) -> None:
    done = subprocess.run([sys.executable, __file__, preset], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["training", "evaluation", "traced", "proxied", "faked"]


def test_gradients_by_torch_func() -> None:
    network, one, _ = example("amanet")
    weights = dict(network.named_parameters())
    network(one).square().sum().backward()
    found = grad(lambda weights: functional_call(network, weights, one).square().sum())(weights)
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-9, atol=1e-9)


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


def example(preset: str) -> tuple[Network, Tensor, Tensor]:
    """A network in evaluation, and two clips."""
    layout = load_layout("sbu15")
    torch.manual_seed(0)
    network = Network(replace(getattr(presets, preset)(), width=6), layout, num_classes=5, num_bodies=2).double().eval()
    one, other = torch.randn(2, 1, 2, 12, layout.num_joints, 3, dtype=torch.float64)
    return network, one, other


def trace(preset: str) -> None:
    """What ``torch.jit.trace`` saw of one clip gives the logits of another, and of two at once."""
    network, one, other = example(preset)
    with torch.no_grad():
        traced = torch.jit.trace(network, one)  # pyright: ignore[reportPrivateImportUsage]
        for clips in (other, torch.cat([one, other])):
            torch.testing.assert_close(traced(clips), network(clips), rtol=1e-9, atol=1e-9)  # pyright: ignore[reportCallIssue]


def proxy(preset: str) -> None:
    """What ``make_fx`` saw, without and with gradients; ``real`` tensors are plain ones."""
    network, one, other = example(preset)
    for kind in ("real", "fake"):
        for learns in (False, True):
            with torch.set_grad_enabled(learns):
                graph = make_fx(network, tracing_mode=kind, _allow_non_fake_inputs=True)(one)
                torch.testing.assert_close(graph(other), network(other), rtol=1e-9, atol=1e-9)


def fake(preset: str) -> None:
    """Tensors that are shapes alone."""
    with FakeTensorMode():
        network = Network(replace(getattr(presets, preset)(), width=6), load_layout("sbu15"), num_classes=5, num_bodies=2)
        joints = torch.empty(3, 2, 12, 15, 3)
        network(joints).sum().backward()
        assert network.eval()(joints, joints[..., 0] > 0).shape == (3, 5)
    assert not works_in_pieces(joints)


if __name__ == "__main__":
    for mode in ("training", "evaluation"):
        compare(sys.argv[1], training=mode == "training")
        print(mode)
    for follow, done in ((trace, "traced"), (proxy, "proxied"), (fake, "faked")):
        follow(sys.argv[1])
        print(done)
