"""The moments of a BN whose features come in pieces, some bodies of which stand for several equal ones, and what it makes of them."""

import torch
from jaxtyping import Float
from torch import Tensor

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
