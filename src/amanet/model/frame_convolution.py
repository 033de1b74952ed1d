r"""A convolution over time on a CPU with two fifths of the products, and the gradients written out.

Four outputs of five taps are a product of polynomials, which is known by its values at eight points (Toom and Cook; Winograd; Lavin and
Gray, arXiv 1509.09308): eight products instead of twenty.

.. math:: y = A ((G w) \odot (B x))

==========  ==========================================================  ===============
symbol      meaning                                                     here
==========  ==========================================================  ===============
:math:`x`   eight consecutive frames                                    a tile
:math:`w`   five taps                                                   ``taps``
:math:`y`   four frames
:math:`G`   values at the eight points of a polynomial of five terms    ``_OF_TAPS``
:math:`B`   the inverse of values of one of eight terms, transposed     ``_OF_FRAMES``
:math:`A`   values of one of four terms, transposed                     ``_TO_FRAMES``
==========  ==========================================================  ===============

In float32 the result is rounded to 7e-7 of its size, where the sum of five products is to 1e-7.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model import frame_loops
from amanet.model.linear import multiply
from amanet.model.loops import run, streams
from amanet.model.pieces import Frames, Tile, scratch, tiles
from amanet.model.threads import divide, number_of_threads

ROWS, TAPS, OUTPUTS = 8, 5, 4
"""Rows of a tile's spectrum, taps of one turn, and frames that a tile gives."""

_POINTS = np.array([0, 1, -1, 2, -2, 0.5, -0.5])
"""Where the polynomials are evaluated, beside infinity, whose value is the highest coefficient."""


def _values(terms: int) -> Float[Tensor, "row term"]:
    finite = np.vander(_POINTS, terms, increasing=True)
    return torch.from_numpy(np.vstack([finite, np.eye(terms)[-1]]))


_OF_TAPS = _values(TAPS)
_OF_FRAMES = torch.linalg.inv(_values(ROWS)).t()
_TO_FRAMES = _values(OUTPUTS).t()


def convolve_frames(features: Frames, taps: Float[Tensor, "tap channel out"]) -> Float[Tensor, "clip_body frame joint out"]:
    """A convolution over time that keeps the frames; zeros stand for those before and after."""
    return _ConvolveFrames.apply(features.contiguous(), taps)  # pyright: ignore[reportReturnType]


class _ConvolveFrames(torch.autograd.Function):
    """In turns of five taps each, whose spectra are added up before they become frames."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(features, taps)
        turns = _turns(taps)
        convolved = features.new_empty(*features.shape[:3], taps.shape[2])

        def convolve(piece: Tile) -> None:
            found = _spectrum("found", convolved, piece)
            for place, turn in enumerate(turns):
                seen = _spread("seen", features, _OF_FRAMES, _first(taps, place), piece)
                _multiply_rows(seen, turn, found.flatten(1, 3), adds=place > 0)
            _gather(found, _TO_FRAMES, 0, piece, convolved, streamed=True)

        divide(convolve, _pieces(features, taps, among=number_of_threads()))
        return convolved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, taps = ctx.saved_tensors
        gradient, turns = gradients[0].contiguous(), _turns(taps)
        of_turns = torch.zeros_like(turns)
        of_features = torch.zeros_like(features) if len(turns) > 1 else torch.empty_like(features)
        of_outputs = F.pad(_TO_FRAMES.t(), (0, ROWS - OUTPUTS))
        for piece in _pieces(features, taps):
            of_found = _spread("of_found", gradient, of_outputs, 0, piece)
            of_seen = _spectrum("of_seen", features, piece)
            for place, (turn, of_turn) in enumerate(zip(turns, of_turns, strict=True)):
                seen = _spread("seen", features, _OF_FRAMES, _first(taps, place), piece)
                _multiply_rows(seen.transpose(1, 2), of_found, of_turn, adds=True)
                _multiply_rows(of_found, turn.transpose(1, 2), of_seen.flatten(1, 3))
                _gather(of_seen, _OF_FRAMES.t(), _first(taps, place), piece, of_features, reached=len(turns) > 1)
        of_taps = (_OF_TAPS.t().to(taps.dtype) @ of_turns.flatten(2)).flatten(0, 1)[: len(taps)].view(taps.shape)
        return of_features, of_taps


def _multiply_rows(
    left: Float[Tensor, "row item depth"], right: Float[Tensor, "row depth out"], out: Float[Tensor, "row item out"], *, adds: bool = False
) -> None:
    """The product of each row of two spectra."""
    for operands in zip(left, right, out, strict=True):
        multiply(*operands, adds=adds)


def _turns(taps: Float[Tensor, "tap channel out"]) -> Float[Tensor, "turn row channel out"]:
    """The spectrum of every five taps."""
    whole = F.pad(taps, (0, 0, 0, 0, 0, -len(taps) % TAPS)).unflatten(0, (-1, TAPS))
    return (_OF_TAPS.to(taps.dtype) @ whole.flatten(2)).unflatten(2, taps.shape[1:])


def _first(taps: Tensor, turn: int) -> int:
    """The frame that the first tap of a turn takes for frame 0."""
    return turn * TAPS - (len(taps) - 1) // 2


def _pieces(features: Frames, taps: Tensor, *, among: int = 1) -> list[Tile]:
    """Bodies and tiles of every piece, at least one for each of so many threads."""
    bodies, frames, joints, _ = features.shape
    shape = bodies, -(-frames // OUTPUTS)
    return tiles(shape, ROWS * joints * max(taps.shape[1:]), among=among)


def _spectrum(name: str, frames: Frames, piece: Tile) -> Float[Tensor, "row piece_body tile joint channel"]:
    """Memory for the spectra of so many frames."""
    bodies, some = piece
    return scratch(name, (ROWS, len(frames[bodies]), some.stop - some.start, *frames.shape[2:]), frames)


def _spread(
    name: str, frames: Frames, matrix: Float[Tensor, "row tile_frame"], first: int, piece: Tile
) -> Float[Tensor, "row tile_of_joint channel"]:
    """The spectra of a piece's tiles, the first of which begins at frame ``first``."""
    bodies, some = piece
    spectrum = _spectrum(name, frames, piece)
    run(frame_loops.spread, frames[bodies], _like(matrix, frames), first + some.start * OUTPUTS, OUTPUTS, spectrum)
    return spectrum.flatten(1, 3)


def _gather(
    spectrum: Tensor,
    matrix: Float[Tensor, "tile_frame row"],
    first: int,
    piece: Tile,
    frames: Frames,
    *,
    reached: bool = False,
    streamed: bool = False,
) -> None:
    """Adds up what the spectra say in the frames of a piece's tiles, the first of all beginning at frame ``first``.

    Frames that are not ``reached`` before hold nothing yet. They are ``streamed`` where one tile gives each of them.
    """
    bodies, some = piece
    place = None if reached else first, first + some.start * OUTPUTS, OUTPUTS
    run(frame_loops.gather, spectrum, _like(matrix, frames), *place, frames[bodies], streams(frames) if streamed else None)


def _like(matrix: Tensor, frames: Frames) -> Tensor:
    return matrix.to(frames.dtype).contiguous()
