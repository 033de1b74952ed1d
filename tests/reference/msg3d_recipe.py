"""The preparation of MS-G3D once more, body by body and frame by frame, as its description has it; zeros mean absence here."""

import math

import numpy as np

FRAMES = 300


def prepare(joints: np.ndarray, max_bodies: int = 2) -> np.ndarray:
    """(body, frame, 25, 3) by slot to (body, 300, 25, 3)."""
    clip = np.zeros((max_bodies, FRAMES, 25, 3))
    for place, body in enumerate(best_bodies(joints, max_bodies)):
        clip[place] = replayed(joints[body])
    clip = centred(clip)
    clip = turned(clip, clip[0, 0, 1] - clip[0, 0, 0], (0.0, 0.0, 1.0))
    return turned(clip, clip[0, 0, 8] - clip[0, 0, 4], (1.0, 0.0, 0.0))


def best_bodies(joints: np.ndarray, max_bodies: int) -> list[int]:
    spread = {}
    for body in range(len(joints)):
        frames = [frame for frame in joints[body] if frame.any()]
        if frames:
            spread[body] = sum(np.std([frame[:, axis] for frame in frames]) for axis in range(3))
    return sorted(spread, key=lambda body: -spread[body])[:max_bodies]


def replayed(body: np.ndarray) -> np.ndarray:
    frames = list(body)
    if not frames[0].any():
        frames = [frame for frame in frames if frame.any()]
    while not frames[-1].any():
        frames.pop()
    length = len(frames)
    while len(frames) < FRAMES:
        frames.append(frames[len(frames) - length])
    return np.array(frames)


def centred(clip: np.ndarray) -> np.ndarray:
    result = clip.copy()
    for body in range(clip.shape[0]):
        for frame in range(FRAMES):
            for joint in range(25):
                if clip[body, frame, joint].any():
                    result[body, frame, joint] -= clip[0, frame, 1]
    return result


def turned(clip: np.ndarray, vector: np.ndarray, axis: tuple[float, float, float]) -> np.ndarray:
    """The whole clip by the rotation, about their common normal, of a vector onto an axis."""
    normal = np.cross(vector, axis)
    angle = math.acos(np.dot(vector, axis) / np.linalg.norm(vector))
    normal = normal / np.linalg.norm(normal)
    sine, cosine = math.sin(angle), math.cos(angle)
    return clip * cosine + np.cross(normal, clip) * sine + np.outer((clip @ normal).ravel(), normal).reshape(clip.shape) * (1 - cosine)
