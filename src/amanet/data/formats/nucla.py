"""Northwestern-UCLA: a strict reader of the clips' ``.json`` files (Kinect v1, 20 joints, one body).

A file is an object of three fields: ``file_name``, its own name without the suffix; ``skeletons``, for each frame x y z of the joints, in
metres as the sensor sees them; and ``label``, the class from 1 to 10.
"""

from pathlib import Path

import numpy as np

from amanet.data.formats.json_document import read_json
from amanet.errors import EmptyClipError
from amanet.skeleton import SkeletonClip

NUM_JOINTS, NUM_CLASSES = 20, 10
LARGEST_PLACE = 20.0
"""Metres; the sensor sees no farther than 8."""
LARGEST_FILE = 4 << 20
"""Bytes; the longest clip, of 201 frames, has 150,000."""


def read_nucla(content: bytes, path: Path | str) -> SkeletonClip:
    """The clip in the content of a file: one body, joints in the order of the layout kinect20, in metres, with its label.

    The sample is named after the file's stem.

    Raises:
        EmptyClipError: no joint in any frame.
        FormatError: not such a file, or a joint that is not within the sensor's reach; the message names the place in the document.
    """
    file_name, skeletons, label = read_json(content, path, LARGEST_FILE).fields("file_name", "skeletons", "label")
    sample = Path(path).stem
    if file_name.text() != sample:
        file_name.refuse("is not the name of the file", expected=ascii(sample))
    rows = [frame.rows((NUM_JOINTS, 3), -LARGEST_PLACE, LARGEST_PLACE) for frame in skeletons.items()]
    joints = np.array(rows, dtype=np.float32).reshape(1, len(rows), NUM_JOINTS, 3)
    present = np.any(joints, axis=-1)  # no joint lies within the sensor: three zeros mean that it was not seen
    if not present.any():
        raise EmptyClipError("no joint in any frame", where=path, got=f"{len(rows)} frames")
    return SkeletonClip(sample=sample, joints=joints, present=present, label=label.whole(1, NUM_CLASSES) - 1)
