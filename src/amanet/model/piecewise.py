"""Attention and convolution over time on a CPU, some bodies and joints at a time, with the gradients written out.

Correlations are computed again for the gradient and never kept, so a training step holds no (frame, frame) tensor of a whole batch.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, cut, tile_shape, tiles

KeptFrames = Float[Tensor, "clip_body kept_frame joint channel"]


def attend_over_time(query: KeptFrames, features: Frames) -> KeptFrames:
    """Attention of each joint to itself in all frames, whose features are both keys and values."""
    return _TimeAttention.apply(query, features)  # pyright: ignore[reportReturnType]


def convolve_frames(
    features: Frames, taps: Float[Tensor, "tap channel out"], bias: Float[Tensor, "frame out"]
) -> Float[Tensor, "clip_body frame joint out"]:
    """A convolution over time that keeps the frames; zeros stand for those before and after. Each frame has its own bias."""
    return _ConvolveFrames.apply(features, taps.contiguous(), bias)  # pyright: ignore[reportReturnType]


class _TimeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(query, features)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        for piece in _pieces(query, features):
            place = _by_joint(mixed, piece)
            place.copy_(_attend(query, features, piece).mix().view(place.shape))
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = gradients
        query, features = ctx.saved_tensors
        found = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in (query, features)]
        for piece in _pieces(query, features):
            of_query, of_key, of_value, _ = _attend(query, features, piece).gradients(_by_joint(gradient, piece).flatten(0, 1))
            for each, of_piece in zip(found, (of_query, of_key.add_(of_value)), strict=True):
                place = _by_joint(each, piece)
                place.copy_(of_piece[:, : place.shape[2]].view(place.shape))
        return tuple(found)


def _pieces(query: KeptFrames, features: Frames) -> Iterator[Tile]:
    """Bodies and joints of every piece: some joints of one body, or all those of some bodies."""
    bodies, kept, joints, channels = query.shape
    items = at_once(kept * max(features.shape[1], channels))
    return tiles((bodies, joints), tile_shape((bodies, joints), items))


def _attend(query: KeptFrames, features: Frames, piece: Tile) -> AttentionPiece:
    masked = aligned(features.shape[1]) - features.shape[1]
    memory = F.pad(_by_joint(features, piece), (0, 0, 0, masked)).flatten(0, 1)
    return AttentionPiece(_by_joint(query, piece).flatten(0, 1), memory, memory, masked=masked)


def _by_joint(features: Frames, piece: Tile) -> Float[Tensor, "piece_body piece_joint frame channel"]:
    bodies, joints = piece
    return features[bodies, :, joints].transpose(1, 2)


class _ConvolveFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features, taps)
        convolved = features.new_empty(*features.shape[:-1], taps.shape[-1])
        convolved.copy_(bias[:, None])
        for piece in cut(len(features), at_once(convolved[0].numel())):
            for tap, kept, seen in _alignments(taps, features.shape[1]):
                rows = features[piece, seen].flatten(1, 2)
                convolved[piece, kept].flatten(1, 2).baddbmm_(rows, tap.expand(len(rows), -1, -1))
        return convolved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, taps = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_taps, of_features = torch.zeros_like(taps), torch.zeros_like(features, memory_format=torch.contiguous_format)
        for piece in cut(len(features), at_once(max(gradient[0].numel(), features[0].numel()))):
            for (tap, kept, seen), (of_tap, _, _) in zip(
                _alignments(taps, features.shape[1]), _alignments(of_taps, features.shape[1]), strict=True
            ):
                rows = gradient[piece, kept].flatten(1, 2)
                of_tap.addbmm_(features[piece, seen].flatten(1, 2).transpose(1, 2), rows)
                of_features[piece, seen].flatten(1, 2).baddbmm_(rows, tap.t().expand(len(rows), -1, -1))
        return of_features, of_taps, gradient.sum((0, 2))


def _alignments(taps: Float[Tensor, "tap channel out"], frames: int) -> Iterator[tuple[Tensor, slice, slice]]:
    """Each tap, the frames of a convolution that it reaches, and the frames that it takes for them."""
    for index, tap in enumerate(taps):
        shift = index - (len(taps) - 1) // 2
        first, last = max(0, -shift), min(frames, frames - shift)
        if first < last:
            yield tap, slice(first, last), slice(first + shift, last + shift)
