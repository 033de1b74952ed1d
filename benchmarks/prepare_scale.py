"""How fast `prepare` is and how much memory it takes, on as many files as the largest data set has.

Some hundred synthetic recordings of real length are given many names, by links in a folder or, with ``--zip``, as entries of an archive of
real size (about 15 GB); then they are prepared as NTU RGB+D 120 is.
Example: ``python benchmarks/prepare_scale.py --clips 114480 --workers 2 --zip``.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from recordings import link_recordings, write_recordings, zip_recordings

from amanet.prepare import prepare


class Watch(threading.Thread):
    """Watches this process and all that descend from it, twice a second, as looking takes time too.

    Attributes:
        resident: the highest sum of their resident sets, bytes; pages that they share count once for each.
        proportional: the highest sum of their proportional sets, bytes; shared pages are shared out.
        processor: the time on a core that each has had, seconds, by process.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.proportional = 0
        self.processor: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.5):
            seconds = family()
            self.processor |= seconds
            sums = [sum(parts) for parts in zip(*map(memory_of, seconds), strict=True)]
            self.resident, self.proportional = max(self.resident, sums[0]), max(self.proportional, sums[1])

    def stop(self) -> None:
        self._done.set()
        self.join()


def family() -> dict[int, float]:
    """This process and its descendants, with the time on a core that each has had, seconds."""
    parents, seconds = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
        process = int(status.parent.name)
        parents[process], seconds[process] = int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return {process: seconds[process] for process in found}


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
    parser.add_argument("--zip", action="store_true", help="from an archive, not from a folder")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room; a temporary folder if not given")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        recordings = write_recordings(folder / "recordings", arguments.recordings)
        gather = zip_recordings if arguments.zip else link_recordings
        raw = gather(recordings, folder / ("raw.zip" if arguments.zip else "raw"), arguments.clips)
        watch = Watch()
        watch.start()
        began = time.monotonic()
        store = prepare("ntu120", raw, folder / "store", workers=arguments.workers)
        seconds = time.monotonic() - began
        watch.stop()
        result = {
            "from": f"an archive of {raw.stat().st_size >> 20} MB" if arguments.zip else "a folder",
            "clips": len(store),
            "seconds": round(seconds, 1),
            "files per second": round(len(store) / seconds),
            "files per second and core, while on one": round(len(store) / sum(watch.processor.values())),
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
