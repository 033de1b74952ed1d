"""AMANet: DP, three blocks, mean over frames and joints, mean over bodies, one linear layer (Fig. 6)."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amanet.errors import ClipError, ExperimentError
from amanet.model import side_by_side
from amanet.model.attention import Features, Mapped
from amanet.model.block import Block, BlockConfig, Correlations
from amanet.model.normalisation import BatchNorm, ComputingAgain, DataNorm, counting_copies
from amanet.model.normed_sum import sweeps_over
from amanet.model.preprocessing import DP, AlienChoice, DPChoice
from amanet.model.shared_bodies import SharedBodies, all_bodies, share_absent
from amanet.model.tracing import is_traced
from amanet.skeleton import SkeletonLayout, Stream, derive_stream, stream_layout

BLOCKS = 3

MOST_WIDTH, MOST_WINDOWS, MOST_FRAMES, MOST_SCALES = 6 * 1024, 16, 100, 100
"""Far beyond what anybody trained: a file that asks for more was not written by a training."""

FEWEST_SHARED = 128
"""Bodies of a batch below which a GPU waits for its kernels to be started, however many bodies there are."""


@dataclass(frozen=True)
class NetworkConfig:
    """A network; the defaults are AMANet, with what the paper leaves open decided as ``docs/paper.md`` says.

    Attributes:
        dp: groups that DP derives from the joints (Table 2).
        dp_streams: the streams that DP is on in; "it only appears in an original data stream" (Fig. 6).
        alien: how the alien relative coordinates are read; see :class:`~amanet.model.preprocessing.AlienCoordinates`.
        alien_scale: s of the alien relative coordinates (Fig. 7).
        block: what the three blocks are made of.
        width: channels of the first block, a multiple of 6; the others have two and four times as many. 96 as in MS-G3D.
        body_mean: the mean over bodies takes ``all`` of them, as in MS-G3D, or only those ``present`` in the clip.
        dropout: probability before the last layer; the paper names none.
    """

    dp: DPChoice = "vel+acc+alien"
    dp_streams: tuple[Stream, ...] = ("joint",)
    alien: AlienChoice = "frame"
    alien_scale: float = 1.2
    block: BlockConfig = field(default_factory=BlockConfig)
    width: int = 96
    body_mean: Literal["all", "present"] = "all"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 6 <= self.width <= MOST_WIDTH or self.width % 6:
            expected = f"a multiple of 6, up to {MOST_WIDTH}"
            raise ExperimentError("the width of the network does not fit its six temporal branches", expected=expected, got=self.width)
        windows = self.block.windows
        if not 1 <= len(windows) <= MOST_WINDOWS or not 1 <= min(windows) <= max(windows) <= MOST_FRAMES:
            expected = f"1 to {MOST_WINDOWS} of them, each of 1 to {MOST_FRAMES}"
            raise ExperimentError("windows of STFEM are lengths in frames", expected=expected, got=windows)
        scales = self.block.spatial_scales, self.block.window_scales
        if not 1 <= min(scales) <= max(scales) <= MOST_SCALES:
            got = f"{scales[0]} within frames, {scales[1]} in windows"
            raise ExperimentError("graph convolutions have scales", expected=f"1 to {MOST_SCALES}", got=got)
        if self.block.heads < 1:
            raise ExperimentError("attention has heads", expected="1 or more", got=self.block.heads)
        if not 1 <= self.block.group <= MOST_FRAMES:
            raise ExperimentError("a group of FF holds frames", expected=f"1 to {MOST_FRAMES}", got=self.block.group)
        if not 0 <= self.dropout < 1:
            raise ExperimentError("dropout is a probability", expected="0 <= dropout < 1", got=self.dropout)


@dataclass(frozen=True)
class Explanation:
    """What :meth:`Network.explain` returns: the scores and every block's correlation matrices, body axis = clip x body."""

    logits: Float[Tensor, "clip class"]
    blocks: tuple[Correlations, ...]


