"""Batch normalisation of features that come in pieces, some bodies of which stand for several equal ones."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from amanet.model.pieces import at_once, cut

Copies = Float[Tensor, " clip_body"]
"""How many equal bodies of a batch each body stands for."""


class Moments:
    """Mean and variance over bodies that come in pieces, about the mean of the first piece so that nothing cancels."""

    def __init__(self, like: Tensor) -> None:
        self.shift: Tensor | None = None
        self.rows = 0.0
        self.first = self.second = like.new_zeros(like.shape[-1], dtype=torch.float64)

    def add(self, rows: Float[Tensor, "piece_body row channel"], copies: Float[Tensor, " piece_body"]) -> None:
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows
        if self.shift is None:
            self.shift = rows.mean((0, 1))
        centred = rows - self.shift
        self.rows += rows.shape[1] * float(copies.sum())
        counted = copies.to(rows.dtype)
        self.first = self.first + counted @ centred.sum(1)
        self.second = self.second + counted @ centred.square_().sum(1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        assert self.shift is not None
        mean = self.first / self.rows
        variance = self.second / self.rows - mean.square()
        kind = self.shift.dtype
        return (mean + self.shift).to(kind), variance.to(kind)


class Affine:
    """BN as one product and one sum a channel, and its gradient."""

    def __init__(self, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> None:
        self.mean = mean
        self.deviation = (variance + eps).rsqrt()
        self.scale = weight * self.deviation
        self.shift = bias - mean * self.scale

    def backward(self, first: Tensor, second: Tensor, rows: float) -> tuple[Tensor, Tensor]:
        """Offset and factor of the input in the gradient of one of so many ``rows`` of training, beside ``scale`` times the output's.

        ``first`` is the sum of the output's gradient, and ``second`` that of its product with the centred input.
        """
        factor = -self.scale * self.deviation.square() * second / rows
        return -self.scale * first / rows - factor * self.mean, factor


def normalise_copies(
    features: Float[Tensor, "clip_body *rows channel"],
    weight: Float[Tensor, " channel"],
    bias: Float[Tensor, " channel"],
    copies: Copies,
    eps: float,
) -> tuple[Float[Tensor, "clip_body *rows channel"], Tensor, Tensor]:
    """BN in training, each body counted as often as there are copies of it; with the mean and the variance that it found."""
    return _NormaliseCopies.apply(features, weight, bias, copies, eps)  # pyright: ignore[reportReturnType]


class _NormaliseCopies(torch.autograd.Function):
    """The gradient of a body that stands for several is the sum of theirs, so that only the means ask for their number."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        features, weight, bias, copies, eps = inputs
        rows = features.flatten(1, -2)
        moments = Moments(rows)
        for piece in _NormaliseCopies._pieces(rows):
            moments.add(rows[piece], copies[piece])
        mean, variance = moments.mean_and_variance()
        affine = Affine(weight, bias, mean, variance, eps)
        output = torch.empty_like(features, memory_format=torch.contiguous_format)
        for piece in _NormaliseCopies._pieces(rows):
            torch.addcmul(affine.shift, rows[piece], affine.scale, out=output[piece].flatten(1, -2))
        ctx.save_for_backward(rows, weight, bias, copies, mean, variance)
        ctx.eps, ctx.rows = eps, moments.rows
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    def _pieces(rows: Tensor) -> list[slice]:
        return list(cut(len(rows), at_once(rows[0].numel())))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weight, bias, copies, mean, variance = ctx.saved_tensors
        gradient = gradients[0].reshape(rows.shape)
        affine = Affine(weight, bias, mean, variance, ctx.eps)
        first, second = torch.zeros_like(affine.mean), torch.zeros_like(affine.mean)
        for piece in _NormaliseCopies._pieces(rows):
            first += gradient[piece].sum((0, 1))
            second += (gradient[piece] * (rows[piece] - affine.mean)).sum((0, 1))
        offset, factor = affine.backward(first, second, ctx.rows)
        of_features = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        counted = copies.to(rows.dtype)[:, None, None]
        for piece in _NormaliseCopies._pieces(rows):
            torch.addcmul(counted[piece] * offset, rows[piece], counted[piece] * factor, out=of_features[piece])
            of_features[piece].addcmul_(gradient[piece], affine.scale)
        return of_features.view(gradients[0].shape), second * affine.deviation, first, None, None
