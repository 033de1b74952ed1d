"""The text of a ``.skeleton`` file, number for number as the recorder of NTU RGB+D writes it."""

import numpy as np
from jaxtyping import Float, Float32

from amanet.data.synthetic.body import JOINT, LAYOUT, unit
from amanet.data.synthetic.sensor import Recording

_BODY = f"%s\r\n{LAYOUT.num_joints}\r\n" + (" ".join(["%.7G"] * 12) + "\r\n") * LAYOUT.num_joints
_SPINE = [JOINT["spine_base"], JOINT["spine_mid"], JOINT["spine_shoulder"]]
_ENDS = [joint for joint, name in enumerate(LAYOUT.joints) if name.startswith(("head", "foot", "hand_tip", "thumb"))]
_DEPTH = (np.array([367.0, -367.0]), np.array([256.5, 208.0]), np.array([0.0, 0.0]))
_COLOUR = (np.array([1060.0, -1060.0]), np.array([964.0, 572.0]), np.array([41.0, -8.0]))
"""Focal length, centre and shift per inverse metre, in pixels, fitted to recorded clips; both images have x to the right and y down."""


def skeleton_text(recording: Recording) -> bytes:
    """The file that holds a recording: counts, a header of ten fields for a body, twelve fields for a joint; lines end in CRLF."""
    numbers = _joint_fields(recording).reshape(*recording.present.shape, -1).tolist()
    headers = _headers(recording)
    template, fields = [f"{recording.present.shape[1]}\r\n"], []
    for frame, present in enumerate(recording.present.T):
        bodies = np.flatnonzero(present).tolist()
        template.append(f"{len(bodies)}\r\n" + _BODY * len(bodies))
        for body in bodies:
            fields.append(headers[body][frame])
            fields.extend(numbers[body][frame])
    return ("".join(template) % tuple(fields)).encode("ascii")


def _joint_fields(recording: Recording) -> Float32[np.ndarray, "body frame joint 12"]:
    joints = recording.joints
    fields = np.empty((*joints.shape[:3], 12), dtype=np.float32)
    fields[..., 0:3] = joints
    for first, (focus, centre, shift) in ((3, _DEPTH), (5, _COLOUR)):
        fields[..., first : first + 2] = (focus * joints[..., :2] + shift) / joints[..., 2:] + centre
    fields[..., 7:11] = _orientations(joints)
    fields[..., 11] = recording.tracking
    return fields + np.float32(0)  # turns -0 into 0


def _orientations(joints: Float32[np.ndarray, "body frame joint 3"]) -> Float[np.ndarray, "body frame joint 4"]:
    """Unit quaternions W X Y Z that turn the y axis to the bone that ends in the joint, after a turn to where the body faces.

    As in real files the joints at the ends have none.
    """
    bones = joints - joints[..., list(LAYOUT.parents), :]
    bones[..., _SPINE, :] = (joints[..., _SPINE[2], :] - joints[..., _SPINE[0], :])[..., None, :]
    direction = unit(bones)
    swing = np.stack([1 + direction[..., 1], direction[..., 2], np.zeros_like(direction[..., 0]), -direction[..., 0]], axis=-1)
    swing[..., 0] += 1e-4
    swing /= np.linalg.norm(swing, axis=-1, keepdims=True)
    across = joints[..., JOINT["shoulder_right"], :] - joints[..., JOINT["shoulder_left"], :]
    half = 0.5 * (np.arctan2(-across[..., 2], across[..., 0]) + np.pi)[..., None]
    w, x, _, z = np.moveaxis(swing, -1, 0)
    cosine, sine = np.cos(half), np.sin(half)
    orientation = np.stack([w * cosine, x * cosine - z * sine, w * sine, z * cosine + x * sine], axis=-1)
    orientation[..., _ENDS, :] = 0
    return orientation


def _headers(recording: Recording) -> list[list[str]]:
    """Ten fields for every body and frame; hands are of unknown state, which is what Kinect mostly says."""
    spine = unit(recording.joints[..., _SPINE[2], :] - recording.joints[..., _SPINE[0], :])
    lean = np.clip(np.stack([spine[..., 0], -spine[..., 2]], axis=-1), -1, 1).tolist()
    return [
        [f"{number} 0 1 1 1 1 0 {x:.7G} {y:.7G} 2" for number, (x, y) in zip(numbers, leans, strict=True)]
        for numbers, leans in zip(recording.body_id.tolist(), lean, strict=True)
    ]
