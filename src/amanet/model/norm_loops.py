"""The sweeps of :mod:`amanet.model.normed_sum` on a CPU, as loops that numba compiles; numbers are summed in a fixed order."""

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from amanet.loops.compiled import compiled, put
from amanet.model.affine import Affine, Copies
from amanet.model.loops import run, streams
from amanet.model.side_by_side import everyone

Rows = Float[Tensor, "clip_body *rows channel"]

SUMMED = 64
"""Rows whose sum is kept in the features' own precision, before it is added up in float64."""


class Moments:
    """Sums from which mean and variance come, about a row so that nothing cancels.

    Attributes:
        shift: the row.
        sums: of the rows less that row, and of their squares.
        rows: how many were summed.
    """

    def __init__(self, shift: Float[Tensor, " channel"]) -> None:
        self.shift = shift
        self.sums = shift.new_zeros((2, len(shift)), dtype=torch.float64)
        self.rows = 0.0

    def add(self, features: Rows, copies: Copies | None, kept: Rows | None = None) -> None:
        """Adds the rows, each as often as there are copies of its body; and copies them to where they are ``kept``."""
        counted = _counts(features, copies), _rows_of_body(features)
        written = None if kept is None else _flat(kept)
        self.rows += run(add_moments, _flat(features), *counted, self.shift, self.sums, written, streams(kept))

    @staticmethod
    def joined(parts: Sequence["Moments"]) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
        """Mean and variance of all that the parts have summed."""
        middle = parts[0].shift.double()
        first, second = torch.zeros_like(middle), torch.zeros_like(middle)
        for part in parts:
            apart = part.shift - middle
            first += part.sums[0] + part.rows * apart
            second += part.sums[1] + apart * (2 * part.sums[0] + part.rows * apart)
        rows = sum(part.rows for part in parts)
        mean = first / rows
        kind = parts[0].shift.dtype
        return (mean + middle).to(kind), (second / rows - mean.square()).to(kind)


def moments(features: Rows, copies: Copies | None, rows: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, over all bodies of the batch, whose rows are counted on the way."""
    found = Moments(_flat(features)[0])
    found.add(features, copies)
    return Moments.joined(everyone(found))


def apply(features: Rows, affine: Affine, residual: Rows | None, output: Rows, activates: bool) -> None:
    """Writes the normalised features, with the residual added and the ReLU taken."""
    written = _flat(output)
    added = None if residual is None else residual.to(output.dtype).reshape(written.shape)
    run(_apply, _flat(features), affine.scale, affine.shift, added, written, activates, streams(written))


def finish(features: Rows, shift: Float[Tensor, " channel"] | None, residual: Rows | None, activates: bool) -> None:
    """Adds a shift and the residual, and takes the ReLU, in place."""
    rows = _flat(features)
    run(_finish, rows, shift, None if residual is None else residual.to(rows.dtype).reshape(rows.shape), activates)


def gradient_sums(gradient: Rows, output: Rows | None, features: Rows, mean: Tensor, of_residual: Rows | None) -> tuple[Tensor, Tensor]:
    """Sums of the gradient behind the ReLU, and of its product with the centred features; writes the gradient of the residual, if any."""
    sums = mean.new_zeros((2, len(mean)), dtype=torch.float64)
    seen = _flat(gradient), None if output is None else _flat(output), _flat(features)
    behind = None if of_residual is None else _flat(of_residual)
    run(_add_gradients, *seen, mean, sums, behind, streams(of_residual))
    first, second = sums.to(mean.dtype)
    return first, second


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
    """Writes the gradient of the features. That of the residual was written before, and is the gradient behind the ReLU."""
    if of_residual is not None and of_residual.dtype == gradient.dtype:
        gradient, output = of_residual, None
    seen = _flat(gradient), None if output is None else _flat(output), _flat(features)
    factors = affine.scale, *moved, _counts(features, copies), _rows_of_body(features)
    run(_gradients, *seen, *factors, _flat(of_features), streams(of_features))


def _flat(features: Rows) -> Float[Tensor, "row channel"]:
    return features.view(-1, features.shape[-1])


def _rows_of_body(features: Rows) -> int:
    return features[0].numel() // features.shape[-1]


def _counts(features: Rows, copies: Copies | None) -> Copies:
    return features.new_ones(len(features)) if copies is None else copies.to(features.dtype)


@compiled
@no_type_check
def add_moments(features, copies, rows_of_body, shift, sums, kept, streams):
    """Adds the sum of centred rows and that of their squares, and keeps them; returns how many rows they stand for."""
    channels = features.shape[1]
    part = np.empty((2, channels), features.dtype)
    row, counted = 0, 0.0
    while row < len(features):
        body = row // rows_of_body
        end = min(row + SUMMED, (body + 1) * rows_of_body)
        part[:] = 0
        for each in range(row, end):
            for channel in range(channels):
                found = features[each, channel]
                if kept is not None:
                    put(kept, (each, channel), found, streams)
                centred = found - shift[channel]
                part[0, channel] += centred
                part[1, channel] += centred * centred
        for channel in range(channels):
            sums[0, channel] += copies[body] * part[0, channel]
            sums[1, channel] += copies[body] * part[1, channel]
        counted += copies[body] * (end - row)
        row = end
    return counted


@compiled
@no_type_check
def _apply(features, scale, shift, residual, output, activates, streams):
    zero = output.dtype.type(0)
    for row in range(len(features)):
        for channel in range(features.shape[1]):
            found = features[row, channel] * scale[channel] + shift[channel]
            if residual is not None:
                found += residual[row, channel]
            put(output, (row, channel), zero if activates and found < zero else found, streams)


@compiled
@no_type_check
def _finish(features, shift, residual, activates):
    zero = features.dtype.type(0)
    for row in range(len(features)):
        for channel in range(features.shape[1]):
            found = features[row, channel]
            if shift is not None:
                found += shift[channel]
            if residual is not None:
                found += residual[row, channel]
            features[row, channel] = zero if activates and found < zero else found


@compiled
@no_type_check
def _add_gradients(gradient, output, features, mean, sums, of_residual, streams):
    channels = features.shape[1]
    part = np.empty((2, channels), features.dtype)
    zero = gradient.dtype.type(0)
    for row in range(0, len(features), SUMMED):
        part[:] = 0
        for each in range(row, min(row + SUMMED, len(features))):
            for channel in range(channels):
                behind = gradient[each, channel]
                if output is not None:
                    behind = zero if output[each, channel] <= zero else behind
                if of_residual is not None:
                    put(of_residual, (each, channel), behind, streams)
                part[0, channel] += behind
                part[1, channel] += behind * (features[each, channel] - mean[channel])
        sums += part


@compiled
@no_type_check
def _gradients(gradient, output, features, scale, offset, factor, copies, rows_of_body, of_features, streams):
    zero = gradient.dtype.type(0)
    for body in range(len(copies)):
        count = copies[body]
        for each in range(body * rows_of_body, (body + 1) * rows_of_body):
            for channel in range(features.shape[1]):
                behind = gradient[each, channel]
                if output is not None:
                    behind = zero if output[each, channel] <= zero else behind
                moved = count * (offset[channel] + features[each, channel] * factor[channel])
                put(of_features, (each, channel), moved + behind * scale[channel], streams)
