"""What a Kinect v2 sees of a performance: from the side, through noise, not always, and from behind things."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int8

from amanet.data.synthetic.body import JOINT, LAYOUT, turned

CAMERA_AZIMUTH = {1: 0.0, 2: 45.0, 3: -45.0}
"""Degrees to the left of the middle camera, as a performer sees it who faces that one; replications face cameras 2 and 3 in turn."""

TRACKED, INFERRED = 2, 1
_FIRST_ID = 72057594037927936  # 2 ** 56, where Kinect's body numbers begin
_GROUPS = {"hand_tip": 13.0, "thumb": 11.0, "hand": 5.5, "wrist": 4.5, "elbow": 2.6, "foot": 9.0, "ankle": 2.2, "knee": 1.9, "head": 2.0}
_SIGMA = np.array([next((size for part, size in _GROUPS.items() if name.startswith(part)), 0.9) for name in LAYOUT.joints]) / 1000
_TRUNK = {"spine_base", "spine_mid", "spine_shoulder", "neck", "head", "shoulder_left", "shoulder_right", "hip_left", "hip_right"}
_LIMB_JOINTS = np.array([name not in _TRUNK for name in LAYOUT.joints])
_CHAINS = tuple(
    tuple(JOINT[f"{part}_{side}"] for part in parts)
    for side in ("left", "right")
    for parts in (("wrist", "hand", "hand_tip", "thumb"), ("ankle", "foot"), ("elbow", "wrist", "hand", "hand_tip", "thumb"))
)


@dataclass(frozen=True)
class Camera:
    """Where a camera stands: metres above the floor and from the middle of the scene, radians to the left of it and downwards."""

    height: float
    distance: float
    azimuth: float
    pitch: float

    @classmethod
    def placed(cls, number: int, setup_rng: np.random.Generator) -> "Camera":
        """One of the three cameras of a setup; they differ in azimuth alone."""
        distance, pitch, offset = setup_rng.uniform(2.8, 3.9), np.deg2rad(setup_rng.uniform(0, 12)), setup_rng.uniform(-0.2, 0.2)
        height = 0.8 + distance * np.tan(pitch) + offset
        return cls(height, distance, np.deg2rad(CAMERA_AZIMUTH[number]), pitch)

    def see(self, places: Float[np.ndarray, "body frame joint 3"]) -> Float[np.ndarray, "body frame joint 3"]:
        """The places in the camera's own axes: x to its left, y up, z away from it."""
        turn = turned("y", np.array([-self.azimuth]))[0]
        tilt = turned("x", np.array([-self.pitch]))[0]
        return (places @ turn.T + np.array([0, -self.height, self.distance])) @ tilt.T


@dataclass(frozen=True)
class Recording:
    """What the sensor reports of a clip, in its own axes.

    Attributes:
        joints: metres.
        tracking: 2 for a joint that was seen, 1 for one that was guessed.
        present: whether a body was found.
        body_id: Kinect's number of the body; a new one when it comes back.
    """

    joints: Float32[np.ndarray, "body frame joint 3"]
    tracking: Int8[np.ndarray, "body frame joint"]
    present: Bool[np.ndarray, "body frame"]
    body_id: Int[np.ndarray, "body frame"]

    @property
    def num_frames(self) -> int:
        return self.present.shape[1]


def record(places: Float[np.ndarray, "body frame joint 3"], camera: Camera, rng: np.random.Generator) -> Recording:
    """Record a performance; what a camera does not see well is guessed, and guessed badly."""
    truth = camera.see(places)
    hidden = _hidden(truth)
    glitches, jumped = _glitches(truth.shape[:3], rng)
    guessed = (hidden | jumped) & (rng.random(hidden.shape) < 0.85)
    joints = truth + _noise(truth, hidden, rng) + glitches
    present, body_id = _found(truth.shape[0], truth.shape[1], rng)
    order = rng.permutation(len(truth))
    tracking = np.where(guessed, INFERRED, TRACKED).astype(np.int8)
    return Recording(joints[order].astype(np.float32), tracking[order], present[order], body_id[order])


