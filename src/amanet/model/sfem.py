"""SFEM: the joints of a frame attend to each other."""

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
)
from amanet.model.linear import linear
from amanet.model.normalisation import BatchNorm
from amanet.model.normed_sum import finish
from amanet.skeleton import SkeletonLayout


class SFEM(nn.Module):
    r"""Spatial feature extraction (Eqs. 9-10, Fig. 4): the joints of each frame attend to each other and to their bones.

    .. math:: out = \sigma(BN(Softmax(Q K^T / \sqrt{d} + \alpha \mathring{A}) V \Theta) + V)

    The text and Fig. 4 can also be read as :math:`Softmax(Q K^T / \sqrt{d}) + \alpha \mathring{A}`; ``joins`` chooses.

    =====================  ====================================================  ==================
    symbol                 meaning                                               here
    =====================  ====================================================  ==================
    :math:`Q, K, V`        linear maps of the features of a frame                ``project``
    :math:`\mathring{A}`   D^-1/2 (A + I) D^-1/2 of the bone graph               ``graph``
    :math:`\alpha`         weight of the bone graph                              ``weight``
    :math:`\Theta`         1x1 convolution, without the bias that BN cancels     ``theta``
    :math:`\sigma`         ReLU
    =====================  ====================================================  ==================

    Args:
        layout: the skeleton.
        channels: (in, out); Q and K keep the channels, V widens them, as the residual is V.
        weight: alpha (Tables 3-4: 0.8 is best).
        learn_weight: train alpha, as the paper's limitation section tried.
        heads: parts that the channels of Q, K and V are cut into, before Theta; the paper names none, so one.
        joins: where the graph is added; Eqs. 10 and 14 say to the scores.
    """

    graph: Tensor

    def __init__(
        self,
        layout: SkeletonLayout,
        channels: tuple[int, int],
        weight: float = 0.8,
        *,
        learn_weight: bool = False,
        heads: int = 1,
        joins: GraphJoins = "scores",
    ) -> None:
        super().__init__()
        in_channels, out_channels = channels
        check_heads(heads, in_channels, out_channels)
        self.heads = heads
        self.joins: GraphJoins = joins
        self.widths = [in_channels, in_channels, out_channels]
        self.project = nn.Linear(in_channels, sum(self.widths))
        self.theta = nn.Linear(out_channels, out_channels, bias=False)
        self.norm = BatchNorm(out_channels)
        self.weight = nn.Parameter(torch.tensor(weight)) if learn_weight else weight
        self.register_buffer("graph", bone_graph(layout, frames=1))

    def forward(self, features: Features) -> Mapped:
        weight, bias = self._maps()[2]
        theta, shift = self.theta.weight, None
        folds = self.norm.folds(features) and self.joins == "scores"
        if folds:  # correlations that sum to one pass on what is added to every value
            theta, shift = self.norm.fold(theta)
            shift, bias = shift + theta @ bias + bias, torch.zeros_like(bias)
        value = linear(features, weight, None if folds else bias)
        widens = self.widths[2] > self.widths[0] and self.heads == 1
        mixed = self._mix_and_map(features, (theta @ weight, theta @ bias)) if widens else self._map_and_mix(features, value, theta)
        return finish(mixed, value, activates=True, shift=shift) if folds else self.norm(mixed, value, activates=True)

    def _map_and_mix(self, features: Features, value: Mapped, theta: Tensor) -> Mapped:
        """(P V) Theta = P (V Theta) with one head; several mix V, and Theta maps what they join to."""
        query, key = self._query_and_key(features)
        if self.heads == 1:
            return attend(query, key, linear(value, theta), self.weight * self.graph, self.joins)
        mixed = attend(query, key, split_heads(value, self.heads), self.weight * self.graph, self.joins)
        return linear(join_heads(mixed, self.heads), theta)

    def _mix_and_map(self, features: Features, mapped: Map) -> Mapped:
        """(P (x W + b)) Theta = (P [x, 1]) ([W; b] Theta), the smaller work where V widens the features."""
        query, key, _ = (of_ones(each) for each in self._maps())
        beside = with_ones(features)
        found = linear(beside, key.t() @ query)
        beside = beside.to(found.dtype)
        mixed = attend(found, beside, beside, self.weight * self.graph, self.joins, width=len(query))
        return linear(mixed, of_ones(mapped))

    def correlations(self, features: Features, weight: float | None = None) -> Float[Tensor, "clip_body group joint joint"]:
        """The fused correlation matrix of every frame (Fig. 8), one a head; ``weight`` stands in for alpha."""
        query, key = self._query_and_key(features)
        return correlate(query, key, (self.weight if weight is None else weight) * self.graph, self.joins)

    def _query_and_key(self, features: Features) -> tuple[Tensor, Tensor]:
        query, key, _ = self._maps()
        if self.heads > 1:
            return split_heads(linear(features, *query), self.heads), split_heads(linear(features, *key), self.heads)
        found = linear(features, *query_features(query, key))
        return found, features.to(found.dtype)

    def _maps(self) -> list[Map]:
        return split_map(self.project, self.widths)
