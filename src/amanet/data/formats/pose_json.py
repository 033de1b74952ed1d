"""What pose estimators write as JSON, read as clips: OpenPose, COCO keypoints, MediaPipe Pose.

All of them count y downwards, as pictures do; in the clips it points up, and in three dimensions z is turned with it, so that left stays
left. A joint whose score is 0, or below a bound, was not seen.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from amanet.data.archive import read_file
from amanet.data.own.numbers import check_size
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip

OPENPOSE_FILE = re.compile(r"(?P<clip>.+)_(?P<frame>\d{1,12})_keypoints\.json", re.ASCII)
LAST_NUMBER = re.compile(r"(\d{1,9})\D*$", re.ASCII)
OPENPOSE_LAYOUTS = {75: "openpose25", 54: "kinetics18"}
KEPT_BODIES = 16
"""Of more, those that are in most frames: an estimator sees people in posters and chairs."""
FARTHEST_MATCH = 1.0
"""A body is the one of the frame before if its joints moved less than its own size on average."""

Person = Float[np.ndarray, "joint number"]
Frames = list[list[tuple[int | None, Person]]]
"""Of each frame the people in it: their id, if they have one, and x, y, score or x, y, z, score of their joints."""


@dataclass(frozen=True)
class PoseClip:
    """A clip and the name of its layout."""

    clip: SkeletonClip
    layout: str


def read_openpose(files: Sequence[Path], sample: str, min_score: float) -> PoseClip:
    """A clip of OpenPose, a file a frame: ``CLIP_000000000012_keypoints.json``, of the model BODY_25 or of the older one of 18 joints.

    Raises:
        FormatError: a file is not what OpenPose writes, or nobody is in any; the message names it.
    """
    by_frame = {int(match["frame"]): path for path in files if (match := OPENPOSE_FILE.fullmatch(path.name))}
    first = min(by_frame, default=0)
    check_size(0, max(by_frame, default=0) - first + 1, 0, files[0].parent)
    frames: Frames = [[] for _ in range(max(by_frame, default=0) - first + 1)]
    sizes: dict[int, Path] = {}
    for frame, path in by_frame.items():
        for person in _list_of(_load(path), "people", path):
            numbers = _numbers(person.get("pose_keypoints_2d"), path)
            if len(numbers) not in OPENPOSE_LAYOUTS or sizes.setdefault(len(numbers), path) != next(iter(sizes.values())):
                _refuse("a person has other joints than the models of OpenPose", path, "75 numbers (BODY_25) or 54 (COCO)", len(numbers))
            given = person.get("person_id", [-1])
            number = given[0] if isinstance(given, list) and given and type(given[0]) is int and given[0] >= 0 else None
            frames[frame - first].append((number, numbers.reshape(-1, 3)))
    return PoseClip(_as_clip(frames, sample, min_score, files[0].parent), OPENPOSE_LAYOUTS[next(iter(sizes), 75)])


def read_coco(path: Path, sample: str, min_score: float) -> PoseClip:
    """A clip in a file of COCO keypoints: ``annotations``, or a list of results, each a person in a frame.

    ``image_id`` is the frame, or a text that ends in its number; ``keypoints`` are x, y, v of 17 joints, v a score or COCO's visibility;
    ``track_id`` or ``person_id`` tells people apart, where there is one.

    Raises:
        FormatError: the file is not of this format, or nobody is in it.
    """
    content = _load(path)
    found = content if isinstance(content, list) else _list_of(content, "annotations", path)
    people: list[tuple[int, int | None, Person]] = []
    for person in found:
        if not isinstance(person, dict):
            _refuse("an annotation is no table", path, "image_id, keypoints", person)
        numbers = _numbers(person.get("keypoints"), path)
        if len(numbers) != 51:
            _refuse("an annotation has other keypoints", path, "17 joints, each x, y, v", f"{len(numbers)} numbers")
        number = next((person[name] for name in ("track_id", "person_id") if type(person.get(name)) is int), None)
        people.append((_frame_of(person.get("image_id"), path), number, numbers.reshape(-1, 3)))
    first = min((frame for frame, _, _ in people), default=0)
    length = max((frame for frame, _, _ in people), default=-1) - first + 1
    check_size(0, length, 0, path)
    frames: Frames = [[] for _ in range(length)]
    for frame, number, person in people:
        frames[frame - first].append((number, person))
    return PoseClip(_as_clip(frames, sample, min_score, path), "coco17")


def read_mediapipe(path: Path, sample: str, min_score: float) -> PoseClip:
    """A clip of MediaPipe Pose: a list of frames, each the 33 landmarks of one person, a list of such people, or null for nobody.

    A landmark is an object of x, y, z and visibility. World landmarks, in metres, are the better choice.

    Raises:
        FormatError: the file is not of this format, or nobody is in it.
    """
    content = _load(path)
    if not isinstance(content, list):
        _refuse("the file is no list of frames", path, "[[{x, y, z, visibility}, ...], ...]", type(content).__name__)
    check_size(0, len(content), 0, path)
    frames: Frames = []
    for frame in content:
        people = frame if frame and isinstance(frame, list) and isinstance(frame[0], list) else [frame] if frame else []
        frames.append([(None, _landmarks(person, path)) for person in people])
    return PoseClip(_as_clip(frames, sample, min_score, path), "mediapipe33")


def _landmarks(person: Any, path: Path) -> Person:
    if not isinstance(person, list) or len(person) != 33 or not all(isinstance(landmark, dict) for landmark in person):
        _refuse(
            "a person has other landmarks than MediaPipe Pose",
            path,
            '33 objects like {"x": 0.1, "y": 0.5, "z": 0.0, "visibility": 0.9}',
            str(person)[:60],
        )
    rows = [[landmark.get(name) for name in ("x", "y", "z", "visibility")] for landmark in person]
    return _numbers([number for row in rows for number in row], path).reshape(33, 4)


def _as_clip(frames: Frames, sample: str, min_score: float, path: Path) -> SkeletonClip:
    """The people of all frames as bodies, y and z turned."""
    tracks = _follow(frames, path)
    longest = [body for body, _ in Counter(body for bodies in tracks for body in bodies).most_common(KEPT_BODIES)]
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


def _follow(frames: Frames, path: Path) -> list[list[int]]:
    """Which body each person of each frame is: by the id, or else the nearest body of the last frame it was seen in."""
    tracks: list[list[int]] = []
    by_id: dict[int, int] = {}
    last: dict[int, Person] = {}
    for people in frames:
        distances = sorted(
            (distance, place, body)
            for place, (number, person) in enumerate(people)
            if number is None
            for body, before in last.items()
            if (distance := _distance(person, before)) < FARTHEST_MATCH
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
            _refuse("two people of one frame have the same id", path, "an id a person", [number for number, _ in people])
        tracks.append([bodies[place] for place in range(len(people))])
    return tracks


def _distance(one: Person, two: Person) -> float:
    """Mean way of the joints that both show, in sizes of the body; infinite if there are none."""
    both = (one[:, -1] > 0) & (two[:, -1] > 0)
    if not both.any():
        return math.inf
    size = np.ptp(two[both, :2], axis=0).max()
    return float(np.linalg.norm(one[both, :2] - two[both, :2], axis=-1).mean() / max(size, 1e-9))


def _frame_of(image: object, path: Path) -> int:
    match = LAST_NUMBER.search(image) if isinstance(image, str) else None
    frame = int(match[1]) if match else image
    if type(frame) is not int or frame < 0:
        _refuse("an image_id is no frame", path, "a whole number, or a text that ends in one", image)
    return frame


def _load(path: Path) -> Any:
    try:
        return json.loads(read_file(path).decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this is no JSON: {error}", where=path) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _list_of(content: Any, name: str, path: Path) -> list[Mapping[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        _refuse(f"the file has no list {name!r}", path, f'{{"{name}": [...]}}', str(content)[:60])
    return found


def _numbers(values: Any, path: Path) -> Float[np.ndarray, " number"]:
    good = isinstance(values, list) and all(type(value) in (int, float) and abs(value) < 1e9 for value in values)
    if not good:
        _refuse("joints are no list of finite numbers", path, "x, y and a score of each joint", str(values)[:60])
    return np.array(values, dtype=np.float64)


def _refuse(problem: str, path: Path, expected: str, got: object) -> NoReturn:
    raise FormatError(problem, where=path, expected=expected, got=got)
