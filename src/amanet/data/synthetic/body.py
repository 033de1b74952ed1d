"""Bodies and their poses: proportions, the channels that a pose is written in, and the joints that follow from them.

The trunk is forward kinematics from pelvis to head. A limb has two bones, so where its end is and which way its elbow or knee points give
all of it in closed form: hands reach what they reach for, and feet stay on the floor.

The body's own axes are right, up and back; turned to the camera they are the camera's x, y and z. The side words of a limb's channels are
outward, up and forward, so the same numbers mean the mirrored place for the other limb.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from amanet.skeleton import load_layout

LAYOUT = load_layout("ntu25")
JOINT = {name: index for index, name in enumerate(LAYOUT.joints)}

Limb = Literal["hand", "other_hand", "foot", "other_foot"]
LIMBS: tuple[Limb, ...] = ("hand", "other_hand", "foot", "other_foot")
SCALARS = ("shift", "advance", "drop", "jump", "travel", "turn", "lean", "bend", "twist", "nod", "look", "elbow", "other_elbow")
CHANNELS = (*SCALARS, *(f"{limb}_{axis}" for limb in LIMBS for axis in ("out", "up", "forward")))
"""What a pose is written in.

shift, advance      pelvis to the right and forward of the place between the feet, in metres
drop                pelvis below standing height, as a share of the length of a leg
jump                height of the whole body above the floor, in metres
travel              metres walked since the start; the feet step along
turn                heading, in degrees to the left
lean, bend, twist   trunk forward, to the right and to the left, in degrees
nod, look           head down and to the left, relative to the trunk, in degrees
elbow               how far an elbow is lifted outward from hanging, in degrees
hand                wrist relative to its shoulder, in lengths of an arm and the axes of the chest
foot                ankle relative to where it stands at rest, in metres
"""
CHANNEL = {name: index for index, name in enumerate(CHANNELS)}


def _twin(name: str) -> str:
    """The channel of the other side; the trunk's channels are their own."""
    twin = name.removeprefix("other_") if name.startswith("other_") else f"other_{name}"
    return twin if twin in CHANNEL else name


_SWAPPED = [CHANNEL[_twin(name)] for name in CHANNELS]
_LATERAL = np.array([-1.0 if name in {"shift", "turn", "bend", "twist", "look"} else 1.0 for name in CHANNELS])

Poses = Float[np.ndarray, "frame channel"]
Places = Float[np.ndarray, "frame 3"]
Frames = Float[np.ndarray, "frame 3 3"]


def mirrored(poses: Poses) -> Poses:
    """The same movement by the other hand."""
    return poses[:, _SWAPPED] * _LATERAL


@dataclass(frozen=True)
class Proportions:
    """Lengths of a body in metres, as Kinect v2 sees them; both sides are equal."""

    lower_trunk: float = 0.285
    upper_trunk: float = 0.215
    neck: float = 0.075
    head: float = 0.125
    shoulder: float = 0.15
    upper_arm: float = 0.255
    forearm: float = 0.235
    palm: float = 0.07
    fingers: float = 0.07
    hip: float = 0.07
    thigh: float = 0.375
    shin: float = 0.37
    foot: float = 0.115

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Proportions":
        """Somebody: stature within 15 % of the mean, every length within some percent of what the stature asks for."""
        names = tuple(cls.__dataclass_fields__)
        stature = np.clip(rng.normal(1.0, 0.065), 0.85, 1.15)
        shares = np.clip(rng.normal(1.0, 0.04, len(names)), 0.9, 1.1)
        return cls(*(float(getattr(cls, name) * stature * share) for name, share in zip(names, shares, strict=True)))

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        return self.thigh + self.shin

    @property
    def shoulder_height(self) -> float:
        return self.ankle_height + self.leg + self.lower_trunk + self.upper_trunk

    @property
    def ankle_height(self) -> float:
        """Of the ankle above the floor that the sole stands on."""
        return 0.6 * self.foot


