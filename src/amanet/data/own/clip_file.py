"""The files in ``clips/``: one clip each, as an array, a table or lines of JSON; every number is checked.

================  ==================================================================================================================
file              holds
================  ==================================================================================================================
``NAME.npy``      (body, frame, joint, coord) or (frame, joint, coord), floats of 2, 4 or 8 bytes or whole numbers; NaN is absent
``NAME.csv``      a row a body and frame: ``frame``, ``body``, and ``JOINT_x``, ``JOINT_y``, ... of every joint; an empty cell is absent
``NAME.jsonl``    a line a frame: ``{"bodies": [{"id": 7, "joints": [[x, y, z], null, ...]}]}``; null is absent
================  ==================================================================================================================

A joint has the numbers that its layout says: x, y, z, or x, y, score. Where there is no score to tell, two numbers do, and the score is 1.
Where there is one, a joint of which all three are exactly 0 is absent too: so pose estimators write what they did not find.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from amanet.data.own.csv_file import read_csv
from amanet.data.own.description import MOST_BODIES
from amanet.data.own.jsonl_file import read_jsonl
from amanet.data.own.npy_file import read_npy
from amanet.data.own.numbers import ClipNumbers
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip, SkeletonLayout

SUFFIXES = (".npy", ".csv", ".jsonl")
LARGEST_PLACE = 1e6
"""Far beyond any picture in pixels and any room in millimetres; what lies farther out is no place."""
ABSENT = "write NaN (.npy), an empty cell (.csv) or null (.jsonl) for a joint that was not seen"


def read_own_clip(content: bytes, path: Path | str, layout: SkeletonLayout, max_bodies: int = MOST_BODIES) -> SkeletonClip:
    """The clip in the content of one file, named after the file, without a label; ``max_bodies`` people take part in it at most.

    Raises:
        FormatError: not of the format that its suffix says, not of the layout, a number that is not finite or no place, or nobody in any
            frame; the message names the line, or the body and the frame.
    """
    path = Path(path)
    found = _read(content, path, layout, max_bodies)
    if layout.coordinates == "xy-score" and found.numbers.shape[-1] == layout.num_coords:
        undetected = (found.numbers == 0).all(-1, keepdims=True)
        found = replace(found, numbers=np.where(undetected, np.nan, found.numbers))
    if np.isnan(found.numbers).all():  # as it is where there is no number
        bodies, frames = found.numbers.shape[:2]
        raise FormatError("nobody is seen in any frame", where=path, got=f"{bodies} bodies, {frames} frames")
    numbers = _with_score(found.numbers, layout, path)
    absent = np.isnan(numbers)
    _check_places(ClipNumbers(numbers, found.lines), absent, layout, path)
    present = ~absent[..., 0]
    joints = np.where(present[..., None], numbers, 0).astype(np.float32)
    return SkeletonClip(path.name.removesuffix(path.suffix), joints, present)


def _read(content: bytes, path: Path, layout: SkeletonLayout, max_bodies: int) -> ClipNumbers:
    match path.suffix:
        case ".npy":
            return read_npy(content, path, max_bodies)
        case ".csv":
            return read_csv(content, path, layout)
        case ".jsonl":
            return read_jsonl(content, path)
        case _:
            raise FormatError("this is no file of a clip", where=path, expected=f"a name that ends in {', '.join(SUFFIXES)}")


def _with_score(
    numbers: Float[np.ndarray, "body frame joint number"], layout: SkeletonLayout, path: Path
) -> Float[np.ndarray, "body frame joint coord"]:
    """The numbers with three to a joint, if they are of the layout."""
    joints, coords = numbers.shape[2:]
    if joints == layout.num_joints and coords == layout.num_coords:
        return numbers
    if joints == layout.num_joints and coords == layout.num_axes:
        score = np.where(np.isnan(numbers[..., :1]), np.nan, 1)
        return np.concatenate([numbers, score], axis=-1)
    axes = "x, y and z" if layout.coordinates == "xyz" else "x, y and a score, or x and y alone"
    raise FormatError(
        f"this clip is not of the layout {layout.name}",
        where=path,
        expected=f"{layout.num_joints} joints ({', '.join(layout.joints)}), each {axes}",
        got=f"{joints} joints of {coords} numbers",
        cure="name the layout of your clips in dataset.toml, or describe it in a layout.toml beside it; or bring the clips to this one: "
        "numbers[..., [the place of each joint of the layout], :] (docs/data.md)",
    )


def _check_places(found: ClipNumbers, absent: np.ndarray, layout: SkeletonLayout, path: Path) -> None:
    with np.errstate(invalid="ignore"):
        far = np.abs(found.numbers) > LARGEST_PLACE
    partly = absent.any(-1) & ~absent.all(-1)
    at_zero = (found.numbers[..., : layout.num_axes] == 0).all((-1, -2))
    faults = {
        "a number that is not finite or no place": (far.any(-1), f"finite numbers within ±{LARGEST_PLACE:g}", None),
        "a joint with some of its numbers": (partly, "all numbers of a joint or none", ABSENT),
        "a body whose joints all lie at exactly 0": (np.broadcast_to(at_zero[..., None], partly.shape), "places, or absence", ABSENT),
    }
    for problem, (wrong, expected, cure) in faults.items():
        if wrong.any():
            body, frame, joint = np.argwhere(wrong)[0].tolist()
            got = f"body {body + 1}, frame {frame + 1} of {wrong.shape[1]}, {layout.joints[joint]}: {found.numbers[body, frame, joint]}"
            raise FormatError(problem, where=path, line=found.line(body, frame), expected=expected, got=got, cure=cure)
