"""FF and JF, which with MS-TCN make TFEM: frames attend to each other as wholes, and joint by joint."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model.attention import (
    Features,
    Map,
    Mapped,
    attend,
    correlate,
    kept_frames,
    query_features,
    runs_kernels,
    split_map,
    works_in_pieces,
)
from amanet.model.frame_convolution import convolve_frames
from amanet.model.linear import linear
from amanet.model.normalisation import BatchNorm, NormedLinear, map_and_normalise
from amanet.model.normed_sum import finish
from amanet.model.piecewise import attend_over_time, evaluate_over_time


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

    The last linear map of an attention and the first of a convolution are one, as are Q's and K's (:func:`query_features`), so that the
    features themselves are keys and values. Where g does not divide the frames, the frames missing from the last group are masked.
    """

    def __init__(self, channels: int, group: int = 5) -> None:
        super().__init__()
        self.group = group
        self.project = nn.Linear(channels, 3 * channels)
        self.theta = nn.Conv2d(channels, channels, (group, 1), bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, features: Features) -> Features:
        mixed, bias = self._mix(features), self._bias()
        if self.norm.folds(features):
            theta, shift = self.norm.fold(self.theta.weight, bias)
            return finish(self._convolve(mixed, theta), features, activates=True, shift=shift)
        return self.norm(self._convolve(mixed, self.theta.weight), features, activates=True, missing=bias)

    def _mix(self, features: Features) -> Features:
        if runs_kernels(features) and features.dtype != torch.float64:
            from amanet.model import group_kernels

            query = self._query(features)
            return group_kernels.mix_groups(query, features.to(query.dtype), self.group)
        query, key = self._groups(features)
        groups = correlate_within(query, key, self._missing(features)) @ key
        return groups.flatten(1, 2)[:, : features.shape[1]].view(features.shape)

    def _convolve(self, mixed: Features, theta: Tensor) -> Features:
        """Theta of values that are mixed as features, without what their bias gives to a frame that all taps reach.

        (P (x W + b)) Theta = (P x) (W Theta) + b Theta, as the rows of P sum to one.
        """
        _, _, (weight, bias) = self._maps()
        taps = theta[..., 0].permute(2, 1, 0)
        convolved = self._convolve_features(mixed, weight.t() @ taps)
        frames, outside = taps_outside(mixed.shape[1], self.group, taps)
        lacking = (outside @ (bias @ taps))[:, None].expand(convolved.shape[0], -1, convolved.shape[2], -1)
        return convolved.index_add_(1, frames, lacking.to(convolved.dtype), alpha=-1)

    def _bias(self) -> Float[Tensor, " channel"]:
        """What the bias of the values gives to a frame that all taps of Theta reach."""
        _, _, (_, bias) = self._maps()
        return self.theta.weight.sum((2, 3)) @ bias

    def _convolve_features(self, mixed: Features, taps: Float[Tensor, "tap channel out"]) -> Features:
        if works_in_pieces(mixed):
            return convolve_frames(mixed, taps)
        before, after = (self.group - 1) // 2, self.group // 2
        padded = F.pad(mixed, (0, 0, 0, 0, before, after))
        return F.conv2d(padded.permute(0, 3, 1, 2), taps.permute(2, 1, 0)[..., None]).permute(0, 2, 3, 1)

    def correlations(self, features: Features) -> Float[Tensor, "clip_body group group_frame group_frame"]:
        """The correlation matrix of every group of frames."""
        return correlate_within(*self._groups(features), self._missing(features))

    def _maps(self) -> list[Map]:
        return split_map(self.project, [self.project.in_features] * 3)

    def _groups(self, features: Features) -> tuple[Tensor, Tensor]:
        """Queries, and the features as their keys, each (body, group, frame, vector): frames whose joints and channels are one vector."""
        query = self._query(features)
        return self._cut(query), self._cut(features.to(query.dtype))

    def _query(self, features: Features) -> Features:
        query, key, _ = self._maps()
        return linear(features, *query_features(query, key))

    def _cut(self, frames: Features) -> Float[Tensor, "clip_body group group_frame vector"]:
        missing = self._missing(frames)
        whole = F.pad(frames, (0, 0, 0, 0, 0, missing)) if missing else frames
        return whole.unflatten(1, (-1, self.group)).flatten(3)

    def _missing(self, features: Features) -> int:
        return -features.shape[1] % self.group