def pose_joints(body: Proportions, poses: Poses, root: Places, heading: Float[np.ndarray, " frame"]) -> Float[np.ndarray, "frame joint 3"]:
    """Where the joints are.

    Args:
        body: whose.
        poses: one a frame; ``turn`` and ``travel`` are already in ``root`` and ``heading``.
        root: the place on the floor between the feet.
        heading: radians to the left of facing the camera.

    Returns:
        Metres, y up, the floor at y = 0 where ``root`` is.
    """
    pose = {name: poses[:, column] for name, column in CHANNEL.items()}
    degrees = {name: np.deg2rad(pose[name]) for name in ("lean", "bend", "twist", "nod", "look", "elbow", "other_elbow")}
    facing = turned("y", heading)
    ankles = {1: _ankle(body, pose, "foot", root, facing, 1), -1: _ankle(body, pose, "other_foot", root, facing, -1)}
    pelvis = _pelvis(body, pose, root, facing, ankles)

    tilt = facing @ turned("x", -0.35 * degrees["lean"]) @ turned("z", -0.35 * degrees["bend"])
    waist = facing @ turned("y", 0.5 * degrees["twist"]) @ turned("x", -0.8 * degrees["lean"]) @ turned("z", -0.8 * degrees["bend"])
    chest = facing @ turned("y", degrees["twist"]) @ turned("x", -degrees["lean"]) @ turned("z", -degrees["bend"])
    crown = chest @ turned("y", degrees["look"]) @ turned("x", -degrees["nod"])

    joints = np.empty((len(poses), LAYOUT.num_joints, 3))
    joints[:, JOINT["spine_base"]] = pelvis
    joints[:, JOINT["spine_mid"]] = middle = pelvis + along(waist, (0.0, body.lower_trunk, 0.0))
    joints[:, JOINT["spine_shoulder"]] = top = middle + along(chest, (0.0, body.upper_trunk, 0.0))
    joints[:, JOINT["neck"]] = neck = top + along(chest, (0.0, body.neck, 0.0))
    joints[:, JOINT["head"]] = neck + along(crown, (0.0, 0.97 * body.head, -0.24 * body.head))
    for side, limb, sign in (("right", "hand", 1), ("left", "other_hand", -1)):
        reach = np.stack([sign * pose[f"{limb}_out"], pose[f"{limb}_up"], -pose[f"{limb}_forward"]], axis=-1) * body.arm
        lift = degrees["elbow" if sign == 1 else "other_elbow"]
        shoulder = top + along(chest, (sign * 0.94 * body.shoulder, -0.34 * body.shoulder, 0.0))
        joints[:, [JOINT[f"{part}_{side}"] for part in ("shoulder", "elbow", "wrist", "hand", "hand_tip", "thumb")]] = _arm(
            body, shoulder, along(chest, reach), chest, lift, sign
        )
    for side, sign in (("right", 1), ("left", -1)):
        hip = pelvis + along(tilt, (sign * body.hip, 0.0, 0.0))
        joints[:, [JOINT[f"{part}_{side}"] for part in ("hip", "knee", "ankle", "foot")]] = _leg(
            body, hip, ankles[sign], root, facing, sign
        )
    return joints


