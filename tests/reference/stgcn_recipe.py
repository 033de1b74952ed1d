"""The preparation of ST-GCN once more, frame by frame and joint by joint, as its description has it; zeros mean absence here."""

from typing import Any

import numpy as np

BODIES_IN, BODIES_OUT = 5, 2


def prepare(document: dict[str, Any]) -> np.ndarray:
    """What a file of Kinetics-Skeleton says to (body, frame, 18, 3), from the first frame that it names to the last."""
    indices = [frame["frame_index"] for frame in document["data"]]
    clip = np.zeros((BODIES_IN, indices[-1] - indices[0] + 1, 18, 3))
    for frame in document["data"]:
        for body, person in enumerate(frame["skeleton"][:BODIES_IN]):
            for joint, score in enumerate(person["score"]):
                if score != 0:
                    x, y = person["pose"][2 * joint : 2 * joint + 2]
                    clip[body, frame["frame_index"] - indices[0], joint] = (x - 0.5, -(y - 0.5), score)
    result = np.zeros((BODIES_OUT, *clip.shape[1:]))
    for frame in range(clip.shape[1]):
        order = sorted(range(BODIES_IN), key=lambda body, frame=frame: -clip[body, frame, :, 2].sum())
        for place, body in enumerate(order[:BODIES_OUT]):
            result[place, frame] = clip[body, frame]
    return result
