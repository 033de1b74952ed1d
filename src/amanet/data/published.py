"""The published data sets and benchmarks, by name, with the counts that their authors publish."""

import re
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from amanet.data.benchmark import OWN, OWN_BENCHMARK, Benchmark, Dataset, OwnBenchmark, SampleKey
from amanet.data.formats.kinetics import read_kinetics, read_kinetics_labels
from amanet.data.formats.ntu import read_skeleton
from amanet.data.formats.nucla import read_nucla
from amanet.data.formats.sbu import read_skeleton_pos
from amanet.data.formats.utd_mhad import read_skeleton_mat
from amanet.data.normalise import Tracks
from amanet.errors import ExperimentError
from amanet.skeleton import SkeletonClip

Entry = TypeVar("Entry")


def get_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        ExperimentError: there is none; the message lists the names.
    """
    return _look_up(DATASETS, name, "data set", OWN)


def get_benchmark(name: str) -> Benchmark | OwnBenchmark:
    """The benchmark of that name: a published one, or ``own`` or ``own-NAME`` for a split of a data set of one's own.

    Raises:
        ExperimentError: there is none; the message lists the names.
    """
    own = OWN_BENCHMARK.fullmatch(name)
    if own is not None:
        return OwnBenchmark(name, "split" + (f"_{own[1]}" if own[1] else ""))
    return _look_up(BENCHMARKS, name, "benchmark", OWN, f"{OWN}-NAME")


def _look_up(entries: Mapping[str, Entry], name: str, kind: str, *others: str) -> Entry:
    if name not in entries:
        raise ExperimentError(f"there is no {kind} {name!r}", expected=f"one of {', '.join((*entries, *others))}", got=name)
    return entries[name]


def _protocol_lines(file_name: str) -> tuple[str, ...]:
    return tuple(files("amanet.data").joinpath("protocols", file_name).read_text(encoding="utf-8").splitlines())


def _read_ntu(content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
    recording = read_skeleton(content, path)
    return recording.by_slot() if tracks == "slot" else recording.by_body_id()


def _read_utd_mhad(content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
    return read_skeleton_mat(content, path)  # one body: slot and id are the same


def _read_sbu(content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
    return read_skeleton_pos(content, path)  # two bodies who stay: slot and id are the same


def _read_nucla(content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
    return read_nucla(content, path)  # one body: slot and id are the same


def _read_kinetics(content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
    return read_kinetics(content, path, KINETICS_CLASSES)  # bodies have no ids: the slot is all there is


def _read_kinetics_labels(content: bytes, path: Path | str) -> dict[str, int | None]:
    part = Path(path).name.removesuffix("_label.json")
    return {f"{part}-{name}": label for name, label in read_kinetics_labels(content, path, KINETICS_CLASSES).items()}


NTU_PATTERN = re.compile(r"S(?P<setup>\d{3})C(?P<camera>00[1-3])P(?P<performer>\d{3})R(?P<replication>00[12])A(?P<action>\d{3})", re.ASCII)
NTU_CLASSES = _protocol_lines("ntu_classes.txt")
NTU_MISSING = _protocol_lines("ntu_missing.txt")
NTU60_SETUPS, NTU120_SETUPS = 17, 32
NTU60_TRAINING_PERFORMERS = frozenset({1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38})
NTU120_TRAINING_PERFORMERS = NTU60_TRAINING_PERFORMERS | {
    *(45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103)
}  # fmt: skip
NTU60_TRAINING_CAMERAS = frozenset({2, 3})
SBU_FOLDS = (
    (frozenset({102, 304, 502, 604}), 55),
    (frozenset({203, 207, 305, 503}), 52),
    (frozenset({103, 107, 701, 703}), 56),
    (frozenset({201, 206, 302, 306}), 54),
    (frozenset({402, 403, 406, 602, 603}), 65),
)
"""The pairs that each fold tests on, and how many clips they are."""
SBU_CLIPS = 282
NUCLA_TRAINING_CAMERAS = frozenset({1, 2})
KINETICS_CLASSES = _protocol_lines("kinetics_classes.txt")


def _ntu(name: str, num_classes: int, max_setup: int) -> Dataset:
    return Dataset(
        name=name,
        layout="ntu25",
        class_names=NTU_CLASSES[:num_classes],
        max_bodies=2,
        suffix=".skeleton",
        pattern=NTU_PATTERN,
        name_example="S001C001P001R001A001",
        reader=_read_ntu,
        max_setup=max_setup,
        excluded=frozenset(sample for sample in NTU_MISSING if int(sample[1:4]) <= max_setup),
    )


def _performer_in(performers: frozenset[int], key: SampleKey) -> bool:
    return key.performer in performers


def _camera_in(cameras: frozenset[int], key: SampleKey) -> bool:
    return key.camera in cameras


def _pair_not_in(pairs: frozenset[int], key: SampleKey) -> bool:
    return key.performer not in pairs


def _part_is(part: str, key: SampleKey) -> bool:
    return key.part == part


def _even_setup(key: SampleKey) -> bool:
    return key.setup is not None and key.setup % 2 == 0


def _odd_performer(key: SampleKey) -> bool:
    return key.performer is not None and key.performer % 2 == 1


NTU60 = _ntu("ntu60", 60, NTU60_SETUPS)
NTU120 = _ntu("ntu120", 120, NTU120_SETUPS)
UTD_MHAD = Dataset(
    name="utd-mhad",
    layout="kinect20",
    class_names=_protocol_lines("utd_mhad_classes.txt"),
    max_bodies=1,
    suffix=".mat",
    pattern=re.compile(r"a(?P<action>[1-9]\d?)_s(?P<performer>[1-8])_t(?P<replication>[1-4])_skeleton", re.ASCII),
    name_example="a1_s1_t1_skeleton",
    reader=_read_utd_mhad,
)
SBU = Dataset(
    name="sbu",
    layout="sbu15",
    class_names=_protocol_lines("sbu_classes.txt"),
    max_bodies=2,
    suffix="skeleton_pos.txt",
    pattern=re.compile(r"s(?P<performer>0[1-7]s0[1-7])-(?P<action>\d\d)-(?P<replication>\d{3})", re.ASCII),
    name_example="s01s02-01-001",
    reader=_read_sbu,
    folders=3,
)
NUCLA = Dataset(
    name="nucla",
    layout="kinect20",
    class_names=_protocol_lines("nucla_classes.txt"),
    max_bodies=1,
    suffix=".json",
    pattern=re.compile(r"a(?P<action>\d\d)_s(?P<performer>0[1-9]|10)_e(?P<replication>\d\d)_v(?P<camera>0[1-3])", re.ASCII),
    name_example="a01_s01_e00_v01",
    reader=_read_nucla,
    actions=(1, 2, 3, 4, 5, 6, 8, 9, 11, 12),
)
KINETICS = Dataset(
    name="kinetics",
    layout="kinetics18",
    class_names=KINETICS_CLASSES,
    max_bodies=2,
    suffix=".json",
    pattern=re.compile(r"kinetics_(?P<part>train|val)-[\w-]{11}", re.ASCII),
    name_example="kinetics_train-0aBcDeFgHiJ",
    reader=_read_kinetics,
    folders=1,
    label_list=re.compile(r"kinetics_(train|val)_label\.json"),
    label_reader=_read_kinetics_labels,
)
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (NTU60, NTU120, UTD_MHAD, SBU, NUCLA, KINETICS)}
BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="ntu60-xsub",
            dataset=NTU60,
            in_training=partial(_performer_in, NTU60_TRAINING_PERFORMERS),
            num_train=40_091,
            num_test=16_487,
            description="Cross-subject: 20 of the 40 performers train, the others test.",
        ),
        Benchmark(
            name="ntu60-xview",
            dataset=NTU60,
            in_training=partial(_camera_in, NTU60_TRAINING_CAMERAS),
            num_train=37_646,
            num_test=18_932,
            description="Cross-view: cameras 2 and 3 train, camera 1 tests.",
        ),
        Benchmark(
            name="ntu120-xsub",
            dataset=NTU120,
            in_training=partial(_performer_in, NTU120_TRAINING_PERFORMERS),
            num_train=63_026,
            num_test=50_919,
            description="Cross-subject: 53 of the 106 performers train, the others test.",
        ),
        Benchmark(
            name="ntu120-xset",
            dataset=NTU120,
            in_training=_even_setup,
            num_train=54_468,
            num_test=59_477,
            description="Cross-setup: setups of even number train, those of odd number test.",
        ),
        Benchmark(
            name="utd-mhad",
            dataset=UTD_MHAD,
            in_training=_odd_performer,
            num_train=431,
            num_test=430,
            description="Cross-subject: performers of odd number train, those of even number test.",
        ),
        *(
            Benchmark(
                name=f"sbu-fold{fold}",
                dataset=SBU,
                in_training=partial(_pair_not_in, pairs),
                num_train=SBU_CLIPS - num_test,
                num_test=num_test,
                description=f"Fold {fold} of five: {len(pairs)} of the 21 pairs test, the others train. Results are means over all folds.",
            )
            for fold, (pairs, num_test) in enumerate(SBU_FOLDS, start=1)
        ),
        Benchmark(
            name="nucla",
            dataset=NUCLA,
            in_training=partial(_camera_in, NUCLA_TRAINING_CAMERAS),
            num_train=1_020,
            num_test=464,
            description="Cross-view: cameras 1 and 2 train, camera 3 tests.",
        ),
        Benchmark(
            name="kinetics",
            dataset=KINETICS,
            in_training=partial(_part_is, "train"),
            num_train=240_436,
            num_test=19_796,
            description="The part kinetics_train trains, kinetics_val tests.",
        ),
    )
}
