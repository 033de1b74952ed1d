"""STFEM on a CPU, some windows at a time, with the gradients written out.

Windows of frames are strided views, and their correlations are computed again for the gradient and never kept, so a training step holds
no (token, token) tensor of a whole batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model.moments import Affine, Moments
from amanet.model.normalisation import BatchNorm, copies_of
from amanet.model.pieces import AttentionPiece, Frames, Tile, at_once, tile_shape, tiles

Values = Float[Tensor, "clip_body frame joint value_channel"]
Tokens = Float[Tensor, "piece_body window token channel"]
WindowFrames = Float[Tensor, "piece_body window window_frame joint channel"]


@dataclass(frozen=True)
class WindowOptions:
    """What :func:`mix_windows` needs to know beside tensors.

    Attributes:
        window: frames of a window.
        stride: frames from one window's start to the next.
        inside: whether the graph is added to the scores, else to the correlations after the softmax.
        heads: parts that the channels are cut into.
        eps: of the BN.
    """

    window: int
    stride: int
    inside: bool
    heads: int
    eps: float


def mix_windows(
    query: Frames,
    key: Frames,
    mapped: Values,
    value: Values,
    graph: Float[Tensor, "token token"],
    norm: BatchNorm,
    collapse: Float[Tensor, "out value_channel window_frame 1"],
    options: WindowOptions,
) -> Float[Tensor, "clip_body window joint out"]:
    """STFEM from its linear maps to the collapsed windows, ``Conv(ReLU(BN(Correlations @ mapped) + value))`` in each window of frames.

    Zeros stand for the frames past the last. In training the tokens are kept once, as the BN's input; in evaluation not at all.
    """
    taps = collapse[..., 0].permute(2, 1, 0).flatten(0, 1).to(mapped.dtype)
    copies = copies_of(query)
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    collapsed, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        query, key, mapped, value, graph.to(query.dtype), norm.weight, norm.bias, taps, copies, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, collapsed.shape[1] * len(graph) * float(copies.sum()))
    return collapsed


def _heads(channels: int, heads: int) -> list[slice]:
    part = channels // heads
    return [slice(head * part, (head + 1) * part) for head in range(heads)]


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        query, key, mapped, value, graph, weight, bias, taps, copies, statistics, options = inputs
        sweep = _WindowSweep((query, key, mapped, value), graph, options)
        training = statistics is None
        keeps = training or any(ctx.needs_input_grad)
        # Without gradients to come, one piece of tokens is enough at a time.
        bodies, windows = sweep.shape[:2] if keeps else sweep.at_once
        mixed = mapped.new_empty(bodies, windows, sweep.shape[2], mapped.shape[-1])
        moments = Moments(mapped)
        for piece in sweep.pieces() if training else ():
            sweep.mix(piece, out=mixed[piece])
            moments.add(mixed[piece].flatten(1, 2), copies[piece[0]])
        mean, variance = moments.mean_and_variance() if training else statistics
        affine = Affine(weight, bias, mean, variance, options.eps)
        collapsed = mapped.new_empty(*sweep.shape[:2], sweep.joints, taps.shape[-1])
        for piece in sweep.pieces():
            rows = collapsed[piece]
            part = mixed[piece] if keeps else mixed[: rows.shape[0], : rows.shape[1]]
            if not training:
                sweep.mix(piece, out=part)
            torch.mm(sweep.activate(piece, part, affine).flatten(0, 2).flatten(1), taps, out=rows.flatten(0, 2))
        if keeps:
            ctx.save_for_backward(query, key, mapped, value, graph, weight, bias, taps, copies, mixed, mean, variance)
            ctx.rows, ctx.options = moments.rows, options
        ctx.mark_non_differentiable(mean, variance)
        return collapsed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *features, graph, weight, bias, taps, copies, mixed, mean, variance = ctx.saved_tensors
        sweep = _WindowSweep(features, graph, ctx.options)
        affine = Affine(weight, bias, mean, variance, ctx.options.eps)
        of_collapsed = gradients[0].contiguous()
        of_normed, of_taps, of_value = torch.empty_like(mixed), torch.zeros_like(taps), sweep.new_total(3)
        first, second = torch.zeros_like(affine.mean), torch.zeros_like(affine.mean)
        for piece in sweep.pieces():
            rows = of_collapsed[piece].flatten(0, 2)
            active = sweep.activate(piece, mixed[piece], affine)
            of_taps.addmm_(active.flatten(0, 2).flatten(1).t(), rows)
            of_active = torch.mm(rows, taps.t()).view(active.shape)
            part = of_normed[piece]
            sweep.frames_of(part).copy_(torch.ops.aten.threshold_backward(of_active, active, 0).transpose(2, 3))
            sweep.add_back(of_value, piece, part)
            first += part.sum((0, 1, 2))
            second += (part * (mixed[piece] - affine.mean)).sum((0, 1, 2))
        totals = [sweep.new_total(index) for index in range(3)]
        of_graph = torch.zeros_like(graph) if ctx.needs_input_grad[4] else None
        # In evaluation the statistics are constants, and no rows were counted.
        offset, factor = affine.backward(first, second, ctx.rows) if ctx.rows else (torch.zeros_like(first), torch.zeros_like(first))
        for piece in sweep.pieces():
            counted = copies[piece[0]].to(offset.dtype)[:, None, None, None]
            of_mixed = torch.addcmul(torch.addcmul(counted * offset, mixed[piece], counted * factor), of_normed[piece], affine.scale)
            sweep.attend_backward(piece, of_mixed.to(mixed.dtype), totals, of_graph)
        found = [total[:, : sweep.frames] for total in (*totals, of_value)]
        return *found, of_graph, second * affine.deviation, first, of_taps, None, None, None


class _WindowSweep:
    """All windows of all bodies, a piece at a time: some windows of one body, or all those of some bodies.

    Windows are views of padded frames; those of several small bodies are copied together.

    Attributes:
        shape: bodies, windows, tokens.
        at_once: bodies and windows of a piece.
    """

    def __init__(self, features: Sequence[Tensor], graph: Tensor, options: WindowOptions) -> None:
        """``features`` are the query, key, mapped values and values of all frames."""
        self.graph, self.options = graph, options
        bodies, self.frames, self.joints, _ = features[0].shape
        self.padded = [F.pad(each, (0, 0, 0, 0, 0, options.window - 1)) for each in features]
        self.shape = bodies, (self.frames - 1) // options.stride + 1, len(graph)
        self.at_once = tile_shape(self.shape[:2], at_once(self.shape[2] * max(self.shape[2], self.padded[3].shape[-1])))

    def pieces(self) -> Iterator[Tile]:
        """Bodies and windows of each piece."""
        return tiles(self.shape[:2], self.at_once)

    def new_total(self, index: int) -> Tensor:
        """Zeros for the gradient of the query, key, mapped values or values."""
        return torch.zeros_like(self.padded[index])

    def mix(self, piece: Tile, out: Tokens) -> None:
        for channels, attention in self._attend(piece):
            if self.options.heads == 1:
                attention.mix(out.flatten(0, 1))
            else:
                out[..., channels[2]] = attention.mix().view(*out.shape[:3], -1)

    def attend_backward(self, piece: Tile, of_mixed: Tokens, totals: Sequence[Tensor], of_graph: Tensor | None) -> None:
        for channels, attention in self._attend(piece):
            *found, of_correlations, of_scores = attention.gradients(of_mixed[..., channels[2]].flatten(0, 1))
            for total, part, chosen in zip(totals, found, channels, strict=True):
                self.add_back(total[..., chosen], piece, part.unflatten(0, of_mixed.shape[:2]))
            if of_graph is not None:
                of_graph += (of_scores if self.options.inside else of_correlations).sum(0)

    def _attend(self, piece: Tile) -> Iterator[tuple[tuple[slice, ...], AttentionPiece]]:
        """Channels of query, key and values of each head, and its attention."""
        for channels in zip(*(_heads(each.shape[-1], self.options.heads) for each in self.padded[:3]), strict=True):
            query, key, mapped = (
                self._windows(each[..., chosen], piece).flatten(2, 3).flatten(0, 1)
                for each, chosen in zip(self.padded, channels, strict=False)
            )
            yield channels, AttentionPiece(query, key, mapped, self.graph, inside=self.options.inside)

    def activate(self, piece: Tile, mixed: Tokens, affine: "Affine") -> Float[Tensor, "piece_body window joint window_frame channel"]:
        """ReLU of the normalised tokens plus the values, the frames of a window beside each other, as the collapse takes them."""
        active = mixed.new_empty(*mixed.shape[:2], self.joints, self.options.window, mixed.shape[-1])
        tokens = active.transpose(2, 3)
        torch.addcmul(affine.shift, self.frames_of(mixed), affine.scale, out=tokens)
        tokens += self._windows(self.padded[3], piece)
        return active.relu_()

    def add_back(self, total: Tensor, piece: Tile, tokens: Tokens) -> None:
        """Adds tokens of consecutive windows to the frames they came from."""
        bodies, windows = piece
        parts, stride = self.frames_of(tokens), self.options.stride
        reach = (tokens.shape[1] - 1) * stride + 1
        for frame in range(self.options.window):
            start = windows.start * stride + frame
            total[bodies, start : start + reach : stride] += parts[:, :, frame]

    def frames_of(self, tokens: Tokens) -> WindowFrames:
        """The tokens of a window by frame and joint."""
        return tokens.view(*tokens.shape[:2], self.options.window, self.joints, -1)

    def _windows(self, frames: Frames, piece: Tile) -> WindowFrames:
        bodies, windows = piece
        return frames[bodies].unfold(1, self.options.window, self.options.stride)[:, windows].permute(0, 1, 4, 2, 3)
