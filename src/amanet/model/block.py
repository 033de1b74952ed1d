"""One block with three slots, spatial, temporal and spatio-temporal; AMANet and everything it is compared with are made of it (Fig. 6)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model.attention import Features, GraphJoins, Mapped
from amanet.model.graph_conv import G3D, MSGCN
from amanet.model.sfem import SFEM
from amanet.model.stfem import STFEM
from amanet.model.temporal_conv import MSTCN
from amanet.model.tfem import FrameFeatures, JointFeatures
from amanet.skeleton import SkeletonLayout

SpatialChoice = Literal["sfem", "gcn", "ms_gcn", "sfem+ms_gcn"]
TemporalChoice = Literal["tfem", "jf+ms_tcn", "ff+ms_tcn", "ms_tcn+ms_tcn"]
SpatioTemporalChoice = Literal["stfem", "g3d", "ms_g3d", "stfem+ms_g3d", "none"]
OrderChoice = Literal["spatial-first", "temporal-first"]

BONES = (1,)
"""The scales of a plain graph convolution: direct neighbours, and the node itself."""


@dataclass(frozen=True)
class BlockConfig:
    """The parts of a block and their hyper-parameters.

    Attributes:
        spatial: spatial slot; ``gcn`` has the bones alone as its graph, ``sfem+ms_gcn`` puts SFEM in front of MS-GCN (Table 4).
        temporal: temporal slot; ``tfem`` is FF, JF and MS-TCN in series (Table 5).
        spatio_temporal: spatio-temporal slot; ``g3d`` has the tiled bones alone as its graph, ``stfem+ms_g3d`` puts STFEM in front of
            MS-G3D (Table 6).
        order: whether the spatial or the temporal slot comes first (Table 9).
        alpha: weight of the bone graph in SFEM (Tables 3-4).
        beta: weight of the tiled bone graph in STFEM (Tables 6-7).
        graph_joins: where SFEM and STFEM add the weighted graph: to the ``scores``, inside the softmax, as Eqs. 10 and 14 say; or to the
            ``correlations``, after it, as their text and Fig. 4 can be read.
        learn_weights: train alpha and beta instead of fixing them.
        heads: attention heads of SFEM and STFEM, which must divide the channels of a stream; the paper names none, so one.
        group: frames of a group of FF, g, and length of its convolution, R (Table 5).
        windows: frames of the windows of STFEM and G3D, tau; their outputs are summed.
        spatial_scales: distances, from 0, of MS-GCN; MS-G3D has 13 for NTU RGB+D and 8 for Kinetics-Skeleton.
        window_scales: distances, from 0, of MS-G3D; it has 6 for NTU RGB+D and 8 for Kinetics-Skeleton.
        tail: end the block with one MS-TCN, as MS-G3D's blocks do.
        residual_gain: first weight of the BN that stands before the residual in SFEM, FF, JF and STFEM; at 0 a training begins with the
            residual alone, and each module grows in as it is learned.
    """

    spatial: SpatialChoice = "sfem"
    temporal: TemporalChoice = "tfem"
    spatio_temporal: SpatioTemporalChoice = "stfem"
    order: OrderChoice = "spatial-first"
    alpha: float = 0.8
    beta: float = 0.8
    graph_joins: GraphJoins = "scores"
    learn_weights: bool = False
    heads: int = 1
    group: int = 5
    windows: tuple[int, ...] = (3, 5)
    spatial_scales: int = 13
    window_scales: int = 6
    tail: bool = True
    residual_gain: float = 0.0


class AttentionOptions(TypedDict):
    """What SFEM and STFEM have in common."""

    learn_weight: bool
    heads: int
    joins: GraphJoins


@dataclass
class Correlations:
    """The correlation matrices of one block; empty where a slot holds no attention.

    Attributes:
        spatial: SFEM, joints of each frame, softmax over the last axis.
        frames: FF, frames of each group.
        joint_frames: JF, frames of each joint.
        windows: STFEM, tokens of each window, by window length.
    """

    spatial: Float[Tensor, "clip_body group joint joint"] | None = None
    frames: Float[Tensor, "clip_body group group_frame group_frame"] | None = None
    joint_frames: Float[Tensor, "clip_body joint kept_frame frame"] | None = None
    windows: dict[int, Float[Tensor, "clip_body group token token"]] = field(default_factory=dict)


class Block(nn.Module):
    """y = ReLU(temporal(spatial(x)) + sum of spatio-temporal(x)), then one MS-TCN.

    Args:
        config: what fills the slots.
        layout: the skeleton.
        channels: (in, after the spatial slot, out).
        stride: frames from one output frame to the next.
        widen_windows: let V of STFEM widen to the block's channels, as block one does; elsewhere V keeps the input's.
    """

    def __init__(
        self, config: BlockConfig, layout: SkeletonLayout, channels: tuple[int, int, int], stride: int, *, widen_windows: bool
    ) -> None:
        super().__init__()
        in_channels, middle, out_channels = channels
        spatial_first = config.order == "spatial-first"
        spatial_channels = (in_channels, middle) if spatial_first else (out_channels, out_channels)
        temporal_channels = (middle if spatial_first else in_channels, out_channels)
        spatial = _spatial_slot(config, layout, spatial_channels)
        temporal = _temporal_slot(config, temporal_channels, stride)
        self.path = nn.Sequential(OrderedDict({**spatial, **temporal} if spatial_first else {**temporal, **spatial}))
        inner = out_channels if widen_windows else in_channels
        self.windows = _spatio_temporal_slot(config, layout, (in_channels, inner, out_channels), stride)
        self.tail = MSTCN((out_channels, out_channels)) if config.tail else nn.Identity()
        for module in self.modules():
            if isinstance(module, SFEM | FrameFeatures | JointFeatures | STFEM):
                nn.init.constant_(module.norm.weight, config.residual_gain)

    def forward(self, features: Features) -> Mapped:
        return self._join(features, self.path(features))

    def _join(self, features: Features, output: Mapped) -> Mapped:
        """What the windows of the features add to what the path gave, and the tail."""
        if not self.windows:
            return self.tail(F.relu(output))  # not in place, as a hook may hold what the path gave
        *front, windows = self.windows
        for module in front:
            features = module(features)
        return self.tail(windows(features, output, activates=True))

    def explain(self, features: Features, graph_weight: float | None = None) -> tuple[Mapped, Correlations]:
        """The block's output and the correlation matrices on the way to it, in which ``graph_weight`` stands in for alpha and beta."""
        found = Correlations()
        path = features
        for module in self.path:
            if isinstance(module, SFEM):
                found.spatial = module.correlations(path, graph_weight)
            elif isinstance(module, FrameFeatures):
                found.frames = module.correlations(path)
            elif isinstance(module, JointFeatures):
                found.joint_frames = module.correlations(path)
            path = module(path)
        for window in self.windows.modules():
            if isinstance(window, STFEM):  # where there is one, it is the first to see the features
                found.windows[window.window] = window.correlations(features, graph_weight)
        return self._join(features, path), found


