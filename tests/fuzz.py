"""Every reader of raw files under a coverage-guided fuzzer, which begins from sound files and looks for bytes that end in anything but a
clip or our error. It needs `pip install atheris` and is no part of the test suite: ``PYTHONPATH=tests python tests/fuzz.py --seconds 60``.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

atheris = import_module("atheris")

with atheris.instrument_imports(include=["amanet.data"]):
    from amanet.data.formats.kinetics import read_kinetics, read_kinetics_labels
    from amanet.data.formats.ntu import read_skeleton
    from amanet.data.formats.nucla import read_nucla
    from amanet.data.formats.sbu import read_skeleton_pos
    from amanet.data.formats.utd_mhad import read_skeleton_mat
    from amanet.data.own.clip_file import read_own_clip
    from amanet.data.published import get_dataset
    from amanet.errors import AmanetError
    from amanet.skeleton import load_layout
    from fabricate.ntu import skeleton_file
    from fabricate.own import as_csv, as_jsonl, as_npy, own_clip
    from fabricate.raw import write_kinetics, write_nucla, write_sbu, write_utd_mhad


LAYOUT = load_layout("sbu15")
CLASSES = get_dataset("kinetics").class_names
READERS: dict[str, Callable[[bytes], object]] = {
    "skeleton": lambda content: read_skeleton(content, "fuzzed").by_body_id(),
    "utd-mhad": lambda content: read_skeleton_mat(content, "fuzzed"),
    "sbu": lambda content: read_skeleton_pos(content, "fuzzed"),
    "nucla": lambda content: read_nucla(content, "a01_s01_e00_v03.json"),
    "kinetics": lambda content: read_kinetics(content, "fuzzed", CLASSES),
    "kinetics-labels": lambda content: read_kinetics_labels(content, "fuzzed", CLASSES),
    "own-npy": lambda content: read_own_clip(content, Path("fuzzed.npy"), LAYOUT),
    "own-csv": lambda content: read_own_clip(content, Path("fuzzed.csv"), LAYOUT),
    "own-jsonl": lambda content: read_own_clip(content, Path("fuzzed.jsonl"), LAYOUT),
}


def write_seeds(name: str, folder: Path) -> None:
    """Sound files to begin from."""
    folder.mkdir()
    clip = own_clip("clip", LAYOUT, bodies=1, frames=3)
    written = {"utd-mhad": write_utd_mhad, "sbu": write_sbu, "nucla": write_nucla, "kinetics": write_kinetics}
    match name:
        case "skeleton":
            (folder / "seed").write_bytes(skeleton_file([[1], [1, 2]]))
        case "own-npy":
            (folder / "seed").write_bytes(as_npy(clip.joints))
        case "own-csv":
            (folder / "seed").write_bytes(as_csv(clip, LAYOUT))
        case "own-jsonl":
            (folder / "seed").write_bytes(as_jsonl(clip))
        case "kinetics-labels":
            (folder / "seed").write_text('{"abc": {"has_skeleton": true, "label": "abseiling", "label_index": 0}}')
        case _:
            with tempfile.TemporaryDirectory() as raw:
                written[name](Path(raw) / "raw")
                files = [path for path in sorted(Path(raw).rglob("*")) if path.is_file()]
                for index, path in enumerate(files[:5]):
                    (folder / f"seed{index}").write_bytes(path.read_bytes())


def fuzz(name: str, seconds: int) -> None:
    """One reader in this process, which the fuzzer ends."""

    def read(content: bytes) -> None:
        with suppress(AmanetError):
            READERS[name](content)

    with tempfile.TemporaryDirectory() as folder:
        write_seeds(name, Path(folder) / "seeds")
        for seed in (Path(folder) / "seeds").iterdir():
            read(seed.read_bytes())  # compiles what is compiled
        limits = "-timeout=5", "-malloc_limit_mb=2048", "-rss_limit_mb=8192"  # the fuzzer itself grows by half a kilobyte a run
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", *limits, str(Path(folder) / "seeds")], read)
        atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--only", choices=list(READERS), help="this reader, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        fuzz(arguments.only, arguments.seconds)
    for reader in READERS:
        subprocess.run([sys.executable, *sys.argv, "--only", reader], check=True)
        print(f"{reader}: {arguments.seconds} s, no finding", flush=True)
