"""STFEM on a CPU, some windows at a time, with the gradients written out.

Windows of frames are strided views, and their correlations are computed again for the gradient and never kept, so a training step holds
no (token, token) tensor of a whole batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from amanet.model import window_loops
from amanet.model.affine import Affine, Copies
from amanet.model.loops import run
from amanet.model.norm_loops import Moments
from amanet.model.normalisation import BatchNorm, counted_bodies
from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, scratch, tile_shape, tiles
from amanet.model.side_by_side import add_up, everyone

Maps = Float[Tensor, "clip_body padded_frame joint _"]
Tokens = Float[Tensor, "piece_body window token channel"]


@dataclass(frozen=True)
class WindowOptions:
    """What :func:`mix_windows` needs to know beside tensors.

    Attributes:
        window: frames of a window.
        stride: frames from one window's start to the next.
        joints: of a frame.
        width: d of the softmax.
        widths: channels of queries, of values, and of mapped values where they are mapped before they are mixed.
        inside: whether the graph is added to the scores, else to the correlations after the softmax.
        eps: of the BN.
    """

    window: int
    stride: int
    joints: int
    width: int
    widths: tuple[int, ...]
    inside: bool
    eps: float

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.window * self.joints

    @property
    def padding(self) -> int:
        """Frames past the last that the keys of a window may reach, masked ones among them."""
        return -(-aligned(self.tokens) // self.joints) - 1


def mix_windows(
    features: Frames,
    unseen: Float[Tensor, "clip_body last_frame joint"] | None,
    weight: Float[Tensor, "all_channels channel"],
    bias: Float[Tensor, " all_channels"],
    expand: Float[Tensor, "value_channel channel"] | None,
    graph: Float[Tensor, "token token"],
    norm: BatchNorm,
    collapse: Float[Tensor, "out value_channel window_frame 1"],
    shift: Float[Tensor, " out"] | None,
    options: WindowOptions,
) -> Float[Tensor, "clip_body window joint out"]:
    """STFEM up to the collapsed windows, ``Conv(ReLU(BN(Correlations @ mapped) + value))`` in each window of frames.

    The features are keys; queries, values and mapped values are one linear map of them, below each other in ``weight``. With a map that is
    to ``expand`` what was mixed, there are no mapped values, and the features are mixed instead. Zeros stand for the frames past the last,
    whose scores are the query's of ``unseen``, which holds the frames that such a window can begin with; without it they are zero.
    ``shift`` is added to the collapsed windows. In training the tokens are kept once, as the BN's input; in evaluation not at all.
    """
    padded = F.pad(features, (0, 0, 0, 0, 0, options.padding))
    taps = collapse[..., 0].permute(2, 1, 0).flatten(0, 1)
    counted = counted_bodies(features)
    statistics = None if norm.training else (norm.running_mean, norm.running_var)
    collapsed, mean, variance = _MixWindows.apply(  # pyright: ignore[reportGeneralTypeIssues]
        padded, weight, bias, unseen, expand, graph, norm.weight, norm.bias, taps, shift, counted, statistics, options
    )
    if norm.training:
        norm.track(mean, variance, float(counted.bodies * collapsed.shape[1] * len(graph)))
    return collapsed


class _MixWindows(torch.autograd.Function):
    """Two sweeps over the windows each way, as BN needs all tokens before it gives the first."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        padded, weight, bias, unseen, expand, graph, gain, offset, taps, shift, counted, statistics, options = inputs
        maps = _map(padded, weight, bias, options)
        sweep = _WindowSweep(padded, maps, unseen, expand, graph, counted.copies, options)
        # Without gradients to come, one piece of tokens is enough at a time.
        keeps = statistics is None or any(ctx.needs_input_grad)
        mixed: Tokens | None = padded.new_empty(*sweep.shape, options.tokens, options.widths[1]) if keeps else None
        mean, variance = statistics or sweep.mix(mixed)
        affine = Affine(gain, offset, mean, variance, options.eps)
        collapsed = sweep.collapse(mixed, affine, taps, shift, mixes=statistics is not None)
        if keeps:
            ctx.save_for_backward(padded, weight, unseen, expand, graph, gain, offset, taps, mixed, mean, variance, *maps)
            ctx.options, ctx.counted, ctx.training = options, counted, statistics is None
        ctx.mark_non_differentiable(mean, variance)
        return collapsed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        padded, weight, unseen, expand, graph, gain, offset, taps, mixed, mean, variance, *maps = ctx.saved_tensors
        sweep = _WindowSweep(padded, maps, unseen, expand, graph, ctx.counted.copies, ctx.options)
        affine = Affine(gain, offset, mean, variance, ctx.options.eps)
        of_collapsed = gradients[0].contiguous()
        found = _Gradients(padded, maps, unseen, expand, sweep.bias if ctx.needs_input_grad[5] else None)
        of_normed, of_taps, sums = sweep.collapse_backward(mixed, affine, taps, of_collapsed, found)
        of_offset, of_gain = sums.to(mean.dtype)
        first, second = add_up((of_offset, of_gain))
        # In evaluation the statistics are constants, and no rows were counted.
        rows = float(ctx.counted.bodies * sweep.shape[1] * ctx.options.tokens)
        moved = affine.backward(first, second, rows) if ctx.training else (torch.zeros_like(first), torch.zeros_like(first))
        sweep.mix_backward(mixed, affine, moved, of_normed, found)
        of_weight, of_bias = _map_backward(found, padded, weight, ctx.options)
        of_graph = None if found.graph is None else found.graph[:, : ctx.options.tokens]
        of_shift = of_collapsed.sum((0, 1, 2)) if ctx.needs_input_grad[9] else None
        of_norm = of_gain * affine.deviation, of_offset
        return found.padded, of_weight, of_bias, found.unseen, found.expand, of_graph, *of_norm, of_taps, of_shift, None, None, None


