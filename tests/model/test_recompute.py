"""Blocks whose features are computed again for the gradient, against blocks that keep them: the same, bit for bit."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model import BlockConfig, Network, NetworkConfig
from amanet.skeleton import load_layout

LAYOUT = load_layout("sbu15")
BLOCKS = {
    "amanet": BlockConfig(),
    "ms-g3d": BlockConfig(spatial="ms_gcn", temporal="ms_tcn+ms_tcn", spatio_temporal="ms_g3d", spatial_scales=3, window_scales=2),
}


def make(kind: str, *, recompute: bool) -> Network:
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=12, block=BLOCKS[kind]), LAYOUT, num_classes=5, num_bodies=2)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    network.recompute = recompute
    return network


def draw(*, alone: int) -> tuple[Tensor, Tensor]:
    """Four clips, so many of which hold one body alone."""
    joints = torch.randn(4, 2, 12, LAYOUT.num_joints, 3, generator=torch.Generator().manual_seed(1))
    joints[:alone, 1] = 0
    return joints, joints.any(-1)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("alone", [0, 3])
def test_outputs_gradients_and_statistics_are_the_same_bit_for_bit(kind: str, alone: int) -> None:
    found: list[dict[str, Tensor]] = []
    for recompute in (False, True):
        network = make(kind, recompute=recompute).train()
        logits = network(*draw(alone=alone))
        F.cross_entropy(logits, torch.arange(4)).backward()
        gradients = {f"of {name}": weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
        found.append({"logits": logits.detach(), **dict(network.named_buffers()), **gradients})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        assert torch.equal(found[1][name], expected), name


def test_less_is_kept_for_the_gradient() -> None:
    kept: list[int] = []
    for recompute in (False, True):
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network = make("amanet", recompute=recompute).train()
            output = network(*draw(alone=0))
        weights = sum(weight.nbytes for weight in network.parameters())
        kept.append(sum(sizes.values()) - weights)
        assert output.requires_grad
    assert kept[1] < kept[0] / 5
