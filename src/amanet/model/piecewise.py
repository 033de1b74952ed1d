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

from amanet.model.pieces import AttentionPiece, Frames, Tile, at_once, cut, tile_shape, tiles


def attend_over_time(
    query: Float[Tensor, "clip_body kept_frame joint channel"], key: Frames, value: Frames
) -> Float[Tensor, "clip_body kept_frame joint channel"]:
    """Attention of each joint to itself in all frames."""
    return _TimeAttention.apply(query, key, value)  # pyright: ignore[reportReturnType]


def convolve_frames(features: Frames, weight: Float[Tensor, "out channel tap 1"]) -> Float[Tensor, "clip_body frame joint out"]:
    """A convolution over time that keeps the frames; zeros stand for those before and after."""
    return _ConvolveFrames.apply(features, _taps(weight).to(features.dtype))  # pyright: ignore[reportReturnType]


def _taps(weight: Float[Tensor, "out channel tap 1"]) -> Float[Tensor, "tap channel out"]:
    return weight[..., 0].permute(2, 1, 0).contiguous()


class _TimeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        for piece, part in _TimeAttention._parts(query, key, value):
            _by_joint(mixed, piece).copy_(part.mix().view(_by_joint(mixed, piece).shape))
        return mixed

    @staticmethod
    def _parts(*features: Tensor) -> Iterator[tuple[Tile, AttentionPiece]]:
        """Bodies, joints and attention of every piece: some joints of one body, or all those of some bodies."""
        bodies, kept, joints, _ = features[0].shape
        items = at_once(kept * max(features[1].shape[1], features[2].shape[-1]))
        for piece in tiles((bodies, joints), tile_shape((bodies, joints), items)):
            yield piece, AttentionPiece(*(_by_joint(each, piece).flatten(0, 1) for each in features))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = gradients
        found = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in ctx.saved_tensors]
        for piece, part in _TimeAttention._parts(*ctx.saved_tensors):
            of_features = part.gradients(_by_joint(gradient, piece).flatten(0, 1))[:3]
            for each, of_piece in zip(found, of_features, strict=True):
                _by_joint(each, piece).copy_(of_piece.view(_by_joint(each, piece).shape))
        return tuple(found)


def _by_joint(features: Frames, piece: Tile) -> Float[Tensor, "piece_body piece_joint frame channel"]:
    bodies, joints = piece
    return features[bodies, :, joints].transpose(1, 2)


class _ConvolveFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(features, taps)
        convolved = features.new_empty(*features.shape[:-1], taps.shape[-1])
        for part, rows, tap, first in _ConvolveFrames._products(features, taps, convolved):
            part.baddbmm_(rows, tap.expand(len(rows), -1, -1), beta=int(not first))
        return convolved

    @staticmethod
    def _products(features: Tensor, taps: Tensor, frames: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, bool]]:
        """Pieces of frames as rows, the rows that a tap takes from around them, the tap, and whether it is the piece's first."""
        size = len(taps)
        length = features.shape[1]
        padded = F.pad(features, (0, 0, 0, 0, (size - 1) // 2, size // 2))
        for piece in cut(len(features), at_once(frames[0].numel())):
            for index, tap in enumerate(taps):
                yield frames[piece].flatten(1, 2), padded[piece, index : index + length].flatten(1, 2), tap, index == 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, taps = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_taps, of_features = torch.zeros_like(taps), torch.empty_like(features, memory_format=torch.contiguous_format)
        for index, (part, rows, _, _) in enumerate(_ConvolveFrames._products(features, taps, gradient)):
            of_taps[index % len(taps)].addbmm_(rows.transpose(1, 2), part)
        # The gradient of the features is a convolution too, of the gradient with the taps in reverse.
        before = len(taps) // 2
        padded = F.pad(gradient, (0, 0, 0, 0, before, len(taps) - 1 - before))
        for piece in cut(len(features), at_once(features[0].numel())):
            part = of_features[piece].flatten(1, 2)
            for index, tap in enumerate(taps.flip(0)):
                rows = padded[piece, index : index + features.shape[1]].flatten(1, 2)
                part.baddbmm_(rows, tap.t().expand(len(rows), -1, -1), beta=int(index > 0))
        return of_features, of_taps