def _hidden(truth: Float[np.ndarray, "body frame joint 3"]) -> Bool[np.ndarray, "body frame joint"]:
    """Joints of limbs that are behind a trunk, their own or another's, as seen by the camera."""
    hidden = np.zeros(truth.shape[:3], dtype=bool)
    for trunk in truth:
        low, high = trunk[:, None, JOINT["spine_base"]], trunk[:, None, JOINT["spine_shoulder"]]
        axis = high - low
        share = ((truth - low)[..., :2] * axis[..., :2]).sum(-1) / np.maximum((axis[..., :2] ** 2).sum(-1), 1e-6)
        gap = truth - (low + np.clip(share, -0.25, 1.15)[..., None] * axis)
        hidden |= (gap[..., 0] ** 2 + gap[..., 1] ** 2 < 0.12**2) & (gap[..., 2] > 0.06)
    return hidden & _LIMB_JOINTS


def _noise(
    truth: Float[np.ndarray, "body frame joint 3"], hidden: Bool[np.ndarray, "body frame joint"], rng: np.random.Generator
) -> Float[np.ndarray, "body frame joint 3"]:
    """Jitter that grows with distance and along limbs, a slow drift of what is hidden, and an offset that stays for the whole clip."""
    bodies, frames, joints, _ = truth.shape
    white = rng.standard_normal((bodies, frames + 1, joints, 3), dtype=np.float32)
    jitter = (white[:, 1:] + 0.5 * white[:, :-1]) / np.sqrt(1.25)
    spread = _SIGMA * np.exp(0.25 * rng.standard_normal((bodies, 1, joints))) * (truth[..., 2] / 3.3) ** 2
    drift = np.cumsum(rng.standard_normal((bodies, frames, joints, 3), dtype=np.float32), axis=1)
    drift = 0.014 * np.where(hidden[..., None], drift - drift.mean(axis=1, keepdims=True), 0)
    offset = (0.01 + _SIGMA)[:, None] * rng.standard_normal((bodies, 1, joints, 3))
    return jitter * (spread * np.where(hidden, 2.5, 1.0))[..., None] + np.clip(drift, -0.15, 0.15) + offset


def _glitches(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
    """Ends of limbs that jump away for some frames."""
    moved, jumped = np.zeros((*shape, 3)), np.zeros(shape, dtype=bool)
    for body in range(shape[0]):
        for _ in range(rng.poisson(1.6 * shape[1] / 85)):
            chain = list(_CHAINS[rng.integers(len(_CHAINS))])
            begin = int(rng.integers(shape[1]))
            window = slice(begin, begin + int(rng.geometric(0.3)))
            moved[body, window, chain] += rng.normal(0, 0.09, 3)
            jumped[body, window, chain] = True
    return moved, jumped


def _found(bodies: int, frames: int, rng: np.random.Generator) -> tuple[Bool[np.ndarray, "body frame"], Int[np.ndarray, "body frame"]]:
    """Which frames hold which body: now and then none, and now and then the second one leaves, for good or to come back as somebody new."""
    present = np.ones((bodies, frames), dtype=bool)
    body_id = np.broadcast_to(_FIRST_ID + rng.integers(1, 40000, (bodies, 1)), (bodies, frames)).copy()
    if rng.random() < 0.1:
        gap = int(rng.integers(frames - 5))
        present[:, gap : gap + int(rng.integers(1, 5))] = False
    if bodies > 1 and rng.random() < 0.15:
        gone = int(frames * rng.uniform(0.3, 0.8))
        back = gone + int(frames * rng.uniform(0.05, 0.4))
        present[1, gone:back] = False
        body_id[1, back:] += 7
    return present, body_id
