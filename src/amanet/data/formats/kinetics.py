"""Kinetics-Skeleton 400: strict readers of the clips' ``.json`` files (OpenPose, 18 joints) and of the lists of labels.

A clip is an object: ``data``, a list of frames; ``label``, the name of the class; and ``label_index``, its number from 0. A frame has a
``frame_index``, rising from frame to frame, and a list ``skeleton`` of the people in the picture: for each the ``pose``, x and y of the
joints in turn as fractions of the picture's width and height, y down, and the ``score``, how sure OpenPose is of each joint, 0 where it
found none. A list of labels, ``kinetics_train_label.json`` or ``kinetics_val_label.json``, says of each clip's name whether it
``has_skeleton``, its ``label`` and its ``label_index``.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from amanet.data.formats.json_document import Node, read_json
from amanet.errors import EmptyClipError
from amanet.skeleton import SkeletonClip

NUM_JOINTS = 18
NUM_SLOTS = 5
"""Bodies of a frame that are read, as ST-GCN reads them."""
LOWEST, HIGHEST = -0.5, 1.5
"""Bounds of a place: the picture is from 0 to 1, and a joint may be guessed a little outside of it."""
SUREST = 2.0
"""Bound of a score; OpenPose's are about 1 at most, but not strictly."""
LAST_FRAME = 10_000
"""The longest clip has 300 frames."""
LARGEST_FILE = 8 << 20
"""Bytes of a clip's file; 300 frames of ten bodies have 1.5 million."""
LARGEST_LIST = 64 << 20
"""Bytes of a list of labels; the longest has 30 million."""

NO_LETTER = re.compile(r"[^a-z]")


def read_kinetics(content: bytes, path: Path | str, class_names: Sequence[str]) -> SkeletonClip:
    """The clip in the content of a file: up to five bodies by their place in each frame's list, joints in the order of kinetics18.

    Places are counted from the middle of the picture, in its width and height, y up. The clip begins with the first frame that the file
    names; frames it leaves out show nobody. The sample is named after the file's stem.

    Args:
        content: the bytes of the file.
        path: where they come from.
        class_names: one a label.

    Raises:
        EmptyClipError: a sound file in which nobody is seen.
        FormatError: not such a file; the message names the place in the document.
    """
    data, label, label_index = read_json(content, path, LARGEST_FILE).fields("data", "label", "label_index")
    joints = _read_frames(data)
    present = joints[..., 2] > 0
    if not present.any():
        raise EmptyClipError("no body in any frame", where=path, got=f"{joints.shape[1]} frames")
    joints[..., 0] -= 0.5
    joints[..., 1] = 0.5 - joints[..., 1]
    joints[~present] = 0
    return SkeletonClip(Path(path).stem, joints, present, _read_label(label, label_index, class_names))


def read_kinetics_labels(content: bytes, path: Path | str, class_names: Sequence[str]) -> dict[str, int | None]:
    """The label of each clip in a list of labels, None for one without a skeleton.

    Raises:
        FormatError: not such a file; the message names the clip.
    """
    labels: dict[str, int | None] = {}
    for name, entry in read_json(content, path, LARGEST_LIST).entries():
        has_skeleton, label, label_index = entry.fields("has_skeleton", "label", "label_index")
        found = _read_label(label, label_index, class_names)
        labels[name] = found if has_skeleton.truth() else None
    return labels


def _read_frames(data: Node) -> Float32[np.ndarray, "body frame joint coord"]:
    """x, y and score as the file has them; 0 for bodies that are not there."""
    bodies: list[tuple[int, int]] = []
    poses: list[list[float]] = []
    scores: list[list[float]] = []
    first, last = 0, -1
    for number, frame in enumerate(data.items()):
        frame_index, skeleton = frame.fields("frame_index", "skeleton")
        index = frame_index.whole(0, LAST_FRAME)
        if number and index <= last:
            frame_index.refuse("is out of order", expected=f"more than {last}")
        first, last = (first if number else index), index
        for slot, body in enumerate(skeleton.items()):
            pose, score = body.fields("pose", "score")
            places, sureness = pose.numbers(2 * NUM_JOINTS, LOWEST, HIGHEST), score.numbers(NUM_JOINTS, 0.0, SUREST)
            if slot < NUM_SLOTS:
                bodies.append((slot, index - first))
                poses.append(places)
                scores.append(sureness)
    slot, frame = np.array(bodies, dtype=np.int64).reshape(-1, 2).T
    joints = np.zeros((slot.max(initial=0) + 1, last - first + 1, NUM_JOINTS, 3), dtype=np.float32)
    joints[slot, frame, :, :2] = np.array(poses, dtype=np.float32).reshape(-1, NUM_JOINTS, 2)
    joints[slot, frame, :, 2] = np.array(scores, dtype=np.float32).reshape(-1, NUM_JOINTS)
    return joints


def _read_label(label: Node, label_index: Node, class_names: Sequence[str]) -> int:
    """The number of the class, which must be that of its name; names are compared by their letters alone."""
    name, index = label.text(), label_index.whole(0, len(class_names) - 1)
    if _letters(name) != _letters(class_names[index]):
        label.refuse("is not the class of the label_index", expected=f"{class_names[index]!r}, class {index}")
    return index


def _letters(name: str) -> str:
    return NO_LETTER.sub("", name.lower())
