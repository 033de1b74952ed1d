"""Attention over time on a CPU, a joint at a time, with the gradients written out.

Correlations are computed again for the gradient and never kept, so a training step holds no (frame, frame) tensor of a whole batch.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from amanet.model import joint_loops
from amanet.model.joint_loops import Memory
from amanet.model.linear import multiply
from amanet.model.loops import run, tell_multiplied
from amanet.model.normed_sum import finish
from amanet.model.pieces import Frames, Tile, aligned, scratch, shares, tiles
from amanet.model.threads import divide, number_of_threads

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
    out = len(mapping)
    output = features.new_empty(bodies, -(-frames // stride), joints, out)

    def evaluate(piece: Tile) -> None:
        place, seen = _by_joint(output, piece), features[piece[0], :, piece[1]]
        kept = scratch("kept", (*place.shape[:3], channels), features).copy_(seen.transpose(1, 2)[:, :, ::stride]).flatten(0, 2)
        asked = scratch("asked", kept.shape, features).copy_(bias.expand(kept.shape))
        asked = multiply(kept, weight.t(), asked, adds=True).view(*place.shape[:3], channels)
        mixed = scratch("mixed", asked.shape, features)
        _mix(asked.transpose(1, 2), seen, mixed.transpose(1, 2))
        found = multiply(mixed.flatten(0, 2), mapping.t(), scratch("found", (len(kept), out), features))
        if residual is not None:
            multiply(kept, residual.t(), found, adds=True)
        place.copy_(finish(found, kept if residual is None else None, activates=True, shift=shift).view(place.shape))

    divide(evaluate, tiles((bodies, joints), frames * max(output.shape[1], channels, out), among=number_of_threads()))
    return output


class _TimeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(query, features)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        _mix(query, features, mixed)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = gradients
        query, features = ctx.saved_tensors
        found = tuple(torch.empty_like(each, memory_format=torch.contiguous_format) for each in (query, features))
        tell_multiplied(query, 5 * _product(query, features))

        def mix_backward(some: slice) -> None:
            seen = [each[:, :, some] for each in (gradient, query, features)]
            run(joint_loops.mix_backward, *seen, *_attention(query, features), *(each[:, :, some] for each in found))

        divide(mix_backward, shares(query.shape[2]))
        return found


def _mix(query: KeptFrames, features: Frames, mixed: KeptFrames) -> None:
    tell_multiplied(query, 2 * _product(query, features))

    def mix(some: slice) -> None:
        run(joint_loops.mix, query[:, :, some], features[:, :, some], *_attention(query, features), mixed[:, :, some])

    divide(mix, shares(query.shape[2]))


def _product(query: KeptFrames, features: Frames) -> int:
    """Operations of all queries times all keys."""
    return 2 * query.numel() * features.shape[1]


def _attention(query: KeptFrames, features: Frames) -> tuple[float, Memory]:
    """What the products are multiplied with, and memory for one joint."""
    (_, kept, _, channels), frames = query.shape, features.shape[1]
    keys = aligned(frames)
    of_joint = {
        "scores": (kept, keys),
        "of_scores": (kept, keys),
        "turned": (channels, keys),
        "features": (frames, channels),
        "kept": (kept, channels),
    }
    return 1 / math.sqrt(channels), Memory(*(scratch(f"{name} of a joint", shape, features) for name, shape in of_joint.items()))


def _by_joint(features: Frames, piece: Tile) -> Float[Tensor, "piece_body piece_joint frame channel"]:
    bodies, joints = piece
    return features[bodies, :, joints].transpose(1, 2)
