"""The attention modules on a CPU, a piece at a time, so that what a piece needs stays in the cache.

The functions compute what :mod:`amanet.model.attention` defines, with the gradients written out. Windows of frames are strided views and
are never copied; correlations are computed again for the gradient and never kept, so a training step holds no (frame, frame) or
(token, token) tensor of a whole batch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model.normalisation import BatchNorm

NUMBERS_AT_ONCE = 1 << 19
"""Numbers in the largest tensor of a piece: 2 MB of float32."""

Frames = Float[Tensor, "clip_body frame joint channel"]
Values = Float[Tensor, "clip_body frame joint value_channel"]
Tokens = Float[Tensor, "piece_body window token channel"]
Tile = tuple[slice, slice]
"""Bodies, and windows or joints of each."""
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
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    collapsed, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        query, key, mapped, value, graph.to(query.dtype), norm.weight, norm.bias, taps, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, collapsed.shape[0] * collapsed.shape[1] * len(graph))
    return collapsed


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


def _at_once(numbers: int) -> int:
    """How many items of so many numbers each make a piece."""
    return max(1, NUMBERS_AT_ONCE // numbers)


def _pieces(items: int, at_once: int) -> Iterator[slice]:
    return (slice(start, min(start + at_once, items)) for start in range(0, items, at_once))


def _tile_shape(items: tuple[int, int], at_once: int) -> tuple[int, int]:
    """Bodies of a piece and items of each: some items of one body, or all items of some bodies."""
    bodies, each = items
    return min(bodies, max(1, at_once // each)), min(at_once, each)


def _tiles(items: tuple[int, int], shape: tuple[int, int]) -> Iterator[Tile]:
    for bodies in _pieces(items[0], shape[0]):
        for some in _pieces(items[1], shape[1]):
            yield bodies, some


class _Piece:
    """Attention of a batch of small items, (item, query, channel) and (item, key, channel), forward and backward."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, graph: Tensor | None = None, *, inside: bool = False) -> None:
        self.query, self.key, self.value = query, key, value
        self.scale = 1 / math.sqrt(query.shape[-1])
        bias = graph if inside and graph is not None else query.new_zeros(())
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=self.scale)
        self.softmax = torch.softmax(scores, dim=-1).to(query.dtype)  # autocast would keep it in float32
        self.correlations = self.softmax if inside or graph is None else self.softmax + graph

    def mix(self, out: Tensor | None = None) -> Tensor:
        return torch.bmm(self.correlations, self.value, out=out)

    def gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of query, key, value, correlations and scores."""
        of_value = torch.bmm(self.correlations.transpose(1, 2), gradient)
        of_correlations = torch.bmm(gradient, self.value.transpose(1, 2))
        of_scores = torch.ops.aten._softmax_backward_data(of_correlations, self.softmax, -1, self.softmax.dtype)
        nothing = gradient.new_zeros(())
        of_query = torch.baddbmm(nothing, of_scores, self.key, beta=0, alpha=self.scale)
        of_key = torch.baddbmm(nothing, of_scores.transpose(1, 2), self.query, beta=0, alpha=self.scale)
        return of_query, of_key, of_value, of_correlations, of_scores


def _heads(channels: int, heads: int) -> list[slice]:
    part = channels // heads
    return [slice(head * part, (head + 1) * part) for head in range(heads)]


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        query, key, mapped, value, graph, weight, bias, taps, statistics, options = inputs
        sweep = _WindowSweep((query, key, mapped, value), graph, options)
        training = statistics is None
        keeps = training or any(ctx.needs_input_grad)
        # Without gradients to come, one piece of tokens is enough at a time.
        bodies, windows = sweep.shape[:2] if keeps else sweep.at_once
        mixed = mapped.new_empty(bodies, windows, sweep.shape[2], mapped.shape[-1])
        moments = _Moments(mapped)
        for piece in sweep.pieces() if training else ():
            sweep.mix(piece, out=mixed[piece])
            moments.add(mixed[piece].flatten(0, 2))
        mean, variance = moments.mean_and_variance() if training else statistics
        affine = _Affine(weight, bias, mean, variance, options.eps)
        collapsed = mapped.new_empty(*sweep.shape[:2], sweep.joints, taps.shape[-1])
        for piece in sweep.pieces():
            rows = collapsed[piece]
            part = mixed[piece] if keeps else mixed[: rows.shape[0], : rows.shape[1]]
            if not training:
                sweep.mix(piece, out=part)
            torch.mm(sweep.activate(piece, part, affine).flatten(0, 2).flatten(1), taps, out=rows.flatten(0, 2))
        if keeps:
            ctx.save_for_backward(query, key, mapped, value, graph, weight, bias, taps, mixed, mean, variance)
            ctx.training, ctx.options = training, options
        ctx.mark_non_differentiable(mean, variance)
        return collapsed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *features, graph, weight, bias, taps, mixed, mean, variance = ctx.saved_tensors
        sweep = _WindowSweep(features, graph, ctx.options)
        affine = _Affine(weight, bias, mean, variance, ctx.options.eps)
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
        back = affine.backward(first, second, mixed[..., 0].numel(), ctx.training)
        for piece in sweep.pieces():
            of_mixed = torch.addcmul(torch.addcmul(back[0], mixed[piece], back[1]), of_normed[piece], affine.scale)
            sweep.attend_backward(piece, of_mixed.to(mixed.dtype), totals, of_graph)
        found = [total[:, : sweep.frames] for total in (*totals, of_value)]
        return *found, of_graph, second * affine.deviation, first, of_taps, None, None


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
        self.at_once = _tile_shape(self.shape[:2], _at_once(self.shape[2] * max(self.shape[2], self.padded[3].shape[-1])))

    def pieces(self) -> Iterator[Tile]:
        """Bodies and windows of each piece."""
        return _tiles(self.shape[:2], self.at_once)

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

    def _attend(self, piece: Tile) -> Iterator[tuple[tuple[slice, ...], _Piece]]:
        """Channels of query, key and values of each head, and its attention."""
        for channels in zip(*(_heads(each.shape[-1], self.options.heads) for each in self.padded[:3]), strict=True):
            query, key, mapped = (
                self._windows(each[..., chosen], piece).flatten(2, 3).flatten(0, 1)
                for each, chosen in zip(self.padded, channels, strict=False)
            )
            yield channels, _Piece(query, key, mapped, self.graph, inside=self.options.inside)

    def activate(self, piece: Tile, mixed: Tokens, affine: "_Affine") -> Float[Tensor, "piece_body window joint window_frame channel"]:
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


class _Moments:
    """Mean and variance of rows that come in pieces, about the mean of the first so that nothing cancels."""

    def __init__(self, like: Tensor) -> None:
        self.shift: Tensor | None = None
        self.rows = 0
        self.first = self.second = like.new_zeros(like.shape[-1], dtype=torch.float64)

    def add(self, rows: Float[Tensor, "row channel"]) -> None:
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows
        if self.shift is None:
            self.shift = rows.mean(0)
        centred = rows - self.shift
        self.rows += len(rows)
        self.first = self.first + centred.sum(0)
        self.second = self.second + centred.square_().sum(0)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        assert self.shift is not None
        mean = self.first / self.rows
        variance = self.second / self.rows - mean.square()
        kind = self.shift.dtype
        return (mean + self.shift).to(kind), variance.to(kind)


class _Affine:
    """BN as one product and one sum a channel, and its gradient."""

    def __init__(self, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> None:
        self.mean = mean
        self.deviation = (variance + eps).rsqrt()
        self.scale = weight * self.deviation
        self.shift = bias - mean * self.scale

    def backward(self, first: Tensor, second: Tensor, rows: int, training: bool) -> tuple[Tensor, Tensor]:
        """Offset and factor of the input in its gradient, beside ``scale`` times the output's, given the sums of the output's gradient
        and of its product with the centred input.
        """
        if not training:
            return torch.zeros_like(first), torch.zeros_like(first)
        factor = -self.scale * self.deviation.square() * second / rows
        return -self.scale * first / rows - factor * self.mean, factor


class _TimeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        for piece, part in _TimeAttention._parts(query, key, value):
            _by_joint(mixed, piece).copy_(part.mix().view(_by_joint(mixed, piece).shape))
        return mixed

    @staticmethod
    def _parts(*features: Tensor) -> Iterator[tuple[Tile, _Piece]]:
        """Bodies, joints and attention of every piece: some joints of one body, or all those of some bodies."""
        bodies, kept, joints, _ = features[0].shape
        at_once = _at_once(kept * max(features[1].shape[1], features[2].shape[-1]))
        for piece in _tiles((bodies, joints), _tile_shape((bodies, joints), at_once)):
            yield piece, _Piece(*(_by_joint(each, piece).flatten(0, 1) for each in features))

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
        for piece in _pieces(len(features), _at_once(frames[0].numel())):
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
        for piece in _pieces(len(features), _at_once(features[0].numel())):
            part = of_features[piece].flatten(1, 2)
            for index, tap in enumerate(taps.flip(0)):
                rows = padded[piece, index : index + features.shape[1]].flatten(1, 2)
                part.baddbmm_(rows, tap.t().expand(len(rows), -1, -1), beta=int(index > 0))
        return of_features, of_taps
