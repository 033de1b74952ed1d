"""How fast `prepare` is and how much memory it takes, on as many files as the largest data set has.

Some hundred synthetic recordings of real length are given many names by links, so that little disk is needed; then they are prepared as NTU
RGB+D 120 is. Example: ``python benchmarks/prepare_scale.py --clips 114480 --workers 2``.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from itertools import islice, product
from pathlib import Path

import numpy as np

from amanet.data.benchmark import get_dataset
from amanet.prepare import prepare

BODY_IDS = (72057594037931101, 72057594037931102)


def write_recording(path: Path, rng: np.random.Generator) -> None:
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


def link_names(recordings: list[Path], folder: Path, clips: int) -> None:
    """Gives the recordings so many names of NTU RGB+D 120, in turn."""
    numbers = product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    names = (
        f"S{setup:03}C{camera:03}P{performer:03}R{repetition:03}A{action:03}" for setup, camera, performer, repetition, action in numbers
    )
    folder.mkdir()
    for index, name in enumerate(islice(filter(get_dataset("ntu120").holds, names), clips)):
        (folder / f"{name}.skeleton").symlink_to(recordings[index % len(recordings)])


class MemoryWatch(threading.Thread):
    """Watches the memory of this process and of all that descend from it, ten times a second.

    Attributes:
        resident: the highest sum of their resident sets, bytes; pages that they share count once for each.
        proportional: the highest sum of their proportional sets, bytes; shared pages are shared out.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.proportional = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.1):
            sums = [sum(parts) for parts in zip(*map(memory_of, family()), strict=True)]
            self.resident, self.proportional = max(self.resident, sums[0]), max(self.proportional, sums[1])

    def stop(self) -> None:
        self._done.set()
        self.join()


def family() -> list[int]:
    """This process and its descendants."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory_of(process: int) -> tuple[int, int]:
    """Resident and proportional set of a process, bytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=114_480, help="names to prepare")
    parser.add_argument("--recordings", type=int, default=200, help="distinct recordings behind them")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room; a temporary folder if not given")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        rng = np.random.default_rng(0)
        recordings = [folder / f"{index}.recording" for index in range(arguments.recordings)]
        for path in recordings:
            write_recording(path, rng)
        link_names(recordings, folder / "raw", arguments.clips)
        watch = MemoryWatch()
        watch.start()
        began = time.monotonic()
        store = prepare("ntu120", folder / "raw", folder / "store", workers=arguments.workers)
        seconds = time.monotonic() - began
        watch.stop()
        result = {
            "clips": len(store),
            "seconds": round(seconds, 1),
            "files per second": round(len(store) / seconds),
            "peak resident MB": watch.resident >> 20,
            "peak proportional MB": watch.proportional >> 20,
            "raw MB": sum(recordings[index % len(recordings)].stat().st_size for index in range(len(store))) >> 20,
            "store MB": sum(path.stat().st_size for path in store.path.iterdir()) >> 20,
        }
        print(json.dumps(result, indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