def turned(axis: Literal["x", "y", "z"], angle: Float[np.ndarray, " frame"]) -> Frames:
    """Rotations about an axis, right-handed."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrices = np.zeros((len(angle), 3, 3))
    matrices[:, 3 - first - second, 3 - first - second] = 1
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angle)
    matrices[:, second, first] = sine = np.sin(angle)
    matrices[:, first, second] = -sine
    return matrices


def along(frames: Frames, vector: Places | tuple[float, float, float]) -> Places:
    """A vector given in turned axes, in the axes of the room."""
    return (frames @ np.broadcast_to(vector, (len(frames), 3))[..., None])[..., 0]


def _ankle(body: Proportions, pose: dict[str, np.ndarray], limb: Limb, root: Places, facing: Frames, sign: int) -> Places:
    rest = 1.15 * body.hip
    offset = np.stack(
        [
            sign * (rest + pose[f"{limb}_out"]),
            body.ankle_height + np.maximum(pose[f"{limb}_up"], 0) + pose["jump"],
            -pose[f"{limb}_forward"],
        ],
        axis=-1,
    )
    return root + along(facing, offset)


def _pelvis(body: Proportions, pose: dict[str, np.ndarray], root: Places, facing: Frames, ankles: dict[int, Places]) -> Places:
    """At the height asked for, or as low as the feet need it; a foot in the air does not hold it down."""
    pelvis = root + along(facing, np.stack([pose["shift"], np.zeros(len(root)), -pose["advance"]], axis=-1))
    height = body.ankle_height + (0.985 - pose["drop"]) * body.leg + pose["jump"]
    for sign, ankle in ankles.items():
        gap = pelvis + along(facing, (sign * body.hip, 0.0, 0.0)) - ankle
        reach = ankle[:, 1] + np.sqrt(np.maximum((0.99 * body.leg) ** 2 - gap[:, 0] ** 2 - gap[:, 2] ** 2, 0.04))
        raised = np.clip((ankle[:, 1] - body.ankle_height - pose["jump"]) / 0.1, 0, 1)
        height = np.minimum(height, reach + raised)
    pelvis[:, 1] = height
    return pelvis


def _arm(
    body: Proportions, shoulder: Places, reach: Places, chest: Frames, lift: Float[np.ndarray, " frame"], sign: int
) -> Float[np.ndarray, "frame 6 3"]:
    pole = _swung(along(chest, np.stack([sign * np.sin(lift), np.zeros_like(lift), np.cos(lift)], axis=-1)), -chest[:, :, 1], unit(reach))
    pole -= 0.6 * chest[:, :, 1]
    elbow, wrist = _two_bones(shoulder, reach, body.upper_arm, body.forearm, pole)
    forearm = unit(wrist - elbow)
    curl = unit(_across(along(chest, (-0.35 * sign, -0.2, -1.0)), forearm))
    hand = wrist + body.palm * unit(forearm + 0.2 * curl)
    tip = hand + body.fingers * unit(forearm + 0.45 * curl)
    thumb = hand + 0.65 * body.palm * unit(0.4 * forearm + along(chest, (-0.5 * sign, 0.1, -0.8)))
    return np.stack([shoulder, elbow, wrist, hand, tip, thumb], axis=1)


def _leg(body: Proportions, hip: Places, ankle: Places, root: Places, facing: Frames, sign: int) -> Float[np.ndarray, "frame 4 3"]:
    knee, ankle = _two_bones(hip, ankle - hip, body.thigh, body.shin, along(facing, (0.12 * sign, 0.05, -1.0)))
    shin = unit(ankle - knee)
    flat = along(facing, (0.2 * sign, -0.45, -1.0))
    raised = np.clip((ankle[:, 1] - root[:, 1] - body.ankle_height) / 0.25, 0, 1)[:, None]
    toes = unit((1 - raised) * unit(flat) + raised * unit(unit(_across(flat, shin)) + 0.4 * shin))
    return np.stack([hip, knee, ankle, ankle + body.foot * toes], axis=1)


def _two_bones(start: Places, reach: Places, upper: float, lower: float, pole: Places) -> tuple[Places, Places]:
    """Middle and end of a limb that reaches as far as it can, bent towards the pole."""
    direction = unit(reach)
    distance = np.clip(np.linalg.norm(reach, axis=-1, keepdims=True), abs(upper - lower) + 0.25 * lower, 0.995 * (upper + lower))
    before = (upper**2 - lower**2 + distance**2) / (2 * distance)
    aside = np.sqrt(np.maximum(upper**2 - before**2, 0))
    return start + before * direction + aside * unit(_across(pole, direction)), start + distance * direction


def _swung(vector: Places, begin: Places, end: Places) -> Places:
    """A vector after the shortest turn from one direction to another."""
    axis = np.cross(begin, end)
    once = np.cross(axis, vector)
    return vector + once + np.cross(axis, once) / np.maximum(1 + (begin * end).sum(axis=-1, keepdims=True), 0.05)


def _across(vector: Places, direction: Places) -> Places:
    """The part of a vector that is perpendicular to a unit vector."""
    return vector - (vector * direction).sum(axis=-1, keepdims=True) * direction


def unit(vector: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """The same direction, of length 1."""
    return vector / np.maximum(np.sqrt((vector * vector).sum(axis=-1, keepdims=True)), 1e-9)
