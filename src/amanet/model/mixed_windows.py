"""STFEM on a CPU, some windows at a time, with the gradients written out (:mod:`amanet.model.window_piece`)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from amanet.model.affine import Affine
from amanet.model.norm_loops import Moments
from amanet.model.normalisation import BatchNorm, counted_bodies
from amanet.model.pieces import Frames, scratch
from amanet.model.side_by_side import add_up, everyone
from amanet.model.window_piece import Gradients, Mixed, WindowOptions, Windows


def mix_windows(
    features: Frames,
    unseen: Float[Tensor, "clip_body last_frame joint"] | None,
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
    which are zero, get the query's score of ``unseen``, which holds the frames that such a window can begin with; without it they get zero.
    In training the tokens are kept once, as the BN's input; in evaluation not at all.
    """
    taps = collapse[..., 0].permute(2, 1, 0).flatten(0, 1)
    counted = counted_bodies(features)
    if not norm.training and not torch.is_grad_enabled():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        affine = Affine(norm.weight, norm.bias, norm.running_mean, norm.running_var, options.eps)
        return _evaluate(Windows(features, unseen, weight, expand, graph, counted.copies, options), affine, taps)
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    collapsed, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        features, unseen, weight, expand, graph, norm.weight, norm.bias, taps, counted, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, float(counted.bodies * collapsed.shape[1] * len(graph)))
    return collapsed


def _evaluate(windows: Windows, affine: Affine, taps: Tensor) -> Float[Tensor, "clip_body window joint out"]:
    """A piece goes from the features to the collapsed windows, and none of what is between them is kept."""
    features, options = windows.features, windows.options
    collapsed = features.new_empty(*windows.shape, options.joints, taps.shape[-1])
    for piece in windows.pieces():
        place = collapsed[piece.place]
        mixed = scratch("tokens", (*place.shape[:2], options.tokens, windows.mixed_channels), features)
        piece.mix(mixed)
        piece.collapse(mixed, affine, taps, place)
    return collapsed


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        features, unseen, weight, expand, graph, gain, offset, taps, counted, statistics, options = inputs
        windows = Windows(features, unseen, weight, expand, graph, counted.copies, options)
        mixed = features.new_empty(*windows.shape, options.tokens, windows.mixed_channels)
        mean, variance = _mix(windows, mixed, counts=statistics is None) or statistics
        affine = Affine(gain, offset, mean, variance, options.eps)
        collapsed = features.new_empty(*windows.shape, options.joints, taps.shape[-1])
        for piece in windows.pieces():
            piece.collapse(mixed[piece.place], affine, taps, collapsed[piece.place])
        ctx.save_for_backward(features, unseen, weight, expand, graph, gain, offset, taps, mixed, mean, variance)
        ctx.options, ctx.counted, ctx.training = options, counted, statistics is None
        ctx.mark_non_differentiable(mean, variance)
        return collapsed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, unseen, weight, expand, graph, gain, offset, taps, mixed, mean, variance = ctx.saved_tensors
        windows = Windows(features, unseen, weight, expand, graph, ctx.counted.copies, ctx.options)
        affine = Affine(gain, offset, mean, variance, ctx.options.eps)
        of_collapsed = gradients[0].contiguous()
        found = Gradients(windows, learns_graph=ctx.needs_input_grad[4])
        of_normed, of_taps = mixed.new_empty(*mixed.shape[:3], len(mean)), torch.zeros_like(taps)
        sums = mixed.new_zeros((2, len(mean)), dtype=torch.float64)
        for piece in windows.pieces():
            at = piece.place
            piece.collapse_backward(mixed[at], affine, taps, of_collapsed[at], of_normed[at], of_taps, sums, found)
        of_offset, of_gain = sums.to(mean.dtype)
        first, second = add_up((of_offset, of_gain))
        # In evaluation the statistics are constants, and no rows were counted.
        rows = float(ctx.counted.bodies * windows.shape[1] * ctx.options.tokens)
        moved = affine.backward(first, second, rows) if ctx.training else (torch.zeros_like(first), torch.zeros_like(first))
        for piece in windows.pieces():
            piece.mix_backward(mixed[piece.place], affine, moved, of_normed[piece.place], found)
        of_features = found.key[:, : windows.frames, :, : features.shape[3]]
        of_graph = None if found.graph is None else found.graph[:, : ctx.options.tokens]
        of_norm = of_gain * affine.deviation, of_offset
        return of_features, found.unseen, found.weight, found.expand, of_graph, *of_norm, of_taps, None, None, None


def _mix(windows: Windows, mixed: Mixed, *, counts: bool) -> tuple[Tensor, Tensor] | None:
    """Writes what attention mixes; returns mean and variance of what BN is to see, over all bodies of the batch, if it ``counts``."""
    moments: Moments | None = None
    for piece in windows.pieces():
        place = mixed[piece.place]
        piece.mix(place)
        if counts:
            tokens = piece.expanded(place)
            moments = Moments(tokens[0, 0, 0].clone()) if moments is None else moments
            moments.add(tokens, windows.copies[piece.place[0]])
    return None if moments is None else Moments.joined(everyone(moments))
