"""AMANet against itself taken to the letter: the same outputs, the same gradient of every weight."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model import Network, NetworkConfig
from amanet.model.normalisation import BatchNorm
from amanet.skeleton import load_layout
from reference.amanet import literal_amanet


def make(kind: torch.dtype) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=12), load_layout("ntu25"), num_classes=6, num_bodies=2)
    for norm in network.modules():
        if isinstance(norm, BatchNorm):
            nn.init.normal_(norm.weight, 1.0, 0.2)  # so that no module is its residual alone
    return network.to(kind), torch.randn(3, 2, 20, 25, 3, dtype=kind)


@pytest.mark.parametrize(("kind", "tolerance", "of_gradients"), [(torch.float64, 1e-9, 1e-9), (torch.float32, 1e-4, 1e-2)])
def test_a_training_step_equals_the_literal_one(kind: torch.dtype, tolerance: float, of_gradients: float) -> None:
    """In float32 rounding switches a ReLU of either network now and then, and one switch moves a gradient by a thousandth."""
    network, joints = make(kind)
    literal = copy.deepcopy(network)
    labels = torch.tensor([0, 3, 5])
    found, expected = network(joints), literal_amanet(literal, joints)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for logits in (found, expected):
        F.cross_entropy(logits, labels).backward()
    weights = dict(literal.named_parameters())
    for name, weight in network.named_parameters():
        gradient, right = weight.grad, weights[name].grad
        assert gradient is not None
        assert right is not None
        size = max(1e-3, float(right.norm()))  # a bias in front of BN has no gradient but rounding
        assert float((gradient - right).norm()) / size < of_gradients, name


def test_inference_equals_the_literal_one() -> None:
    network, joints = make(torch.float32)
    with torch.inference_mode():
        network.train()(joints)  # statistics of a batch instead of none
        network.eval()
        torch.testing.assert_close(network(joints), literal_amanet(network, joints), rtol=1e-4, atol=1e-4)
