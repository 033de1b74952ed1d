"""Some windows of SFEM or STFEM, from the features to what BN sees and on to what becomes of it, and the gradients, written out.

A piece is small enough to stay in the cache. Its linear maps and its correlations are computed again for the gradient and never kept, so a
training step holds of every window what BN sees, and nothing else. Windows of frames are strided views.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from amanet.model import window_loops
from amanet.model.affine import Affine, Copies
from amanet.model.loops import run
from amanet.model.pieces import AttentionPiece, Frames, Tile, aligned, at_once, scratch, tile_shape, tiles

PARTS = 4
"""Pieces of single frames are by so much smaller: all of their tensors are as large as the largest, which elsewhere is the scores alone."""

Maps = Float[Tensor, "piece_body padded_frame joint _"]
Mixed = Float[Tensor, "piece_body window token mixed_channel"]
Tokens = Float[Tensor, "piece_body window token channel"]
Active = Float[Tensor, "piece_body window joint window_frame channel"]
"""The frames of a window beside each other, as a convolution takes them that collapses the window."""
Taps = Float[Tensor, "tap out"]
Output = Float[Tensor, "piece_body window joint out"]


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


class Windows:
    """All windows of all bodies, and what their pieces share.

    Attributes:
        shape: bodies and windows.
        frames: of a clip, those past the last left out.
        weights: of queries, of values, and of mapped values where they are mapped before they are mixed.
        bias: what is added to the scores.
        graph: what is added to the correlations.
    """

    def __init__(
        self,
        features: Frames,
        unseen: Tensor | None,
        weight: Float[Tensor, "all_channels padded_channel"],
        expand: Tensor | None,
        graph: Tensor,
        copies: Copies,
        options: WindowOptions,
    ) -> None:
        self.features, self.unseen, self.expand, self.options = features, unseen, expand, options
        self.weights, self.copies = weight.split(options.widths), copies.to(features.dtype)
        self.keys = aligned(options.tokens)
        masked = self.keys - options.tokens
        self.bias = F.pad(graph if options.inside else torch.zeros_like(graph), (0, masked), value=-torch.inf)
        self.graph = None if options.inside else F.pad(graph, (0, masked))
        self.frames = features.shape[1]
        self.shape = len(features), (self.frames - 1) // options.stride + 1

    @property
    def channels(self) -> int:
        """Channels of values and of what BN sees."""
        return self.options.widths[1]

    @property
    def mixed_channels(self) -> int:
        """Channels of what attention mixes: mapped values, or keys that are yet to expand."""
        return self.channels if self.expand is None else self.options.widths[0]

    def pieces(self) -> Iterator["WindowPiece"]:
        """Some windows of one body each, or all those of some bodies; one is good until the next."""
        windows = at_once(self.keys * max(self.keys, self.channels))
        shape = tile_shape(self.shape, windows if self.options.window > 1 else max(1, windows // PARTS))
        return (WindowPiece(self, place) for place in tiles(self.shape, shape))


class Gradients:
    """What the pieces add up.

    Attributes:
        key: of the keys, which are the features with channels and frames beside them.
        weight: of the linear maps, ``weights`` its parts.
    """

    def __init__(self, windows: Windows, taps: Taps | None, *, learns_graph: bool) -> None:
        features, options = windows.features, windows.options
        self.key = features.new_zeros(len(features), windows.frames + options.padding, options.joints, options.widths[0])
        self.weight = features.new_zeros(sum(options.widths), windows.weights[0].shape[1])
        self.weights = self.weight.split(options.widths)
        self.taps = None if taps is None else torch.zeros_like(taps)
        self.unseen = None if windows.unseen is None else torch.zeros_like(windows.unseen)
        self.expand = None if windows.expand is None else torch.zeros_like(windows.expand)
        self.graph = torch.zeros_like(windows.bias) if learns_graph else None


class WindowPiece:
    """Windows whose frames lie together in memory of the calling thread.

    Attributes:
        place: bodies and windows.
        reach: frames that the windows reach, those past the last among them.
    """

    def __init__(self, windows: Windows, place: Tile) -> None:
        self.windows, self.options, self.place = windows, windows.options, place
        bodies, some = place
        self.number = some.stop - some.start
        self.first = some.start * self.options.stride
        last = windows.frames if some.stop == windows.shape[1] else self.first + (self.number - 1) * self.options.stride + 1
        self.reach = bodies, slice(self.first, last + self.options.padding)
        self.padded = self._pad()
        self.key = self.padded[..., : self.options.widths[0]]

    def mix(self, mixed: Mixed) -> None:
        """Writes what attention mixes."""
        self._attend().mix(mixed.flatten(0, 1))

    def expanded(self, mixed: Mixed) -> Tokens:
        """The tokens that BN sees; they are made of the fewer channels that were mixed whenever they are needed, and never kept."""
        expand = self.windows.expand
        if expand is None:
            return mixed
        expanded = scratch("expanded", (*mixed.shape[:3], len(expand)), mixed)
        torch.mm(mixed.flatten(0, 2), expand.t(), out=expanded.flatten(0, 2))
        return expanded

    def finish(self, mixed: Mixed, affine: Affine, taps: Taps | None, output: Output) -> None:
        """Writes the active tokens, or the collapsed windows."""
        tokens = self.expanded(mixed)
        if taps is None:
            self._activate(tokens, affine, output[:, :, :, None])
        else:
            torch.mm(self._activate(tokens, affine, self._active(tokens)).flatten(0, 2).flatten(1), taps, out=output.flatten(0, 2))

    def finish_backward(
        self,
        mixed: Mixed,
        affine: Affine,
        taps: Taps | None,
        output: Output | None,
        of_output: Output,
        of_normed: Tokens,
        sums: Float[Tensor, "2 channel"],
        found: Gradients,
    ) -> None:
        """Writes the gradient of the normalised tokens; adds that of the taps, that of the values, and the sums that BN's needs."""
        tokens = self.expanded(mixed)
        if taps is None:
            assert output is not None
            active, of_active = output[:, :, :, None], of_output[:, :, :, None]
        else:
            active = self._activate(tokens, affine, self._active(tokens))
            of_active = self._collapse_backward(active, taps, of_output.flatten(0, 2), found)
        of_value = self._memory("of_value_frames", 1).zero_()
        run(window_loops.activate_backward, of_active, active, tokens, affine.mean, self.options.stride, of_normed, of_value, sums)
        self._map_backward(1, of_value, found)

    def _collapse_backward(self, active: Active, taps: Taps, rows: Float[Tensor, "row out"], found: Gradients) -> Active:
        assert found.taps is not None
        found.taps.addmm_(active.flatten(0, 2).flatten(1).t(), rows)
        of_active = scratch("of_active", active.shape, active)
        torch.mm(rows, taps.t(), out=of_active.flatten(0, 2).flatten(1))
        return of_active

    def mix_backward(self, mixed: Mixed, affine: Affine, moved: tuple[Tensor, Tensor], of_normed: Tokens, found: Gradients) -> None:
        """Adds the gradients of what the tokens were mixed of."""
        gradient = scratch("of_mixed", of_normed.shape, mixed)
        copies = self.windows.copies[self.place[0]]
        run(window_loops.normalise_backward, of_normed, self.expanded(mixed), copies, *moved, affine.scale, gradient)
        gradient = gradient.flatten(0, 1)
        if self.windows.expand is not None:
            assert found.expand is not None
            found.expand.addmm_(gradient.flatten(0, 1).t(), mixed.flatten(0, 2))
            gradient = gradient @ self.windows.expand
        of_query, of_key, of_mapped, of_scores = self._attend().gradients(gradient, found.graph)
        for frames, block in self._past_the_end(of_scores):
            assert found.unseen is not None
            found.unseen[self.place[0], frames] += block.sum(-1).unflatten(1, (-1, self.options.joints))
        self._add_back(of_key, found.key[self.reach])
        self._map_backward(0, self._add_back(of_query, self._memory("of_query_frames", 0).zero_()), found)
        if self.windows.expand is None:
            self._map_backward(2, self._add_back(of_mapped, self._memory("of_mapped_frames", 2).zero_()), found)
        else:
            self._add_back(of_mapped, found.key[self.reach])

    def _pad(self) -> Maps:
        """The features, a channel of ones and channels of zeros up to what the maps take, and frames of zeros past the last."""
        seen = self.windows.features[self.reach]
        bodies, frames, joints, channels = seen.shape
        reach = self.reach[1]
        padded = scratch("padded", (bodies, reach.stop - reach.start, joints, self.windows.weights[0].shape[1]), seen)
        padded[:, :frames, :, :channels] = seen
        padded[:, :frames, :, channels] = 1
        padded[:, :frames, :, channels + 1 :] = 0
        padded[:, frames:] = 0
        return padded

    def _map(self, name: str, place: int) -> Maps:
        """Queries, values or mapped values of the frames."""
        filled, found = self.options.filled, self._memory(name, place)
        torch.mm(self.padded.flatten(0, 2)[:, :filled], self.windows.weights[place][:, :filled].t(), out=found.flatten(0, 2))
        return found

    def _map_backward(self, place: int, of_map: Maps, found: Gradients) -> None:
        """Adds the gradients of a map's weight, and of the keys, which are channels of what it maps."""
        rows = of_map.flatten(0, 2)
        found.weights[place].addmm_(rows.t(), self.padded.flatten(0, 2))
        found.key[self.reach].flatten(0, 2).addmm_(rows, self.windows.weights[place][:, : self.options.widths[0]])

    def _memory(self, name: str, place: int) -> Maps:
        return scratch(name, (*self.padded.shape[:3], self.options.widths[place]), self.padded)

    def _attend(self) -> AttentionPiece:
        tokens, keys = self.options.tokens, self.windows.keys
        query, mapped = self._map("query_frames", 0), self.key if self.windows.expand is not None else self._map("mapped_frames", 2)
        cut = (self._cut(each, number).flatten(0, 1) for each, number in ((query, tokens), (self.key, keys), (mapped, keys)))
        options = {"bias": self.windows.bias, "graph": self.windows.graph, "width": self.options.width}
        return AttentionPiece(*cut, **options, complete=self._score_unseen)

    def _score_unseen(self, scores: Float[Tensor, "item token key"]) -> None:
        """Adds what the features as keys leave out, in windows that end past the clip."""
        for frames, block in self._past_the_end(scores):
            assert self.windows.unseen is not None
            block += self.windows.unseen[self.place[0], frames].flatten(1)[..., None]

    def _past_the_end(
        self, scores: Float[Tensor, "item token key"]
    ) -> Iterator[tuple[slice, Float[Tensor, "piece_body seen_token unseen_token"]]]:
        """Of each window that ends past the clip the frames that are seen, counted from the end, and their scores of those that are not."""
        if self.windows.unseen is None:
            return
        by_window = scores.unflatten(0, (-1, self.number))
        for window in range(self.number):
            seen = self.windows.frames - self.first - window * self.options.stride
            if seen < self.options.window:
                tokens = seen * self.options.joints
                yield slice(-seen, None), by_window[:, window, :tokens, tokens : self.options.tokens]

    def _active(self, tokens: Tokens) -> Active:
        return scratch("active", (*tokens.shape[:2], self.options.joints, self.options.window, tokens.shape[-1]), tokens)

    def _activate(self, tokens: Tokens, affine: Affine, active: Active) -> Active:
        """Writes ReLU of the normalised tokens plus the values."""
        value = self._map("value_frames", 1)
        run(window_loops.activate, tokens, value, self.options.stride, affine.scale, affine.shift, active)
        return active

    def _add_back(self, tokens: Float[Tensor, "item token channel"], frames: Maps) -> Maps:
        """Adds tokens to the frames they came from."""
        by_body = tokens.unflatten(0, (-1, self.number))
        run(window_loops.add_back, by_body, self.options.stride, self.options.window, frames)
        return frames

    def _cut(self, frames: Maps, tokens: int) -> Tokens:
        """So many tokens from the start of each window."""
        unfolded = frames.flatten(1, 2).unfold(1, tokens, self.options.stride * self.options.joints)
        return unfolded[:, : self.number].transpose(2, 3)
