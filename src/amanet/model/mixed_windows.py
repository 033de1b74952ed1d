"""SFEM and STFEM on a CPU, some windows at a time, with the gradients written out (:mod:`amanet.model.window_piece`)."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model.affine import Affine
from amanet.model.attention import GraphJoins, Map, of_ones, query_features
from amanet.model.norm_loops import Moments
from amanet.model.normalisation import BatchNorm, counted_bodies
from amanet.model.pieces import Frames, scratch
from amanet.model.side_by_side import add_up, everyone
from amanet.model.window_piece import Gradients, Mixed, Taps, WindowOptions, Windows


def mix_windows(
    features: Frames,
    query: Map,
    key: Map,
    value: tuple[Float[Tensor, "value_channel channel"], Float[Tensor, " value_channel"]],
    theta: Float[Tensor, "value_channel value_channel"],
    graph: Float[Tensor, "token token"],
    norm: BatchNorm,
    collapse: Float[Tensor, "out value_channel window_frame 1"] | None = None,
    *,
    window: int = 1,
    stride: int = 1,
    joins: GraphJoins = "scores",
) -> Float[Tensor, "clip_body window joint out"]:
    """``ReLU(BN(Correlations @ value @ theta) + value)`` in each window of frames, and what that collapses to.

    Q's and K's maps are one (:func:`~amanet.model.attention.query_features`), and the features themselves are keys. V and Theta are one
    too; where V widens the features, these are mixed, and mapped after it. Beside the features stands a channel of ones, so that every
    bias is a weight, and zeros past the last frame. Without ``collapse``, windows are single frames. In training the tokens are kept
    once, as the BN's input; in evaluation not at all.
    """
    mapped, expand, unseen = theta @ of_ones(value), None, None
    if len(theta) > features.shape[3]:
        weights, expand = [of_ones(key).t() @ of_ones(query), of_ones(value)], mapped
    else:
        weights = [of_ones(query_features(query, key)), of_ones(value), mapped]
        if window > 1:
            unseen = _scores_of_zero(features[:, max(0, features.shape[1] - window + 1) :], query, key)
    options = WindowOptions(
        window=window,
        stride=stride,
        joints=features.shape[2],
        width=len(query[0]),
        filled=features.shape[3] + 1,
        widths=tuple(map(len, weights)),
        inside=joins == "scores",
        eps=norm.eps,
    )
    taps = None if collapse is None else collapse[..., 0].permute(2, 1, 0).flatten(0, 1)
    return _mix_and_finish(features, unseen, torch.cat(weights), expand, graph, norm, taps, options)


def _scores_of_zero(features: Frames, query: Map, key: Map) -> Float[Tensor, "clip_body frame joint"]:
    """Scores of keys that are zero, where those of features as keys are q k - q b_k (:func:`~amanet.model.attention.query_features`)."""
    (query_weight, query_bias), (_, key_bias) = query, key
    of_zero = key_bias[None] / -math.sqrt(len(key_bias))
    return F.linear(features, of_zero @ query_weight, of_zero @ query_bias).squeeze(-1)


def _mix_and_finish(
    features: Frames,
    unseen: Float[Tensor, "clip_body last_frame joint"] | None,
    weight: Float[Tensor, "all_channels padded_channel"],
    expand: Float[Tensor, "value_channel padded_channel"] | None,
    graph: Float[Tensor, "token token"],
    norm: BatchNorm,
    taps: Taps | None,
    options: WindowOptions,
) -> Float[Tensor, "clip_body window joint out"]:
    """As many channels as queries have are keys; queries, values and mapped values are one linear map, below each other in ``weight``.

    With a map that is to ``expand`` what was mixed, there are no mapped values, and the keys are mixed instead. Keys past the last frame,
    which are zero, get the query's score of ``unseen``, which holds the frames that such a window can begin with; without it they get zero.
    """
    counted = counted_bodies(features)
    if not norm.training and not torch.is_grad_enabled():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        affine = Affine(norm.weight, norm.bias, norm.running_mean, norm.running_var, options.eps)
        return _evaluate(Windows(features, unseen, weight, expand, graph, counted.copies, options), affine, taps)
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    output, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        features, unseen, weight, expand, graph, norm.weight, norm.bias, taps, counted, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, float(counted.bodies * output.shape[1] * len(graph)))
    return output


def _evaluate(windows: Windows, affine: Affine, taps: Taps | None) -> Float[Tensor, "clip_body window joint out"]:
    """A piece goes from the features to the output, and none of what is between them is kept."""
    features, options = windows.features, windows.options
    output = features.new_empty(*windows.shape, options.joints, windows.channels if taps is None else taps.shape[-1])
    for piece in windows.pieces():
        place = output[piece.place]
        mixed = scratch("tokens", (*place.shape[:2], options.tokens, windows.mixed_channels), features)
        piece.mix(mixed)
        piece.finish(mixed, affine, taps, place)
    return output


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        features, unseen, weight, expand, graph, gain, offset, taps, counted, statistics, options = inputs
        windows = Windows(features, unseen, weight, expand, graph, counted.copies, options)
        mixed = features.new_empty(*windows.shape, options.tokens, windows.mixed_channels)
        mean, variance = _mix(windows, mixed, counts=statistics is None) or statistics
        affine = Affine(gain, offset, mean, variance, options.eps)
        output = features.new_empty(*windows.shape, options.joints, windows.channels if taps is None else taps.shape[-1])
        for piece in windows.pieces():
            piece.finish(mixed[piece.place], affine, taps, output[piece.place])
        ctx.save_for_backward(
            features, unseen, weight, expand, graph, gain, offset, taps, mixed, mean, variance, output if taps is None else None
        )
        ctx.options, ctx.counted, ctx.training = options, counted, statistics is None
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, unseen, weight, expand, graph, gain, offset, taps, mixed, mean, variance, active = ctx.saved_tensors
        windows = Windows(features, unseen, weight, expand, graph, ctx.counted.copies, ctx.options)
        affine = Affine(gain, offset, mean, variance, ctx.options.eps)
        of_output = gradients[0].contiguous()
        found = Gradients(windows, taps, learns_graph=ctx.needs_input_grad[4])
        of_normed = mixed.new_empty(*mixed.shape[:3], len(mean))
        sums = mixed.new_zeros((2, len(mean)), dtype=torch.float64)
        for piece in windows.pieces():
            at = piece.place
            seen = None if active is None else active[at]
            piece.finish_backward(mixed[at], affine, taps, seen, of_output[at], of_normed[at], sums, found)
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
        return of_features, found.unseen, found.weight, found.expand, of_graph, *of_norm, found.taps, None, None, None


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