class Network(nn.Module):
    """A network of the AMANet family, on raw joints, from which it derives its stream.

    Args:
        config: its parts.
        layout: the skeleton of its input.
        num_classes: classes to tell apart.
        num_bodies: bodies of a clip, some of which may be absent.
        stream: what it sees of the joints.

    Attributes:
        recompute: keep no more of a training step than the features between its blocks, and compute the rest again for the gradient: a
            fraction of the memory for a quarter more time. Results are the same bit for bit.
        shares_absent: compute the absent bodies of a batch once; on a GPU where there are enough of them, and never in a compiled graph.
    """

    recompute: bool = False
    shares_absent: bool = True

    def __init__(self, config: NetworkConfig, layout: SkeletonLayout, num_classes: int, num_bodies: int, stream: Stream = "joint") -> None:
        super().__init__()
        self.config = config
        self.input_layout = layout
        self.num_bodies = num_bodies
        self.stream: Stream = stream
        layout = stream_layout(layout, stream)
        self.dp = DP(layout, config.dp if stream in config.dp_streams else "none", config.alien, config.alien_scale)
        self.data_norm = DataNorm(num_bodies, layout.num_joints, self.dp.num_channels)
        outputs = [config.width * 2**block for block in range(BLOCKS)]
        inputs = [self.dp.num_channels, *outputs[:-1]]
        middles = [outputs[0], *outputs[:-1]]
        self.blocks = nn.ModuleList(
            Block(config.block, layout, channels, stride=1 if index == 0 else 2, widen_windows=index == 0)
            for index, channels in enumerate(zip(inputs, middles, outputs, strict=True))
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(outputs[-1], num_classes)

    def forward(
        self, joints: Float[Tensor, "clip body frame joint coord"], present: Bool[Tensor, "clip body frame joint"] | None = None
    ) -> Float[Tensor, "clip class"]:
        """Logits of raw joints; without ``present`` every joint counts as seen, and where it says no, it does not matter what stands there.

        Raises:
            ClipError: the joints are of other bodies, joints or coords than the network's, or there are none; they are no floats, or
                presence is no bool.
        """
        self._check(joints, present)
        shared = share_absent(present) if present is not None and self._shares(joints) else None
        features, present = self._enter(joints, present)
        if shared is None:
            return self._classify(self._pool(features), present)
        with counting_copies(shared):
            return self._classify(self._pool(features.index_select(0, shared.kept), shared).index_select(0, shared.place), present)

    def _shares(self, joints: Tensor) -> bool:
        if not self.shares_absent or is_traced(joints) or self._is_compiled_in_part():
            return False
        pays = joints.device.type == "cpu" or joints.shape[0] * joints.shape[1] >= FEWEST_SHARED
        return pays and (not self.training or sweeps_over(joints))

    def _is_compiled_in_part(self) -> bool:
        return any(map(side_by_side.is_compiled, self.blocks.modules()))

    def _pool(self, features: Features, shared: SharedBodies | None = None) -> Float[Tensor, "clip_body wide_channel"]:
        if not side_by_side.pays(self.blocks, features) or any(norm.synchronises() for norm in batch_norms(self.blocks)):
            return self._pool_together(features, shared)
        return side_by_side.compute(self._pool_share, self.blocks, features, shared or all_bodies(features))

    def _pool_share(self, features: Features, bodies: SharedBodies) -> Float[Tensor, "clip_body wide_channel"]:
        with counting_copies(bodies):
            return self._pool_together(features, bodies)

    def _pool_together(self, features: Features, shared: SharedBodies | None) -> Float[Tensor, "clip_body wide_channel"]:
        recomputes = self.recompute and self.training and torch.is_grad_enabled()
        if recomputes and (is_traced() or self._is_compiled_in_part()):
            raise ValueError("what is compiled cannot be computed again for its gradient: leave out recompute, or compile()")
        for block in self.blocks:
            features = _recomputed(block, features, shared) if recomputes else block(features)
        return features.mean(dim=(1, 2))

    def explain(
        self,
        joints: Float[Tensor, "clip body frame joint coord"],
        present: Bool[Tensor, "clip body frame joint"] | None = None,
        graph_weight: float | None = None,
    ) -> Explanation:
        """Logits and the spatial, temporal and spatio-temporal correlation matrices of every block.

        ``graph_weight`` stands in for alpha and beta in the matrices (not in the logits): 0 shows what was learned alone (Fig. 8b). In
        training mode BN's running statistics follow, as in a step.
        """
        self._check(joints, present)
        features, present = self._enter(joints, present)
        found: list[Correlations] = []
        for block in self.blocks:
            assert isinstance(block, Block)
            features, correlations = block.explain(features, graph_weight)
            found.append(correlations)
        return Explanation(self._classify(features.mean(dim=(1, 2)), present), tuple(found))

    def _check(self, joints: Tensor, present: Tensor | None) -> None:
        layout = self.input_layout
        expected = self.num_bodies, layout.num_joints, layout.num_coords
        if joints.dim() != 5 or (joints.shape[1], *joints.shape[3:]) != expected or 0 in joints.shape:
            shape = "(clips, {} bodies, frames, {} joints, {} coords)".format(*expected)
            raise ClipError("these joints do not fit the network", expected=shape, got=tuple(joints.shape))
        if not joints.is_floating_point():
            raise ClipError("joints are no whole numbers", expected="float32, or another kind of floats", got=joints.dtype)
        if present is not None and present.shape != joints.shape[:-1]:
            raise ClipError("presence does not fit the joints", expected=tuple(joints.shape[:-1]), got=tuple(present.shape))
        if present is not None and present.dtype != torch.bool:
            raise ClipError("presence says yes or no", expected=torch.bool, got=present.dtype)

    def _enter(self, joints: Tensor, present: Tensor | None) -> tuple[Features, Bool[Tensor, "clip body frame node"]]:
        if present is None:
            present = torch.ones(joints.shape[:-1], dtype=torch.bool, device=joints.device)
        else:
            joints = joints.masked_fill(~present[..., None], 0)
        joints, present = derive_stream(joints, present, self.input_layout, self.stream)
        return self.data_norm(self.dp(joints, present)).flatten(0, 1), present

    def _classify(
        self, pooled: Float[Tensor, "clip_body channel"], present: Bool[Tensor, "clip body input_frame node"]
    ) -> Float[Tensor, "clip class"]:
        by_body = pooled.unflatten(0, present.shape[:2])
        if self.config.body_mean == "present":
            counted = present.flatten(2).any(-1).to(by_body.dtype)[..., None]
            by_clip = (by_body * counted).sum(1) / counted.sum(1).clamp(min=1)
        else:
            by_clip = by_body.mean(1)
        return self.classifier(self.dropout(by_clip))


def _recomputed(block: nn.Module, features: Features, shared: SharedBodies | None) -> Mapped:
    """The block's output; what its gradient needs is computed again when it is asked for."""
    output = checkpoint(
        block, features, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), ComputingAgain(shared))
    )
    assert isinstance(output, Tensor)
    return output


def synchronise_statistics(network: nn.Module, synchronise: bool) -> None:
    """Let every BN take its statistics over all processes together, or over each one by itself."""
    for norm in batch_norms(network):
        norm.synchronise = synchronise


def batch_norms(network: nn.Module) -> Iterator[BatchNorm]:
    return (module for module in network.modules() if isinstance(module, BatchNorm))
