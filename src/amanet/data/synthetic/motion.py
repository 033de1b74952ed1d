"""Motion as a script of beats: a pose to come to and the seconds it takes, played by somebody with habits of their own."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from amanet.data.synthetic.body import CHANNEL, CHANNELS, LIMBS, Poses, turned

Value = float | tuple[float, float, float]
Pose = dict[str, Value]
FPS = 30

STANDING: Pose = {"hand": (0.16, -0.95, 0.08), "other_hand": (0.16, -0.95, 0.08), "elbow": 8.0, "other_elbow": 8.0}
"""Arms hang, all other channels are 0."""


def _set(pose: Float[np.ndarray, " channel"], changes: Pose) -> Float[np.ndarray, " channel"]:
    pose = pose.copy()
    for name, value in changes.items():
        if name in LIMBS:
            pose[CHANNEL[f"{name}_out"] : CHANNEL[f"{name}_out"] + 3] = value
        else:
            pose[CHANNEL[name]] = value
    return pose


def channel_values(otherwise: float, **values: Value) -> Float[np.ndarray, " channel"]:
    """One number a channel, most of them the same; a limb has three."""
    return _set(np.full(len(CHANNELS), otherwise), values)


_STANDING = channel_values(0.0, **STANDING)
_FIDGETS: tuple[Pose, ...] = (
    {"look": 24.0, "twist": 6.0},
    {"look": -24.0, "twist": -6.0},
    {"nod": 20.0},
    {"shift": 0.05, "bend": 3.0},
    {"shift": -0.05, "bend": -3.0},
    {"hand": (0.3, -0.55, 0.05), "elbow": 50.0},
    {"other_hand": (0.3, -0.55, 0.05), "other_elbow": 50.0},
    {"hand": (-0.25, -0.6, 0.4), "other_hand": (-0.25, -0.6, 0.4), "nod": 10.0},
    {"hand": (-0.05, -0.45, 0.6), "look": -8.0},
    {"foot": (0.06, 0.05, 0.08), "shift": -0.04},
)
"""What people do before and after: look about, shift their weight, put a hand to the hip, fold both, take a half step."""
_FIDGET_RATE, _FIDGET_SECONDS = 0.3, (0.5, 0.5)
_PLACE_STRAY = (0.085, 0.085, 0.085)
_STRAY = channel_values(
    6.5,
    hand=_PLACE_STRAY,
    other_hand=_PLACE_STRAY,
    shift=0.02,
    advance=0.02,
    **dict.fromkeys(("drop", "jump", "travel"), 0.0),
    foot=(0.0, 0.0, 0.0),
    other_foot=(0.0, 0.0, 0.0),
)
"""How far a key pose strays from the script, in the unit of the channel."""


@dataclass(frozen=True)
class Beat:
    """Come to a pose in so many seconds; what it does not name stays as it was."""

    seconds: float
    pose: Pose
    partner: Pose = field(default_factory=dict)


@dataclass(frozen=True)
class Cycle:
    """Beats that come again, ``times`` at least and at most."""

    beats: tuple[Beat, ...]
    times: tuple[int, int]


@dataclass(frozen=True)
class Script:
    """A way to do an action.

    Attributes:
        steps: what happens, from standing with hanging arms.
        start: how the first body differs from standing so when it begins.
        apart: metres between two people who face each other when it begins; None where one acts alone.
    """

    steps: tuple[Beat | Cycle, ...]
    start: Pose = field(default_factory=dict)
    apart: float | None = None


@dataclass(frozen=True)
class Manner:
    """How one body moves.

    Attributes:
        tempo: seconds it takes for one second of the script.
        amplitude: of movements, relative to the script.
        posture: added to every pose, by channel.
        lag: seconds that each channel comes late.
        sway: amplitude of idle movement by channel.
        left_handed: does with the left hand what the script gives to the right one.
    """

    tempo: float
    amplitude: float
    posture: Float[np.ndarray, " channel"]
    lag: Float[np.ndarray, " channel"]
    sway: Float[np.ndarray, " channel"]
    left_handed: bool


@dataclass(frozen=True)
class KeyPoses:
    """Where a body comes to rest, and when."""

    seconds: Float[np.ndarray, " key"]
    lead: Float[np.ndarray, "key channel"]
    partner: Float[np.ndarray, "key channel"]


def key_poses(script: Script, rng: np.random.Generator) -> KeyPoses:
    """One playing of a script: how often, how long, how far differ from every other, and people fidget before or after."""
    beats = [beat for step in script.steps for beat in _played(step, rng)]
    lead, partner = [_set(_STANDING, script.start)], [_STANDING]
    for beat in beats:
        lead.append(_set(lead[-1], beat.pose))
        partner.append(_set(partner[-1], beat.partner))
    seconds = [beat.seconds for beat in beats]
    for at_end in (False, True):
        if rng.random() < _FIDGET_RATE:
            lead, partner = _with_fidget(lead, at_end, rng), _with_fidget(partner, at_end, rng)
            seconds = [*seconds, *_FIDGET_SECONDS] if at_end else [*_FIDGET_SECONDS, *seconds]
    times = np.array(seconds) * np.exp(0.2 * rng.standard_normal(len(seconds)))
    stray = rng.standard_normal((2, len(lead), len(CHANNELS))) * _STRAY
    moved = np.stack([lead, partner])
    at_rest = np.all(moved == _STANDING, axis=-1, keepdims=True)
    lead_poses, partner_poses = moved + np.where(at_rest, 0.3, 1.0) * stray
    return KeyPoses(np.concatenate([[0.0], np.cumsum(times)]), lead_poses, partner_poses)


def _with_fidget(poses: list[Float[np.ndarray, " channel"]], at_end: bool, rng: np.random.Generator) -> list[Float[np.ndarray, " channel"]]:
    still = poses[-1 if at_end else 0]
    fidgeting = _set(still, _FIDGETS[rng.integers(len(_FIDGETS))])
    return [*poses, fidgeting, still] if at_end else [still, fidgeting, *poses]


def act(
    keys: Float[np.ndarray, "key channel"], seconds: Float[np.ndarray, " key"], manner: Manner, num_frames: int, rng: np.random.Generator
) -> Poses:
    """The poses of one body in its manner, at 30 frames a second.

    Between two key poses every channel follows a minimum-jerk curve (Flash and Hogan, J. Neurosci. 5, 1985), each a little late in its own
    way, so that an arm follows the trunk and a hand the arm.
    """
    keys = _STANDING + manner.posture + manner.amplitude * (keys - _STANDING)
    time = np.arange(num_frames)[:, None] / FPS - manner.lag
    segment = np.clip(np.searchsorted(seconds, time, side="right") - 1, 0, len(seconds) - 2)
    share = np.clip((time - seconds[segment]) / (seconds[segment + 1] - seconds[segment]), 0, 1)
    columns = np.arange(len(CHANNELS))
    begin, end = keys[segment, columns], keys[segment + 1, columns]
    poses = begin + minimum_jerk(share) * (end - begin)
    poses += manner.sway * _wander(num_frames, len(CHANNELS), rng)
    return poses


def minimum_jerk(share: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """From 0 to 1 with no speed and no acceleration at either end."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def _wander(num_frames: int, num_channels: int, rng: np.random.Generator) -> Float[np.ndarray, "frame channel"]:
    """Slow movement about 0 of standard deviation 1: breathing, shifting weight, a hand that is never still."""
    time = np.arange(num_frames)[:, None] / FPS
    waves = np.zeros((num_frames, num_channels))
    for low, high in ((0.1, 0.25), (0.25, 0.5), (0.5, 1.0)):
        frequency, phase = rng.uniform(low, high, num_channels), rng.uniform(0, 1, num_channels)
        waves += np.sin(2 * np.pi * (frequency * time + phase)) * np.sqrt(2 / 3)
    return waves


