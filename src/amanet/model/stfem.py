"""STFEM: the joints of a window of frames attend to each other."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model.attention import (
    Features,
    GraphJoins,
    Mapped,
    attend,
    bone_graph,
    correlate,
    join_heads,
    map_values,
    split_heads,
    split_map,
    works_in_pieces,
)
from amanet.model.mixed_windows import WindowOptions, mix_windows
from amanet.model.normalisation import BatchNorm
from amanet.model.windows import windows
from amanet.skeleton import SkeletonLayout


class STFEM(nn.Module):
    r"""Spatio-temporal feature extraction (Eqs. 13-14): all joints of tau consecutive frames attend to each other.

    .. math:: out_t = \sigma(BN(Softmax([Q]_t [K]_t^T / \sqrt{d} + \beta \mathring{A}_\tau) [V]_t \Theta) + [V]_t)

    ==========================  ======================================================  ==================
    symbol                      meaning                                                 here
    ==========================  ======================================================  ==================
    :math:`[Q]_t`               (tau J, C): tokens of frames t .. t + tau - 1, zeros    ``project``, :func:`~amanet.model.windows.windows`
                                past the last frame
    :math:`\mathring{A}_\tau`   D^-1/2 A_tau D^-1/2 of A + I tiled over the window      ``graph``
    :math:`\beta`               weight of the tiled graph                               ``weight``
    :math:`\Theta`              1x1 convolution                                         ``theta``
    ==========================  ======================================================  ==================

    A (tau x 1) convolution and BN then collapse the window to one frame. Q, K, V and V Theta are computed once a frame, not once a window.

    Args:
        layout: the skeleton.
        channels: (in, of V, out).
        window: tau.
        stride: frames from one window's start to the next.
        weight: beta (Tables 6-7: 0.8 is best).
        heads: parts that the channels are cut into; the paper has one.
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

    def forward(self, features: Features) -> Mapped:
        if works_in_pieces(features) and not self.norm.synchronises():
            return self.collapse_norm(self._mix_in_pieces(features))
        query, key, value = self.project(features).split(self.widths, dim=-1)
        _, _, value_map = split_map(self.project, self.widths)
        mapped = map_values(self.theta.weight, None, value_map, features, value)
        return self.collapse_norm(self._mix(query, key, mapped, value))

    def _mix_in_pieces(self, features: Features) -> Mapped:
        query, key, (weight, bias) = split_map(self.project, self.widths)
        theta = self.theta.weight
        weights, biases = zip(query, key, (theta @ weight, theta @ bias), (weight, bias), strict=True)
        in_channels, _, inner = self.widths
        widths = (in_channels, in_channels, inner, inner)
        options = WindowOptions(self.window, self.stride, features.shape[2], widths, self.joins == "scores", self.heads, self.norm.eps)
        graph = self.weight * self.graph
        return mix_windows(features, torch.cat(weights), torch.cat(biases), graph, self.norm, self.collapse.weight, options)

    def _mix(self, query: Tensor, key: Tensor, mapped: Tensor, value: Tensor) -> Mapped:
        query, key, mapped = (split_heads(self._windows(each), self.heads) for each in (query, key, mapped))
        mixed = join_heads(attend(query, key, mapped, self.weight * self.graph, self.joins), self.heads)
        tokens = F.relu_(self.norm(mixed).add_(self._windows(value)))
        image = tokens.unflatten(2, (self.window, -1)).flatten(1, 2).permute(0, 3, 1, 2)
        return self.collapse(image).permute(0, 2, 3, 1)

    def correlations(self, features: Features, weight: float | None = None) -> Float[Tensor, "clip_body group token token"]:
        """The fused correlation matrix of every window, one a head; ``weight`` stands in for beta."""
        query, key, _ = self.project(features).split(self.widths, dim=-1)
        query, key = (split_heads(self._windows(each), self.heads) for each in (query, key))
        return correlate(query, key, (self.weight if weight is None else weight) * self.graph, self.joins)

    def _windows(self, features: Features) -> Float[Tensor, "clip_body window token channel"]:
        return windows(features, self.window, self.stride)
