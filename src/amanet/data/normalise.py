"""From a body in front of a sensor to the clip a network sees: named recipes of body selection, origin and rotation."""

from dataclasses import dataclass
from typing import Literal, Protocol

from amanet.skeleton import SkeletonClip, SkeletonLayout

Tracks = Literal["slot", "body-id"]


class Normalise(Protocol):
    """A function from the clip a reader gives to the clip that is stored, of at most ``max_bodies`` bodies, the main body first."""

    def __call__(self, clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip: ...


@dataclass(frozen=True)
class Recipe:
    """A way to normalise clips.

    Attributes:
        name: how the configuration and the store call it.
        tracks: whether it wants bodies by their slot in the file or by the sensor's body id.
        apply: the recipe itself.
        description: what it does, in a paragraph.
    """

    name: str
    tracks: Tracks
    apply: Normalise
    description: str


def _leave(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    raise NotImplementedError


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("aligned", "body-id", _leave, ""),
        Recipe("msg3d", "slot", _leave, ""),
        Recipe("raw", "body-id", _leave, ""),
    )
}
