"""Graph convolutions of MS-G3D (Liu et al., CVPR 2020), the network that AMANet is built in: MS-GCN within frames, G3D over windows.

Features are (clip_body, frame, joint, channel), as in :mod:`amanet.model.attention`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from amanet.model.attention import Features, Mapped
from amanet.model.linear import linear
from amanet.model.normalisation import BatchNorm
from amanet.model.windows import windows
from amanet.skeleton import SkeletonLayout
from amanet.skeleton.graph import adjacency, k_adjacency, normalise_symmetric, tile_window, with_self_loops

RESIDUAL = 1e-6
"""Bound of the uniform distribution that the learned part of the graph starts from."""


class GraphConv(nn.Module):
    r"""Graph convolution over several scales, each of them nodes that are exactly k bones apart, and the node itself.

    .. math:: out_i = \sum_k \sum_j (\mathring{A}_k + R_k)_{ij} \, x_j \, \Theta_k + b

    =======================  ====================================================================  ====================
    symbol                   meaning                                                               here
    =======================  ====================================================================  ====================
    :math:`x_j`              node j: a joint of a frame, or of one of the frames of a window        :func:`windows`
    :math:`\mathring{A}_k`   D^-1/2 A_k D^-1/2, A_k 1 where i and j are k bones apart, and for i=j  ``graph``
    :math:`R_k`              learned, in (-1e-6, 1e-6) at first                                     ``residual``
    :math:`\Theta_k, b`      linear map of channels                                                 ``theta``
    =======================  ====================================================================  ====================

    In a window every joint is one bone away from itself and from its neighbours in all other frames. A window is centred on its frame, and
    zeros stand for the frames outside the clip.

    Args:
        layout: the skeleton.
        channels: (in, out).
        scales: the k.
        window: frames of a window.
        stride: frames from one window to the next.
    """

    graph: Tensor

    def __init__(self, layout: SkeletonLayout, channels: tuple[int, int], scales: Sequence[int], window: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.window = window
        self.stride = stride
        bones = adjacency(layout) if window == 1 else tile_window(with_self_loops(adjacency(layout)), window)
        graph = np.stack([normalise_symmetric(k_adjacency(bones, hops)) for hops in scales])
        self.register_buffer("graph", torch.from_numpy(graph).to(torch.get_default_dtype()))
        self.residual = nn.Parameter(torch.empty(graph.shape).uniform_(-RESIDUAL, RESIDUAL))
        self.theta = nn.Linear(len(scales) * channels[0], channels[1])

    def forward(self, features: Features) -> Float[Tensor, "clip_body window token mapped_channel"]:
        """Nodes of every window; token = frame of the window * joints + joint."""
        in_channels, out_channels = self.channels
        graph = self.graph + self.residual
        scales = len(graph)
        if in_channels < out_channels:  # the smaller features go through the graph
            mixed = mix_nodes(graph.transpose(0, 1).flatten(0, 1), self._windows(features))
            return linear(mixed.unflatten(2, (-1, scales)).flatten(3), self.theta.weight, self.theta.bias)
        # Theta acts on a frame once, however many windows it is in.
        by_scale = self.theta.weight.unflatten(1, (scales, in_channels)).transpose(0, 1).flatten(0, 1)
        tokens = self._windows(linear(features, by_scale))
        mixed = mix_nodes(graph.permute(1, 2, 0).flatten(1), tokens.unflatten(3, (scales, -1)).flatten(2, 3))
        return mixed + self.theta.bias

    def _windows(self, features: Tensor) -> Float[Tensor, "clip_body window token channel"]:
        return windows(features, self.window, self.stride, before=(self.window - 1) // 2)


class MSGCN(nn.Module):
    r"""MS-GCN: a graph convolution over several scales within each frame, ``sigma(BN(GraphConv(x)))``; of one scale, it is a plain GCN.

    Args:
        layout: the skeleton.
        channels: (in, out).
        scales: distances k, 0 to 12 in MS-G3D for NTU RGB+D.
    """

    def __init__(self, layout: SkeletonLayout, channels: tuple[int, int], scales: Sequence[int]) -> None:
        super().__init__()
        self.conv = GraphConv(layout, channels, scales)
        self.norm = BatchNorm(channels[1])

    def forward(self, features: Features) -> Mapped:
        return self.norm(self.conv(features), activates=True)


class G3D(nn.Module):
    r"""G3D: a graph convolution over all joints of a window of frames, which a (tau x 1) convolution then collapses to one frame.

    .. math:: out_t = BN(Conv_{\tau \times 1}(\sigma(BN(GraphConv([x]_t)))))

    Args:
        layout: the skeleton.
        channels: (in, of the graph convolution, out).
        scales: distances k, 0 to 5 in MS-G3D for NTU RGB+D.
        window: tau.
        stride: frames from one window to the next.
    """

    def __init__(self, layout: SkeletonLayout, channels: tuple[int, int, int], scales: Sequence[int], window: int, stride: int = 1) -> None:
        super().__init__()
        in_channels, inner_channels, out_channels = channels
        self.window = window
        self.conv = GraphConv(layout, (in_channels, inner_channels), scales, window, stride)
        self.norm = BatchNorm(inner_channels)
        self.collapse = nn.Conv2d(inner_channels, out_channels, (window, 1), stride=(window, 1))
        self.collapse_norm = BatchNorm(out_channels)

    def forward(self, features: Features, residual: Mapped | None = None, *, activates: bool = False) -> Mapped:
        """What the windows collapse to, plus a residual, through a ReLU if it ``activates``."""
        tokens = self.norm(self.conv(features), activates=True)
        image = tokens.unflatten(2, (self.window, -1)).flatten(1, 2).permute(0, 3, 1, 2)
        return self.collapse_norm(self.collapse(image).permute(0, 2, 3, 1), residual, activates=activates)


def mix_nodes(
    graph: Float[Tensor, "node source"], features: Float[Tensor, "clip_body window source channel"]
) -> Float[Tensor, "clip_body window node channel"]:
    """``graph @ features`` in every window, without the copies that one large product needs (1.5 to 2 times as fast on a CPU)."""
    if torch.is_autocast_enabled(features.device.type):
        kind = torch.get_autocast_dtype(features.device.type)
        graph, features = graph.to(kind), features.to(kind)
    mixed: Tensor = _MixNodes.apply(graph, features.flatten(0, 1))  # pyright: ignore[reportAssignmentType]
    return mixed.unflatten(0, features.shape[:2])


class _MixNodes(torch.autograd.Function):
    """One matrix times each of a batch. Autograd's own gradient of the matrix would hold one copy of it for every window."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(graph, features)
        return torch.bmm(graph.expand(len(features), -1, -1), features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        graph, features = ctx.saved_tensors
        (gradient,) = gradients
        of_graph = of_features = None
        if ctx.needs_input_grad[0]:
            # addbmm sums where it stands; it is one small product after another on a GPU, and rounds every sum in half precision.
            if gradient.device.type == "cpu" and gradient.dtype in (torch.float32, torch.float64):
                of_graph = torch.addbmm(graph.new_zeros(graph.shape), gradient, features.transpose(1, 2), beta=0)
            else:
                of_graph = torch.einsum("bnc,bsc->ns", gradient, features)
        if ctx.needs_input_grad[1]:
            of_features = torch.bmm(graph.t().expand(len(features), -1, -1), gradient)
        return of_graph, of_features
