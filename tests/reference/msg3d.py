"""MS-G3D in the form it was published in: tensors of (clip body, channel, frame, joint), one module a branch, windows unfolded.

Written from the description of the network, to be compared with; it is slow, and its tensors have the official names.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def scales_of(matrix: np.ndarray, count: int) -> Tensor:
    """(count * node, node): for each k, nodes k steps apart by powers of A + I, and the node itself, D^-1/2 A D^-1/2."""
    nodes = len(matrix)
    one = np.eye(nodes)
    found = []
    for k in range(count):
        near = [np.minimum(np.linalg.matrix_power((matrix + one).clip(max=1), power), 1) for power in (k, k - 1)] if k else [one, one * 0]
        scale = near[0] - near[1] + (one if k else 0)
        degree = scale.sum(1) ** -0.5
        found.append(degree[:, None] * scale * degree[None])
    return torch.from_numpy(np.concatenate(found))


class Mlp(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return F.relu(x)


class MultiScaleGraph(nn.Module):
    """Both MS-GCN and the graph part of G3D."""

    def __init__(self, matrix: np.ndarray, count: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.count = count
        self.powers = scales_of(matrix, count)
        self.A_res = nn.Parameter(torch.empty(self.powers.shape).uniform_(-1e-6, 1e-6))
        self.mlp = Mlp(count * in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        clips, channels, frames, nodes = x.shape
        support = torch.einsum("vu,nctu->nctv", self.powers.to(x) + self.A_res, x)
        support = support.view(clips, channels, frames, self.count, nodes).permute(0, 3, 1, 2, 4)
        return self.mlp(support.reshape(clips, self.count * channels, frames, nodes))


class Unfold(nn.Module):
    def __init__(self, window: int, stride: int) -> None:
        super().__init__()
        self.window = window
        self.unfold = nn.Unfold((window, 1), stride=(stride, 1), padding=((window - 1) // 2, 0))

    def forward(self, x: Tensor) -> Tensor:
        clips, channels, _, joints = x.shape
        x = self.unfold(x).view(clips, channels, self.window, -1, joints)
        return x.permute(0, 1, 3, 2, 4).reshape(clips, channels, -1, self.window * joints)


class Window(nn.Module):
    def __init__(self, adjacency: np.ndarray, count: int, in_channels: int, out_channels: int, window: int, stride: int) -> None:
        super().__init__()
        self.window = window
        inner = out_channels if in_channels == 3 else in_channels
        large = np.tile(adjacency + np.eye(len(adjacency)), (window, window))
        self.gcn3d = nn.Sequential(Unfold(window, stride), MultiScaleGraph(large, count, in_channels, inner))
        self.out_conv = nn.Conv3d(inner, out_channels, (1, window, 1))
        self.out_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gcn3d(x)
        clips, channels, frames, _ = x.shape
        return self.out_bn(self.out_conv(x.view(clips, channels, frames, self.window, -1)).squeeze(3))


class MultiWindow(nn.Module):
    def __init__(self, adjacency: np.ndarray, count: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.gcn3d = nn.ModuleList(Window(adjacency, count, in_channels, out_channels, window, stride) for window in (3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gcn3d[0](x) + self.gcn3d[1](x)


class ConvNorm(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, (size, 1), stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class MultiScaleTime(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        part = out_channels // 6
        self.activate = activate
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, part, 1), nn.BatchNorm2d(part), nn.ReLU(), ConvNorm(part, part, 3, stride, dilation))
            for dilation in (1, 2, 3, 4)
        )
        pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        self.branches.append(nn.Sequential(nn.Conv2d(in_channels, part, 1), nn.BatchNorm2d(part), nn.ReLU(), pool, nn.BatchNorm2d(part)))
        self.branches.append(nn.Sequential(nn.Conv2d(in_channels, part, 1, stride=(stride, 1)), nn.BatchNorm2d(part)))
        same = in_channels == out_channels and stride == 1
        self.residual = nn.Identity() if same else ConvNorm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        output = torch.cat([branch(x) for branch in self.branches], dim=1) + self.residual(x)
        return F.relu(output) if self.activate else output


class PublishedMSG3D(nn.Module):
    """The whole network; joints are (clip, coordinate, frame, joint, body)."""

    def __init__(self, adjacency: np.ndarray, classes: int, bodies: int, scales: tuple[int, int], width: int = 96) -> None:
        super().__init__()
        joints = len(adjacency)
        self.data_bn = nn.BatchNorm1d(bodies * 3 * joints)
        sizes = [3, width, 2 * width, 4 * width]
        for block, (in_channels, out_channels) in enumerate(pairwise(sizes), start=1):
            stride = 1 if block == 1 else 2
            middle = width if block == 1 else in_channels
            spatial = nn.Sequential(
                MultiScaleGraph(adjacency, scales[0], in_channels, middle),
                MultiScaleTime(middle, out_channels, stride),
                MultiScaleTime(out_channels, out_channels, activate=False),
            )
            self.add_module(f"sgcn{block}", spatial)
            self.add_module(f"gcn3d{block}", MultiWindow(adjacency, scales[1], in_channels, out_channels, stride))
            self.add_module(f"tcn{block}", MultiScaleTime(out_channels, out_channels))
        self.fc = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        clips, coords, frames, joints, bodies = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(clips, bodies * joints * coords, frames))
        x = x.view(clips * bodies, joints, coords, frames).permute(0, 2, 3, 1).contiguous()
        for block in (1, 2, 3):
            parts = [self.get_submodule(f"{name}{block}") for name in ("sgcn", "gcn3d", "tcn")]
            x = parts[2](F.relu(parts[0](x) + parts[1](x)))
        return self.fc(x.mean((2, 3)).view(clips, bodies, -1).mean(1))
