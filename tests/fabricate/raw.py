"""Raw data sets of NTU RGB+D in miniature: folders and archives of ``.skeleton`` files, and a worker that dies."""

import os
import signal
import zipfile
from itertools import islice, product
from pathlib import Path

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


def die(chunk: Chunk, skip: bool) -> int:
    """What happens to a worker that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0
