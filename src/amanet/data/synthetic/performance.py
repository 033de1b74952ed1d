"""Performances: somebody with a body and habits of their own does an action once, alone or with a partner."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from amanet.data.synthetic.actions import Action
from amanet.data.synthetic.body import CHANNEL, CHANNELS, Proportions, mirrored, pose_joints
from amanet.data.synthetic.motion import FPS, KeyPoses, Manner, act, channel_values, key_poses, walk

MIN_FRAMES, MAX_FRAMES = 30, 180
_MEAN_ARM = Proportions().arm
_POSTURE_SPREAD = channel_values(
    0.0, lean=3.0, bend=1.5, twist=3.0, nod=6.0, look=5.0, elbow=9.0, other_elbow=9.0, shift=0.01, advance=0.015
)
_HAND_SPREAD, _FOOT_SPREAD = 0.06, 0.03
_SWAY = channel_values(0.0, lean=0.9, bend=0.7, twist=1.2, nod=1.8, look=2.5, elbow=1.5, other_elbow=1.5, shift=0.006, advance=0.006)
_HAND_SWAY = 0.012


@dataclass(frozen=True)
class Performer:
    """Somebody.

    Attributes:
        proportions: of the body.
        manner: how they move when nothing changes it.
        facing: radians to the left of where they are asked to face.
    """

    proportions: Proportions
    manner: Manner
    facing: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Performer":
        proportions = Proportions.drawn(rng)
        posture = _POSTURE_SPREAD * rng.standard_normal(len(CHANNELS))
        for limb, spread in (("hand", _HAND_SPREAD), ("other_hand", _HAND_SPREAD), ("foot", _FOOT_SPREAD), ("other_foot", _FOOT_SPREAD)):
            posture[CHANNEL[f"{limb}_out"]] += spread * rng.standard_normal()
            posture[CHANNEL[f"{limb}_forward"]] += spread * rng.standard_normal()
        sway = _SWAY.copy()
        for name, column in CHANNEL.items():
            if "hand_" in name:
                sway[column] = _HAND_SWAY
        manner = Manner(
            tempo=float(np.exp(rng.normal(-0.2, 0.18))),
            amplitude=float(np.clip(rng.normal(1.0, 0.07), 0.82, 1.15)),
            posture=posture,
            lag=rng.uniform(0, 0.07, len(CHANNELS)),
            sway=sway * rng.uniform(0.6, 1.6),
            left_handed=bool(rng.random() < 0.15),
        )
        return cls(proportions, manner, facing=float(np.deg2rad(rng.normal(0, 6))))

    def today(self, rng: np.random.Generator, right_only: bool) -> Manner:
        """How they move this time."""
        manner = self.manner
        return replace(
            manner,
            tempo=manner.tempo * float(np.exp(rng.normal(0, 0.12))),
            amplitude=manner.amplitude + float(rng.normal(0, 0.05)),
            posture=manner.posture + 0.4 * _POSTURE_SPREAD * rng.standard_normal(len(CHANNELS)),
            left_handed=not right_only and manner.left_handed ^ bool(rng.random() < 0.08),
        )


def perform(
    action: Action, script: int, lead: Performer, partner: Performer, heading: float, rng: np.random.Generator
) -> Float[np.ndarray, "body frame joint 3"]:
    """One or two people do an action once.

    Args:
        action: what they do.
        script: which of the ways of doing it.
        lead: who does it.
        partner: whom it is done to or with; not there in actions of one person.
        heading: radians to the left of -z, where a person alone faces; two stand across it and face each other.
        rng: what makes this time differ from every other.

    Returns:
        Places in the room, in metres: y up, the floor at y = 0, everything about the origin, 30 frames a second.
    """
    way = action.scripts[script]
    manner = lead.today(rng, action.right_only)
    keys, num_frames = _timed(key_poses(way, rng), manner.tempo, rng)
    heading += lead.facing + float(np.deg2rad(rng.normal(0, 9)))
    if way.apart is None:
        return _enact(lead, manner, keys.lead, keys.seconds, num_frames, heading, rng.normal(0, 0.12, 2), rng)[None]
    other = replace(partner.today(rng, action.right_only), left_handed=manner.left_handed)
    heading += float(rng.choice([-1, 1])) * np.pi / 2
    apart = way.apart * (lead.proportions.arm + partner.proportions.arm) / (2 * _MEAN_ARM) * float(np.exp(rng.normal(0, 0.05)))
    forward = np.array([-np.sin(heading), -np.cos(heading)])
    middle = rng.normal(0, 0.1, 2)
    to_partner, to_lead = _aimed(keys.lead, lead, partner), _aimed(keys.partner, partner, lead)
    turn_away = float(np.deg2rad(rng.normal(0, 5)))
    return np.stack(
        [
            _enact(lead, manner, to_partner, keys.seconds, num_frames, heading, middle - apart / 2 * forward, rng),
            _enact(partner, other, to_lead, keys.seconds, num_frames, heading + np.pi + turn_away, middle + apart / 2 * forward, rng),
        ]
    )


def _timed(keys: KeyPoses, tempo: float, rng: np.random.Generator) -> tuple[KeyPoses, int]:
    """Key poses with stillness before and after, at a tempo that keeps the clip between 30 and 180 frames."""
    before, after = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    seconds = tempo * np.concatenate([[0.0], before + keys.seconds, [before + keys.seconds[-1] + after]])
    num_frames = int(np.clip(round(seconds[-1] * FPS), MIN_FRAMES, MAX_FRAMES))
    seconds *= num_frames / FPS / seconds[-1]
    lead, partner = (np.concatenate([poses[:1], poses, poses[-1:]]) for poses in (keys.lead, keys.partner))
    return KeyPoses(seconds, lead, partner), num_frames


def _aimed(keys: Float[np.ndarray, "key channel"], performer: Performer, other: Performer) -> Float[np.ndarray, "key channel"]:
    """Hands that reach forward meet the other's half-way between the heights of both shoulders."""
    keys = keys.copy()
    rise = (other.proportions.shoulder_height - performer.proportions.shoulder_height) / 2 / performer.proportions.arm
    for hand in ("hand", "other_hand"):
        keys[:, CHANNEL[f"{hand}_up"]] += rise * np.clip(keys[:, CHANNEL[f"{hand}_forward"]] / 0.3 - 1.3, 0, 1)
    return keys


def _enact(
    performer: Performer,
    manner: Manner,
    keys: Float[np.ndarray, "key channel"],
    seconds: Float[np.ndarray, " key"],
    num_frames: int,
    heading: float,
    start: Float[np.ndarray, " 2"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "frame joint 3"]:
    poses = act(keys, seconds, manner, num_frames, rng)
    if manner.left_handed:
        poses = mirrored(poses)
    poses, root, headings = walk(poses, start, heading, performer.proportions.leg)
    return pose_joints(performer.proportions, poses, root, headings)
