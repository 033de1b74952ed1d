"""FF on a GPU: the frames of a group attend to each other as wholes, a Triton program for each group.

A group is a few rows of many numbers, a shape that libraries of matrix products are slow at. Every row is read once a product.
"""

# Triton's annotations speak of the kernel's side of a call.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportCallIssue=false

import math
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Frames = Float[Tensor, "clip_body frame joint channel"]

LEAST = 16
"""Rows that a product on a GPU's matrix units takes at least."""

BLOCK = 128
"""Numbers of a frame that are multiplied at once."""


def mix_groups(query: Frames, features: Frames, group: int) -> Frames:
    """Attention within groups of so many frames, whose features are keys and values; frames missing from the last group do not count."""
    return _MixGroups.apply(query.contiguous(), features.contiguous(), group)  # pyright: ignore[reportReturnType]


class _MixGroups(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, features: Tensor, group: int) -> Tensor:
        bodies, frames, joints, channels = features.shape
        groups = triton.cdiv(frames, group)
        correlations = features.new_empty(bodies, groups, group, group, dtype=torch.float32)
        mixed = torch.empty_like(features)
        numbers = joints * channels
        _mix[(bodies, groups)](
            query, features, correlations, mixed, frames, numbers, 1 / math.sqrt(numbers), group, _height(group), BLOCK
        )  # fmt: skip
        ctx.save_for_backward(query, features, correlations)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        query, features, correlations = ctx.saved_tensors
        bodies, frames, joints, channels = features.shape
        groups, group = correlations.shape[1:3]
        of_query, of_features = torch.empty_like(query), torch.empty_like(features)
        numbers = joints * channels
        _mix_backward[(bodies, groups)](
            gradients[0].contiguous(), query, features, correlations, of_query, of_features,
            frames, numbers, 1 / math.sqrt(numbers), group, _height(group), BLOCK,
        )  # fmt: skip
        return of_query, of_features, None


def _height(group: int) -> int:
    return max(LEAST, triton.next_power_of_2(group))


@triton.jit
def _load(rows, start, column, row, present, numbers):
    mask = present[:, None] & (column < numbers)[None, :]
    return tl.load(rows + (start + row)[:, None] * numbers + column[None, :], mask=mask, other=0)


@triton.jit
def _store(rows, values, start, column, row, present, numbers):
    mask = present[:, None] & (column < numbers)[None, :]
    tl.store(rows + (start + row)[:, None] * numbers + column[None, :], values.to(rows.dtype.element_ty), mask=mask)


@triton.jit
def _mix(
    query, features, correlations, mixed, frames, numbers, scale, GROUP: tl.constexpr, HEIGHT: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.arange(0, HEIGHT)
    first = tl.program_id(1) * GROUP
    start = tl.program_id(0).to(tl.int64) * frames + first
    present = (row < GROUP) & (first + row < frames)
    scores = tl.zeros((HEIGHT, HEIGHT), tl.float32)
    for begin in range(0, numbers, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        asked = _load(query, start, column, row, present, numbers)
        key = _load(features, start, column, row, present, numbers)
        scores += tl.dot(asked, tl.trans(key), input_precision="ieee")
    scores = tl.where(present[None, :], scores * scale, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights = weights / tl.sum(weights, 1)[:, None]
    place = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * GROUP * GROUP + row[:, None] * GROUP + row[None, :]
    tl.store(correlations + place, weights, mask=(row < GROUP)[:, None] & (row < GROUP)[None, :])
    for begin in range(0, numbers, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        value = _load(features, start, column, row, present, numbers)
        _store(mixed, tl.dot(weights.to(value.dtype), value, input_precision="ieee"), start, column, row, present, numbers)


@triton.jit
def _mix_backward(
    gradient, query, features, correlations, of_query, of_features, frames, numbers, scale,
    GROUP: tl.constexpr, HEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.arange(0, HEIGHT)
    first = tl.program_id(1) * GROUP
    start = tl.program_id(0).to(tl.int64) * frames + first
    present = (row < GROUP) & (first + row < frames)
    place = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * GROUP * GROUP + row[:, None] * GROUP + row[None, :]
    weights = tl.load(correlations + place, mask=present[:, None] & present[None, :], other=0)
    of_weights = tl.zeros((HEIGHT, HEIGHT), tl.float32)
    for begin in range(0, numbers, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        of_mixed = _load(gradient, start, column, row, present, numbers)
        value = _load(features, start, column, row, present, numbers)
        of_weights += tl.dot(of_mixed, tl.trans(value), input_precision="ieee")
    of_scores = weights * (of_weights - tl.sum(weights * of_weights, 1)[:, None]) * scale
    for begin in range(0, numbers, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        asked = _load(query, start, column, row, present, numbers)
        key = _load(features, start, column, row, present, numbers)
        of_mixed = _load(gradient, start, column, row, present, numbers)
        moved = of_scores.to(key.dtype)
        _store(of_query, tl.dot(moved, key, input_precision="ieee"), start, column, row, present, numbers)
        of_key = tl.dot(tl.trans(moved), asked, input_precision="ieee")
        of_value = tl.dot(tl.trans(weights.to(key.dtype)), of_mixed, input_precision="ieee")
        _store(of_features, of_key + of_value, start, column, row, present, numbers)
