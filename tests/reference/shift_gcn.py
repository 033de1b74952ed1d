"""Shift-GCN (Cheng et al., CVPR 2020), to run its authors' weights: ten units of a spatial and a temporal shift, each around a linear map.

Names and shapes are those of the published weights. Features are (clip_body, channel, frame, joint).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

UNITS = ((3, 64, 1), *[(64, 64, 1)] * 3, (64, 128, 2), *[(128, 128, 1)] * 2, (128, 256, 2), *[(256, 256, 1)] * 2)
"""Channels in and out of each unit, and its stride."""
JOINTS, BODIES = 25, 2


def shifted_frames(features: Tensor, shift: Tensor, stride: int) -> Tensor:
    """Each channel moved in time by a number of its own, between frames by linear interpolation; zeros from outside the clip."""
    frames = features.shape[2]
    reach = int(shift.abs().max()) + 2
    padded = F.pad(features, (0, 0, reach, reach))
    moved = []
    for channel, places in enumerate((shift + (0.5 if stride == 2 else 0.0)).tolist()):
        first = reach + math.floor(places)
        before, after = (padded[:, channel, start : start + frames : stride] for start in (first, first + 1))
        moved.append(before.lerp(after, places - math.floor(places)))
    return torch.stack(moved, 1)


class Shift(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.xpos = nn.Parameter(torch.zeros(channels))
        self.ypos = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        return shifted_frames(features, self.ypos, self.stride)


class SpatialUnit(nn.Module):
    """Channel c of joint v comes from joint v + c, and after the linear map channel c of joint v goes back by c joints."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.Linear_weight = nn.Parameter(torch.zeros(channels, out))
        self.Linear_bias = nn.Parameter(torch.zeros(1, 1, out))
        self.Feature_Mask = nn.Parameter(torch.zeros(1, JOINTS, channels))
        self.register_buffer("shift_in", torch.zeros(JOINTS * channels, dtype=torch.long))
        self.register_buffer("shift_out", torch.zeros(JOINTS * out, dtype=torch.long))
        self.bn = nn.BatchNorm1d(JOINTS * out)
        self.down = nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out)) if channels != out else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        clips, channels, frames, joints = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(clips * frames, joints * channels)
        rows = shifted_joints(rows, channels, 1).view(-1, joints, channels) * (self.Feature_Mask.tanh() + 1)
        rows = (rows @ self.Linear_weight + self.Linear_bias).flatten(1)
        rows = self.bn(shifted_joints(rows, self.bn.num_features // joints, -1))
        return F.relu(rows.view(clips, frames, joints, -1).permute(0, 3, 1, 2) + self.down(features))


def shifted_joints(rows: Tensor, channels: int, direction: int) -> Tensor:
    joint, channel = torch.arange(JOINTS)[:, None], torch.arange(channels)
    return rows.index_select(1, (((joint + direction * channel) % JOINTS) * channels + channel).flatten())


class TemporalUnit(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shift_in = Shift(channels, 1)
        self.shift_out = Shift(channels, stride)
        self.temporal_linear = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn2(self.shift_out(F.relu(self.temporal_linear(self.shift_in(self.bn(features))))))


class Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1, (stride, 1))
        self.bn = nn.BatchNorm2d(out)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn(self.conv(features))


class Unit(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = channels == 3
        self.gcn1 = SpatialUnit(channels, out)
        self.tcn1 = TemporalUnit(out, stride)
        self.residual = nn.Identity() if channels == out or self.first else Residual(channels, out, stride)

    def forward(self, features: Tensor) -> Tensor:
        mapped = self.tcn1(self.gcn1(features))
        return F.relu(mapped if self.first else mapped + self.residual(features))


class ShiftGCN(nn.Module):
    """From joints (clip, body, frame, joint, coord) to logits."""

    def __init__(self, num_classes: int = 60) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(BODIES * JOINTS * 3)
        for number, unit in enumerate(UNITS, start=1):
            self.add_module(f"l{number}", Unit(*unit))
        self.fc = nn.Linear(UNITS[-1][1], num_classes)

    def forward(self, joints: Tensor) -> Tensor:
        clips, bodies, frames, _, _ = joints.shape
        rows = self.data_bn(joints.permute(0, 1, 3, 4, 2).flatten(1, 3))
        features = rows.view(clips * bodies, JOINTS, 3, frames).permute(0, 2, 3, 1)
        for number in range(1, len(UNITS) + 1):
            features = self.get_submodule(f"l{number}")(features)
        return self.fc(features.mean((2, 3)).view(clips, bodies, -1).mean(1))
