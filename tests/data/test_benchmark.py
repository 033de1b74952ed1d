"""Data sets and protocols: names, classes, and splits whose sizes are the published ones."""

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.benchmark import Dataset, SampleKey
from amanet.data.normalise import Tracks
from amanet.data.published import BENCHMARKS, DATASETS, get_benchmark, get_dataset
from amanet.errors import ExperimentError, FormatError
from amanet.skeleton import load_layout
from fabricate.ntu import skeleton_file

NAME_LISTS = {"ntu60": "ntu_available_names.txt.xz", "ntu120": "ntu120_available_names.txt.xz"}
MISSING_LISTS = {"ntu60": "NTU_RGBD_samples_with_missing_skeletons.txt", "ntu120": "NTU_RGBD120_samples_with_missing_skeletons.txt"}


def published_names(shared: Path, dataset: str) -> list[str]:
    if dataset == "utd-mhad":
        return [path.stem for path in (shared / "data/utd_mhad/Skeleton").glob("*.mat")]
    if dataset == "sbu":
        return [DATASETS[dataset].sample_of(path) for path in (shared / "data/sbu").rglob("*.txt")]
    return lzma.decompress((shared / "data/ntu/lists" / NAME_LISTS[dataset]).read_bytes()).decode().split()


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in ("nucla", "kinetics")])  # whose names are not at hand
def test_splits_have_the_published_sizes(shared: Path, name: str) -> None:
    benchmark = BENCHMARKS[name]
    names = published_names(shared, benchmark.dataset.name)
    assert benchmark.dataset.excluded.isdisjoint(names)
    training = sum(benchmark.in_training(benchmark.dataset.parse(sample)) for sample in names)
    assert (training, len(names) - training) == (benchmark.num_train, benchmark.num_test)


@pytest.mark.parametrize("name", MISSING_LISTS)
def test_excluded_samples_are_the_official_ones(shared: Path, name: str) -> None:
    official = (shared / "data/ntu/lists" / MISSING_LISTS[name]).read_text().split("\n\n")[-1].split()
    dataset = DATASETS[name]
    assert dataset.excluded == set(official)
    assert len(official) == {"ntu60": 302, "ntu120": 535}[name]
    assert not any(map(dataset.holds, official))


def test_ntu60_is_the_beginning_of_ntu120() -> None:
    small, large = DATASETS["ntu60"], DATASETS["ntu120"]
    assert large.class_names[: small.num_classes] == small.class_names
    assert small.excluded < large.excluded


@pytest.mark.parametrize(
    ("name", "number", "first", "last"),
    [
        ("ntu60", 60, "drink water", "walking apart from each other"),
        ("ntu120", 120, "drink water", "finger-guessing game (playing rock-paper-scissors)"),
        ("utd-mhad", 27, "right arm swipe to the left", "squat (two arms stretch out)"),
        ("sbu", 8, "approaching", "punching"),
        ("nucla", 10, "pick up with one hand", "carry"),
        ("kinetics", 400, "abseiling", "zumba"),
    ],
)
def test_class_names(name: str, number: int, first: str, last: str) -> None:
    names = DATASETS[name].class_names
    assert len(names) == len(set(names)) == number
    assert (names[0], names[-1]) == (first, last)
    assert all(name.isascii() and name == name.strip() for name in names)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_data_sets_name_a_layout_and_an_example_that_exist(dataset: Dataset) -> None:
    load_layout(dataset.layout)
    assert dataset.parse(dataset.name_example).label in (0, None)
    assert dataset.sample_of(Path("folder") / dataset.file_example()) == dataset.name_example


def test_names_are_taken_apart() -> None:
    assert get_dataset("ntu60").parse("S017C003P020R002A058") == SampleKey(
        setup=17, camera=3, performer=20, replication=2, action=58, label=57
    )
    assert get_dataset("utd-mhad").parse("a10_s3_t2_skeleton") == SampleKey(performer=3, action=10, label=9, replication=2)
    assert get_dataset("sbu").parse("s03s01-07-002") == SampleKey(performer=301, action=7, label=6, replication=2)
    assert get_dataset("nucla").parse("a12_s10_e03_v02") == SampleKey(performer=10, action=12, label=9, replication=3, camera=2)
    assert get_dataset("kinetics").parse("kinetics_val---a_b-c--12") == SampleKey(part="val")


