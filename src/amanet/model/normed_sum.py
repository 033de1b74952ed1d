"""ReLU(BN(x) + residual) in training as one function, in two sweeps over memory each way.

BN needs the moments of the whole batch before it gives the first number: one sweep takes them, and one does all the rest. A GPU sweeps by
the kernels of :mod:`amanet.model.norm_kernels`, a CPU by the loops of :mod:`amanet.model.norm_loops`. Equal bodies of a batch are computed
once and count as often as they occur.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model import norm_loops
from amanet.model.affine import Affine, Copies
from amanet.model.attention import runs_kernels
from amanet.model.side_by_side import add_up
from amanet.model.tracing import is_traced

Rows = Float[Tensor, "clip_body *rows channel"]


def sweeps_over(features: Tensor) -> bool:
    """Whether :func:`normalise` has a way to sweep over these features; a compiler is left to do it by itself."""
    return not is_traced(features) and _sweeps(features) is not None


def sweeps_once(features: Tensor) -> bool:
    """Whether :func:`normalise_by` has a way: where no gradient is to come."""
    return sweeps_over(features) and not torch.is_grad_enabled() and _looped(features)


def joins_what_follows(features: Tensor) -> bool:
    """Whether it is best that BN is one sweep with what follows it, instead of a part of the map before it: on a GPU."""
    return runs_kernels(features) and not torch.is_grad_enabled()


def normalise_by(affine: Affine, features: Rows, residual: Rows | None = None, *, activates: bool = False) -> Rows:
    """BN by known moments, a residual added, and a ReLU, without a gradient."""
    sweeps = _sweeps(features)
    assert sweeps is not None
    features = features.contiguous()
    output = torch.empty_like(features, dtype=_kind(features, residual))
    sweeps.apply(features, affine, residual, output, activates)
    return output


def finish(normed: Rows, residual: Rows | None = None, *, activates: bool = False, shift: Float[Tensor, " channel"] | None = None) -> Rows:
    """What follows a BN: a residual is added, and a ReLU taken; in place where no gradient is asked for.

    A ``shift`` is what the BN still lacks where it is a part of the map before it.
    """
    if torch.is_grad_enabled() or is_traced(normed):
        normed = normed if shift is None else normed + shift
        normed = normed if residual is None else normed + residual
        return F.relu(normed) if activates else normed
    if sweeps_once(normed) and normed.device.type == "cpu" and normed.is_contiguous():
        norm_loops.finish(normed, shift, residual, activates)
        return normed
    normed = normed if shift is None else normed.add_(shift)
    normed = normed if residual is None else normed.add_(residual)
    return F.relu_(normed) if activates else normed


def normalise(
    features: Rows,
    weight: Float[Tensor, " channel"],
    bias: Float[Tensor, " channel"],
    eps: float,
    rows: float,
    copies: Copies | None = None,
    residual: Rows | None = None,
    *,
    activates: bool = False,
) -> tuple[Rows, Float[Tensor, " channel"], Float[Tensor, " channel"]]:
    """BN in training, a residual added, and a ReLU; with the mean and the variance that were found.

    The residual may be any view whose channels lie beside each other. Each body counts as often as there are ``copies`` of it; its
    gradient is the sum of theirs, so that only the means ask for their number. ``rows`` are those that count, in all.
    """
    if not _looped(features) or not (residual is None or _looped(residual)):
        wide = None if residual is None else residual.float()
        output, mean, variance = normalise(features.float(), weight, bias, eps, rows, copies, wide, activates=activates)
        return output.to(_kind(features, residual)), mean, variance
    features = features.contiguous()
    return _Normalise.apply(features, weight, bias, eps, rows, copies, residual, activates)  # pyright: ignore[reportReturnType]


def _looped(features: Tensor) -> bool:
    """Whether loops on a CPU know this kind of number; a GPU's kernels know all."""
    return features.device.type != "cpu" or features.dtype in (torch.float32, torch.float64)


def _sweeps(features: Tensor) -> ModuleType | None:
    if runs_kernels(features):
        from amanet.model import norm_kernels

        return norm_kernels
    return norm_loops if features.device.type == "cpu" else None


def _kind(features: Rows, residual: Rows | None) -> torch.dtype:
    return features.dtype if residual is None else torch.promote_types(features.dtype, residual.dtype)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        features, weight, bias, eps, rows, copies, residual, activates = inputs
        sweeps = _sweeps(features)
        assert sweeps is not None
        mean, variance = sweeps.moments(features, copies, rows)
        affine = Affine(weight, bias, mean, variance, eps)
        output = torch.empty_like(features, dtype=_kind(features, residual))
        sweeps.apply(features, affine, residual, output, activates)
        ctx.save_for_backward(features, weight, bias, copies, mean, variance, output if activates else None)
        ctx.eps, ctx.rows, ctx.residual_kind = eps, rows, None if residual is None else residual.dtype
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, weight, bias, copies, mean, variance, output = ctx.saved_tensors
        sweeps = _sweeps(features)
        assert sweeps is not None
        gradient = gradients[0].contiguous()
        affine = Affine(weight, bias, mean, variance, ctx.eps)
        of_features, of_residual = torch.empty_like(features), None
        if ctx.residual_kind is not None and output is not None:
            of_residual = torch.empty_like(features, dtype=ctx.residual_kind)
        sums = sweeps.gradient_sums(gradient, output, features, mean, of_residual)
        offset, factor = affine.backward(*add_up(sums), ctx.rows)
        sweeps.gradients(gradient, output, features, affine, (offset, factor), copies, of_features, of_residual)
        if ctx.residual_kind is not None and output is None:
            of_residual = gradient.to(ctx.residual_kind)
        of_bias, of_weight = sums
        return of_features, of_weight * affine.deviation, of_bias, None, None, None, of_residual, None
