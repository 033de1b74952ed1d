"""STFEM: the joints of a window of frames attend to each other."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amanet.model.attention import (
    Features,
    GraphJoins,
    Map,
    Mapped,
    attend,
    bone_graph,
    check_heads,
    correlate,
    join_heads,
    of_ones,
    query_features,
    split_heads,
    split_map,
    with_ones,
    works_in_pieces,
)
from amanet.model.linear import linear
from amanet.model.mixed_windows import mix_windows
from amanet.model.normalisation import BatchNorm
from amanet.model.normed_sum import finish
from amanet.model.window_sweep import WindowOptions
from amanet.model.windows import cut_windows
from amanet.skeleton import SkeletonLayout


class STFEM(nn.Module):
    r"""Spatio-temporal feature extraction (Eqs. 13-14): all joints of tau consecutive frames attend to each other.

    .. math:: out_t = \sigma(BN(Softmax([Q]_t [K]_t^T / \sqrt{d} + \beta \mathring{A}_\tau) [V]_t \Theta) + [V]_t)

    ==========================  ======================================================  ==================
    symbol                      meaning                                                 here
    ==========================  ======================================================  ==================
    :math:`[Q]_t`               (tau J, C): tokens of frames t .. t + tau - 1, zeros    ``project``, :func:`.cut_windows`
                                past the last frame
    :math:`\mathring{A}_\tau`   D^-1/2 A_tau D^-1/2 of A + I tiled over the window      ``graph``
    :math:`\beta`               weight of the tiled graph                               ``weight``
    :math:`\Theta`              1x1 convolution                                         ``theta``
    ==========================  ======================================================  ==================

    A (tau x 1) convolution and BN then collapse the window to one frame. Q, K, V and V Theta are computed once a frame, not once a window;
    in pieces Q's and K's maps are one (:func:`~amanet.model.attention.query_features`), and the features themselves are keys.

    Args:
        layout: the skeleton.
        channels: (in, of V, out).
        window: tau.
        stride: frames from one window's start to the next.
        weight: beta (Tables 6-7: 0.8 is best).
        heads: parts that the channels of Q, K and V are cut into, before Theta; the paper names none, so one.
        joins: where the graph is added; Eqs. 10 and 14 say to the scores.
    """

    graph: Tensor

    def __init__(
        self,
        layout: SkeletonLayout,
        channels: tuple[int, int, int],
        window: int,
        stride: int = 1,
        weight: float = 0.8,
        *,
        learn_weight: bool = False,
        heads: int = 1,
        joins: GraphJoins = "scores",
    ) -> None:
        super().__init__()
        in_channels, inner_channels, out_channels = channels
        check_heads(heads, in_channels, inner_channels)
        self.window = window
        self.stride = stride
        self.heads = heads
        self.joins: GraphJoins = joins
        self.widths = [in_channels, in_channels, inner_channels]
        self.project = nn.Linear(in_channels, sum(self.widths))
        self.theta = nn.Linear(inner_channels, inner_channels, bias=False)
        self.norm = BatchNorm(inner_channels)
        self.collapse = nn.Conv2d(inner_channels, out_channels, (window, 1), stride=(window, 1), bias=False)
        self.collapse_norm = BatchNorm(out_channels)
        self.weight = nn.Parameter(torch.tensor(weight)) if learn_weight else weight
        self.register_buffer("graph", bone_graph(layout, frames=window))

    def forward(self, features: Features, residual: Mapped | None = None, *, activates: bool = False) -> Mapped:
        """What the windows collapse to, plus a residual, through a ReLU if it ``activates``.

        Raises:
            ValueError: the features are of other joints or channels.
        """
        joints = len(self.graph) // self.window
        if features.shape[2:] != (joints, self.widths[0]):  # a compiled loop would read what lies behind
            raise ValueError(f"STFEM takes features of {joints} joints and {self.widths[0]} channels, got {tuple(features.shape)}")
        if not works_in_pieces(features) or self.heads > 1 or self.norm.synchronises():
            return self.collapse_norm(self._mix(features), residual, activates=activates)
        if not self.collapse_norm.folds(features):
            return self.collapse_norm(self._mix_in_pieces(features, self.collapse.weight), residual, activates=activates)
        collapse, shift = self.collapse_norm.fold(self.collapse.weight)
        return finish(self._mix_in_pieces(features, collapse), residual, activates=activates, shift=shift)

    def _maps(self) -> list[Map]:
        return split_map(self.project, self.widths)

    def _mix_in_pieces(self, features: Features, collapse: Float[Tensor, "out value_channel window_frame 1"]) -> Mapped:
        query, key, value = self._maps()
        mapped, expand, of_zero = self.theta.weight @ of_ones(value), None, None
        if self._widens():
            weights, expand = [of_ones(key).t() @ of_ones(query), of_ones(value)], mapped
        else:
            weights = [of_ones(query_features(query, key)), of_ones(value), mapped]
            of_zero = self._scores_of_zero()
        options = WindowOptions(
            window=self.window,
            stride=self.stride,
            joints=features.shape[2],
            width=self.widths[0],
            filled=self.widths[0] + 1,
            widths=tuple(map(len, weights)),
            inside=self.joins == "scores",
            eps=self.norm.eps,
        )
        return mix_windows(features, of_zero, torch.cat(weights), expand, self.weight * self.graph, self.norm, collapse, options)

    def _widens(self) -> bool:
        """Whether V widens the features: then (P [x, 1]) ([W; b] Theta) is the smaller work."""
        return self.widths[2] > self.widths[0] and self.heads == 1

    def _scores_of_zero(self) -> Float[Tensor, " padded_channel"]:
        """What features score as queries with keys that are zero, where other keys score q k - q b_k (:func:`query_features`)."""
        (query_weight, query_bias), (_, key_bias), _ = self._maps()
        of_zero = key_bias[None] / -math.sqrt(len(key_bias))
        return of_ones((of_zero @ query_weight, of_zero @ query_bias))[0]

    def _mix(self, features: Features) -> Mapped:
        """Beside a channel of ones every map is without a bias, so that the zeros past the last frame stay zeros."""
        query, key, value = (of_ones(each) for each in self._maps())
        beside = with_ones(features, past=self.window - 1)
        theta = self.theta.weight
        if self._widens():
            found = linear(beside, key.t() @ query)
            keys = beside.to(found.dtype)
            mixed = linear(self._attend(found, keys, keys), theta @ value)
        elif self.heads == 1:
            mixed = self._attend(*(linear(beside, each) for each in (query, key, theta @ value)))
        else:
            mixed = linear(self._attend(*(linear(beside, each) for each in (query, key, value))), theta)
        tokens = self.norm(mixed, self._windows(linear(beside, value)), activates=True)
        image = tokens.unflatten(2, (self.window, -1)).flatten(1, 2).permute(0, 3, 1, 2)
        return self.collapse(image).permute(0, 2, 3, 1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "clip_body window token channel"]:
        query, key, value = (split_heads(self._windows(each), self.heads) for each in (query, key, value))
        width = self.widths[0] // self.heads
        return join_heads(attend(query, key, value, self.weight * self.graph, self.joins, width), self.heads)

    def correlations(self, features: Features, weight: float | None = None) -> Float[Tensor, "clip_body group token token"]:
        """The fused correlation matrix of every window, one a head; ``weight`` stands in for beta."""
        beside = with_ones(features, past=self.window - 1)
        query, key = (linear(beside, of_ones(each)) for each in self._maps()[:2])
        query, key = (split_heads(self._windows(each), self.heads) for each in (query, key))
        return correlate(query, key, (self.weight if weight is None else weight) * self.graph, self.joins)

    def _windows(self, padded: Tensor) -> Float[Tensor, "clip_body window token channel"]:
        return cut_windows(padded, self.window, self.stride)