def test_every_pair_of_sbu_tests_in_one_fold(shared: Path) -> None:
    keys = [DATASETS["sbu"].parse(sample) for sample in published_names(shared, "sbu")]
    tested = [{key.performer for key in keys if not fold.in_training(key)} for name, fold in BENCHMARKS.items() if "sbu" in name]
    assert len(tested) == 5
    assert sum(map(len, tested)) == len(set().union(*tested)) == len({key.performer for key in keys}) == 21


@pytest.mark.parametrize(
    ("dataset", "sample"),
    [
        ("ntu60", "S001C001P001R001A061"),
        ("ntu60", "S018C001P001R001A001"),
        ("ntu60", "S000C001P001R001A001"),
        ("ntu60", "S001C004P001R001A001"),
        ("ntu60", "S001C001P001R001A000"),
        ("ntu60", "S001C001P001R003A001"),
        ("ntu60", "S001C001P001R001A001_rgb"),
        ("ntu60", "S001C001P001R001A001\n"),
        ("ntu60", "s001c001p001r001a001"),
        ("ntu60", "S٠٠١C001P001R001A001"),
        ("ntu120", "S033C001P001R001A001"),
        ("ntu120", "S032C001P001R001A121"),
        ("nucla", "a01_s11_e00_v01"),
        ("nucla", "a01_s00_e00_v01"),
        ("nucla", "a01_s01_e00_v04"),
        ("nucla", "a1_s01_e00_v01"),
        ("kinetics", "kinetics_test-0aBcDeFgHiJ"),
        ("kinetics", "kinetics_train-0aBcDeFgHi"),
        ("kinetics", "kinetics_train_label"),
        ("kinetics", "0aBcDeFgHiJ"),
        ("utd-mhad", "a28_s1_t1_skeleton"),
        ("utd-mhad", "a0_s1_t1_skeleton"),
        ("utd-mhad", "a1_s9_t1_skeleton"),
        ("utd-mhad", "a1_s1_t1"),
        ("utd-mhad", ""),
    ],
)
def test_names_of_no_sample_are_refused(dataset: str, sample: str) -> None:
    assert not get_dataset(dataset).holds(sample)
    with pytest.raises(FormatError):
        get_dataset(dataset).parse(sample)


@given(st.text(max_size=30), st.sampled_from(sorted(DATASETS)))
def test_no_name_breaks_the_parser(sample: str, name: str) -> None:
    assert isinstance(get_dataset(name).holds(sample), bool)


@pytest.mark.parametrize("tracks", ["slot", "body-id"])
def test_clips_are_read_with_their_label_and_name(tracks: Tracks) -> None:
    content = skeleton_file([[0], [], [1]])
    clip = get_dataset("ntu60").read(content, "archive.zip/nturgb+d/S001C001P001R001A011.skeleton", tracks)
    assert (clip.sample, clip.label) == ("S001C001P001R001A011", 10)
    assert clip.num_bodies == {"slot": 1, "body-id": 2}[tracks]


@pytest.mark.parametrize(
    "path", ["folder/S001C001P001R001A061.skeleton", "folder/S001C001P001R001A001.txt", "folder/S001C001P001R001A001.skeleton"]
)
def test_errors_of_reading_name_the_file(path: str) -> None:
    with pytest.raises(FormatError) as caught:
        get_dataset("ntu60").read(b"1\n0\n", path, "slot")
    assert caught.value.where == path


@pytest.mark.parametrize("get", [get_dataset, get_benchmark])
def test_an_unknown_name_lists_the_known(get) -> None:
    with pytest.raises(ExperimentError, match="ntu61") as caught:
        get("ntu61")
    assert "ntu60" in str(caught.value)
