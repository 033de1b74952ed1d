"""SFEM, FF, JF, STFEM and MS-TCN against loops in float64 (Eqs. 9-14), with their gradients."""

from collections.abc import Iterator
from typing import TypeVar, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amanet.model.attention import GraphJoins, attend, correlate
from amanet.model.normalisation import BatchNorm
from amanet.model.sfem import SFEM
from amanet.model.stfem import STFEM
from amanet.model.temporal_conv import DILATIONS, MSTCN
from amanet.model.tfem import FrameFeatures, JointFeatures
from amanet.model.windows import windows
from amanet.skeleton import SkeletonLayout
from amanet.skeleton.layout import BodyPart, JointGroup
from reference import equations

BODIES, FRAMES, CHANNELS = 2, 7, 4


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Modules are made in float64, so that their graphs are not rounded either."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def layout() -> SkeletonLayout:
    """A body of five joints: small enough for gradcheck, with a branch."""
    return SkeletonLayout(
        name="five",
        coordinates="xyz",
        joints=("hip", "chest", "head", "left", "right"),
        parents=(1, 1, 1, 1, 1),
        centre=0,
        mirror=(0, 1, 2, 4, 3),
        across=(3, 4),
        up=(0, 1),
        parts=(BodyPart("trunk", (0, 1, 2), 1, 0), BodyPart("left", (3,), 3, 1), BodyPart("right", (4,), 4, 1)),
        groups=(JointGroup("trunk", (0, 1, 2)), JointGroup("left", (3,)), JointGroup("right", (4,))),
    )


M = TypeVar("M", bound=nn.Module)


def prepare(module: M, seed: int = 0) -> M:
    """A module in float64 with every weight, BN's too, drawn at random."""
    torch.manual_seed(seed)
    module = module.double().train()
    for weight in module.parameters():
        if weight.requires_grad:
            nn.init.normal_(weight, std=0.5)
    return module