class WindowSum(nn.ModuleList):
    """Modules over windows of several lengths, each of which adds its output to what is there."""

    def forward(self, features: Features, residual: Mapped | None = None, *, activates: bool = False) -> Mapped:
        *others, last = self
        for module in others:
            residual = module(features, residual)
        return last(features, residual, activates=activates)


def _spatial_slot(config: BlockConfig, layout: SkeletonLayout, channels: tuple[int, int]) -> dict[str, nn.Module]:
    """The parts of the spatial slot in call order; SFEM in front of MS-GCN keeps the channels."""
    in_channels, _ = channels

    def sfem(channels: tuple[int, int]) -> nn.Module:
        return SFEM(layout, channels, config.alpha, **_attention(config))

    match config.spatial:
        case "sfem":
            return {"sfem": sfem(channels)}
        case "gcn":
            return {"gcn": MSGCN(layout, channels, BONES)}
        case "ms_gcn":
            return {"ms_gcn": MSGCN(layout, channels, range(config.spatial_scales))}
        case "sfem+ms_gcn":
            return {"sfem": sfem((in_channels, in_channels)), "ms_gcn": MSGCN(layout, channels, range(config.spatial_scales))}


def _attention(config: BlockConfig) -> AttentionOptions:
    return {"learn_weight": config.learn_weights, "heads": config.heads, "joins": config.graph_joins}


def _spatio_temporal_slot(config: BlockConfig, layout: SkeletonLayout, channels: tuple[int, int, int], stride: int) -> nn.Sequential:
    """The parts of the spatio-temporal slot in call order; STFEM in front of MS-G3D keeps the channels and the frames."""
    in_channels, _, _ = channels

    def stfem(channels: tuple[int, int, int], stride: int) -> WindowSum:
        return WindowSum(STFEM(layout, channels, window, stride, config.beta, **_attention(config)) for window in config.windows)

    def g3d(scales: Sequence[int]) -> WindowSum:
        return WindowSum(G3D(layout, channels, scales, window, stride) for window in config.windows)

    match config.spatio_temporal:
        case "stfem":
            parts = {"stfem": stfem(channels, stride)}
        case "g3d":
            parts = {"g3d": g3d(BONES)}
        case "ms_g3d":
            parts = {"ms_g3d": g3d(range(config.window_scales))}
        case "stfem+ms_g3d":
            front = stfem((in_channels, in_channels, in_channels), stride=1)
            parts = {"stfem": front, "relu": nn.ReLU(), "ms_g3d": g3d(range(config.window_scales))}
        case "none":
            parts = {}
    return nn.Sequential(OrderedDict(parts))


def _temporal_slot(config: BlockConfig, channels: tuple[int, int], stride: int) -> dict[str, nn.Module]:
    """The parts of the temporal slot in call order; the one that widens also strides, and the last one ends without its ReLU."""
    in_channels, out_channels = channels
    same = (out_channels, out_channels)
    match config.temporal:
        case "tfem":
            return {
                "ff": FrameFeatures(in_channels, config.group),
                "jf": JointFeatures(channels, stride),
                "ms_tcn": MSTCN(same, activate=False),
            }
        case "jf+ms_tcn":
            return {"jf": JointFeatures(channels, stride), "ms_tcn": MSTCN(same, activate=False)}
        case "ff+ms_tcn":
            return {"ff": FrameFeatures(in_channels, config.group), "ms_tcn": MSTCN(channels, stride, activate=False)}
        case "ms_tcn+ms_tcn":
            return {"ms_tcn_1": MSTCN(channels, stride), "ms_tcn_2": MSTCN(same, activate=False)}
