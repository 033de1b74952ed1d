"""MS-TCN, the multi-scale temporal convolution of MS-G3D, on features whose channels are the last axis."""

import torch
from torch import nn
from torch.nn import functional as F

from amanet.errors import ExperimentError
from amanet.model.attention import Features, Mapped, kept_frames
from amanet.model.linear import linear
from amanet.model.normalisation import BatchNorm, NormedLinear, map_and_normalise

DILATIONS = (1, 2, 3, 4)
BRANCHES = len(DILATIONS) + 2


class MSTCN(nn.Module):
    """Six branches over time, each a sixth of the channels: four dilated (3 x 1) convolutions, a max pool, a 1x1 convolution.

    ``y = sigma(Concat(branches) + residual)``, every branch ending in BN. The 1x1 convolutions that enter the first five branches are
    one matrix product (``enter``), and their BNs one BN over all channels, as BN treats every channel by itself.

    Args:
        channels: (in, out); out is a multiple of six.
        stride: frames from one output frame to the next.
        activate: whether the last ReLU is there.
    """

    def __init__(self, channels: tuple[int, int], stride: int = 1, *, activate: bool = True) -> None:
        super().__init__()
        in_channels, out_channels = channels
        if out_channels % BRANCHES:
            raise ExperimentError(
                "MS-TCN cuts its channels into six branches", expected="a width that is a multiple of 6", got=out_channels
            )
        branch = out_channels // BRANCHES
        self.stride = stride
        self.activate = activate
        self.enter = nn.Linear(in_channels, (BRANCHES - 1) * branch)
        self.enter_norm = BatchNorm((BRANCHES - 1) * branch)
        self.dilated = nn.ModuleList(
            nn.Conv2d(branch, branch, (3, 1), stride=(stride, 1), padding=(dilation, 0), dilation=(dilation, 1)) for dilation in DILATIONS
        )
        self.skip = nn.Linear(in_channels, branch)
        self.leave_norm = BatchNorm(out_channels)
        same = in_channels == out_channels and stride == 1
        self.residual = nn.Identity() if same else NormedLinear(channels, bias=True)

    def forward(self, features: Features) -> Mapped:
        kept = kept_frames(features, self.stride)
        entered = map_and_normalise(self.enter.weight, self.enter.bias, self.enter_norm, features, activates=True).permute(0, 3, 1, 2)
        *parts, pooled = entered.chunk(BRANCHES - 1, dim=1)
        convolutions = [conv for conv in self.dilated if isinstance(conv, nn.Conv2d)]
        branches = [
            F.conv2d(part, conv.weight, None, conv.stride, conv.padding, conv.dilation)
            for conv, part in zip(convolutions, parts, strict=True)
        ]
        branches.append(F.max_pool2d(pooled, (3, 1), stride=(self.stride, 1), padding=(1, 0)))
        joined = torch.cat([*(each.permute(0, 2, 3, 1) for each in branches), linear(kept, self.skip.weight)], dim=-1)
        biases = torch.cat(
            [*(conv.bias for conv in convolutions if conv.bias is not None), torch.zeros_like(self.skip.bias), self.skip.bias]
        )
        return self.leave_norm(joined, self.residual(kept), activates=self.activate, missing=biases)
