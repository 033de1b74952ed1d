"""Batches of clips of equal shape, as tensors; see :mod:`amanet.skeleton.clip` for the axis words and the mask."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amanet.skeleton.clip import SkeletonClip


@dataclass(frozen=True)
class ClipBatch:
    """Clips of equal shape, on one device.

    Attributes:
        sample: their names.
        joints: places of the joints, 0 where absent.
        present: which joints were seen.
        label: class indices; -1 where not known.
    """

    sample: tuple[str, ...]
    joints: Float[Tensor, "clip body frame joint coord"]
    present: Bool[Tensor, "clip body frame joint"]
    label: Int[Tensor, " clip"]

    def __len__(self) -> int:
        return len(self.sample)

    @classmethod
    def stack(cls, clips: Sequence[SkeletonClip]) -> "ClipBatch":
        """A batch of clips that already have one shape."""
        return cls(
            sample=tuple(clip.sample for clip in clips),
            joints=torch.from_numpy(np.stack([clip.joints for clip in clips])),
            present=torch.from_numpy(np.stack([clip.present for clip in clips])),
            label=torch.tensor([-1 if clip.label is None else clip.label for clip in clips]),
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "ClipBatch":
        """The same batch on another device."""
        move = {"device": device, "non_blocking": non_blocking}
        return replace(self, joints=self.joints.to(**move), present=self.present.to(**move), label=self.label.to(**move))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in page-locked memory; called by the data loader."""
        return replace(self, joints=self.joints.pin_memory(), present=self.present.pin_memory(), label=self.label.pin_memory())

    def select(self, rows: slice) -> "ClipBatch":
        """Some of the clips."""
        return replace(self, sample=self.sample[rows], joints=self.joints[rows], present=self.present[rows], label=self.label[rows])
