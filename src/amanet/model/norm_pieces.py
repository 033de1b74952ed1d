"""The sweeps of :mod:`amanet.model.normed_sum` on a CPU: some bodies at a time, while they are in the cache."""

import torch
from jaxtyping import Float
from torch import Tensor

from amanet.model.moments import Affine, Copies, Moments
from amanet.model.pieces import at_once, cut

Rows = Float[Tensor, "clip_body *rows channel"]


def moments(features: Rows, copies: Copies | None, rows: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel."""
    found = Moments(features)
    for piece in _pieces(features):
        part = features[piece].flatten(1, -2)
        found.add(part, part.new_ones(len(part)) if copies is None else copies[piece])
    return found.mean_and_variance()


def apply(features: Rows, affine: Affine, residual: Rows | None, output: Rows, activates: bool) -> None:
    """Writes the normalised features, with the residual added and the ReLU taken."""
    for piece in _pieces(features):
        part = output[piece]
        torch.addcmul(affine.shift, features[piece], affine.scale, out=part)
        if residual is not None:
            part += residual[piece]
        if activates:
            part.relu_()


def gradient_sums(gradient: Rows, output: Rows | None, features: Rows, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the gradient behind the ReLU, and of its product with the centred features."""
    first, second = torch.zeros_like(mean), torch.zeros_like(mean)
    for piece in _pieces(features):
        part = _behind(gradient, output, piece).flatten(0, -2)
        first += part.sum(0)
        second += (part * (features[piece].flatten(0, -2) - mean)).sum(0)
    return first, second


def gradients(
    gradient: Rows,
    output: Rows | None,
    features: Rows,
    affine: Affine,
    moved: tuple[Tensor, Tensor],
    copies: Copies | None,
    of_features: Rows,
    of_residual: Rows | None,
) -> None:
    """Writes the gradients of the features, and of the residual where there is one."""
    offset, factor = moved
    for piece in _pieces(features):
        counted = 1 if copies is None else copies[piece].to(offset.dtype).view(-1, *[1] * (features.dim() - 1))
        behind = _behind(gradient, output, piece)
        if of_residual is not None:
            of_residual[piece] = behind
        torch.addcmul(counted * offset, features[piece], counted * factor, out=of_features[piece])
        of_features[piece].addcmul_(behind, affine.scale)


def _behind(gradient: Rows, output: Rows | None, piece: slice) -> Float[Tensor, "piece_body *rows channel"]:
    """The gradient behind the ReLU."""
    return gradient[piece] if output is None else torch.ops.aten.threshold_backward(gradient[piece], output[piece], 0)


def _pieces(features: Rows) -> list[slice]:
    return list(cut(len(features), at_once(features[0].numel())))
