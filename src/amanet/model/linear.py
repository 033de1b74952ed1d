"""Linear maps of features: on AMD's processors as products of our own (:mod:`amanet.loops.products`), elsewhere as PyTorch's.

The library that PyTorch asks on a CPU is Intel's: on an AMD EPYC it reaches two fifths of the speed of our products, on an Intel Xeon their
speed.
"""

from typing import Any

import torch
from jaxtyping import Float
from llvmlite.binding import get_host_cpu_name
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.loops.products import multiply_large
from amanet.model.attention import works_in_pieces
from amanet.model.loops import tell_multiplied
from amanet.model.pieces import shares
from amanet.model.threads import divide
from amanet.model.tracing import is_traced

KINDS = {torch.float32: "float32", torch.float64: "float64"}
"""Numbers that there are products of, by the names that compiled loops have for them."""

LEAST_DIVIDED = 5e7
"""Operations of a product that are worth more than one thread."""

OURS_ARE_FASTER = get_host_cpu_name().startswith("znver")
"""Whether this is one of AMD's processors (Zen)."""


def linear(
    features: Float[Tensor, "*rows channel"],
    weight: Float[Tensor, "mapped_channel channel"],
    bias: Float[Tensor, " mapped_channel"] | None = None,
) -> Float[Tensor, "*rows mapped_channel"]:
    """``features @ weight.T + bias``"""
    if works_in_pieces(features) and weight.dtype == features.dtype and not is_traced(weight):
        return _Linear.apply(features, weight, bias)  # pyright: ignore[reportReturnType]
    return F.linear(features, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = features.reshape(-1, features.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.shape = features.shape
        mapped = rows.new_empty(len(rows), len(weight))
        if bias is not None:
            mapped.copy_(bias.expand_as(mapped))
        return multiply(rows, weight.t(), mapped, adds=bias is not None).view(*ctx.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, len(weight))
        of_features = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_features = multiply(gradient, weight, rows.new_empty(rows.shape)).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            of_weight = multiply(gradient.t(), rows, weight.new_empty(weight.shape))
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0)
        return of_features, of_weight, of_bias


def multiply(
    left: Float[Tensor, "row depth"], right: Float[Tensor, "depth column"], out: Float[Tensor, "row column"], *, adds: bool = False
) -> Float[Tensor, "row column"]:
    """``out = left @ right``, or ``out += left @ right`` if it ``adds``, on a CPU, without gradients; returns ``out``.

    Its rows are contiguous.
    """
    (rows, depth), columns = left.shape, right.shape[1]
    if (depth, rows, columns) != (len(right), *out.shape) or not left.dtype == right.dtype == out.dtype in KINDS:
        shapes = " and ".join(f"{tuple(each.shape)} {each.dtype}" for each in (left, right, out))
        raise ValueError(f"a product wants (row, depth), (depth, column) and (row, column) in float32 or float64, got {shapes}")
    if columns > 1 and out.stride(1) != 1:
        raise ValueError(f"a product wants to write contiguous rows, got strides {out.stride()}")
    right = right.contiguous() if OURS_ARE_FASTER and right.stride(1) != 1 else right
    parts = shares(rows) if 2 * rows * depth * columns >= LEAST_DIVIDED else [slice(rows)]
    divide(lambda part: _multiply(left[part], right, out[part], adds), parts)
    return out


def _multiply(left: Tensor, right: Tensor, out: Tensor, adds: bool) -> None:
    (rows, depth), columns = left.shape, right.shape[1]
    if OURS_ARE_FASTER:
        tell_multiplied(out, 2 * rows * depth * columns)
        operands = left.data_ptr(), *left.stride(), right.data_ptr(), right.stride(0), out.data_ptr(), out.stride(0)
        multiply_large.run(KINDS[out.dtype], *operands, rows, depth, columns, adds)
    elif adds:
        out.addmm_(left, right)
    else:
        torch.mm(left, right, out=out)
