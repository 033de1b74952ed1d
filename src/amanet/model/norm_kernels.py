"""The sweeps of :mod:`amanet.model.normed_sum` on a GPU, as Triton kernels; numbers are summed in a fixed order."""

# Triton's annotations speak of the kernel's side of a call.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportCallIssue=false

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from amanet.model.affine import Affine, Copies

Rows = Float[Tensor, "clip_body *rows channel"]

TILE = 4096
"""Numbers of a tile."""

MOST_PROGRAMS = 1024
"""Programs that sum over tiles, several for each multiprocessor."""


def moments(features: Rows, copies: Copies | None, rows: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, about the first row so that nothing cancels."""
    shift = features.flatten(0, -2)[0].to(_wide(features))
    first, second = _sum_over_tiles(_sum_moments, features, features, features, shift, copies)
    mean = first / rows
    variance = second / rows - mean.square()
    return (mean + shift).to(shift.dtype), variance.to(shift.dtype)


def apply(features: Rows, affine: Affine, residual: Rows | None, output: Rows, activates: bool) -> None:
    """Writes the normalised features, with the residual added and the ReLU taken."""
    tile = _Tile(features)
    if residual is not None and (residual.dim() != 4 or residual.stride(-1) != 1):
        residual = residual.reshape(len(residual), -1, *residual.shape[-2:]).contiguous()
    # From one body to the next, from window (or frame) to window, from token (or joint) to token.
    body, window, token, _ = (0, 0, 0, 0) if residual is None else residual.stride()
    _apply[(tile.number,)](
        features, affine.scale, affine.shift, features if residual is None else residual, output,
        tile.rows, tile.rows_of_body, features.shape[-2], body, window, token,
        residual is not None, activates, tile.channels, tile.height, tile.width, _kind(features),
    )  # fmt: skip


def gradient_sums(gradient: Rows, output: Rows | None, features: Rows, mean: Tensor, of_residual: Rows | None) -> tuple[Tensor, Tensor]:
    """Sums of the gradient behind the ReLU, and of its product with the centred features. Of the residual :func:`gradients` writes."""
    first, second = _sum_over_tiles(_sum_gradients, features, gradient, output, mean, None)
    return first.to(mean.dtype), second.to(mean.dtype)


def gradients(
    gradient: Rows,
    output: Rows | None,
    features: Rows,
    affine: Affine,
    moved: tuple[Tensor, Tensor],
    copies: Copies | None,
    of_features: Rows,
    of_residual: Rows | None,
) -> None:
    """Writes the gradients of the features, and of the residual where there is one."""
    tile = _Tile(features)
    offset, factor = moved
    _gradients[(tile.number,)](
        gradient, gradient if output is None else output, features, affine.scale, offset, factor, features if copies is None else copies,
        of_features, of_features if of_residual is None else of_residual,
        tile.rows, tile.rows_of_body,
        output is not None, copies is not None, of_residual is not None, tile.channels, tile.height, tile.width, _kind(features),
    )  # fmt: skip


class _Tile:
    """How features, as rows of channels, are cut."""

    def __init__(self, features: Rows) -> None:
        self.channels = features.shape[-1]
        self.rows = features.numel() // self.channels
        self.rows_of_body = self.rows // len(features)
        self.width = triton.next_power_of_2(self.channels)
        self.height = max(1, TILE // self.width)
        self.number = triton.cdiv(self.rows, self.height)


def _sum_over_tiles(
    kernel: triton.JITFunction, features: Rows, first: Tensor, second: Tensor | None, middle: Tensor, copies: Copies | None
) -> tuple[Tensor, Tensor]:
    tile = _Tile(features)
    programs = min(tile.number, MOST_PROGRAMS)
    partial = torch.empty(programs, 2, tile.channels, dtype=middle.dtype, device=middle.device)
    kernel[(programs,)](
        first, first if second is None else second, features, middle, features if copies is None else copies, partial,
        tile.rows, tile.rows_of_body,
        second is not None, copies is not None, tile.channels, tile.height, tile.width, _kind(features),
    )  # fmt: skip
    sums = partial.sum(0, dtype=torch.float64)
    return sums[0], sums[1]


def _wide(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _kind(features: Tensor) -> tl.dtype:
    return tl.float64 if features.dtype == torch.float64 else tl.float32


@triton.jit(do_not_specialize=["rows"])  # which differ from batch to batch
def _sum_moments(
    first_of, second_of, features, shift, copies, partial, rows, rows_of_body,
    BEHIND: tl.constexpr, COUNTED: tl.constexpr, CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, WIDTH)
    middle = tl.load(shift + column, mask=column < CHANNELS, other=0).to(KIND)
    first = tl.zeros((HEIGHT, WIDTH), KIND)
    second = tl.zeros((HEIGHT, WIDTH), KIND)
    for start in range(tl.program_id(0) * HEIGHT, rows, tl.num_programs(0) * HEIGHT):
        row = start + tl.arange(0, HEIGHT).to(tl.int64)
        inside = (row < rows)[:, None] & (column < CHANNELS)[None, :]
        place = row[:, None] * CHANNELS + column[None, :]
        centred = tl.where(inside, tl.load(features + place, mask=inside, other=0).to(KIND) - middle[None, :], 0)
        counted = centred
        if COUNTED:
            counted = centred * tl.load(copies + row // rows_of_body, mask=row < rows, other=0).to(KIND)[:, None]
        first += counted
        second += counted * centred
    out = partial + tl.program_id(0) * 2 * CHANNELS + column
    tl.store(out, tl.sum(first, 0), mask=column < CHANNELS)
    tl.store(out + CHANNELS, tl.sum(second, 0), mask=column < CHANNELS)


@triton.jit(do_not_specialize=["rows"])
def _sum_gradients(
    gradient, output, features, mean, copies, partial, rows, rows_of_body,
    BEHIND: tl.constexpr, COUNTED: tl.constexpr, CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, WIDTH)
    middle = tl.load(mean + column, mask=column < CHANNELS, other=0).to(KIND)
    first = tl.zeros((HEIGHT, WIDTH), KIND)
    second = tl.zeros((HEIGHT, WIDTH), KIND)
    for start in range(tl.program_id(0) * HEIGHT, rows, tl.num_programs(0) * HEIGHT):
        row = start + tl.arange(0, HEIGHT).to(tl.int64)
        inside = (row < rows)[:, None] & (column < CHANNELS)[None, :]
        place = row[:, None] * CHANNELS + column[None, :]
        behind = tl.load(gradient + place, mask=inside, other=0).to(KIND)
        if BEHIND:
            behind = tl.where(tl.load(output + place, mask=inside, other=0) > 0, behind, 0)
        first += behind
        second += behind * (tl.load(features + place, mask=inside, other=0).to(KIND) - middle[None, :])
    out = partial + tl.program_id(0) * 2 * CHANNELS + column
    tl.store(out, tl.sum(first, 0), mask=column < CHANNELS)
    tl.store(out + CHANNELS, tl.sum(second, 0), mask=column < CHANNELS)


@triton.jit(do_not_specialize=["rows"])
def _apply(
    features, scale, shift, residual, output, rows, rows_of_body, tokens, of_body, of_window, of_token,
    ADDS: tl.constexpr, ACTIVATES: tl.constexpr, CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, WIDTH)
    row = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT).to(tl.int64)
    inside = (row < rows)[:, None] & (column < CHANNELS)[None, :]
    place = row[:, None] * CHANNELS + column[None, :]
    factor = tl.load(scale + column, mask=column < CHANNELS, other=0).to(KIND)
    offset = tl.load(shift + column, mask=column < CHANNELS, other=0).to(KIND)
    found = tl.load(features + place, mask=inside, other=0).to(KIND) * factor[None, :] + offset[None, :]
    if ADDS:
        within = row % rows_of_body
        start = row // rows_of_body * of_body + within // tokens * of_window + within % tokens * of_token
        found += tl.load(residual + start[:, None] + column[None, :], mask=inside, other=0).to(KIND)
    if ACTIVATES:
        found = tl.where(found > 0, found, 0)
    tl.store(output + place, found.to(output.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def _gradients(
    gradient, output, features, scale, offset, factor, copies, of_features, of_residual, rows, rows_of_body,
    BEHIND: tl.constexpr, COUNTED: tl.constexpr, ADDS: tl.constexpr,
    CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, WIDTH)
    row = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT).to(tl.int64)
    inside = (row < rows)[:, None] & (column < CHANNELS)[None, :]
    place = row[:, None] * CHANNELS + column[None, :]
    behind = tl.load(gradient + place, mask=inside, other=0).to(KIND)
    if BEHIND:
        behind = tl.where(tl.load(output + place, mask=inside, other=0) > 0, behind, 0)
    if ADDS:
        tl.store(of_residual + place, behind.to(of_residual.dtype.element_ty), mask=inside)
    constant = tl.load(offset + column, mask=column < CHANNELS, other=0).to(KIND)
    slope = tl.load(factor + column, mask=column < CHANNELS, other=0).to(KIND)
    moved = constant[None, :] + tl.load(features + place, mask=inside, other=0).to(KIND) * slope[None, :]
    if COUNTED:
        moved *= tl.load(copies + row // rows_of_body, mask=row < rows, other=0).to(KIND)[:, None]
    moved += behind * tl.load(scale + column, mask=column < CHANNELS, other=0).to(KIND)[None, :]
    tl.store(of_features + place, moved.to(of_features.dtype.element_ty), mask=inside)
