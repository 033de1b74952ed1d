"""A standing body for any layout, made from its tree alone, and a clip in which it waves."""

import numpy as np
from jaxtyping import Bool, Float32

from amanet.pictures.style import Side, joint_sides
from amanet.skeleton import SkeletonLayout

_OUTWARD: dict[Side, float] = {"left": -1.0, "trunk": 0.0, "right": 1.0}  # camera x: what is left of the body is left of zero


def standing_pose(layout: SkeletonLayout) -> Float32[np.ndarray, "joint coord"]:
    """One body that stands before the camera, y up, in about metres; of 2-D layouts the third number is a score of 1."""
    places = np.zeros((layout.num_joints, 3), dtype=np.float32)
    children = [[joint for joint, parent in layout.bones if parent == joint_] for joint_ in range(layout.num_joints)]
    legs = {joint for part in layout.parts if "leg" in part.name for joint in part.joints}
    arms = {joint for part in layout.parts if "arm" in part.name for joint in part.joints}
    waiting = [layout.root]
    while waiting:
        joint = waiting.pop()
        for child in children[joint]:
            places[child] = places[joint] + _bone(child, joint, layout, legs, arms)
            waiting.append(child)
    if layout.coordinates == "xy-score":
        places[:, 0] *= -1  # a picture shows the left side on the right
        places[:, 2] = 1
    return places


def _bone(child: int, parent: int, layout: SkeletonLayout, legs: set[int], arms: set[int]) -> tuple[float, float, float]:
    out = _OUTWARD[joint_sides(layout)[child]]
    if child in legs:
        drop = 0.4 if parent in legs else (0.5 if parent in arms else 0.05)
        return (0.03 if parent in legs else 0.09) * out, -drop, 0.0
    if child in arms:
        return (0.06, -0.22, 0.0) if out > 0 and parent in arms else ((-0.06, -0.22, 0.0) if parent in arms else (0.18 * out, -0.04, 0.0))
    down = any(_leads_to(joint, child, layout) for joint in legs)
    return 0.05 * out, (-0.25 if down else 0.15), 0.0


def _leads_to(joint: int, ancestor: int, layout: SkeletonLayout) -> bool:
    while joint not in (ancestor, layout.root):
        joint = layout.parents[joint]
    return joint == ancestor


def waving_clip(
    layout: SkeletonLayout, bodies: int = 1, frames: int = 20
) -> tuple[Float32[np.ndarray, "body frame joint coord"], Bool[np.ndarray, "body frame joint"]]:
    """Bodies side by side, their arms rising over the frames; all present."""
    joints = np.tile(standing_pose(layout), (bodies, frames, 1, 1))
    arms = [joint for part in layout.parts if "arm" in part.name for joint in part.joints]
    joints[:, :, arms, 1] += np.linspace(0, 0.5, frames, dtype=np.float32)[None, :, None]
    joints[..., 0] += np.arange(bodies, dtype=np.float32)[:, None, None]
    return joints, np.ones(joints.shape[:3], dtype=bool)
