"""People acting, by kinematics: raw clips in the format of NTU RGB+D for trying everything on without anybody's data.

``actions`` says what is done in ``motion``'s words, ``performance`` lets somebody with a ``body`` do it, ``sensor`` watches, and
``skeleton_file`` writes down what was seen. A clip depends on the seed and its own name alone.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from amanet.data.synthetic.actions import ACTIONS, Action, get_action
from amanet.data.synthetic.performance import Performer, perform
from amanet.data.synthetic.sensor import CAMERA_AZIMUTH, Camera, Recording, record
from amanet.data.synthetic.skeleton_file import skeleton_text

__all__ = ["ACTIONS", "CAMERA_AZIMUTH", "Action", "Recording", "SyntheticName", "get_action", "play", "skeleton_text", "watch"]

_PERFORMER, _PARTNER, _SETUP, _HABIT, _PERFORMANCE, _VIEW = range(6)  # streams of random numbers


@dataclass(frozen=True)
class SyntheticName:
    """The numbers in the name of a clip, as NTU RGB+D counts them."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    def __str__(self) -> str:
        return f"S{self.setup:03}C{self.camera:03}P{self.performer:03}R{self.replication:03}A{self.action:03}"


def play(name: SyntheticName, seed: int) -> Float[np.ndarray, "body frame joint 3"]:
    """What happens in the room in a clip, whichever camera watches: metres, y up, the floor at y = 0.

    Everybody has a way of doing an action that they prefer, and partners take part in nobody else's clips.

    Raises:
        ExperimentError: there is no such action.
    """
    return _play(replace(name, camera=1), seed)


def watch(name: SyntheticName, seed: int) -> Recording:
    """What the clip's camera sees of it."""
    camera = Camera.placed(name.camera, _random(seed, _SETUP, name.setup))
    return record(play(name, seed), camera, _random(seed, _VIEW, *_numbers(name)))


@lru_cache(maxsize=4)
def _play(name: SyntheticName, seed: int) -> Float[np.ndarray, "body frame joint 3"]:
    action = get_action(name.action)
    rng = _random(seed, _PERFORMANCE, *_numbers(name))
    preferred = _random(seed, _HABIT, name.performer, name.action).integers(len(action.scripts))
    script = int(preferred if rng.random() < 0.6 else rng.integers(len(action.scripts)))
    heading = np.deg2rad(CAMERA_AZIMUTH[2 if name.replication % 2 else 3])
    places = perform(action, script, _performer(seed, _PERFORMER, name.performer), _performer(seed, _PARTNER, name.performer), heading, rng)
    places.setflags(write=False)
    return places


@lru_cache(maxsize=256)
def _performer(seed: int, stream: int, number: int) -> Performer:
    return Performer.drawn(_random(seed, stream, number))


def _numbers(name: SyntheticName) -> tuple[int, ...]:
    return name.setup, name.camera, name.performer, name.replication, name.action


def _random(*numbers: int) -> np.random.Generator:
    return np.random.default_rng(numbers)