class _Gradients:
    """What the windows add up, piece by piece."""

    def __init__(
        self, padded: Frames, maps: Sequence[Maps], unseen: Tensor | None, expand: Tensor | None, graph: Float[Tensor, "token key"] | None
    ) -> None:
        self.padded, self.maps = torch.zeros_like(padded), [torch.zeros_like(each) for each in maps]
        self.query, self.value, self.mapped = _three(self.maps, self.padded)
        self.unseen = None if unseen is None else torch.zeros_like(unseen)
        self.expand = None if expand is None else torch.zeros_like(expand)
        self.graph = None if graph is None else torch.zeros_like(graph)


def _three(maps: Sequence[Maps], padded: Frames) -> tuple[Maps, Maps, Maps]:
    """Queries, values, and what is mixed: mapped values, or the features."""
    query, value, *mapped = maps
    return query, value, mapped[0] if mapped else padded


def _map(padded: Frames, weight: Tensor, bias: Tensor, options: WindowOptions) -> list[Maps]:
    """Queries, values and mapped values, each in memory of its own; zero in the padding."""
    rows, maps = padded.flatten(0, 2), list[Tensor]()
    for part, shift in zip(weight.split(options.widths), bias.split(options.widths), strict=True):
        mapped = torch.addmm(shift, rows, part.t()).view(*padded.shape[:3], -1)
        mapped[:, padded.shape[1] - options.padding :] = 0
        maps.append(mapped)
    return maps


def _map_backward(found: _Gradients, padded: Frames, weight: Tensor, options: WindowOptions) -> tuple[Tensor, Tensor]:
    """Gradients of the weight and of the bias; that of the padded features is added to what was found."""
    of_weight, of_bias = torch.empty_like(weight), list[Tensor]()
    for of_map, part, of_part in zip(found.maps, weight.split(options.widths), of_weight.split(options.widths), strict=True):
        of_map[:, padded.shape[1] - options.padding :] = 0
        rows = of_map.flatten(0, 2)
        found.padded.flatten(0, 2).addmm_(rows, part)
        torch.mm(rows.t(), padded.flatten(0, 2), out=of_part)
        of_bias.append(rows.sum(0))
    return of_weight, torch.cat(of_bias)


