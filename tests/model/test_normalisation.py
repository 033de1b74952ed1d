"""BN against PyTorch's: running statistics, statistics over processes, and what cannot be normalised."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from amanet.model import Network, NetworkConfig
from amanet.model.normalisation import BatchNorm
from amanet.skeleton import load_layout

CHANNELS = 3


def plain(norm: BatchNorm) -> Callable[..., Tensor]:
    """PyTorch's kernel, which half precision takes."""
    return norm._forward_plainly


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize("way", [lambda norm: norm, plain])
def test_running_statistics_are_those_of_pytorch(way: Callable[[BatchNorm], Callable[..., Tensor]], momentum: float | None) -> None:
    ours, theirs = BatchNorm(CHANNELS, momentum=momentum), nn.BatchNorm1d(CHANNELS, momentum=momentum)
    for step in range(5):
        rows = 5 + 3 * torch.randn(40, CHANNELS, generator=torch.Generator().manual_seed(step))
        torch.testing.assert_close(way(ours)(rows), theirs(rows))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_averaged_weights_get_the_average_statistics() -> None:
    """PyTorch's ``update_bn`` asks every BN, those within STFEM too, for the mean over all batches."""
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=6), load_layout("sbu15"), num_classes=3, num_bodies=1).double()
    batches = [torch.randn(2, 1, 8, 15, 3, dtype=torch.float64) for _ in range(3)]
    means: dict[str, list[Tensor]] = {}
    for name, norm in network.named_modules():
        if isinstance(norm, BatchNorm):
            norm.momentum = 1.0
            means[name] = []
    for batch in batches:
        network(batch)
        for name, found in means.items():
            found.append(network.get_buffer(f"{name}.running_mean").clone())
    update_bn(batches, network)
    for name, found in means.items():
        torch.testing.assert_close(network.get_buffer(f"{name}.running_mean"), torch.stack(found).mean(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, (1e-4, 2e-3)), (torch.bfloat16, (1e-2, 1e-2))])
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (3.0, 1.0), (10.0, 0.01), (100.0, 0.1)])
def test_statistics_of_all_processes_keep_their_precision(
    processes: None, mean: float, deviation: float, kind: torch.dtype, tolerance: tuple[float, float]
) -> None:
    """From the first step on, when the running mean knows nothing yet, and where PyTorch would add up in half precision."""
    rows = (mean + deviation * torch.randn(50, 40, CHANNELS, generator=torch.Generator().manual_seed(0))).to(kind)
    norm, theirs = BatchNorm(CHANNELS), BatchNorm(CHANNELS).double()
    norm.synchronise = True
    assert norm.synchronises()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(rows)
    torch.testing.assert_close(found, theirs(rows.double()).to(kind), rtol=tolerance[0], atol=tolerance[1])
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(norm.get_buffer(name), theirs.get_buffer(name).float(), rtol=1e-4, atol=1e-4)


def test_a_single_value_is_refused() -> None:
    norm = BatchNorm(CHANNELS)
    with pytest.raises(ValueError, match="more than one value"):
        norm(torch.randn(1, CHANNELS))
    assert norm.num_batches_tracked == 0
