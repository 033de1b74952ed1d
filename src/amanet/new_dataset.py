"""The verb ``new-dataset``: a small complete data set in the form of one's own, to try and then to fill with one's own clips."""

import sys
from itertools import product
from pathlib import Path

import numpy as np

from amanet.data.own.writer import OwnDatasetWriter
from amanet.data.synthetic import SyntheticName, watch
from amanet.errors import ExperimentError
from amanet.skeleton import SkeletonClip, SkeletonLayout, load_layout

EXAMPLE = Path(__file__).parent / "example"
ACTIONS = {"wave": 23, "clap": 10, "kick": 24, "jump": 27, "sit down": 8, "stand up": 9}
"""Class names of the example, and the synthetic action of each."""
PERFORMERS, REPLICATIONS = range(1, 11), (1, 2)
TEST_PERFORMERS = frozenset({3, 6, 7, 10})
SEEN_AS = {"pelvis": "spine_base", "chest": "spine_shoulder", "hand": "wrist", "foot": "ankle"}
"""Joints of the example's skeleton that have another name in that of the synthetic people."""


def new_dataset(out: Path, *, seed: int = 0) -> Path:
    """Writes an example of a data set of one's own: a skeleton, clips, labels with two parts, settings, and a README with the commands.

    Args:
        out: the folder to write, which must be new or empty.
        seed: another one gives other people.

    Raises:
        FormatError: something is at ``out``, or it cannot be written.
        ExperimentError: the seed is negative.
    """
    if seed < 0:
        raise ExperimentError("a seed is not negative", expected="0 or more", got=seed)
    writer = OwnDatasetWriter(out, name="exercises", layout=EXAMPLE / "layout.toml", class_names=list(ACTIONS), max_bodies=1)
    columns = _columns(writer.layout)
    with writer:
        for (label, (name, action)), performer, replication in product(enumerate(ACTIONS.items()), PERFORMERS, REPLICATIONS):
            recording = watch(SyntheticName(setup=1, camera=2, performer=performer, replication=replication, action=action), seed)
            joints, seen = recording.joints[:, :, columns], np.repeat(recording.present[..., None], len(columns), axis=2)
            sample = f"{name.replace(' ', '-')}-p{performer:02}-{replication}"
            clip = SkeletonClip(sample, np.where(seen[..., None], joints, np.float32(0)), seen, label)
            writer.add(clip, performer=performer, splits={"split": "test" if performer in TEST_PERFORMERS else "train"})
        for file in ("README.md", "config.yaml"):
            (writer.folder / file).write_bytes((EXAMPLE / file).read_bytes())
    num_clips = len(ACTIONS) * len(PERFORMERS) * len(REPLICATIONS)
    print(f"{num_clips} clips of {len(ACTIONS)} classes in {out}; how to go on: {out / 'README.md'}", file=sys.stderr)
    return out


def _columns(layout: SkeletonLayout) -> list[int]:
    """Where the joints of the example stand among those of the synthetic people."""
    joints = load_layout("ntu25").joints
    parts = (joint.partition("_") for joint in layout.joints)
    return [joints.index(SEEN_AS.get(part, part) + rest + side) for part, rest, side in parts]
