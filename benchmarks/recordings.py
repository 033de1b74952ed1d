"""Raw files to measure with: synthetic recordings of real length, under as many names of NTU RGB+D 120 as are wanted.

A few hundred distinct recordings stand for all files, as links in a folder or as copies of their packed bytes in an archive. So a data set
of real size takes minutes and not hours to make.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np

from amanet.data.published import get_dataset

BODY_IDS = (72057594037931101, 72057594037931102)


def write_recordings(folder: Path, number: int) -> list[Path]:
    """So many distinct recordings."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{index}.recording" for index in range(number)]
    for path in paths:
        _write_recording(path, rng)
    return paths


def _write_recording(path: Path, rng: np.random.Generator) -> None:
    """A recording of the length and number of bodies that NTU RGB+D has: 32 to 300 frames, 77 in the median; two people in a fifth."""
    frames = int(np.clip(rng.lognormal(np.log(77), 0.4), 32, 300))
    bodies = 2 if rng.uniform() < 0.2 else 1
    joints = rng.normal((0, 0, 3), 0.5, (bodies, 1, 25, 3)) + rng.normal(0, 0.01, (bodies, frames, 25, 3)).cumsum(axis=1)
    others = rng.uniform(0, 1, (bodies, frames, 25, 8))
    lines = [str(frames)]
    for frame in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"{BODY_IDS[body]} 0 1 0 1 0 0 -0.1472219 -0.2049653 2", "25"]
            numbers = np.concatenate([joints[body, frame], others[body, frame]], axis=1)
            lines += [" ".join(f"{number:.7g}" for number in joint) + " 2" for joint in numbers]
    path.write_text("\n".join([*lines, ""]))


def file_names(clips: int) -> Iterator[str]:
    """The first so many file names of NTU RGB+D 120."""
    numbers = product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    names = (
        f"S{setup:03}C{camera:03}P{performer:03}R{repetition:03}A{action:03}" for setup, camera, performer, repetition, action in numbers
    )
    return (f"{name}.skeleton" for name in islice(filter(get_dataset("ntu120").holds, names), clips))


def link_recordings(recordings: Sequence[Path], folder: Path, clips: int) -> Path:
    """A folder in which so many names are links to the recordings, in turn."""
    folder.mkdir()
    for index, name in enumerate(file_names(clips)):
        (folder / name).symlink_to(recordings[index % len(recordings)])
    return folder


def zip_recordings(recordings: Sequence[Path], path: Path, clips: int) -> Path:
    """An archive in which so many entries hold the recordings, in turn; each is packed once and copied from then on.

    `zipfile` packs an entry anew each time, which takes an hour for 114,480. The archive has the large form (zip64), as it has too many
    entries and too many bytes for the small one.
    """
    contents = [recording.read_bytes() for recording in recordings]
    packed = [zlib.compress(content, wbits=-zlib.MAX_WBITS) for content in contents]
    sizes = [struct.pack("<3L", zlib.crc32(content), len(each), len(content)) for content, each in zip(contents, packed, strict=True)]
    deflated = struct.pack("<4H", 0, 8, 0, 33)  # no flags, deflate, midnight of the first day of 1980
    directory = []
    with path.open("wb") as file:
        for index, name in enumerate(file_names(clips)):
            which, entry, place = index % len(packed), f"nturgb+d_skeletons/{name}".encode(), file.tell()
            file.write(b"PK\3\4" + struct.pack("<H", 45) + deflated + sizes[which] + struct.pack("<2H", len(entry), 0) + entry)
            file.write(packed[which])
            facts = struct.pack("<5H2L", len(entry), 12, 0, 0, 0, 0o100644 << 16, 2**32 - 1)
            directory.append(
                b"PK\1\2" + struct.pack("<2H", 45, 45) + deflated + sizes[which] + facts + entry + struct.pack("<2HQ", 1, 8, place)
            )
        place, length = file.tell(), sum(map(len, directory))
        file.write(b"".join(directory))
        file.write(b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, clips, clips, length, place))
        file.write(b"PK\6\7" + struct.pack("<LQL", 0, place + length, 1))
        file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0))
    return path
