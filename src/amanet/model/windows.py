"""Windows of frames, which STFEM and G3D look into."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from amanet.model.attention import Features, runs_kernels


def windows(features: Features, size: int, stride: int, before: int = 0) -> Float[Tensor, "clip_body window token channel"]:
    """Overlapping windows of frames as a strided view, the first of them ``before`` frames before the clip; zeros stand for the frames
    outside of it. Token = frame * joints + joint.
    """
    return cut_windows(F.pad(features, (0, 0, 0, 0, before, size - 1 - before)), size, stride)


def cut_windows(padded: Features, size: int, stride: int) -> Float[Tensor, "clip_body window token channel"]:
    """:func:`windows` of frames that hold their padding."""
    if runs_kernels(padded):
        from amanet.model import window_kernels

        return window_kernels.cut(padded, size, stride)
    return padded.unfold(1, size, stride).permute(0, 1, 4, 2, 3).flatten(2, 3)
