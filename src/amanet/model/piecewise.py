"""Attention over time on a CPU, some bodies and joints at a time, with the gradients written out.

Correlations are computed again for the gradient and never kept, so a training step holds no (frame, frame) tensor of a whole batch.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, tile_shape, tiles

KeptFrames = Float[Tensor, "clip_body kept_frame joint channel"]


def attend_over_time(query: KeptFrames, features: Frames) -> KeptFrames:
    """Attention of each joint to itself in all frames, whose features are both keys and values."""
    return _TimeAttention.apply(query, features)  # pyright: ignore[reportReturnType]


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
