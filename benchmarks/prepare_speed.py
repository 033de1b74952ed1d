"""How many files a core reads, normalises and stores in a second, beside a reader as the field writes it.

The other reader splits a file into lines and lines into words, and makes a Python float of each; nothing is checked. Both do the same work
on the same synthetic files of real length in turn, several times over, and medians are compared. The two last rows are the whole of `amanet
prepare` with one worker, its start included, beside a loop that reads, normalises and stores.
Example: ``python benchmarks/prepare_speed.py --files 1000``.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from recordings import link_recordings, write_recordings, zip_recordings

from amanet.data.archive import RawMember, list_members
from amanet.data.formats.ntu import NtuRecording, read_skeleton
from amanet.data.normalise import RECIPES
from amanet.data.published import get_dataset
from amanet.data.store_writer import StoreWriter, encode_clips
from amanet.prepare import prepare
from amanet.skeleton import SkeletonClip, load_layout

DATASET, RECIPE = get_dataset("ntu120"), RECIPES["aligned"]
LAYOUT = load_layout(DATASET.layout)
JOINT_KEYS = (
    "x",
    "y",
    "z",
    "depthX",
    "depthY",
    "colorX",
    "colorY",
    "orientationW",
    "orientationX",
    "orientationY",
    "orientationZ",
    "tracked",
)
CHUNK = 256

Reader = Callable[[bytes, Path], NtuRecording]


def read_plainly(content: bytes, path: Path) -> NtuRecording:
    """A ``.skeleton`` file read word by word, each joint a dictionary of floats."""
    lines = iter(content.decode().splitlines())
    rows, joints, num_frames = [], [], int(next(lines))
    for frame in range(num_frames):
        for slot in range(int(next(lines))):
            rows.append((frame, slot, int(next(lines).split()[0])))
            joints.append(
                [{key: float(word) for key, word in zip(JOINT_KEYS, next(lines).split(), strict=True)} for _ in range(int(next(lines)))]
            )
    frame, slot, body_id = np.array(rows).T
    places = np.array([[(joint["x"], joint["y"], joint["z"]) for joint in body] for body in joints], dtype=np.float32)
    tracking = np.array([[joint["tracked"] for joint in body] for body in joints], dtype=np.int8)
    return NtuRecording(path.stem, num_frames, frame, slot, body_id, places, tracking)


def scan(members: Sequence[RawMember], read: Reader) -> None:
    for member in members:
        read(member.read(), member.where)


def clip_of(member: RawMember, read: Reader) -> SkeletonClip:
    clip = read(member.read(), member.where).by_body_id()
    labelled = SkeletonClip(member.sample, clip.joints, clip.present, DATASET.parse(member.sample).label)
    return RECIPE.apply(labelled, LAYOUT, max_bodies=DATASET.max_bodies)


def scan_and_normalise(members: Sequence[RawMember], read: Reader) -> None:
    for member in members:
        clip_of(member, read)


def prepare_plainly(raw: Path, out: Path) -> None:
    """A store made in one loop."""
    writer = StoreWriter(
        out,
        dataset=DATASET.name,
        layout=LAYOUT,
        recipe=RECIPE.name,
        class_names=DATASET.class_names,
        max_bodies=DATASET.max_bodies,
        overwrite=True,
    )
    members = list_members([raw], DATASET.suffix)
    with writer:
        for start in range(0, len(members), CHUNK):
            clips = [clip_of(member, read_plainly) for member in members[start : start + CHUNK]]
            writer.extend(encode_clips(clips, [DATASET.parse(clip.sample) for clip in clips]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--recordings", type=int, default=100, help="distinct recordings behind them")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        recordings = write_recordings(place / "recordings", arguments.recordings)
        folder = link_recordings(recordings, place / "folder", arguments.files)
        archive = zip_recordings(recordings, place / "archive.zip", arguments.files)
        members, out = list_members([folder], DATASET.suffix), place / "store"
        read_skeleton(members[0].read(), members[0].where)  # loads the compiler
        tasks: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "scan": (partial(scan, members, read_skeleton), partial(scan, members, read_plainly)),
            "scan and normalise": (partial(scan_and_normalise, members, read_skeleton), partial(scan_and_normalise, members, read_plainly)),
        }
        for what, raw in (("a folder", folder), ("an archive", archive)):
            ours = partial(prepare, DATASET.name, raw, out, workers=1, overwrite=True)
            tasks[f"prepare, from {what}"] = (ours, partial(prepare_plainly, raw, out))
        found = {name: [[seconds(work) for work in pair] for _ in range(arguments.repeats)] for name, pair in tasks.items()}
    print(f"\nfiles/s of one core, medians of {arguments.repeats} runs over {arguments.files:,} files")
    print(f"{'':26}{'amanet':>8}{'plain':>8}{'ratio':>8}")
    for name, times in found.items():
        ours, plain = (median(column) for column in zip(*times, strict=True))
        print(f"{name:26}{arguments.files / ours:8.0f}{arguments.files / plain:8.0f}{plain / ours:8.1f}")


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
