"""A clip: one action, ragged, with named axes and a presence mask.

Axis words are the same everywhere: clip, body, frame, joint, coord (raw numbers of a joint), channel (features).
Absence is a mask and never a zero: where ``present`` is false, ``joints`` holds 0 and means nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from amanet.errors import ClipError, LayoutError
from amanet.skeleton.layout import SkeletonLayout


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

    @property
    def numbers(self) -> Float32[np.ndarray, "body frame joint coord"]:
        """The joints as they stand on disk: NaN where absent."""
        return np.where(self.present[..., None], self.joints, np.float32(np.nan))

    def check_fit(self, layout: SkeletonLayout) -> None:
        """Raises LayoutError unless the clip has as many joints as the layout, of as many numbers."""
        joints, coords = self.joints.shape[2:]
        if (joints, coords) != (layout.num_joints, layout.num_coords):
            raise LayoutError(
                f"clip {self.sample} is not of the layout {layout.name}",
                expected=f"{layout.num_joints} joints of {layout.num_coords} numbers",
                got=f"{joints} joints of {coords}",
            )

    def with_joints(
        self, joints: Float32[np.ndarray, "body frame joint coord"], present: Bool[np.ndarray, "body frame joint"] | None = None
    ) -> "SkeletonClip":
        """The same clip with other places; zero where absent, as everywhere."""
        present = self.present if present is None else present
        return replace(self, joints=np.where(present[..., None], joints, np.float32(0)), present=present)