def draw_features(joints: int = 5, frames: int = FRAMES, channels: int = CHANNELS) -> Tensor:
    return torch.randn(BODIES, frames, joints, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def as_arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


def split_maps(project: nn.Linear, widths: list[int]) -> dict[str, equations.Linear]:
    weights, biases = project.weight.split(widths), project.bias.split(widths)
    return {name: (w.detach().numpy(), b.detach().numpy()) for name, w, b in zip(("query", "key", "value"), weights, biases, strict=True)}


def norm_weights(norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    gain, shift = as_arrays(norm.weight, norm.bias)
    return gain, shift


def assert_close(found: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def check_gradients(module: nn.Module, features: Tensor) -> None:
    weights = tuple(weight for weight in module.parameters() if weight.requires_grad)

    def call(x: Tensor, *_: Tensor) -> Tensor:
        return module(x)

    assert torch.autograd.gradcheck(call, (features.requires_grad_(), *weights), atol=1e-5)


each_reading = pytest.mark.parametrize("joins", get_args(GraphJoins))


@each_reading
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("out", [4, 6])
def test_sfem_equals_equation_10(layout: SkeletonLayout, out: int, heads: int, joins: GraphJoins) -> None:
    module = prepare(SFEM(layout, (CHANNELS, out), weight=0.8, heads=heads, joins=joins))
    x = draw_features()
    graph = equations.normalised_graph(5, list(layout.bones))
    (theta,) = as_arrays(module.theta.weight)
    maps = split_maps(module.project, module.widths)
    expected = equations.sfem(x.numpy(), maps, theta, graph, 0.8, norm_weights(module.norm), joins, heads)
    assert_close(module(x), expected)


def test_sfem_weight_may_learn(layout: SkeletonLayout) -> None:
    module = prepare(SFEM(layout, (CHANNELS, CHANNELS), learn_weight=True))
    module(draw_features()).sum().backward()
    assert isinstance(module.weight, nn.Parameter)
    assert module.weight.grad is not None
    assert module.weight.grad != 0


def test_sfem_heads_attend_each_by_itself(layout: SkeletonLayout) -> None:
    """With two heads, the correlations of a head follow from that head's queries and keys alone."""
    module = prepare(SFEM(layout, (CHANNELS, CHANNELS), heads=2))
    found = module.correlations(draw_features())
    query, key, _ = module.project(draw_features()).split(module.widths, dim=-1)
    graph = equations.normalised_graph(5, list(layout.bones))
    for head in (0, 1):
        part = slice(2 * head, 2 * head + 2)
        expected = equations.correlations(query[0, 3, :, part].detach().numpy(), key[0, 3, :, part].detach().numpy(), 0.8 * graph)
        assert_close(found[0, 2 * 3 + head], expected)


@pytest.mark.parametrize("frames", [5, 7, 10, 3])
@pytest.mark.parametrize("group", [1, 4, 5])
def test_frame_features_equal_equation_12(frames: int, group: int) -> None:
    module = prepare(FrameFeatures(CHANNELS, group))
    x = draw_features(frames=frames)
    (kernel,) = as_arrays(module.theta.weight[..., 0])
    expected = equations.frame_features(x.numpy(), split_maps(module.project, [CHANNELS] * 3), kernel, group, norm_weights(module.norm))
    assert_close(module(x), expected)


@pytest.mark.parametrize(("out", "stride"), [(4, 1), (6, 1), (4, 2), (6, 2)])
def test_joint_features_equal_equation_11(out: int, stride: int) -> None:
    module = prepare(JointFeatures((CHANNELS, out), stride))
    x = draw_features()
    query, memory = module.query, module.memory
    maps = {"query": as_arrays(query.weight, query.bias)}
    for name, weight, bias in zip(("key", "value"), memory.weight.chunk(2), memory.bias.chunk(2), strict=True):
        maps[name] = as_arrays(weight, bias)
    residual = None
    if isinstance(module.residual, nn.Sequential):
        norm = module.residual[1]
        assert isinstance(norm, BatchNorm)
        residual = as_arrays(module.residual[0].weight, norm.weight, norm.bias)  # type: ignore[arg-type]
    (theta,) = as_arrays(module.theta.weight)
    expected = equations.joint_features(x.numpy(), maps, theta, stride, norm_weights(module.norm), residual)  # type: ignore[arg-type]
    assert_close(module(x), expected)


@each_reading
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("inner", "out", "window", "stride"), [(4, 6, 3, 1), (6, 6, 5, 1), (4, 4, 3, 2), (4, 6, 5, 2), (4, 4, 1, 1)])
def test_stfem_equals_equation_14(
    layout: SkeletonLayout, inner: int, out: int, window: int, stride: int, heads: int, joins: GraphJoins
) -> None:
    module = prepare(STFEM(layout, (CHANNELS, inner, out), window, stride, weight=0.7, heads=heads, joins=joins))
    x = draw_features()
    graph = equations.normalised_graph(5, list(layout.bones), window)
    theta, collapse = as_arrays(module.theta.weight, module.collapse.weight[..., 0])
    maps = split_maps(module.project, module.widths)
    norms = norm_weights(module.norm), norm_weights(module.collapse_norm)
    expected = equations.stfem(x.numpy(), maps, theta, graph, 0.7, window, stride, norms[0], collapse, norms[1], joins, heads)
    assert_close(module(x), expected)


@pytest.mark.parametrize(("out", "stride"), [(6, 1), (6, 2), (12, 2)])
def test_ms_tcn_is_six_branches_and_a_residual(out: int, stride: int) -> None:
    channels, branch = 6, out // 6
    module = prepare(MSTCN((channels, out), stride))
    x = draw_features(channels=channels, frames=11)
    enter = as_arrays(module.enter.weight, module.enter.bias)
    entered = equations.batch_norm(np.array([equations.map_all(body, enter) for body in x.numpy()]), *norm_weights(module.enter_norm))  # type: ignore[arg-type]
    entered = np.maximum(entered, 0)
    branches = []
    for index, dilation in enumerate(DILATIONS):
        conv = module.dilated[index]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        kernel, bias = as_arrays(conv.weight[..., 0], conv.bias)
        part = entered[..., index * branch : (index + 1) * branch]
        branches.append(np.array([equations.dilated_convolution(body, kernel, bias, dilation, stride) for body in part]))
    branches.append(np.array([equations.max_pool(body, stride) for body in entered[..., 4 * branch :]]))
    skip = as_arrays(module.skip.weight, module.skip.bias)
    branches.append(np.array([equations.map_all(body, skip) for body in x.numpy()[:, ::stride]]))  # type: ignore[arg-type]
    expected = equations.batch_norm(np.concatenate(branches, axis=-1), *norm_weights(module.leave_norm))
    residual = x.numpy()[:, ::stride]
    if isinstance(module.residual, nn.Sequential):
        widen, norm = module.residual
        assert isinstance(widen, nn.Linear)
        assert isinstance(norm, BatchNorm)
        residual = np.array([equations.map_all(body, as_arrays(widen.weight, widen.bias)) for body in residual])  # type: ignore[arg-type]
        residual = equations.batch_norm(residual, *norm_weights(norm))
    assert_close(module(x), np.maximum(expected + residual, 0))


def test_gradients_of_every_module(layout: SkeletonLayout) -> None:
    check_gradients(prepare(SFEM(layout, (3, 4), learn_weight=True)), draw_features(channels=3, frames=2))
    check_gradients(prepare(SFEM(layout, (3, 4), learn_weight=True, joins="correlations")), draw_features(channels=3, frames=2))
    check_gradients(prepare(FrameFeatures(2, 3)), draw_features(channels=2, frames=4))
    check_gradients(prepare(JointFeatures((2, 3), 2)), draw_features(channels=2, frames=5))
    check_gradients(prepare(STFEM(layout, (2, 3, 2), 3, 2)), draw_features(channels=2, frames=4))
    check_gradients(prepare(STFEM(layout, (2, 3, 2), 3, 2, learn_weight=True, joins="correlations")), draw_features(channels=2, frames=4))
    check_gradients(prepare(MSTCN((2, 6), 2)), draw_features(channels=2, frames=5))


@each_reading
def test_fused_attention_equals_the_plain_product(joins: GraphJoins) -> None:
    """Over more than 64 tokens the fused kernel is used."""
    query, key, value = (draw_features(joints=80) for _ in range(3))
    graph = torch.rand(80, 80, dtype=torch.float64)
    torch.testing.assert_close(attend(query, key, value, graph, joins), correlate(query, key, graph, joins) @ value)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("off", [(0, 1), (0, -1), (1, 0), (-1, 0)])
def test_features_that_do_not_fit_are_refused(layout: SkeletonLayout, off: tuple[int, int], training: bool) -> None:
    """Before a compiled loop reads what lies behind them."""
    features = torch.zeros(2, 9, layout.num_joints + off[0], 4 + off[1])
    with torch.no_grad(), pytest.raises(ValueError, match="STFEM takes features"):
        STFEM(layout, (4, 4, 6), 3).train(training)(features)
    if off[1]:
        with torch.no_grad(), pytest.raises(ValueError, match="BN of 4 channels"):
            BatchNorm(4).train(training)(features)


def test_windows_overlap_and_end_in_zeros() -> None:
    x = draw_features(frames=4)
    found = windows(x, 3, 2)
    assert found.shape == (BODIES, 2, 15, CHANNELS)
    torch.testing.assert_close(found[:, 0], x[:, 0:3].flatten(1, 2))
    torch.testing.assert_close(found[:, 1, :10], x[:, 2:4].flatten(1, 2))
    assert not found[:, 1, 10:].any()


def test_windows_share_memory_instead_of_copying() -> None:
    x = torch.randn(1, 40, 5, CHANNELS, dtype=torch.float32)
    assert windows(x, 5, 1).untyped_storage().nbytes() == 44 * 5 * CHANNELS * 4


def test_batch_norm_equals_pytorchs() -> None:
    ours, theirs = prepare(BatchNorm(CHANNELS)), prepare(nn.BatchNorm1d(CHANNELS))
    x = draw_features()
    for _ in range(3):
        torch.testing.assert_close(ours(x), theirs(x.flatten(0, 2)).view_as(x))
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x.flatten(0, 2)).view_as(x))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_batch_norm_takes_a_missing_bias_away_again() -> None:
    ours, theirs = prepare(BatchNorm(CHANNELS)), prepare(BatchNorm(CHANNELS))
    x, missing = draw_features(), torch.linspace(-1, 2, CHANNELS).requires_grad_()
    for training in (True, False):
        for norm in (ours, theirs):
            norm.train(training)
        torch.testing.assert_close(ours(x, missing=missing), theirs(x + missing))
        with torch.inference_mode():
            torch.testing.assert_close(ours(x, missing=missing), theirs(x + missing))
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value)
    ours.train()(x, missing=missing).square().sum().backward()
    assert missing.grad is not None
    assert not missing.grad.any()
