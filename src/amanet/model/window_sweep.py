"""All windows of all bodies, a piece at a time: what STFEM computes in a sweep over them, and the gradients, written out.

Windows of frames are strided views, and their correlations are computed again for the gradient and never kept, so a training step holds
no (token, token) tensor of a whole batch.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from amanet.model import window_loops
from amanet.model.affine import Affine, Copies
from amanet.model.loops import run, streams
from amanet.model.norm_loops import Moments
from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, scratch, tile_shape, tiles
from amanet.model.side_by_side import everyone

Maps = Float[Tensor, "clip_body padded_frame joint _"]
Mixed = Float[Tensor, "piece_body window token mixed_channel"]
Tokens = Float[Tensor, "piece_body window token channel"]


@dataclass(frozen=True)
class WindowOptions:
    """What :func:`~amanet.model.mixed_windows.mix_windows` needs to know beside tensors.

    Attributes:
        window: frames of a window.
        stride: frames from one window's start to the next.
        joints: of a frame.
        width: d of the softmax.
        filled: channels of the features and of ones beside them; zeros follow.
        widths: channels of queries, of values, and of mapped values where they are mapped before they are mixed.
        inside: whether the graph is added to the scores, else to the correlations after the softmax.
        eps: of the BN.
    """

    window: int
    stride: int
    joints: int
    width: int
    filled: int
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


class Gradients:
    """What the windows add up, piece by piece."""

    def __init__(self, sweep: "WindowSweep", maps: Sequence[Maps], *, learns_graph: bool) -> None:
        self.key, *self.maps = (sweep.unreached(each) for each in (sweep.key, *maps))
        self.query, self.value, self.mapped = _three(self.maps, self.key)
        self.unseen = None if sweep.unseen is None else torch.zeros_like(sweep.unseen)
        self.expand = None if sweep.expand is None else torch.zeros_like(sweep.expand)
        self.graph = torch.zeros_like(sweep.bias) if learns_graph else None


def _three(maps: Sequence[Maps], key: Frames) -> tuple[Maps, Maps, Maps]:
    """Queries, values, and what is mixed: mapped values, or the keys."""
    query, value, *mapped = maps
    return query, value, mapped[0] if mapped else key


def pad(features: Frames, weight: Tensor, options: WindowOptions) -> Maps:
    """The features, a channel of ones and channels of zeros up to what the maps take, and frames of zeros past the last."""
    bodies, frames, joints, channels = features.shape
    padded = features.new_empty(bodies, frames + options.padding, joints, weight.shape[1])
    padded[:, :frames, :, :channels] = features
    padded[:, :frames, :, channels] = 1
    padded[:, :frames, :, channels + 1 :] = 0
    padded[:, frames:] = 0
    return padded


def map_padded(padded: Frames, weight: Tensor, options: WindowOptions) -> list[Maps]:
    """Queries, values and mapped values, each in memory of its own."""
    rows, maps = padded.flatten(0, 2)[:, : options.filled], weight[:, : options.filled].split(options.widths)
    return [torch.mm(rows, part.t()).view(*padded.shape[:3], -1) for part in maps]


def map_backward(found: Gradients, sweep: "WindowSweep", weight: Tensor) -> Tensor:
    """Gradient of the weight; that of the keys, which are channels of the padded features, is added to what was found."""
    of_weight, channels, widths = torch.empty_like(weight), found.key.shape[-1], sweep.options.widths
    for of_map, part, of_part in zip(found.maps, weight.split(widths), of_weight.split(widths), strict=True):
        rows = of_map.flatten(0, 2)
        found.key.flatten(0, 2).addmm_(rows, part[:, :channels])
        torch.mm(rows.t(), sweep.padded.flatten(0, 2), out=of_part)
    return of_weight


def unseen_backward(found: Gradients, sweep: "WindowSweep", of_zero: Tensor | None) -> Tensor | None:
    """Gradient of the map that gives queries their scores of zero; that of the features is added to that of the keys."""
    if of_zero is None or found.unseen is None:
        return None
    found.key[:, sweep.ends] += found.unseen[..., None] * of_zero[: found.key.shape[-1]]
    return found.unseen.flatten() @ sweep.padded[:, sweep.ends].flatten(0, 2)


class WindowSweep:
    """All windows of all bodies, a piece at a time: some windows of one body, or all those of some bodies.

    Windows are views of padded frames; those of several small bodies are copied together.

    Attributes:
        shape: bodies and windows.
        ends: the frames that a window which ends past the clip can begin with.
        unseen: what their queries score with keys past the clip, which are zero.
    """

    def __init__(
        self,
        padded: Frames,
        of_zero: Float[Tensor, " padded_channel"] | None,
        expand: Tensor | None,
        graph: Tensor,
        copies: Copies,
        options: WindowOptions,
    ) -> None:
        self.padded, self.key = padded, padded[..., : options.widths[0]]
        self.expand, self.copies, self.options = expand, copies.to(padded.dtype), options
        self.keys = aligned(options.tokens)
        masked = self.keys - options.tokens
        self.bias = F.pad(graph if options.inside else torch.zeros_like(graph), (0, masked), value=-torch.inf)
        self.graph = None if options.inside else F.pad(graph, (0, masked))
        self.frames = padded.shape[1] - options.padding
        self.shape = len(padded), (self.frames - 1) // options.stride + 1
        self.ends = slice(max(0, self.frames - options.window + 1), self.frames)
        self.unseen = None if of_zero is None else F.linear(padded[:, self.ends], of_zero[None])[..., 0]

    def over(self, maps: Sequence[Maps]) -> "WindowSweep":
        """With these maps of the padded frames."""
        self.query, self.value, self.mapped = _three(maps, self.key)
        return self

    def only(self, piece: Tile) -> "WindowSweep":
        """The windows of one piece, as a sweep that has no maps yet."""
        bodies, windows = piece
        part = copy(self)
        first, number = windows.start * self.options.stride, windows.stop - windows.start
        frames = slice(first, first + (number - 1) * self.options.stride + 1 + self.options.padding)
        part.padded, part.key = self.padded[bodies, frames], self.key[bodies, frames]
        part.unseen = None if self.unseen is None else self.unseen[bodies]
        part.frames, part.shape = self.frames - first, (len(part.key), number)
        return part

    def unreached(self, frames: Maps) -> Maps:
        """Memory for what the windows add up in frames: zeros where no window reaches, as the first that does writes."""
        found = frames.new_empty(frames.shape)
        if self.options.stride > self.options.window:
            return found.zero_()
        found[:, (self.shape[1] - 1) * self.options.stride + self.options.window :] = 0
        return found

    @property
    def mixed_channels(self) -> int:
        """Channels of what attention mixes: mapped values, or keys that are yet to expand."""
        return self.options.widths[1 if self.expand is None else 0]

    def mix(self, mixed: Mixed, *, counts: bool) -> tuple[Tensor, Tensor] | None:
        """Writes what BN is to see, once expanded; returns its mean and variance over all bodies of the batch, if it ``counts``."""
        moments: Moments | None = None
        for piece in self.pieces():
            attention, place = self._attend(piece), mixed[piece]
            if not counts:
                attention.mix(place.flatten(0, 1))
                continue
            found = attention.mix().view(place.shape)
            tokens = self._expanded(found)
            moments = Moments(tokens[0, 0, 0].clone()) if moments is None else moments
            if self.expand is None:
                moments.add(tokens, self.copies[piece[0]], kept=place)
            else:
                place.copy_(found)
                moments.add(tokens, self.copies[piece[0]])
        return None if moments is None else Moments.joined(everyone(moments))

    def collapse(
        self,
        mixed: Mixed,
        affine: Affine,
        taps: Tensor,
        collapsed: Float[Tensor, "clip_body window joint out"],
    ) -> None:
        """Writes the collapsed windows."""
        for piece in self.pieces():
            rows = collapsed[piece].flatten(0, 2)
            active = self._activate(piece, self._expanded(mixed[piece]), affine).flatten(0, 2).flatten(1)
            torch.mm(active, taps, out=rows)

    def collapse_backward(
        self,
        mixed: Mixed,
        affine: Affine,
        taps: Tensor,
        of_collapsed: Float[Tensor, "clip_body window joint out"],
        found: Gradients,
    ) -> tuple[Tokens, Tensor, Float[Tensor, "2 channel"]]:
        """Gradients of the normalised tokens and of the taps, and the sums that BN's needs. That of the values is added to those found."""
        of_normed, of_taps = mixed.new_empty(*mixed.shape[:3], self.options.widths[1]), torch.zeros_like(taps)
        sums = mixed.new_zeros((2, self.options.widths[1]), dtype=torch.float64)
        for piece in self.pieces():
            rows = of_collapsed[piece].flatten(0, 2)
            tokens = self._expanded(mixed[piece])
            active = self._activate(piece, tokens, affine)
            of_taps.addmm_(active.flatten(0, 2).flatten(1).t(), rows)
            of_active = scratch("of_active", active.shape, active)
            torch.mm(rows, taps.t(), out=of_active.flatten(0, 2).flatten(1))
            written = found.value[piece[0]], sums, of_normed[piece], streams(of_normed)
            run(window_loops.activate_backward, of_active, active, tokens, affine.mean, *self._place(piece), *written)
        return of_normed, of_taps, sums

    def mix_backward(self, mixed: Mixed, affine: Affine, moved: tuple[Tensor, Tensor], of_normed: Tokens, found: Gradients) -> None:
        """Adds the gradients of what the tokens were mixed of."""
        for piece in self.pieces():
            gradient = scratch("of_mixed", of_normed[piece].shape, mixed)
            seen = of_normed[piece], self._expanded(mixed[piece]), self.copies[piece[0]]
            run(window_loops.normalise_backward, *seen, *moved, affine.scale, gradient)
            attention, gradient = self._attend(piece), gradient.flatten(0, 1)
            if self.expand is not None:
                assert found.expand is not None
                found.expand.addmm_(gradient.flatten(0, 1).t(), mixed[piece].flatten(0, 2))
                gradient = gradient @ self.expand
            of_query, of_key, of_value, of_scores = attention.gradients(gradient, found.graph)
            for frames, block in self._past_the_end(piece, of_scores):
                assert found.unseen is not None
                found.unseen[piece[0], frames] += block.sum(-1).unflatten(1, (-1, self.options.joints))
            totals = [(found.query, of_query), (found.key, of_key)]
            if self.expand is None:  # else keys are what is mixed
                totals.append((found.mapped, of_value))
            for total, part in totals:
                tokens = part.unflatten(0, mixed[piece].shape[:2])
                run(window_loops.add_back, tokens, *self._place(piece), self.options.window, total[piece[0]])

    def pieces(self) -> Iterator[Tile]:
        """Bodies and windows of each piece."""
        return tiles(self.shape, tile_shape(self.shape, at_once(self.keys * max(self.keys, self.options.widths[1]))))

    def _expanded(self, mixed: Mixed) -> Tokens:
        """The tokens that BN sees; they are made of the fewer channels that were mixed whenever they are needed, and never kept."""
        if self.expand is None:
            return mixed
        expanded = scratch("expanded", (*mixed.shape[:3], len(self.expand)), mixed)
        torch.mm(mixed.flatten(0, 2), self.expand.t(), out=expanded.flatten(0, 2))
        return expanded

    def _attend(self, piece: Tile) -> AttentionPiece:
        query = self._windows(self.query, piece, self.options.tokens).flatten(0, 1)
        key = self._windows(self.key, piece, self.keys).flatten(0, 1)
        mapped = key if self.mapped is self.key else self._windows(self.mapped, piece, self.keys).flatten(0, 1)
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

    def _activate(self, piece: Tile, tokens: Tokens, affine: Affine) -> Float[Tensor, "piece_body window joint window_frame channel"]:
        """ReLU of the normalised tokens plus the values, the frames of a window beside each other, as the collapse takes them."""
        active = scratch("active", (*tokens.shape[:2], self.options.joints, self.options.window, tokens.shape[-1]), tokens)
        value = self.value[piece[0]]
        run(window_loops.activate, tokens, value, *self._place(piece), affine.scale, affine.shift, active)
        return active

    def _place(self, piece: Tile) -> tuple[int, int]:
        """The first frame of a piece, and frames from one window to the next."""
        return piece[1].start * self.options.stride, self.options.stride

    def _windows(self, frames: Maps, piece: Tile, tokens: int) -> Tokens:
        """So many tokens from the start of each window."""
        bodies, windows = piece
        unfolded = frames[bodies].flatten(1, 2).unfold(1, tokens, self.options.stride * self.options.joints)
        return unfolded[:, windows].transpose(2, 3)
