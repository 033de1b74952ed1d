"""STFEM on a CPU, some windows at a time, with the gradients written out (:mod:`amanet.model.window_sweep`)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from amanet.model.affine import Affine, Copies
from amanet.model.normalisation import BatchNorm, counted_bodies
from amanet.model.pieces import Frames, Tile, scratch
from amanet.model.side_by_side import add_up
from amanet.model.threads import divide
from amanet.model.window_sweep import Gradients, WindowOptions, WindowSweep, map_backward, map_padded, pad, unseen_backward


def mix_windows(
    features: Frames,
    of_zero: Float[Tensor, " padded_channel"] | None,
    weight: Float[Tensor, "all_channels padded_channel"],
    expand: Float[Tensor, "value_channel padded_channel"] | None,
    graph: Float[Tensor, "token token"],
    norm: BatchNorm,
    collapse: Float[Tensor, "out value_channel window_frame 1"],
    options: WindowOptions,
) -> Float[Tensor, "clip_body window joint out"]:
    """STFEM up to the collapsed windows, ``Conv(ReLU(BN(Correlations @ mapped) + value))`` in each window of frames.

    Beside the features stands a channel of ones (:func:`~amanet.model.attention.with_ones`), and zeros past the last frame. As many of
    these channels as queries have are keys; queries, values and mapped values are one linear map of them, below each other in ``weight``.
    With a map that is to ``expand`` what was mixed, there are no mapped values, and the keys are mixed instead. Keys past the last frame,
    which are zero, score with a query what the map ``of_zero`` says; without it they score zero.
    In training the tokens are kept once, as the BN's input; in evaluation not at all.
    """
    taps = collapse[..., 0].permute(2, 1, 0).flatten(0, 1).contiguous()
    counted = counted_bodies(features)
    if not norm.training and not torch.is_grad_enabled():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        affine = Affine(norm.weight, norm.bias, norm.running_mean, norm.running_var, options.eps)
        return _evaluate(features, of_zero, weight, expand, graph, affine, taps, counted.copies, options)
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    collapsed, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        features, of_zero, weight, expand, graph, norm.weight, norm.bias, taps, counted, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, float(counted.bodies * collapsed.shape[1] * len(graph)))
    return collapsed


def _evaluate(
    features: Frames,
    of_zero: Tensor | None,
    weight: Tensor,
    expand: Tensor | None,
    graph: Tensor,
    affine: Affine,
    taps: Tensor,
    copies: Copies,
    options: WindowOptions,
) -> Float[Tensor, "clip_body window joint out"]:
    """A piece goes from its linear maps to the collapsed windows, and none of what is between them is kept."""
    whole = WindowSweep(pad(features, weight, options), of_zero, expand, graph, copies, options)
    collapsed = features.new_empty(*whole.shape, options.joints, taps.shape[-1])

    def evaluate(piece: Tile) -> None:
        sweep = whole.only(piece)
        sweep.over(map_padded(sweep.padded, weight, options))
        mixed = scratch("tokens", (*sweep.shape, options.tokens, sweep.mixed_channels), features)
        sweep.mix(mixed)
        sweep.collapse(mixed, affine, taps, collapsed[piece])

    divide(evaluate, whole.pieces())
    return collapsed


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        features, of_zero, weight, expand, graph, gain, offset, taps, counted, statistics, options = inputs
        padded = pad(features, weight, options)
        maps = map_padded(padded, weight, options)
        sweep = WindowSweep(padded, of_zero, expand, graph, counted.copies, options).over(maps)
        mixed = padded.new_empty(*sweep.shape, options.tokens, sweep.mixed_channels)
        if statistics is None:
            mean, variance = sweep.mix_and_count(mixed)
        else:
            sweep.mix(mixed)
            mean, variance = statistics
        collapsed = padded.new_empty(*sweep.shape, options.joints, taps.shape[-1])
        sweep.collapse(mixed, Affine(gain, offset, mean, variance, options.eps), taps, collapsed)
        ctx.save_for_backward(padded, of_zero, weight, expand, graph, gain, offset, taps, mixed, mean, variance, *maps)
        ctx.channels, ctx.options, ctx.counted, ctx.training = features.shape[3], options, counted, statistics is None
        ctx.mark_non_differentiable(mean, variance)
        return collapsed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        padded, of_zero, weight, expand, graph, gain, offset, taps, mixed, mean, variance, *maps = ctx.saved_tensors
        sweep = WindowSweep(padded, of_zero, expand, graph, ctx.counted.copies, ctx.options).over(maps)
        affine = Affine(gain, offset, mean, variance, ctx.options.eps)
        of_collapsed = gradients[0].contiguous()
        found = Gradients(sweep, maps, learns_graph=ctx.needs_input_grad[4])
        of_normed, of_taps, sums = sweep.collapse_backward(mixed, affine, taps, of_collapsed, found)
        of_offset, of_gain = sums.to(mean.dtype)
        first, second = add_up((of_offset, of_gain))
        # In evaluation the statistics are constants, and no rows were counted.
        rows = float(ctx.counted.bodies * sweep.shape[1] * ctx.options.tokens)
        moved = affine.backward(first, second, rows) if ctx.training else (torch.zeros_like(first), torch.zeros_like(first))
        sweep.mix_backward(mixed, affine, moved, of_normed, found)
        of_weight, of_zero = map_backward(found, sweep, weight), unseen_backward(found, sweep, of_zero)
        of_features = found.key[:, : sweep.frames, :, : ctx.channels]
        of_graph = None if found.graph is None else found.graph[:, : ctx.options.tokens]
        of_norm = of_gain * affine.deviation, of_offset
        of_expand = None if found.expand is None else found.expand.t()
        return of_features, of_zero, of_weight, of_expand, of_graph, *of_norm, of_taps, None, None, None
