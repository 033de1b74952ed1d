"""What loops write past the caches, against the same written as usual."""

import pytest
import torch
from torch import Tensor

from amanet.model import Network, NetworkConfig, loops
from amanet.model.normalisation import BatchNorm
from amanet.skeleton import load_layout

ALWAYS, NEVER = 1, 1 << 60


def test_only_large_tensors_of_whole_lines_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "LEAST_STREAMED", 1000)
    large = torch.empty(40, 48)
    assert loops.streams(large) is True
    assert loops.streams(large, None) is True
    assert loops.streams(large[:20]) is None, "still in the cache when it is read"
    assert loops.streams(torch.empty(40, 40)) is None, "rows end within a line"
    assert loops.streams(torch.empty(40 * 48 + 1)[1:].view(40, 48)) is None, "rows begin within a line"
    assert loops.streams(torch.empty(40, 40, dtype=torch.float64)) is True
    assert loops.streams(large, torch.empty(40, 40)) is None


def step(network: Network, joints: Tensor) -> list[Tensor]:
    network.zero_grad()
    logits = network(joints)
    logits.square().sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    return [logits.detach(), *(each.clone() for each in gradients if each is not None), *network.buffers()]


@pytest.mark.parametrize("width", [96, 12])  # whole lines in all modules, and in some
def test_a_network_computes_the_same(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = load_layout("sbu15")
    joints = torch.randn(2, 2, 9, 15, 3, generator=torch.Generator().manual_seed(0))
    found: list[list[Tensor]] = []
    for least in (ALWAYS, NEVER):
        monkeypatch.setattr(loops, "LEAST_STREAMED", least)
        torch.manual_seed(0)
        found.append(step(Network(NetworkConfig(width=width), layout, num_classes=3, num_bodies=2), joints))
    assert len(found[0]) == len(found[1])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_large_batch_norm_equals_pytorchs(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    features, residual, gradient = (torch.randn(2, 3000, 48, generator=generator, dtype=kind) for _ in range(3))
    assert loops.streams(features)
    found: list[list[Tensor]] = []
    for norm in (BatchNorm(48), torch.nn.BatchNorm1d(48)):
        inputs = [each.clone().requires_grad_() for each in (features, residual)]
        if isinstance(norm, BatchNorm):
            output = norm.to(kind)(*inputs, activates=True)
        else:
            output = torch.relu(norm.to(kind)(inputs[0].flatten(0, 1)).view_as(features) + inputs[1])
        output.backward(gradient)
        found.append([output.detach(), *(each.grad for each in (*inputs, *norm.parameters()) if each.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3 if kind == torch.float32 else 1e-9)