def taps_outside(frames: int, taps: int, like: Tensor) -> tuple[Int[Tensor, " edge_frame"], Float[Tensor, "edge_frame tap"]]:
    """The frames at both ends that some tap of a convolution that keeps the frames does not reach, and a one for each such tap."""
    before, after = min((taps - 1) // 2, frames), taps // 2
    ends = torch.arange(before, device=like.device), torch.arange(max(before, frames - after), frames, device=like.device)
    edges = torch.cat(ends)
    seen = edges[:, None] + torch.arange(taps, device=like.device) - (taps - 1) // 2
    return edges, ((seen < 0) | (seen >= frames)).to(like.dtype)


def correlate_within(query: Tensor, key: Tensor, missing: int) -> Float[Tensor, "clip_body group group_frame group_frame"]:
    """Correlations of the frames of each group, the last ``missing`` frames of the last group masked."""
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]))
    if missing:
        groups, frames = key.shape[1:3]
        absent = torch.arange(groups * frames, device=key.device).view(groups, 1, frames) >= groups * frames - missing
        scores = scores.masked_fill(absent, -torch.inf)
    return torch.softmax(scores, dim=-1)


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

    The features themselves are keys and values, as in FF. Queries are computed only for the frames that the stride keeps, as the others
    are never read.
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
        folds = self.norm.folds(features) and (not isinstance(self.residual, NormedLinear) or self.residual.folds(features))
        if folds and works_in_pieces(features) and not torch.is_grad_enabled():
            return self._evaluate(features)
        kept = kept_frames(features, self.stride).contiguous()
        query = self._query(kept)
        mixed = self._mix(query, features.to(query.dtype))
        return map_and_normalise(*self._map_of_mixed(), self.norm, mixed, self.residual(kept), activates=True)

    def _evaluate(self, features: Features) -> Mapped:
        query, key, _ = self._maps()
        theta, shift = self.norm.fold(*self._map_of_mixed())
        residual = None
        if isinstance(self.residual, NormedLinear):
            residual, shift_of_residual = self.residual.folded()
            shift = shift + shift_of_residual
        return evaluate_over_time(features, self.stride, query_features(query, key), (theta, shift), residual)

    def _mix(self, query: Tensor, features: Tensor) -> Float[Tensor, "clip_body kept_frame joint channel"]:
        if works_in_pieces(query):
            return attend_over_time(query, features)
        by_joint = features.transpose(1, 2)
        return attend(query.transpose(1, 2), by_joint, by_joint).transpose(1, 2)

    def _map_of_mixed(self) -> Map:
        """Theta of values that are mixed as features: (P (x W + b)) Theta = (P x) (W Theta) + b Theta, as the rows of P sum to one."""
        _, _, (weight, bias) = self._maps()
        return self.theta.weight @ weight, self.theta.weight @ bias

    def correlations(self, features: Features) -> Float[Tensor, "clip_body joint kept_frame frame"]:
        """The correlation matrix of every joint."""
        query = self._query(kept_frames(features, self.stride))
        return correlate(query.transpose(1, 2), features.to(query.dtype).transpose(1, 2))

    def _query(self, kept: Features) -> Features:
        query, key, _ = self._maps()
        return linear(kept, *query_features(query, key))

    def _maps(self) -> list[Map]:
        channels = self.query.in_features
        return [(self.query.weight, self.query.bias), *split_map(self.memory, [channels, channels])]
