"""What pose estimators write of a video as JSON: OpenPose, COCO keypoints, MMPose, Ultralytics, MediaPipe Pose."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from jaxtyping import Float

from amanet.data.archive import read_file
from amanet.data.formats.json_document import describe, parse_json
from amanet.data.formats.pose_tracks import People, Person, Poses
from amanet.errors import FormatError

PoseFormat = Literal["openpose", "coco", "mmpose", "ultralytics", "mediapipe"]
OPENPOSE_FILE = re.compile(r"(?P<clip>.+)_(?P<frame>\d{1,12})_keypoints\.json", re.ASCII)
FILE_A_FRAME: tuple[PoseFormat, ...] = ("openpose", "ultralytics")
LAST_NUMBER = re.compile(r"(\d{1,12})\D*$", re.ASCII)
IDS = ("track_id", "person_id", "idx")
COCO_JOINTS = (
    "nose",
    *(f"{side}_{joint}" for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")),
)
"""As MMPose calls them, in their order."""
MMPOSE_FRAMES = '[{"frame_id": 0, "instances": [...]}, ...]'
ULTRALYTICS_PEOPLE = '[{"keypoints": {"x": [...], "y": [...], "visible": [...]}}, ...]'
OPENPOSE_LAYOUTS = {75: "openpose25", 54: "kinetics18"}


def read_poses(form: PoseFormat, files: Sequence[Path]) -> Poses:
    """What is in the files of one video.

    Raises:
        FormatError: a file is not of the format; the message names it.
    """
    if form == "openpose":
        return read_openpose(files)
    return read_ultralytics(files) if form == "ultralytics" else READERS[form](files[0])


def frame_numbers(form: PoseFormat, files: Sequence[Path]) -> Iterable[int]:
    """The numbers of the frames that the files of one video tell of, if they number them; from their names, where a file is a frame.

    Raises:
        FormatError: a file is not of the format.
    """
    if form in FILE_A_FRAME:
        return files_by_frame(files)
    return () if form == "mediapipe" else read_poses(form, files).frames


def files_by_frame(files: Sequence[Path]) -> dict[int, Path]:
    """The files of a video by the last number in their names.

    Raises:
        FormatError: there is none, or two files have the same.
    """
    found: dict[int, Path] = {}
    for path in files:
        match = LAST_NUMBER.search(path.stem)
        if match is None:
            _refuse("the name of a file says no frame", path, "a name that ends in the number of the frame", path.name)
        if (other := found.setdefault(int(match[1]), path)) != path:
            _refuse("two files are of the same frame", path, "a file a frame, and each video in a folder of its own", other.name)
    return found


def read_openpose(files: Sequence[Path]) -> Poses:
    """A video of OpenPose, a file a frame: ``CLIP_000000000012_keypoints.json``, of the model BODY_25 or of the older one of 18 joints.

    Raises:
        FormatError: a file is not what OpenPose writes; the message names it.
    """
    frames: dict[int, People] = {}
    sizes: dict[int, Path] = {}
    for frame, path in files_by_frame(files).items():
        frames[frame] = []
        for person in _list_of(_load(path), "people", path):
            numbers = _numbers(person.get("pose_keypoints_2d"), path)
            if len(numbers) not in OPENPOSE_LAYOUTS or sizes.setdefault(len(numbers), path) != next(iter(sizes.values())):
                _refuse(
                    "a person has other joints than the models of OpenPose",
                    path,
                    "75 numbers (BODY_25) or 54 (COCO)",
                    f"{len(numbers)} numbers",
                )
            frames[frame].append((_id_of(person.get("person_id")), numbers.reshape(-1, 3)))
    return Poses(OPENPOSE_LAYOUTS[next(iter(sizes), 75)], frames, files[0].parent)


def read_coco(path: Path) -> Poses:
    """A video in a file of COCO keypoints: ``annotations``, or a list of results, each a person in a frame.

    ``image_id`` is the frame, or a text that ends in its number; ``keypoints`` are x, y, v of 17 joints, v a score or COCO's visibility;
    ``track_id``, ``person_id`` or AlphaPose's ``idx`` tells people apart, where there is one.

    Raises:
        FormatError: the file is not of this format.
    """
    content = _load(path)
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict) and not first.keys().isdisjoint(("instance_info", "instances")):
        raise FormatError("this is what MMPose writes", where=path, cure="amanet convert mmpose")
    found = content if isinstance(content, list) else _list_of(content, "annotations", path)
    frames: Mapping[int, People] = defaultdict(list)
    for person in found:
        if not isinstance(person, dict):
            _refuse("an annotation is no table", path, "image_id, keypoints", describe(person))
        numbers = _numbers(person.get("keypoints"), path)
        if len(numbers) != 51:
            _refuse("an annotation has other keypoints", path, "17 joints, each x, y, v", f"{len(numbers)} numbers")
        number = next((each for name in IDS if (each := _id_of(person.get(name))) is not None), None)
        frames[_frame_of(person.get("image_id"), path)].append((number, numbers.reshape(-1, 3)))
    if not any("track_id" in person or "person_id" in person for person in found):
        frames = _without_one_id(frames)
    return Poses("coco17", dict(frames), path)


def _without_one_id(frames: Mapping[int, People]) -> Mapping[int, People]:
    """The same without ids, if all people of all frames have the same: AlphaPose writes an ``idx`` of 0 where it does not track."""
    several = any(len(people) > 1 for people in frames.values())
    if several and len({number for people in frames.values() for number, _ in people} - {None}) == 1:
        return {frame: [(None, joints) for _, joints in people] for frame, people in frames.items()}
    return frames


def read_mmpose(path: Path) -> Poses:
    """A video of MMPose: a list of frames, as of its inferencer, or ``instance_info`` with that list, as of its demos.

    A frame is a ``frame_id`` and a list ``instances`` of the people in it. An instance has ``keypoints``, x and y of the 17 joints of COCO,
    their ``keypoint_scores``, and perhaps a ``track_id``. Where ``meta_info`` names the joints, they must be those.

    Raises:
        FormatError: the file is not of this format, or of another skeleton.
    """
    content = _load(path)
    found = _objects(content, path, MMPOSE_FRAMES) if isinstance(content, list) else _list_of(content, "instance_info", path)
    meta = content.get("meta_info") if isinstance(content, dict) else None
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if isinstance(names, dict) and tuple(names.get(str(joint)) for joint in range(len(names))) != COCO_JOINTS:
        _refuse("the joints are not those of COCO", path, ", ".join(COCO_JOINTS), ", ".join(map(str, names.values()))[:200])
    frames: dict[int, People] = {}
    for frame in found:
        number = frame.get("frame_id")
        if type(number) is not int or number < 0 or number in frames:
            _refuse("a frame_id is no frame", path, "a whole number of 0 or more, each once", describe(number))
        frames[number] = [_instance(person, path) for person in _list_of(frame, "instances", path)]
    return Poses("coco17", frames, path)


def _instance(person: Mapping[str, Any], path: Path) -> tuple[int | None, Person]:
    """The id, and x, y, score of a person of MMPose."""
    given = person.get("keypoints")
    places = [place for place in given if isinstance(place, list) and len(place) == 2] if isinstance(given, list) else []
    scores = _numbers(person.get("keypoint_scores"), path)
    if given != places or not len(places) == len(scores) == 17:
        got = f"{len(places)} such keypoints and {len(scores)} scores"
        _refuse("an instance has other keypoints", path, "17 joints, each [x, y], and 17 keypoint_scores", got)
    numbers = _numbers([number for place in places for number in place], path)
    return _id_of(person.get("track_id")), np.column_stack([numbers.reshape(17, 2), scores])


def read_ultralytics(files: Sequence[Path]) -> Poses:
    """A video of Ultralytics' YOLO-Pose, a file a frame: the list that ``results.to_json()`` gives, with an object a person.

    ``keypoints`` holds lists ``x``, ``y`` and ``visible`` of the 17 joints of COCO; ``track_id`` tells people apart, where there is one.

    Raises:
        FormatError: a file is not of this format; the message names it.
    """
    frames: dict[int, People] = {}
    for frame, path in files_by_frame(files).items():
        frames[frame] = []
        for person in _objects(_load(path), path, ULTRALYTICS_PEOPLE):
            found = person.get("keypoints")
            if not isinstance(found, dict) or not {"x", "y", "visible"} <= found.keys():
                _refuse("a person has no keypoints", path, '{"x": [...], "y": [...], "visible": [...]}', describe(found))
            columns = [_numbers(found[name], path) for name in ("x", "y", "visible")]
            if {len(column) for column in columns} != {17}:
                lengths = ", ".join(str(len(column)) for column in columns)
                _refuse("a person has other keypoints", path, "x, y and visible of 17 joints", f"{lengths} numbers")
            frames[frame].append((_id_of(person.get("track_id")), np.column_stack(columns)))
    return Poses("coco17", frames, files[0].parent)


def _objects(content: Any, path: Path, expected: str) -> list[Mapping[str, Any]]:
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        _refuse("the file is no list of objects", path, expected, describe(content))
    return content


def read_mediapipe(path: Path) -> Poses:
    """A video of MediaPipe Pose: a list of frames, each the 33 landmarks of one person, a list of such people, or null for nobody.

    A landmark is an object of x, y, z and visibility. A person's may also stand in an object ``{"landmark": [...]}``, as ``MessageToDict``
    gives them. World landmarks, in metres, are the better choice.

    Raises:
        FormatError: the file is not of this format.
    """
    content = _load(path)
    if not isinstance(content, list):
        _refuse("the file is no list of frames", path, "[[{x, y, z, visibility}, ...], ...]", describe(content))
    frames: dict[int, People] = {}
    for number, frame in enumerate(content):
        several = isinstance(frame, list) and frame and (isinstance(frame[0], list) or _is_message(frame[0]))
        people = frame if several else [frame] if frame else []
        frames[number] = [(None, _landmarks(person, path)) for person in people]
    return Poses("mediapipe33", frames, path)


def _is_message(person: Any) -> bool:
    return isinstance(person, dict) and "landmark" in person


def _landmarks(person: Any, path: Path) -> Person:
    landmarks = person["landmark"] if _is_message(person) else person
    example = '33 objects like {"x": 0.1, "y": 0.5, "z": 0.0, "visibility": 0.9}'
    if not isinstance(landmarks, list) or len(landmarks) != 33 or not all(isinstance(landmark, dict) for landmark in landmarks):
        _refuse("a person has other landmarks than MediaPipe Pose", path, example, describe(landmarks))
    names = ("x", "y", "z", "visibility")
    for landmark in landmarks:
        if not landmark.keys() >= set(names):
            _refuse("a landmark has not all of x, y, z and visibility", path, example, describe(landmark))
    return _numbers([landmark[name] for landmark in landmarks for name in names], path).reshape(33, 4)


def _id_of(given: Any) -> int | None:
    """The id of a person, perhaps in lists; None for what is none, as -1 of those who are not tracked, or several of merged boxes."""
    parts = given if isinstance(given, list) else [given]
    flat = [each for part in parts for each in (part if isinstance(part, list) else [part])]
    good = all(type(each) in (int, float) and each >= 0 and each % 1 == 0 for each in flat)
    return int(flat[0]) if good and len(set(flat)) == 1 else None


def _frame_of(image: object, path: Path) -> int:
    match = LAST_NUMBER.search(image) if isinstance(image, str) else None
    frame = int(match[1]) if match else image
    if type(frame) is not int or frame < 0:
        _refuse("an image_id is no frame", path, "a whole number, or a text that ends in one", describe(image))
    return frame


def _load(path: Path) -> Any:
    try:
        return parse_json(read_file(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this is no JSON: {error}", where=path) from error


def _list_of(content: Any, name: str, path: Path) -> list[Mapping[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        _refuse(f"the file has no list {name!r}", path, f'{{"{name}": [...]}}', describe(content))
    return found


def _numbers(values: Any, path: Path) -> Float[np.ndarray, " number"]:
    good = isinstance(values, list) and all(type(value) in (int, float) and abs(value) < 1e9 for value in values)
    if not good:
        _refuse("joints are no list of finite numbers", path, "x, y and a score of each joint", describe(values))
    return np.array(values, dtype=np.float64)


def _refuse(problem: str, path: Path, expected: str, got: str) -> NoReturn:
    raise FormatError(problem, where=path, expected=expected, got=got)


READERS = {"coco": read_coco, "mmpose": read_mmpose, "mediapipe": read_mediapipe}
"""Of formats of a file a video."""
