"""All windows of all bodies: what STFEM computes in a sweep over them, and the gradients, written out.

Windows of frames are strided views, and their correlations are computed again for the gradient and never kept, so a training step holds
no (token, token) tensor of a whole batch.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from amanet.model import mixing_loops, window_loops
from amanet.model.affine import Affine, Copies
from amanet.model.linear import multiply
from amanet.model.loops import run, streams, tell_multiplied
from amanet.model.mixing_loops import Memory, Normalising, Operands, Scoring, Totals, Windows
from amanet.model.norm_loops import Moments
from amanet.model.pieces import Frames, Tile, aligned, scratch, tiles
from amanet.model.side_by_side import everyone
from amanet.model.threads import number_of_threads
from amanet.model.window_loops import Normed

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
    """What the windows add up."""

    def __init__(self, sweep: "WindowSweep", maps: Sequence[Maps], *, learns_graph: bool) -> None:
        self.key, *self.maps = (sweep.unreached(each) for each in (sweep.key, *maps))
        self.query, self.value, self.mapped = _three(self.maps, self.key)
        self.unseen = None if sweep.unseen is None else torch.zeros_like(sweep.unseen)
        self.expand = None if sweep.expand_turned is None else torch.zeros_like(sweep.expand_turned)
        self.graph = torch.zeros_like(sweep.bias) if learns_graph else None


def _tokens(frames: Maps) -> Float[Tensor, "clip_body token _"]:
    return frames.flatten(1, 2)


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
    return [multiply(rows, part.t(), rows.new_empty(len(rows), len(part))).view(*padded.shape[:3], -1) for part in maps]


def map_backward(found: Gradients, sweep: "WindowSweep", weight: Tensor) -> Tensor:
    """Gradient of the weight; that of the keys, which are channels of the padded features, is added to what was found."""
    of_weight, channels, widths = torch.empty_like(weight), found.key.shape[-1], sweep.options.widths
    for of_map, part, of_part in zip(found.maps, weight.split(widths), of_weight.split(widths), strict=True):
        rows = of_map.flatten(0, 2)
        multiply(rows, part[:, :channels], found.key.flatten(0, 2), adds=True)
        multiply(rows.t(), sweep.padded.flatten(0, 2), of_part)
    return of_weight


def unseen_backward(found: Gradients, sweep: "WindowSweep", of_zero: Tensor | None) -> Tensor | None:
    """Gradient of the map that gives queries their scores of zero; that of the features is added to that of the keys."""
    if of_zero is None or found.unseen is None:
        return None
    found.key[:, sweep.ends] += found.unseen[..., None] * of_zero[: found.key.shape[-1]]
    return found.unseen.flatten() @ sweep.padded[:, sweep.ends].flatten(0, 2)


class WindowSweep:
    """All windows of all bodies, which are views of padded frames.

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
        self.expand_turned = None if expand is None else expand.t().contiguous()
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

    def mix(self, mixed: Mixed) -> None:
        """Writes what attention mixes in each window."""
        tell_multiplied(mixed, self._attending(mixed, 1, 1))
        run(mixing_loops.mix, *self._attention(), mixed)

    def mix_and_count(self, mixed: Mixed) -> tuple[Tensor, Tensor]:
        """The same; returns mean and variance, over all bodies of the batch, of what BN is to see, once expanded."""
        moments = Moments(mixed.new_zeros(self.options.widths[1]))
        moments.rows = float(self.copies.sum()) * self.shape[1] * self.options.tokens
        tell_multiplied(mixed, self._attending(mixed, 1, 1) + self._expansion(mixed))
        counted = self.expand_turned, self.copies, moments.shift, moments.sums
        run(mixing_loops.mix_and_count, *self._attention(), *counted, mixed, streams(mixed))
        return Moments.joined(everyone(moments))

    def collapse(
        self,
        mixed: Mixed,
        affine: Affine,
        taps: Tensor,
        collapsed: Float[Tensor, "clip_body window joint out"],
    ) -> None:
        """Writes the collapsed windows."""
        tell_multiplied(mixed, 2 * collapsed.numel() * len(taps) + self._expansion(mixed))
        seen = mixed, _tokens(self.value), Normed(affine.scale, affine.shift, affine.mean), self._windows(), self.expand_turned
        run(window_loops.collapse, *seen, taps, self._window_memory(), collapsed.flatten(1, 2))

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
        seen = mixed, _tokens(self.value), Normed(affine.scale, affine.shift, affine.mean), self._windows(), self.expand_turned
        written = _tokens(found.value), sums, of_taps, of_normed, streams(of_normed)
        products = taps.t().contiguous(), self._window_memory()
        tell_multiplied(mixed, 4 * of_collapsed.numel() * len(taps) + 2 * self._expansion(mixed))
        run(window_loops.collapse_backward, of_collapsed.flatten(1, 2), *seen, *products, *written)
        return of_normed, of_taps, sums

    def mix_backward(self, mixed: Mixed, affine: Affine, moved: tuple[Tensor, Tensor], of_normed: Tokens, found: Gradients) -> None:
        """Adds the gradients of what the tokens were mixed of."""
        normalising = Normalising(*moved, affine.scale)
        expand = self.expand_turned, self.expand
        mapped = _tokens(found.mapped), found.graph, found.unseen, found.expand
        totals = Totals(_tokens(found.query), _tokens(found.key), *mapped)
        seen = of_normed, mixed, normalising, self.copies
        tell_multiplied(mixed, self._attending(mixed, 3, 2) + 3 * self._expansion(mixed))
        run(mixing_loops.mix_backward, *seen, *self._attention(), *expand, totals, self.mapped is self.key)

    def pieces(self) -> list[Tile]:
        """Bodies and windows of pieces whose maps and tokens a cache holds: some windows of one body, or all those of some bodies.

        There are enough of them for all threads that this one may divide them among.
        """
        return tiles(self.shape, self.keys * max(self.keys, self.options.widths[1]), among=number_of_threads())

    def _attention(self) -> tuple[Operands, Scoring, Windows, Memory]:
        options = self.options
        operands = Operands(*map(_tokens, (self.query, self.key, self.mapped)))
        scoring = Scoring(1 / math.sqrt(options.width), self.bias, self.graph, self.unseen)
        of_window = {
            "scores": (options.tokens, self.keys),
            "of_scores": (options.tokens, self.keys),
            "turned": (max(self.key.shape[-1], self.mapped.shape[-1]), self.keys),
            "mixed": (options.tokens, self.mixed_channels),
            "expanded": (options.tokens, options.widths[1]),
        }
        memory = Memory(*(scratch(f"{name} of a window", shape, self.padded) for name, shape in of_window.items()))
        return operands, scoring, self._windows(), memory

    def _attending(self, mixed: Mixed, scores: int, mixes: int) -> int:
        """Operations of so many products of tokens and tokens by channels of keys, and by those of what is mixed."""
        pairs = mixed[..., 0].numel() * self.options.tokens
        return 2 * pairs * (scores * self.options.widths[0] + mixes * self.mixed_channels)

    def _expansion(self, mixed: Mixed) -> int:
        return 0 if self.expand is None else 2 * mixed.numel() * len(self.expand)

    def _windows(self) -> Windows:
        return Windows(self.options.stride, self.frames, self.options.joints)

    def _window_memory(self) -> window_loops.Memory:
        options = self.options
        windows = max(1, window_loops.ROWS_AT_ONCE // options.joints)
        of_windows = {
            "active": (windows * options.joints, options.window * options.widths[1]),
            "of_active": (windows * options.joints, options.window * options.widths[1]),
            "expanded": (options.tokens, options.widths[1]),
        }
        return window_loops.Memory(*(scratch(f"{name} of windows", shape, self.padded) for name, shape in of_windows.items()))
