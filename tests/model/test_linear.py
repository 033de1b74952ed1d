"""Linear maps as products of our own, against sums of products written out, and PyTorch's where ours do not go."""

from collections.abc import Callable
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from amanet.cost import counter
from amanet.loops.products import DEPTH_AT_ONCE, ROWS_AT_ONCE
from amanet.model import linear as ways
from amanet.model.linear import linear, multiply

LARGE = 2 * ROWS_AT_ONCE + 7, 2 * DEPTH_AT_ONCE + 3, 21
"""Rows, depth and columns of a product that is cut into three parts each way."""


@pytest.fixture(autouse=True, params=[True, False], ids=["ours", "PyTorch's"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "OURS_ARE_FASTER", request.param)


def draw(*shape: int, kind: torch.dtype = torch.float64, learns: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=kind).requires_grad_(learns)


def product(left: Tensor, right: Tensor) -> np.ndarray:
    """In float64, one depth after the other."""
    found = np.zeros((len(left), right.shape[1]))
    for column, row in zip(left.double().numpy().T, right.double().numpy(), strict=True):
        found += np.outer(column, row)
    return found


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), LARGE])
@pytest.mark.parametrize(("kind", "exactly"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_products_are_sums_of_products(
    shape: tuple[int, int, int], kind: torch.dtype, exactly: float, turned: tuple[bool, bool], adds: bool
) -> None:
    rows, depth, columns = shape
    left, right = draw(rows, depth, kind=kind), draw(depth, columns, kind=kind)
    left, right = (each.t().contiguous().t() if turns else each for each, turns in zip((left, right), turned, strict=True))
    around = torch.full((rows + 2, columns + 3), torch.nan, dtype=kind)
    out = around[1:-1, 2:-1]
    if adds:
        out[:] = draw(rows, columns, kind=kind)
    expected = product(left, right) + (out.double().numpy() if adds else 0)
    assert multiply(left, right, out, adds=adds) is out
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=exactly * depth**0.5 * 10)
    assert int(around.isnan().sum()) == around.numel() - out.numel()


def test_a_long_sum_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ours: parts of it are added up by themselves: one sum of so many numbers would lose all that they have beside ones."""
    monkeypatch.setattr(ways, "OURS_ARE_FASTER", True)
    left, right = torch.full((1, 100_000), 1 + 2**-12), torch.ones(100_000, 1)
    found = multiply(left, right, torch.empty(1, 1))
    assert abs(float(found) / float(product(left, right)[0, 0]) - 1) < 1e-6


@pytest.mark.parametrize("has_bias", [False, True])
def test_maps_equal_pytorchs_with_their_gradients(has_bias: bool) -> None:
    given = [draw(2, 3, 4, 5, learns=True), draw(7, 5, learns=True), draw(7, learns=True) if has_bias else None]
    learned = [each for each in given if each is not None]
    behind = draw(2, 3, 4, 7)
    found, expected = linear(*given), F.linear(*given)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(torch.autograd.grad(found, learned, behind), torch.autograd.grad(expected, learned, behind))
    assert torch.autograd.gradcheck(linear, given)


def test_gradients_that_nobody_asks_for_are_not_computed() -> None:
    features, weight = draw(6, 5), draw(7, 5, learns=True)
    with counter() as counted:
        linear(features, weight).sum().backward()
    assert counted.get_total_flops() == 2 * (2 * 6 * 5 * 7)
    assert features.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize(
    "view", [lambda it: it.transpose(0, 1), lambda it: it[:, ::2], lambda it: it[..., 1:4]], ids=["turned", "rows", "part"]
)
def test_features_may_be_a_view(view: Callable[[Tensor], Tensor]) -> None:
    features = draw(4, 6, 5)
    weight = draw(7, view(features).shape[-1])
    torch.testing.assert_close(linear(view(features), weight), F.linear(view(features).contiguous(), weight), rtol=1e-13, atol=1e-13)


def test_no_rows_give_none() -> None:
    features, weight = torch.empty(0, 5, requires_grad=True), draw(7, 5, kind=torch.float32, learns=True)
    found = linear(features, weight)
    assert found.shape == (0, 7)
    found.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


def test_half_precision_is_left_to_pytorch() -> None:
    features, weight = draw(6, 5, kind=torch.float32), draw(7, 5, kind=torch.float32)
    assert torch.equal(linear(features.bfloat16(), weight.bfloat16()), F.linear(features.bfloat16(), weight.bfloat16()))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(features, weight).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("left", "right", "out"),
    [
        ((3, 4), (5, 6), torch.empty(3, 6)),
        ((3, 4), (4, 6), torch.empty(3, 5)),
        ((3, 4), (4, 6), torch.empty(3, 6, dtype=torch.float64)),
        ((3, 4), (4, 6), torch.empty(6, 3).t()),
    ],
    ids=["depths", "shape", "kind", "scattered"],
)
def test_what_is_no_product_is_refused(left: tuple[int, int], right: tuple[int, int], out: Tensor) -> None:
    """It would read or write beside the memory of its tensors."""
    with pytest.raises(ValueError, match=r"a product wants .*got"):
        unwrap(multiply)(torch.ones(left), torch.ones(right), out)  # type checks of the tests refuse it before


def test_gradients_of_turned_features_and_weights() -> None:
    """Where channels do not lie beside each other."""
    features, weight = draw(7, 5).t()[None].requires_grad_(), draw(7, 3).t().requires_grad_()
    linear(features, weight).sin().sum().backward()
    found = [features.grad, weight.grad]
    features.grad = weight.grad = None
    F.linear(features, weight).sin().sum().backward()
    for one, other in zip(found, (features.grad, weight.grad), strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
