"""Clips: one action, ragged, and batches of them, with named axes and a presence mask.

Axis words are the same everywhere: clip, body, frame, joint, coord (raw numbers of a joint), channel (features).
Absence is a mask and never a zero: where ``present`` is false, ``joints`` holds 0 and means nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from amanet.errors import ClipError


@dataclass(frozen=True)
class SkeletonClip:
    """One clip of at least one body and one frame.

    Attributes:
        sample: its name, unique in a data set.
        joints: places of the joints, 0 where absent.
        present: which joints were seen.
        label: class index, or None where it is not known.

    Raises:
        ClipError: wrong shapes, no body, no frame, no joint seen at all, or a number that is not finite.
    """

    sample: str
    joints: Float32[np.ndarray, "body frame joint coord"]
    present: Bool[np.ndarray, "body frame joint"]
    label: int | None = None

    def __post_init__(self) -> None:
        if self.joints.ndim != 4 or self.present.shape != self.joints.shape[:3]:
            raise ClipError(
                f"clip {self.sample} has arrays of the wrong shape",
                expected="joints (body, frame, joint, coord) and present (body, frame, joint)",
                got=f"{self.joints.shape} and {self.present.shape}",
            )
        if not self.present.any():
            raise ClipError(f"clip {self.sample} holds no joint of any body in any frame", got=f"shape {self.joints.shape}")
        if not np.isfinite(self.joints).all():
            raise ClipError(f"clip {self.sample} holds numbers that are not finite", expected="finite places, or absence in the mask")

    @property
    def num_bodies(self) -> int:
        return self.joints.shape[0]

    @property
    def num_frames(self) -> int:
        return self.joints.shape[1]

    def with_joints(
        self, joints: Float32[np.ndarray, "body frame joint coord"], present: Bool[np.ndarray, "body frame joint"] | None = None
    ) -> "SkeletonClip":
        """The same clip with other places; zero where absent, as everywhere."""
        present = self.present if present is None else present
        return replace(self, joints=np.where(present[..., None], joints, np.float32(0)), present=present)


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
