"""Folders of one's own clips in miniature, and clips in each of their formats."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from amanet.data.own.writer import OwnDatasetWriter
from amanet.skeleton import SkeletonClip, SkeletonLayout, load_layout

SMALL_LAYOUT = """
name = "stick"
coordinates = "xyz"
centre = "hip"
across = ["hand_left", "hand_right"]
up = ["hip", "chest"]
mirror = [["hand_left", "hand_right"]]

[joints]
hip = "hip"
chest = "hip"
hand_left = "chest"
hand_right = "chest"

[parts]
trunk = { joints = ["hip", "chest"], origin = "hip", anchor = "chest" }
left_arm = { joints = ["hand_left"], origin = "hand_left", anchor = "chest" }
right_arm = { joints = ["hand_right"], origin = "hand_right", anchor = "chest" }

[groups]
trunk = ["hip", "chest"]
left = ["hand_left"]
right = ["hand_right"]
"""
"""A skeleton of four joints that does not ship."""

CLASSES = ("sit", "wave")


def own_clip(sample: str, layout: SkeletonLayout, label: int | None = None, bodies: int = 2, frames: int = 7) -> SkeletonClip:
    """A clip whose numbers follow from its name; some joints are absent, and every body is there in the first frame."""
    rng = np.random.default_rng(list(sample.encode()))
    present = rng.uniform(size=(bodies, frames, layout.num_joints)) < 0.9
    present[:, 0] = True
    joints = rng.normal(size=(*present.shape, layout.num_coords)).astype(np.float32)
    return SkeletonClip(sample, np.where(present[..., None], joints, np.float32(0)), present, label)


def write_own(folder: Path, clips: int = 8) -> Path:
    """A data set of the layout ``stick``: two classes and four performers, of whom the first two train; and a second split."""
    layout = folder.with_name("stick.toml")
    layout.write_text(SMALL_LAYOUT)
    with OwnDatasetWriter(folder, name="mine", layout=layout, class_names=CLASSES, max_bodies=2) as writer:
        for index in range(clips):
            performer = index // 2 % 4
            splits = {"split": "train" if performer < 2 else "test", "split_other": "test" if performer == 0 else "train"}
            writer.add(own_clip(f"clip{index:02}", writer.layout, index % 2), performer=performer, splits=splits)
    layout.unlink()
    return folder


def as_csv(clip: SkeletonClip, layout: SkeletonLayout) -> bytes:
    """The clip as a table, with its columns the other way round."""
    axes = ("x", "y", "z") if layout.coordinates == "xyz" else ("x", "y", "score")
    text = io.StringIO()
    table = csv.writer(text)
    columns = [f"{joint}_{axis}" for joint in layout.joints for axis in axes]
    table.writerow([*reversed(columns), "body", "frame"])
    for body, frame in np.argwhere(clip.present.any(-1)).tolist():
        seen, places = clip.present[body, frame], clip.joints[body, frame]
        cells = [repr(float(number)) if there else "" for there, place in zip(seen, places, strict=True) for number in place]
        table.writerow([*cells[::-1], body + 3, frame + 12])
    return text.getvalue().encode()


def as_jsonl(clip: SkeletonClip) -> bytes:
    """The clip as a line a frame; bodies that are absent are left out."""
    lines = []
    for frame in range(clip.num_frames):
        bodies = [body for body in range(clip.num_bodies) if clip.present[body, frame].any()]
        joints = [
            [place if there else None for there, place in zip(clip.present[body, frame], clip.joints[body, frame].tolist(), strict=True)]
            for body in bodies
        ]
        lines.append({"bodies": [{"id": f"person {body}", "joints": each} for body, each in zip(bodies, joints, strict=True)]})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def as_npy(numbers: np.ndarray) -> bytes:
    """An array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, numbers)
    return buffer.getvalue()


def stick(folder: Path) -> SkeletonLayout:
    """The layout of four joints."""
    path = folder / "stick.toml"
    path.write_text(SMALL_LAYOUT)
    return load_layout(path)
