"""Raw data sets in miniature: folders and archives in the formats as published, and workers that fail."""

import errno
import json
import os
import signal
import zipfile
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from amanet.data.published import get_dataset
from amanet.data.shards import Chunk
from fabricate.ntu import skeleton_file

CONTENTS = [
    skeleton_file([[0]] * 3, seed=1),
    skeleton_file([[0], [0, 1], [0, 1], [1]], seed=2),
    skeleton_file([[0], [], [0], [0], [0]], seed=3),
]


def raw_samples(number: int) -> list[str]:
    """The first so many names of NTU RGB+D 60 that are not excluded."""
    numbers = product(range(1, 41), range(1, 4), range(1, 3), range(1, 61))
    names = (f"S001C{camera:03}P{performer:03}R{repetition:03}A{action:03}" for performer, camera, repetition, action in numbers)
    return sorted(islice(filter(get_dataset("ntu60").holds, names), number))


def write_raw(folder: Path, number: int) -> Path:
    """A folder with so many files, in two subfolders."""
    for half in ("one", "two"):
        (folder / half).mkdir(parents=True)
    for index, sample in enumerate(raw_samples(number)):
        half = "one" if index % 2 else "two"
        (folder / half / f"{sample}.skeleton").write_bytes(CONTENTS[index % len(CONTENTS)])
    return folder


def zip_raw(folder: Path, path: Path) -> Path:
    """The files of a folder as an archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*.skeleton"):
            archive.write(file, f"nturgb+d_skeletons/{file.name}")
    return path


def write_utd_mhad(folder: Path) -> Path:
    """UTD-MHAD: two actions by performers 1 (training) and 2 (test), of random numbers."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for action, performer in product((1, 2), (1, 2)):
        savemat(folder / f"a{action}_s{performer}_t1_skeleton.mat", {"d_skel": rng.normal(0, 1, (20, 3, 9))})
    return folder


def sbu_file(places: np.ndarray, first: int = 1, end: str = "\n") -> bytes:
    """A ``skeleton_pos.txt`` of SBU; places are (frame, body, joint, coord)."""
    lines = (",".join([str(frame), *(f"{value:.6f}" for value in row.ravel())]) for frame, row in enumerate(places, start=first))
    return end.join([*lines, ""]).encode()


def write_sbu(folder: Path) -> Path:
    """SBU: two actions by a pair that tests in fold 1 and by one that trains there, of random numbers."""
    rng = np.random.default_rng(0)
    for pair, action in product(("s01s02", "s01s03"), ("01", "02")):
        path = folder / pair / action / "001" / "skeleton_pos.txt"
        path.parent.mkdir(parents=True)
        path.write_bytes(sbu_file(rng.uniform(0.1, 0.9, (7, 2, 15, 3))))
    return folder


def nucla_document(sample: str, places: np.ndarray, label: int) -> dict[str, Any]:
    """What a file of Northwestern-UCLA says; places are (frame, joint, coord)."""
    return {"file_name": sample, "skeletons": places.round(6).tolist(), "label": label}


def write_nucla(folder: Path) -> Path:
    """Northwestern-UCLA: two actions seen by cameras 1 (training) and 3 (test), of random numbers, the first one of a single frame."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for (action, label), camera in product(((1, 1), (12, 10)), (1, 3)):
        sample = f"a{action:02}_s01_e00_v{camera:02}"
        places = rng.normal(0, 1, (1 if action == 1 else 9, 20, 3))
        (folder / f"{sample}.json").write_text(json.dumps(nucla_document(sample, places, label)))
    return folder


def kinetics_document(frames: Sequence[np.ndarray], label: int, first: int = 1) -> dict[str, Any]:
    """What a file of Kinetics-Skeleton says; for each frame the bodies in it, (body, joint, 3): x, y and score."""
    data = [
        {
            "frame_index": index,
            "skeleton": [{"pose": body[:, :2].round(3).ravel().tolist(), "score": body[:, 2].round(3).tolist()} for body in bodies],
        }
        for index, bodies in enumerate(frames, start=first)
    ]
    return {"data": data, "label": get_dataset("kinetics").class_names[label], "label_index": label}


def kinetics_sample(number: int) -> str:
    """A name as those of videos."""
    return f"-a_{number:08}"


def write_kinetics(folder: Path, train: int = 4, val: int = 2) -> Path:
    """Kinetics-Skeleton: clips of up to three random bodies, and the lists of their labels; the last training clip is empty."""
    rng = np.random.default_rng(0)
    for part, number in (("train", train), ("val", val)):
        (folder / f"kinetics_{part}").mkdir(parents=True)
        listed: dict[str, Any] = {}
        for clip in range(number):
            label = clip % 4
            empty = part == "train" and clip == train - 1
            frames = [rng.uniform(0.05, 0.95, (0 if empty else 1 + (frame + clip) % 3, 18, 3)) for frame in range(6)]
            document = kinetics_document(frames, label)
            (folder / f"kinetics_{part}" / f"{kinetics_sample(clip)}.json").write_text(json.dumps(document))
            listed[kinetics_sample(clip)] = {"has_skeleton": not empty, "label": document["label"], "label_index": label}
        (folder / f"kinetics_{part}_label.json").write_text(json.dumps(listed))
    return folder


def die(chunk: Chunk, skip: bool) -> int:
    """What happens to a worker that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def find_disk_full(chunk: Chunk, skip: bool) -> int:
    """What happens to a worker whose disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(chunk.shard))
