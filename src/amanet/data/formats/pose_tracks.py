"""People that a pose estimator found in the frames of a video, followed from frame to frame: the bodies of a clip.

Pictures count y downwards; in the clips it points up, and in three dimensions z is turned with it, so that left stays left. A joint whose
score is 0, or below a bound, was not seen.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from jaxtyping import Float

from amanet.data.clip_size import check_size, most_people
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

KEPT_BODIES = 16
"""Of more, those that are in most frames: an estimator sees people in posters and chairs. Of a short clip that few take part in, fewer are
kept, as many as a reader takes for people."""
FARTHEST_MATCH = 1.0
"""A body is the one of the frame before if its joints moved less than its own size on average."""

Person = Float[np.ndarray, "joint number"]
People = list[tuple[int | None, Person]]
"""The people in a frame: their id, if they have one, and x, y, score or x, y, z, score of their joints."""


@dataclass(frozen=True)
class Poses:
    """What an estimator found in one video.

    Attributes:
        layout: the name of the joints' layout.
        frames: the people by the number of their frame, also of frames that the estimator looked at and saw nobody in.
        path: the file or folder, for errors.
    """

    layout: str
    frames: Mapping[int, People]
    path: Path

    def clip(self, sample: str, min_score: float, step: int = 1, max_bodies: int = 1) -> SkeletonClip:
        """The people as bodies, y and z turned; every ``step``-th number is a frame, from the first on.

        Those who are in most frames are kept, of a clip that ``max_bodies`` people take part in.

        Raises:
            FormatError: too long for a clip, nobody in any frame, no joint of that score, or two people of one frame with one id.
        """
        first, last = min(self.frames, default=0), max(self.frames, default=-1)
        length = (last - first) // step + 1
        check_size(0, length, 0, self.path)
        kept = min(KEPT_BODIES, most_people(length, max_bodies))
        return _as_clip([self.frames.get(first + step * frame, []) for frame in range(length)], sample, min_score, kept, self.path)


def step_of(videos: Iterable[Iterable[int]]) -> int:
    """The largest step that the numbers of all videos' frames go in, each from its first one on: 10 where every 10th frame was written."""
    steps = (number - first for numbers in map(list, videos) for first in numbers[:1] for number in numbers)
    return reduce(math.gcd, steps, 0) or 1


def _as_clip(frames: Sequence[People], sample: str, min_score: float, kept: int, path: Path) -> SkeletonClip:
    tracks = _follow(frames, path)
    longest = [body for body, _ in Counter(body for bodies in tracks for body in bodies).most_common(kept)]
    if not longest:
        raise FormatError("nobody is in any frame", where=path, got=f"{len(frames)} frames")
    shape = next(person.shape for people in frames for _, person in people)
    numbers = np.zeros((len(longest), len(frames), *shape))
    for frame, (people, bodies) in enumerate(zip(frames, tracks, strict=True)):
        for (_, person), body in zip(people, bodies, strict=True):
            if body in longest:
                numbers[longest.index(body), frame] = person
    score = numbers[..., -1]
    present = (score > 0) & (score >= min_score) & np.any(numbers[..., :2], axis=-1)
    numbers[..., 1 : shape[1] - 1] *= -1
    if shape[1] == 3:
        numbers[..., 2] = np.minimum(score, 1)  # COCO's visibility is 1 or 2
    if not present.any():
        raise FormatError("no joint has a score", where=path, expected=f"scores above 0 and of {min_score} or more")
    return SkeletonClip(sample, np.where(present[..., None], numbers[..., :3], 0).astype(np.float32), present)


def _follow(frames: Sequence[People], path: Path) -> list[list[int]]:
    """Which body each person of each frame is: by the id, or else the nearest body of the last frame it was seen in."""
    tracks: list[list[int]] = []
    by_id: dict[int, int] = {}
    last: dict[int, Person] = {}
    for people in frames:
        taken = {by_id.get(number) for number, _ in people if number is not None}
        distances = sorted(
            (distance, place, body)
            for place, (number, person) in enumerate(people)
            if number is None
            for body, before in last.items()
            if body not in taken and (distance := _distance(person, before)) < FARTHEST_MATCH
        )
        bodies: dict[int, int] = {}
        for _, place, body in distances:
            if place not in bodies and body not in bodies.values():
                bodies[place] = body
        for place, (number, person) in enumerate(people):
            new = len(last)
            bodies[place] = bodies.get(place, new) if number is None else by_id.setdefault(number, new)
            last[bodies[place]] = person
        if len(set(bodies.values())) < len(people):
            got = [number for number, _ in people]
            raise FormatError("two people of one frame have the same id", where=path, expected="an id a person", got=got)
        tracks.append([bodies[place] for place in range(len(people))])
    return tracks


def _distance(one: Person, two: Person) -> float:
    """Mean way of the joints that both show, in sizes of the body; infinite if there are none."""
    both = (one[:, -1] > 0) & (two[:, -1] > 0)
    if not both.any():
        return math.inf
    size = np.ptp(two[both, :2], axis=0).max()
    return float(np.linalg.norm(one[both, :2] - two[both, :2], axis=-1).mean() / max(size, 1e-9))