class _WindowSweep:
    """All windows of all bodies, a piece at a time: some windows of one body, or all those of some bodies.

    Windows are views of padded frames; those of several small bodies are copied together.

    Attributes:
        shape: bodies and windows.
    """

    def __init__(
        self,
        padded: Frames,
        maps: Sequence[Maps],
        unseen: Tensor | None,
        expand: Tensor | None,
        graph: Tensor,
        copies: Copies,
        options: WindowOptions,
    ) -> None:
        self.key, self.unseen, self.expand, self.copies, self.options = padded, unseen, expand, copies.to(padded.dtype), options
        self.query, self.value, self.mapped = _three(maps, padded)
        self.keys = aligned(options.tokens)
        masked = self.keys - options.tokens
        self.bias = F.pad(graph if options.inside else torch.zeros_like(graph), (0, masked), value=-torch.inf)
        self.graph = None if options.inside else F.pad(graph, (0, masked))
        self.frames = padded.shape[1] - options.padding
        self.shape = len(padded), (self.frames - 1) // options.stride + 1

    def mix(self, mixed: Tokens | None) -> tuple[Tensor, Tensor]:
        """Writes the tokens that BN is to see; returns their mean and variance over all bodies of the batch."""
        assert mixed is not None
        moments: Moments | None = None
        for piece in self._pieces():
            part = mixed[piece]
            self._mix(piece, part)
            moments = Moments(part[0, 0, 0]) if moments is None else moments
            moments.add(part, self.copies[piece[0]])
        assert moments is not None
        return Moments.joined(everyone(moments))

    def collapse(
        self, mixed: Tokens | None, affine: Affine, taps: Tensor, shift: Tensor | None, *, mixes: bool
    ) -> Float[Tensor, "clip_body window joint out"]:
        """The collapsed windows; it ``mixes`` first where nobody has."""
        collapsed = taps.new_empty(*self.shape, self.options.joints, taps.shape[-1])
        for piece in self._pieces():
            rows = collapsed[piece]
            shape = *rows.shape[:2], self.options.tokens, self.options.widths[1]
            part = scratch("tokens", shape, rows) if mixed is None else mixed[piece]
            if mixes:
                self._mix(piece, part)
            active = self._activate(piece, part, affine).flatten(0, 2).flatten(1)
            if shift is None:
                torch.mm(active, taps, out=rows.flatten(0, 2))
            else:
                torch.addmm(shift, active, taps, out=rows.flatten(0, 2))
        return collapsed

    def collapse_backward(
        self,
        mixed: Tokens,
        affine: Affine,
        taps: Tensor,
        of_collapsed: Float[Tensor, "clip_body window joint out"],
        found: _Gradients,
    ) -> tuple[Tokens, Tensor, Float[Tensor, "2 channel"]]:
        """Gradients of the normalised tokens and of the taps, and the sums that BN's needs. That of the values is added to those found."""
        of_normed, of_taps = torch.empty_like(mixed), torch.zeros_like(taps)
        sums = mixed.new_zeros((2, mixed.shape[-1]), dtype=torch.float64)
        for piece in self._pieces():
            rows = of_collapsed[piece].flatten(0, 2)
            active = self._activate(piece, mixed[piece], affine)
            of_taps.addmm_(active.flatten(0, 2).flatten(1).t(), rows)
            of_active = scratch("of_active", active.shape, active)
            torch.mm(rows, taps.t(), out=of_active.flatten(0, 2).flatten(1))
            place = self._place(piece)
            written = of_normed[piece], found.value[piece[0]], sums
            run(window_loops.activate_backward, of_active, active, mixed[piece], affine.mean, *place, *written)
        return of_normed, of_taps, sums

    def mix_backward(self, mixed: Tokens, affine: Affine, moved: tuple[Tensor, Tensor], of_normed: Tokens, found: _Gradients) -> None:
        """Adds the gradients of what the tokens were mixed of."""
        for piece in self._pieces():
            attention, gradient = self._attend(piece), scratch("of_mixed", mixed[piece].shape, mixed)
            seen = of_normed[piece], mixed[piece], self.copies[piece[0]]
            run(window_loops.normalise_backward, *seen, *moved, affine.scale, gradient)
            gradient = gradient.flatten(0, 1)
            if self.expand is not None:
                assert found.expand is not None
                found.expand.addmm_(gradient.flatten(0, 1).t(), attention.mix().flatten(0, 1))
                gradient = gradient @ self.expand
            *of_tokens, of_scores = attention.gradients(gradient, found.graph)
            for total, part in zip((found.query, found.padded, found.mapped), of_tokens, strict=True):
                tokens = part.unflatten(0, mixed[piece].shape[:2])
                run(window_loops.add_back, tokens, *self._place(piece), self.options.window, total[piece[0]])
            for frames, block in self._past_the_end(piece, of_scores):
                assert found.unseen is not None
                found.unseen[piece[0], frames] += block.sum(-1).unflatten(1, (-1, self.options.joints))

    def _pieces(self) -> Iterator[Tile]:
        """Bodies and windows of each piece."""
        return tiles(self.shape, tile_shape(self.shape, at_once(self.keys * max(self.keys, self.options.widths[1]))))

    def _mix(self, piece: Tile, out: Tokens) -> None:
        attention = self._attend(piece)
        if self.expand is None:
            attention.mix(out.flatten(0, 1))
        else:
            torch.mm(attention.mix().flatten(0, 1), self.expand.t(), out=out.flatten(0, 2))

    def _attend(self, piece: Tile) -> AttentionPiece:
        query, key, mapped = (
            self._windows(each, piece, tokens).flatten(0, 1)
            for each, tokens in ((self.query, self.options.tokens), (self.key, self.keys), (self.mapped, self.keys))
        )
        complete = partial(self._score_unseen, piece)
        return AttentionPiece(query, key, mapped, bias=self.bias, graph=self.graph, complete=complete, width=self.options.width)

    def _score_unseen(self, piece: Tile, scores: Float[Tensor, "item token key"]) -> None:
        """Adds what the features as keys leave out, in windows that end past the clip."""
        for frames, block in self._past_the_end(piece, scores):
            assert self.unseen is not None
            block += self.unseen[piece[0], frames].flatten(1)[..., None]

    def _past_the_end(
        self, piece: Tile, scores: Float[Tensor, "item token key"]
    ) -> Iterator[tuple[slice, Float[Tensor, "piece_body seen_token unseen_token"]]]:
        """Of each window that ends past the clip the frames that are seen, counted from the end, and their scores of those that are not."""
        if self.unseen is None:
            return
        options = self.options
        start, stop, _ = piece[1].indices(self.shape[1])
        by_window = scores.unflatten(0, (-1, stop - start))
        first = (self.frames - options.window) // options.stride + 1
        for window in range(max(start, first), stop):
            seen = self.frames - window * options.stride
            tokens = seen * options.joints
            yield slice(-seen, None), by_window[:, window - start, :tokens, tokens : options.tokens]

    def _activate(self, piece: Tile, mixed: Tokens, affine: Affine) -> Float[Tensor, "piece_body window joint window_frame channel"]:
        """ReLU of the normalised tokens plus the values, the frames of a window beside each other, as the collapse takes them."""
        active = scratch("active", (*mixed.shape[:2], self.options.joints, self.options.window, mixed.shape[-1]), mixed)
        value = self.value[piece[0]]
        run(window_loops.activate, mixed, value, *self._place(piece), affine.scale, affine.shift, active)
        return active

    def _place(self, piece: Tile) -> tuple[int, int]:
        """The first frame of a piece, and frames from one window to the next."""
        return piece[1].start * self.options.stride, self.options.stride

    def _windows(self, frames: Maps, piece: Tile, tokens: int) -> Tokens:
        """So many tokens from the start of each window."""
        bodies, windows = piece
        unfolded = frames[bodies].flatten(1, 2).unfold(1, tokens, self.options.stride * self.options.joints)
        return unfolded[:, windows].transpose(2, 3)
