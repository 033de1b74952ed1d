"""Raw data sets in miniature: folders and archives in the formats as published, and workers that fail."""

import errno
import os
import signal
import zipfile
from itertools import islice, product
from pathlib import Path

import numpy as np
from scipy.io import savemat

from amanet.data.benchmark import get_dataset
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


def die(chunk: Chunk, skip: bool) -> int:
    """What happens to a worker that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def find_disk_full(chunk: Chunk, skip: bool) -> int:
    """What happens to a worker whose disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(chunk.shard))
