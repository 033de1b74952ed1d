"""The compiled loops of attention, against PyTorch in float64, and what one step leaves in memory that the next one uses again."""

import numpy as np
import pytest
import torch
from torch import Tensor

from amanet.loops.compiled import Kernel
from amanet.model import Network, NetworkConfig, pieces
from amanet.model.piecewise import attend_over_time
from amanet.model.softmax_loops import correlate, correlate_backward
from amanet.skeleton import load_layout

KINDS = pytest.mark.parametrize(("kind", "most"), [(np.float32, 1e-5), (np.float64, 1e-13)])


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    Kernel.make_all()


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def poison() -> None:
    """Writes NaN over all memory that is used again."""
    for memory in vars(pieces._KEPT).values():
        memory.fill_(torch.nan)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@KINDS
@pytest.mark.parametrize("keys", [1, 5, 24, 128])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e6])
def test_correlations_are_the_softmax(kind: type, most: float, keys: int, size: float) -> None:
    scores, bias = (draw(seed, 9, keys).astype(kind) for seed in (0, 1))
    scores *= size
    bias[:, keys // 2 + 1 :] = -np.inf
    for added in (bias, None):
        found = scores.copy()
        correlate(found, added, 0.25)
        expected = softmax(0.25 * scores.astype(float) + (0 if added is None else added))
        np.testing.assert_allclose(found, expected, rtol=0, atol=most)


@KINDS
def test_what_is_not_a_number_stays_so(kind: type, most: float) -> None:
    scores = draw(0, 3, 40).astype(kind)
    scores[1, 7] = np.nan
    correlate(scores, None, 0.5)
    assert np.isnan(scores).all(1).tolist() == [False, True, False]
    assert np.isfinite(scores[[0, 2]]).all()


@KINDS
@pytest.mark.parametrize("asks", [True, False])
def test_gradient_of_correlations(kind: type, most: float, asks: bool) -> None:
    scores, bias, behind, before = (torch.from_numpy(draw(seed, 6, 21)).requires_grad_() for seed in range(4))
    torch.softmax(0.3 * scores + bias, dim=1).backward(behind.detach())
    assert scores.grad is not None
    assert bias.grad is not None
    correlations = softmax((0.3 * scores + bias).detach().numpy()).astype(kind)
    gradient, of_bias = behind.detach().numpy().astype(kind), before.detach().numpy().astype(kind)
    correlate_backward(correlations, gradient, 0.3, of_bias if asks else None)
    np.testing.assert_allclose(gradient, scores.grad, rtol=0, atol=10 * most)
    if asks:
        np.testing.assert_allclose(of_bias, (before + bias.grad).detach(), rtol=0, atol=10 * most)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kept", "frames", "channels"), [(11, 11, 4), (3, 17, 20), (64, 64, 16)])
def test_joints_attend_over_time(kind: torch.dtype, kept: int, frames: int, channels: int) -> None:
    query, features, behind = (
        torch.from_numpy(draw(seed, 2, length, 3, channels)).to(kind).requires_grad_()
        for seed, length in ((0, kept), (1, frames), (2, kept))
    )
    attend_over_time(query, features)
    poison()
    found = attend_over_time(query, features)
    poison()
    gradients = torch.autograd.grad(found, (query, features), behind)
    asked, keys = query.double().transpose(1, 2), features.double().transpose(1, 2)
    expected = (torch.softmax(asked @ keys.mT / channels**0.5, dim=-1) @ keys).transpose(1, 2)
    most = 1e-12 if kind == torch.float64 else 1e-5
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=most)
    for gradient, exact in zip(gradients, torch.autograd.grad(expected, (query, features), behind.double()), strict=True):
        torch.testing.assert_close(gradient, exact, rtol=0, atol=most)


def test_a_step_leaves_nothing_to_the_next() -> None:
    """Memory that is used again holds NaN of the step before."""
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=6), load_layout("sbu15"), num_classes=5, num_bodies=2)
    joints = torch.randn(2, 2, 13, 15, 3)

    def step(joints: Tensor) -> list[Tensor]:
        network.zero_grad()
        network.train()(joints).sum().backward()
        return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]

    def state() -> dict[str, Tensor]:
        return {name: each.clone() for name, each in network.state_dict().items()}

    before = state()
    first = step(joints)
    assert any(each.isnan().any() for each in step(joints * torch.nan))
    network.load_state_dict(before)
    for again, gradient in zip(step(joints), first, strict=True):
        assert torch.equal(again, gradient)