def walk(
    poses: Poses, start: Float[np.ndarray, " 2"], heading: float, leg: float
) -> tuple[Poses, Float[np.ndarray, "frame 3"], Float[np.ndarray, " frame"]]:
    """Make the feet step and the arms swing with ``travel`` and ``turn``, and say where they lead.

    Args:
        poses: with the ways that the script asks for.
        start: right and back, in the room, of the first place between the feet.
        heading: radians to the left of facing -z, before any turn.
        leg: its length, which sets the length of a step.

    Returns:
        Poses with steps, the place on the floor between the feet, the heading of every frame in radians.
    """
    poses = poses.copy()
    headings = heading + np.deg2rad(poses[:, CHANNEL["turn"]])
    advance = np.diff(poses[:, CHANNEL["travel"]], prepend=poses[0, CHANNEL["travel"]])
    spin = np.abs(np.diff(headings, prepend=headings[0]))
    root = np.zeros((len(poses), 3))
    root[:, [0, 2]] = start
    root += np.cumsum((turned("y", headings) @ np.array([0, 0, -1.0])) * advance[:, None], axis=0)

    way = np.abs(advance) + 0.25 * spin
    stride = 1.35 * leg
    pace = np.clip(np.convolve(way, np.ones(9) / 9, mode="same") * FPS / 0.5, 0, 1) * np.sign(poses[-1, CHANNEL["travel"]] or 1.0)
    gait = np.cumsum(way) / stride
    for limb, hand, phase in (("foot", "other_hand", 0.0), ("other_foot", "hand", 0.5)):
        cycle = (gait + phase) % 1
        swing = np.clip(2 * cycle - 1, 0, 1)
        behind = stride * (minimum_jerk(swing) - cycle + 0.25)
        poses[:, CHANNEL[f"{limb}_forward"]] += pace * behind * np.minimum(np.abs(advance) / np.maximum(way, 1e-6), 1)
        poses[:, CHANNEL[f"{limb}_up"]] += np.abs(pace) * 0.11 * np.sin(np.pi * swing)
        hanging = np.clip(-poses[:, CHANNEL[f"{hand}_up"]] - 0.5, 0, 0.4) / 0.4
        poses[:, CHANNEL[f"{hand}_forward"]] += 0.55 * pace * hanging * behind / stride
    return poses, root, headings


def _played(step: Beat | Cycle, rng: np.random.Generator) -> tuple[Beat, ...]:
    return step.beats * int(rng.integers(*step.times, endpoint=True)) if isinstance(step, Cycle) else (step,)
