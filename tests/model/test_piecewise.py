"""Modules a piece at a time against the same all at once, and evaluation, where BN is a part of the maps, against training."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from amanet.model import Network, NetworkConfig, attention, pieces, stfem, tfem
from amanet.model.normalisation import BatchNorm
from amanet.model.sfem import SFEM
from amanet.model.stfem import STFEM
from amanet.model.temporal_conv import MSTCN
from amanet.model.tfem import FrameFeatures, JointFeatures
from amanet.skeleton import load_layout

BODIES, FRAMES, CHANNELS = 2, 11, 4
LAYOUT = load_layout("sbu15")
MODULES: dict[str, Callable[[], nn.Module]] = {
    "sfem": lambda: SFEM(LAYOUT, (CHANNELS, 6)),
    "sfem, two heads": lambda: SFEM(LAYOUT, (CHANNELS, CHANNELS), heads=2),
    "sfem, graph after the softmax": lambda: SFEM(LAYOUT, (CHANNELS, 6), joins="correlations"),
    "ff": lambda: FrameFeatures(CHANNELS, 5),
    "ff of an even group": lambda: FrameFeatures(CHANNELS, 4),
    "jf": lambda: JointFeatures((CHANNELS, CHANNELS)),
    "jf, strided": lambda: JointFeatures((CHANNELS, 6), 2),
    "ms-tcn": lambda: MSTCN((CHANNELS, 6), 2),
    "stfem": lambda: STFEM(LAYOUT, (CHANNELS, 6, 8), 3),
    "stfem, strided": lambda: STFEM(LAYOUT, (CHANNELS, CHANNELS, 8), 5, 2),
    "stfem, frames between windows": lambda: STFEM(LAYOUT, (CHANNELS, 6, 8), 2, 3),
    "stfem, beta learned": lambda: STFEM(LAYOUT, (CHANNELS, CHANNELS, 8), 3, 2, learn_weight=True),
    "stfem, two heads": lambda: STFEM(LAYOUT, (CHANNELS, 6, 8), 3, 2, heads=2),
    "stfem, graph after the softmax": lambda: STFEM(LAYOUT, (CHANNELS, 6, 8), 3, learn_weight=True, joins="correlations"),
}
each_module = pytest.mark.parametrize("name", MODULES)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def all_at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Turns the pieces off, or on and small."""
    in_pieces = attention.works_in_pieces
    monkeypatch.setattr(pieces, "NUMBERS_AT_ONCE", 4000)  # of windows of 45 tokens, one or two make a piece

    def choose(yes: bool) -> None:
        for module in (tfem, stfem):
            monkeypatch.setattr(module, "works_in_pieces", (lambda _: False) if yes else in_pieces)

    return choose


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = MODULES[name]()
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.5)
    return module


def draw() -> Tensor:
    return torch.randn(BODIES, FRAMES, LAYOUT.num_joints, CHANNELS, generator=torch.Generator().manual_seed(1), requires_grad=True)


def step(module: nn.Module) -> dict[str, Tensor]:
    """Output, gradients and running statistics of a step."""
    features = draw()
    output = module(features)
    output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(2)))
    assert features.grad is not None
    found = {"output": output.detach(), "features": features.grad, **{name: each.clone() for name, each in module.named_buffers()}}
    return {**found, **{f"of {name}": weight.grad for name, weight in module.named_parameters() if weight.grad is not None}}


@each_module
@pytest.mark.parametrize("training", [True, False])
def test_pieces_equal_the_whole(name: str, training: bool, all_at_once: Callable[[bool], None]) -> None:
    found: list[dict[str, Tensor]] = []
    for whole in (True, False):
        all_at_once(whole)
        found.append(step(make(name).train(training)))
    assert found[0].keys() == found[1].keys()
    for key, expected in found[0].items():
        torch.testing.assert_close(found[1][key], expected, rtol=1e-9, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


def take_statistics_of(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """The output of a training step on the batch; every BN keeps the batch's statistics."""
    variances: dict[BatchNorm, Tensor] = {}

    def keep(norm: nn.Module, rows: tuple[Tensor]) -> None:
        assert isinstance(norm, BatchNorm)
        norm.momentum = 1.0  # the mean that is tracked is the batch's
        variances[norm] = rows[0].detach().flatten(0, -2).var(0, unbiased=False)

    norms = [each for each in module.modules() if isinstance(each, BatchNorm)]
    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    output = module.train()(*batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.running_var = variances[norm]
    return output


@each_module
def test_evaluation_with_the_statistics_of_a_batch_equals_training_on_it(name: str, all_at_once: Callable[[bool], None]) -> None:
    module = make(name)
    all_at_once(True)
    expected = take_statistics_of(module, (draw(),))
    module.eval()
    for whole in (True, False):
        all_at_once(whole)
        with torch.inference_mode():
            torch.testing.assert_close(module(draw().detach()), expected.detach(), rtol=1e-9, atol=1e-9)


def test_a_network_in_pieces_equals_the_whole(all_at_once: Callable[[bool], None]) -> None:
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=6), LAYOUT, num_classes=5, num_bodies=2)
    for norm in network.modules():
        if isinstance(norm, BatchNorm):
            nn.init.normal_(norm.weight, 1.0, 0.3)
    joints = torch.randn(2, 2, 16, LAYOUT.num_joints, 3, generator=torch.Generator().manual_seed(1))
    all_at_once(True)
    expected = take_statistics_of(network, (joints,))
    all_at_once(False)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(joints), expected.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network.train()(joints), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["stfem", "jf", "ff"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_goes_around_the_pieces(name: str, kind: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)
    exact = step(make(name))
    with torch.autocast("cpu", kind):
        rough = step(make(name))
    for key, most in {"output": 0.02, "features": 0.1}.items():
        assert 0 < float((rough[key] - exact[key]).norm() / exact[key].norm()) < most


def test_absent_bodies_are_counted_in_half_precision_too() -> None:
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=6), LAYOUT, num_classes=5, num_bodies=2)
    joints = torch.randn(4, 2, 16, LAYOUT.num_joints, 3, generator=torch.Generator().manual_seed(1))
    joints[:3, 1] = 0
    exact = network(joints, joints.any(-1))
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(joints, joints.any(-1)).float()
    with torch.no_grad():
        assert 0 < float((rough - exact).norm() / exact.norm()) < 0.1


@pytest.mark.parametrize("part", ["norm", "residual"])
def test_jf_of_which_a_part_is_in_training_is_the_same_without_gradients(part: str) -> None:
    found: list[dict[str, Tensor]] = []
    for learns in (True, False):
        module = make("jf, strided").eval()
        module.get_submodule(part).train()
        with torch.set_grad_enabled(learns):
            found.append({"output": module(draw()).detach(), **dict(module.named_buffers())})
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
