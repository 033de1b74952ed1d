"""Self-attention over the joints of a frame, the frames of a clip, and windows of both: SFEM, FF, JF and STFEM.

Features are (clip_body, frame, joint, channel) everywhere, where clip_body runs over the bodies of all clips. Channels last makes every 1x1
convolution one matrix product, lets temporal convolutions run without a copy, and makes the windows of STFEM a strided view.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model.mixed_windows import WindowOptions, mix_windows
from amanet.model.normalisation import BatchNorm, NormedLinear, map_and_normalise
from amanet.model.piecewise import attend_over_time, convolve_frames
from amanet.skeleton import SkeletonLayout
from amanet.skeleton.graph import adjacency, normalise_symmetric, tile_window, with_self_loops

Features = Float[Tensor, "clip_body frame joint channel"]
Mapped = Float[Tensor, "clip_body mapped_frame joint mapped_channel"]
Queries = Float[Tensor, "batch group query key_channel"]
Keys = Float[Tensor, "batch group key key_channel"]
Values = Float[Tensor, "batch group key channel"]
Graph = Float[Tensor, "query key"]
GraphJoins = Literal["scores", "correlations"]
"""Where the weighted graph is added: to the scores, before the softmax, or to the correlations, after it."""


def correlate(
    query: Queries, key: Keys, graph: Graph | None = None, joins: GraphJoins = "scores"
) -> Float[Tensor, "batch group query key"]:
    """The correlation matrix: Softmax(Q K^T / sqrt(d)) over the last axis, d the channels of Q (Eq. 2), with the graph added."""
    scores = query * (1 / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if graph is None:
        return torch.softmax(scores, dim=-1)
    if joins == "scores":
        return torch.softmax(scores + graph, dim=-1)
    return torch.softmax(scores, dim=-1) + graph


def attend(
    query: Queries, key: Keys, value: Values, graph: Graph | None = None, joins: GraphJoins = "scores"
) -> Float[Tensor, "batch group query channel"]:
    """:func:`correlate` times V, fused where that is the faster way: always on a GPU, over long sequences on a CPU."""
    inside = graph if joins == "scores" else None
    if not _fused_is_faster(query, value, inside):
        return correlate(query, key, graph, joins) @ value
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=None if inside is None else inside.to(query.dtype))
    return mixed if graph is None or joins == "scores" else mixed + graph.to(value.dtype) @ value


def _fused_is_faster(query: Tensor, value: Tensor, bias: Tensor | None) -> bool:
    if query.device.type != "cpu":
        return True
    return query.shape[-2] > 64 and query.shape[-1] == value.shape[-1] and not (bias is not None and bias.requires_grad)


def works_in_pieces(features: Tensor) -> bool:
    """Whether a module takes its work apart by hand (:mod:`amanet.model.piecewise`), which pays where a cache is to be kept filled."""
    return features.device.type == "cpu"


def split_heads(features: Float[Tensor, "clip_body frame token channel"], heads: int) -> Float[Tensor, "clip_body group token part"]:
    """Channels cut into heads, which join the frames as independent groups."""
    if heads == 1:
        return features
    return features.unflatten(-1, (heads, -1)).transpose(2, 3).flatten(1, 2)


def join_heads(features: Float[Tensor, "clip_body group token part"], heads: int) -> Float[Tensor, "clip_body frame token channel"]:
    """The inverse of :func:`split_heads`."""
    if heads == 1:
        return features
    return features.unflatten(1, (-1, heads)).transpose(2, 3).flatten(3)


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
        heads: parts that the channels are cut into; the paper has one.
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
        self.heads = heads
        self.joins: GraphJoins = joins
        self.widths = [in_channels, in_channels, out_channels]
        self.project = nn.Linear(in_channels, sum(self.widths))
        self.theta = nn.Linear(out_channels, out_channels, bias=False)
        self.norm = BatchNorm(out_channels)
        self.weight = nn.Parameter(torch.tensor(weight)) if learn_weight else weight
        self.register_buffer("graph", _bone_graph(layout, frames=1))

    def forward(self, features: Features) -> Mapped:
        query, key, value = self._heads(self.project(features))
        folds = not self.training and self.joins == "scores"  # correlations that sum to one pass the shift of BN on
        mapped = map_and_normalise(self.theta, self.norm, value) if folds else self.theta(value)
        # (P V) Theta = P (V Theta)
        mixed = join_heads(attend(query, key, split_heads(mapped, self.heads), self.weight * self.graph, self.joins), self.heads)
        return F.relu_((mixed if folds else self.norm(mixed)).add_(value))

    def correlations(self, features: Features, weight: float | None = None) -> Float[Tensor, "clip_body group joint joint"]:
        """The fused correlation matrix of every frame (Fig. 8), one a head; ``weight`` stands in for alpha."""
        query, key, _ = self._heads(self.project(features))
        return correlate(query, key, (self.weight if weight is None else weight) * self.graph, self.joins)

    def _heads(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = projected.split(self.widths, dim=-1)
        return split_heads(query, self.heads), split_heads(key, self.heads), value


class FrameFeatures(nn.Module):
    r"""FF, frames as wholes (Eq. 12, Fig. 5b): the g frames of a group attend to each other.

    .. math:: out = \sigma(BN(Concat_i(Softmax(Q_i K_i^T / \sqrt{d}) V_i) \Theta) + x)

    =================  ============================================================  ==============
    symbol             meaning                                                       here
    =================  ============================================================  ==============
    :math:`i`          group of g consecutive frames
    :math:`Q_i, K_i`   (g, J C): a frame's joints and channels are one vector        ``project``
    :math:`d`          J C
    :math:`\Theta`     (R x 1) convolution over time, R = g                          ``theta``
    =================  ============================================================  ==============

    Where g does not divide the frames, the frames missing from the last group are masked.
    """

    def __init__(self, channels: int, group: int = 5) -> None:
        super().__init__()
        self.group = group
        self.project = nn.Linear(channels, 3 * channels)
        self.theta = nn.Conv2d(channels, channels, (group, 1), bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, features: Features) -> Features:
        query, key, value = self._groups(features)
        mixed = attend_within(query, key, value, self._missing(features))
        frames = mixed.flatten(1, 2)[:, : features.shape[1]].view(features.shape)
        return F.relu_(self._convolve_and_normalise(frames).add_(features))

    def _convolve_and_normalise(self, frames: Features) -> Features:
        if self.training:
            return self.norm(self._convolve(frames, self.theta.weight))
        weight, bias = self.norm.fold(self.theta.weight)
        return self._convolve(frames, weight).add_(bias)

    def _convolve(self, frames: Features, weight: Tensor) -> Features:
        if works_in_pieces(frames):
            return convolve_frames(frames, weight)
        before, after = (self.group - 1) // 2, self.group // 2
        padded = F.pad(frames, (0, 0, 0, 0, before, after))
        return F.conv2d(padded.permute(0, 3, 1, 2), weight).permute(0, 2, 3, 1)

    def correlations(self, features: Features) -> Float[Tensor, "clip_body group group_frame group_frame"]:
        """The correlation matrix of every group of frames."""
        query, key, _ = self._groups(features)
        return torch.softmax(_masked_scores(query, key, self._missing(features)), dim=-1)

    def _groups(self, features: Features) -> list[Tensor]:
        """Q, K and V, each (body, group, frame, vector): groups of frames whose joints and channels are one vector."""
        padding = -features.shape[1] % self.group
        biases = self.project.bias.chunk(3)
        maps = [F.linear(features, weight, bias) for weight, bias in zip(self.project.weight.chunk(3), biases, strict=True)]
        return [F.pad(each, (0, 0, 0, 0, 0, padding)).unflatten(1, (-1, self.group)).flatten(3) for each in maps]

    def _missing(self, features: Features) -> int:
        return -features.shape[1] % self.group


def attend_within(query: Tensor, key: Tensor, value: Tensor, missing: int) -> Float[Tensor, "clip_body group group_frame vector"]:
    """Attention between the frames of each group, the last ``missing`` frames of the last group masked."""
    return torch.softmax(_masked_scores(query, key, missing), dim=-1) @ value


def _masked_scores(query: Tensor, key: Tensor, missing: int) -> Float[Tensor, "clip_body group group_frame group_frame"]:
    scores = query * (1 / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if not missing:
        return scores
    groups, frames = key.shape[1:3]
    absent = torch.arange(groups * frames, device=key.device).view(groups, 1, frames) >= groups * frames - missing
    return scores.masked_fill(absent, -torch.inf)


class JointFeatures(nn.Module):
    r"""JF, joints over time (Eq. 11, Fig. 5c): each joint attends to itself in all frames.

    .. math:: out = \sigma(BN(Softmax(Q_j K_j^T / \sqrt{d}) V_j \Theta) + res)

    ===================  ============================================================  ==================
    symbol               meaning                                                       here
    ===================  ============================================================  ==================
    :math:`Q_j, K_j`     (T, C) of joint j                                             ``query``, ``memory``
    :math:`\Theta`       (r x 1) convolution, r = 1, which may stride and widen        ``theta``
    :math:`res`          identity, or a strided 1x1 convolution and BN                 ``residual``
    ===================  ============================================================  ==================

    Queries are computed only for the frames that the stride keeps, as the others are never read.
    """

    def __init__(self, channels: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        in_channels, out_channels = channels
        self.stride = stride
        self.query = nn.Linear(in_channels, in_channels)
        self.memory = nn.Linear(in_channels, 2 * in_channels)
        self.theta = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = BatchNorm(out_channels)
        same = in_channels == out_channels and stride == 1
        self.residual = nn.Identity() if same else NormedLinear(channels)

    def forward(self, features: Features) -> Mapped:
        kept = features[:, :: self.stride]
        mixed = self._mix(*self._maps(features, kept))
        return F.relu_(map_and_normalise(self.theta, self.norm, mixed).add_(self.residual(kept)))

    def _mix(self, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "clip_body kept_frame joint channel"]:
        if works_in_pieces(query):
            return attend_over_time(query, key, value)
        return attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2)

    def correlations(self, features: Features) -> Float[Tensor, "clip_body joint kept_frame frame"]:
        """The correlation matrix of every joint."""
        query, key, _ = self._maps(features, features[:, :: self.stride])
        return correlate(query.transpose(1, 2), key.transpose(1, 2))

    def _maps(self, features: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key, value = self.memory(features).chunk(2, dim=-1)
        return self.query(kept), key, value


class STFEM(nn.Module):
    r"""Spatio-temporal feature extraction (Eqs. 13-14): all joints of tau consecutive frames attend to each other.

    .. math:: out_t = \sigma(BN(Softmax([Q]_t [K]_t^T / \sqrt{d} + \beta \mathring{A}_\tau) [V]_t \Theta) + [V]_t)

    ==========================  ======================================================  ==================
    symbol                      meaning                                                 here
    ==========================  ======================================================  ==================
    :math:`[Q]_t`               (tau J, C): tokens of frames t .. t + tau - 1, zeros    ``project``, :func:`windows`
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
        self.register_buffer("graph", _bone_graph(layout, frames=window))

    def forward(self, features: Features) -> Mapped:
        query, key, value = self.project(features).split(self.widths, dim=-1)
        mapped = self.theta(value)
        if works_in_pieces(features) and not self.norm.synchronises():
            options = WindowOptions(self.window, self.stride, self.joins == "scores", self.heads, self.norm.eps)
            graph = self.weight * self.graph
            return self.collapse_norm(mix_windows(query, key, mapped, value, graph, self.norm, self.collapse.weight, options))
        return self.collapse_norm(self._mix(query, key, mapped, value))

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


def windows(features: Features, size: int, stride: int, before: int = 0) -> Float[Tensor, "clip_body window token channel"]:
    """Overlapping windows of frames as a strided view, the first of them ``before`` frames before the clip; zeros stand for the frames
    outside of it. Token = frame * joints + joint.
    """
    padded = F.pad(features, (0, 0, 0, 0, before, size - 1 - before))
    return padded.unfold(1, size, stride).permute(0, 1, 4, 2, 3).flatten(2, 3)


def _bone_graph(layout: SkeletonLayout, frames: int) -> Float[Tensor, "node node"]:
    tiled = tile_window(with_self_loops(adjacency(layout)), frames)
    return torch.from_numpy(normalise_symmetric(tiled)).to(torch.get_default_dtype())
