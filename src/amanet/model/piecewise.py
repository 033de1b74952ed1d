"""Attention over time on a CPU, some bodies and joints at a time, with the gradients written out.

Correlations are computed again for the gradient and never kept, so a training step holds no (frame, frame) tensor of a whole batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from amanet.model.normed_sum import finish
from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, scratch, tile_shape, tiles

KeptFrames = Float[Tensor, "clip_body kept_frame joint channel"]


def attend_over_time(query: KeptFrames, features: Frames) -> KeptFrames:
    """Attention of each joint to itself in all frames, whose features are both keys and values."""
    return _TimeAttention.apply(query, features)  # pyright: ignore[reportReturnType]


def evaluate_over_time(
    features: Frames,
    stride: int,
    query: tuple[Float[Tensor, "channel channel"], Float[Tensor, " channel"]],
    theta: tuple[Float[Tensor, "out channel"], Float[Tensor, " out"]],
    residual: Float[Tensor, "out channel"] | None,
) -> Float[Tensor, "clip_body kept_frame joint out"]:
    """JF where no gradient is to come: a piece goes from the features to the output, and none of what is between them is kept.

    ``theta`` maps what was mixed; features pass it by as they are, or mapped by ``residual``.
    """
    (weight, bias), (mapping, shift) = query, theta
    bodies, frames, joints, channels = features.shape
    keys, out = aligned(frames), len(mapping)
    output = features.new_empty(bodies, -(-frames // stride), joints, out)
    for piece in tiles((bodies, joints), tile_shape((bodies, joints), at_once(keys * max(output.shape[1], channels, out)))):
        memory, place = _memory(features, piece), _by_joint(output, piece)
        kept = scratch("kept", (*place.shape[:3], channels), features).copy_(_by_joint(features, piece)[:, :, ::stride]).flatten(0, 2)
        asked = torch.addmm(bias, kept, weight.t(), out=scratch("asked", kept.shape, features)).view(-1, place.shape[2], channels)
        mixed = AttentionPiece(asked, memory, memory, masked=keys - frames).mix()
        found = torch.mm(mixed.flatten(0, 1), mapping.t(), out=scratch("found", (len(kept), out), features))
        if residual is not None:
            torch.addmm(found, kept, residual.t(), out=found)
        place.copy_(finish(found, kept if residual is None else None, activates=True, shift=shift).view(place.shape))
    return output


class _TimeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(query, features)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        for piece in _pieces(query, features):
            with _written(mixed, piece) as place:
                _attend(query, features, piece).mix(place)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = gradients
        query, features = ctx.saved_tensors
        found = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in (query, features)]
        for piece in _pieces(query, features):
            with _written(found[0], piece) as of_query, _written(found[1], piece) as of_memory:
                of_mixed = _by_joint(gradient, piece).flatten(0, 1)
                _attend(query, features, piece).gradients(of_mixed, of_query=of_query, of_memory=of_memory)
        return tuple(found)


def _pieces(query: KeptFrames, features: Frames) -> Iterator[Tile]:
    """Bodies and joints of every piece: some joints of one body, or all those of some bodies."""
    bodies, kept, joints, channels = query.shape
    items = at_once(kept * max(features.shape[1], channels))
    return tiles((bodies, joints), tile_shape((bodies, joints), items))


def _attend(query: KeptFrames, features: Frames, piece: Tile) -> AttentionPiece:
    memory = _memory(features, piece)
    return AttentionPiece(_by_joint(query, piece).flatten(0, 1), memory, memory, masked=memory.shape[1] - features.shape[1])


def _memory(features: Frames, piece: Tile) -> Float[Tensor, "piece_joint key channel"]:
    """Features of a piece as its keys and values, and zeros up to an aligned number of them; good until the next piece."""
    seen = _by_joint(features, piece)
    bodies, joints, frames, channels = seen.shape
    memory = scratch("memory", (bodies, joints, aligned(frames), channels), features)
    memory[:, :, :frames] = seen
    memory[:, :, frames:] = 0
    return memory.flatten(0, 1)


@contextmanager
def _written(features: Frames, piece: Tile) -> Iterator[Float[Tensor, "piece_joint frame channel"]]:
    """Memory for what is written of a piece: its place, or what is copied there in the end where several bodies have no such view."""
    place = _by_joint(features, piece)
    if len(place) == 1:
        yield place[0]
    else:
        written = place.new_empty(place.shape)
        yield written.flatten(0, 1)
        place.copy_(written)


def _by_joint(features: Frames, piece: Tile) -> Float[Tensor, "piece_body piece_joint frame channel"]:
    bodies, joints = piece
    return features[bodies, :, joints].transpose(1, 2)
