"""Windows of frames on a GPU: views of them, whose gradient a Triton kernel sums frame by frame."""

# Triton's annotations speak of the kernel's side of a call.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportCallIssue=false

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1024
"""Numbers of a frame that a program sums at once."""


def cut(
    padded: Float[Tensor, "clip_body padded_frame joint channel"], size: int, stride: int
) -> Float[Tensor, "clip_body window token channel"]:
    """Windows of so many frames as a view; token = frame * joints + joint."""
    return _Cut.apply(padded, size, stride)  # pyright: ignore[reportReturnType]


class _Cut(torch.autograd.Function):
    """PyTorch's own gradient of an unfolded tensor takes six times as long."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, size: int, stride: int) -> Tensor:
        ctx.shape, ctx.size, ctx.stride = padded.shape, size, stride
        return padded.unfold(1, size, stride).permute(0, 1, 4, 2, 3).flatten(2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient = gradients[0].contiguous()
        bodies, frames, joints, channels = ctx.shape
        of_padded = gradient.new_empty(ctx.shape)
        numbers = joints * channels
        _sum_windows[(bodies * frames, triton.cdiv(numbers, BLOCK))](
            gradient, of_padded, frames, gradient.shape[1], numbers, ctx.size, ctx.stride, BLOCK
        )
        return of_padded, None, None


@triton.jit
def _sum_windows(
    gradient, of_padded, frames, windows, numbers, SIZE: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    body = (tl.program_id(0) // frames).to(tl.int64)
    frame = tl.program_id(0) % frames
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float64 if gradient.dtype.element_ty == tl.float64 else tl.float32)
    for place in tl.static_range(SIZE):
        start = frame - place
        window = start // STRIDE
        holds = tl.where((start >= 0) & (window * STRIDE == start) & (window < windows), numbers, 0)
        row = (body * windows + window) * SIZE + place
        total += tl.load(gradient + row * numbers + column, mask=column < holds, other=0).to(total.dtype)
    out = (body * frames + frame) * numbers + column
    tl.store(of_padded + out, total.to(of_padded.dtype.element_ty), mask=column < numbers)
