"""The same store comes out of folders and archives, with any number of workers, and after being killed at any moment."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest

import amanet.prepare
from amanet.data.archive import list_members
from amanet.data.dataset import split_rows
from amanet.data.normalise import RECIPES
from amanet.data.published import NTU60, get_benchmark, get_dataset
from amanet.data.shards import cut_chunks, is_made, make_shard, read_shard
from amanet.data.store import ClipStore
from amanet.data.store_writer import StoreWriter
from amanet.errors import AmanetError, ExperimentError, FormatError, PlaceError, StoreError
from amanet.prepare import prepare
from amanet.skeleton import load_layout
from fabricate.ntu import skeleton_file
from fabricate.raw import CONTENTS, die, find_disk_full, raw_samples, write_raw, zip_raw

NUM_FILES = 700  # three chunks
DAMAGED = raw_samples(NUM_FILES)[600]


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "ntu", NUM_FILES)


@pytest.fixture(scope="module")
def clean(raw, tmp_path_factory) -> ClipStore:
    return prepare("ntu60", raw, tmp_path_factory.mktemp("clean") / "store", workers=2)


@pytest.fixture
def own_raw(tmp_path) -> Path:
    return write_raw(tmp_path / "raw", NUM_FILES)


def damage(raw: Path) -> Path:
    path = next(raw.rglob(f"{DAMAGED}.skeleton"))
    path.write_bytes(path.read_bytes().replace(b"\n25\n", b"\n24\n", 1))
    return path


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_clips_are_those_of_reader_and_recipe(clean, raw):
    assert clean.samples == raw_samples(NUM_FILES)
    clean.verify()
    dataset, recipe = get_dataset("ntu60"), RECIPES["aligned"]
    for member in list_members([raw], ".skeleton")[:6]:
        expected = recipe.apply(dataset.read(member.read(), member.where, recipe.tracks), load_layout("ntu25"), max_bodies=2)
        clip = clean.clip(clean.samples.index(member.sample))
        np.testing.assert_array_equal(clip.joints, expected.joints)
        np.testing.assert_array_equal(clip.present, expected.present)
        assert clip.label == int(member.sample[-3:]) - 1


def test_archives_and_workers_change_nothing(clean, raw, tmp_path):
    archive = zip_raw(raw / "one", tmp_path / "one.zip")
    store = prepare("ntu60", [archive, raw / "two"], tmp_path / "store", workers=3)
    for name in ("joints.npy", "index.parquet", "store.json", "report.json"):
        assert (store.path / name).read_bytes() == (clean.path / name).read_bytes()
    assert names_in(tmp_path) == {"one.zip", "store"}


def test_what_does_not_belong_is_left_out_and_reported(clean, own_raw, tmp_path, capsys):
    excluded, foreign = "S001C002P005R002A008", "S020C001P001R001A001"
    assert excluded in get_dataset("ntu60").excluded
    for sample in (excluded, foreign):
        (own_raw / f"{sample}.skeleton").write_bytes(b"never read")
    store = prepare("ntu60", own_raw, tmp_path / "store")
    assert store.header.content == clean.header.content
    report = json.loads((store.path / "report.json").read_text())
    assert report["kept"] == NUM_FILES
    assert [(each["sample"], each["reason"]) for each in report["dropped"]] == [
        (excluded, "excluded by its authors"),
        (foreign, "not of ntu60"),
    ]
    assert report["bodies"] == {"1": 467, "2": 233}
    assert report["frames"] == {"shortest": 3, "median": 4.0, "longest": 5}
    summary = capsys.readouterr().out
    by_camera = sum(sample[5:8] in ("002", "003") for sample in store.samples)
    for line in (
        f"ntu60-xview: {by_camera} of 37,646 train, {700 - by_camera} of 18,932 test",
        "700 │ kept",
        "1 │ excluded by its authors",
        "1 │ not of ntu60",
        "467 │ of 1 body",
        "233 │ of 2 bodies",
        "3 to 5 frames, median 4",
    ):
        assert line in summary


def test_damaged_file_stops_and_the_rest_is_not_done_again(clean, own_raw, tmp_path):
    sound = next(own_raw.rglob(f"{DAMAGED}.skeleton")).read_bytes()
    path = damage(own_raw)
    for _ in range(2):
        with pytest.raises(FormatError) as caught:
            prepare("ntu60", own_raw, tmp_path / "store", workers=1)
        assert caught.value.where == str(path)
        assert caught.value.line
        assert "finished work is kept" in str(caught.value)
        assert names_in(tmp_path) == {"raw", "store.partial"}
    shards = {shard.name: shard.stat().st_ino for shard in (tmp_path / "store.partial").iterdir()}
    assert len(shards) == 2
    with pytest.raises(FormatError):
        prepare("ntu60", own_raw, tmp_path / "store", workers=2)
    assert {shard.name: shard.stat().st_ino for shard in (tmp_path / "store.partial").iterdir()} == shards
    path.write_bytes(sound)
    assert prepare("ntu60", own_raw, tmp_path / "store").header.content == clean.header.content


def test_damaged_file_is_skipped_on_demand(own_raw, tmp_path):
    path = damage(own_raw)
    store = prepare("ntu60", own_raw, tmp_path / "store", on_error="skip")
    assert store.samples == [sample for sample in raw_samples(NUM_FILES) if sample != DAMAGED]
    (dropped,) = json.loads((store.path / "report.json").read_text())["dropped"]
    assert (dropped["sample"], dropped["where"], dropped["reason"]) == (DAMAGED, str(path), "cannot be read")
    with pytest.raises(FormatError) as caught:
        prepare("ntu60", own_raw, tmp_path / "other", workers=1)
    error = caught.value
    told = {"detail": error.problem, "line": error.line, "expected": error.expected, "got": error.got}
    assert None not in told.values()
    assert told.items() <= dropped.items()


def test_shard_with_skipped_files_will_not_do_when_they_are_to_be_seen(own_raw, tmp_path):
    damage(own_raw)
    members = list_members([own_raw], ".skeleton")[590:610]
    (chunk,) = cut_chunks(members, NTU60, "aligned", tmp_path)
    assert not is_made(chunk, skip=True)
    assert make_shard(chunk, skip=True) == 20
    rows, dropped = read_shard(chunk.shard)
    assert (len(rows), [each.sample for each in dropped]) == (19, [DAMAGED])
    assert is_made(chunk, skip=True)
    assert not is_made(chunk, skip=False)


def test_other_settings_never_use_old_shards(own_raw, tmp_path):
    path = damage(own_raw)
    with pytest.raises(FormatError):
        prepare("ntu60", own_raw, tmp_path / "store", recipe="msg3d")
    old = names_in(tmp_path / "store.partial")
    members = list_members([own_raw], ".skeleton")
    msg3d, plain = ({chunk.shard.name for chunk in cut_chunks(members, NTU60, recipe, tmp_path)} for recipe in ("msg3d", "raw"))
    assert old
    assert old <= msg3d
    assert not plain & msg3d
    path.unlink()
    store = prepare("ntu60", own_raw, tmp_path / "store", recipe="raw")
    assert store.recipe == "raw"
    assert store.header.content == prepare("ntu60", own_raw, tmp_path / "again", recipe="raw").header.content


def test_touched_file_is_read_again(own_raw, tmp_path):
    before = cut_chunks(list_members([own_raw], ".skeleton"), NTU60, "aligned", tmp_path)
    damage(own_raw)  # in the third chunk, and not in size
    after = cut_chunks(list_members([own_raw], ".skeleton"), NTU60, "aligned", tmp_path)
    assert [one.shard == two.shard for one, two in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.parametrize("change", [lambda content: b"", lambda content: content[:-7], lambda content: flip(content, 1 / 2)])
def test_damaged_shard_is_made_anew(tmp_path, monkeypatch, change):
    raw, out = write_raw(tmp_path / "raw", 8), tmp_path / "store"
    clean = prepare("ntu60", raw, tmp_path / "clean")
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "extend", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare("ntu60", raw, out)
    (shard,) = (tmp_path / "store.partial").iterdir()
    shard.write_bytes(change(shard.read_bytes()))
    assert prepare("ntu60", raw, out).header.content == clean.header.content


@pytest.mark.parametrize("place", np.linspace(0, 0.999999, 12))
def test_every_flipped_bit_of_a_shard_is_noticed(tmp_path, place):
    (chunk,) = cut_chunks(list_members([write_raw(tmp_path / "raw", 4)], ".skeleton"), NTU60, "aligned", tmp_path)
    make_shard(chunk, skip=False)
    assert is_made(chunk, skip=False)
    chunk.shard.write_bytes(flip(chunk.shard.read_bytes(), place))
    assert not is_made(chunk, skip=False)
    with pytest.raises(StoreError, match="is damaged"):
        read_shard(chunk.shard)


def flip(content: bytes, place: float) -> bytes:
    """The content with another bit at a fraction of its length."""
    changed = bytearray(content)
    changed[int(place * len(content))] ^= 16
    return bytes(changed)


def start_preparing(raw: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    program = "import sys; from pathlib import Path; from amanet.prepare import prepare; "
    program += "prepare('ntu60', Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3]))"
    command = [sys.executable, "-c", program, str(raw), str(out), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(clean, raw, tmp_path):
    """Kills the process alone or with its workers, a random while after it got somewhere, seven times over; the first two times before
    a shard is done, or as soon as one is.
    """
    out, partial, rng = tmp_path / "store", tmp_path / "store.partial", random.Random(1)
    moments = [
        *[partial.exists] * 2,
        *[lambda number=number: len(list(partial.glob("*.arrow"))) >= number for number in (1, 2, 3)],
        *[(tmp_path / "store.writing").exists] * 2,
    ]
    made: dict[str, int] = {}
    for number, moment in enumerate(moments):
        process = start_preparing(raw, out, workers=1 + number % 3)
        wait_for(lambda moment=moment, process=process: moment() or process.poll() is not None)
        due = time.monotonic() + rng.uniform(0, 2.0 if number < 2 else 0.03)
        wait_for(lambda due=due, early=number < 2: time.monotonic() > due or (early and any(partial.glob("*.arrow"))))
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        wait_for(lambda process=process: group_is_gone(process.pid))
        if out.exists():  # the last moments are short
            assert number >= 3
            break
        assert names_in(tmp_path) <= {"store.partial", "store.lock", "store.writing"}
        there = {shard.name: shard.stat().st_ino for shard in partial.glob("*.arrow")}
        assert made.items() <= there.items()  # none of the finished shards was made again
        made = there
    if not out.exists():
        assert start_preparing(raw, out, workers=2).wait() == 0
    ClipStore.open(out).verify()
    for name in ("joints.npy", "index.parquet", "store.json", "report.json"):
        assert (out / name).read_bytes() == (clean.path / name).read_bytes()


def test_second_preparation_of_one_store_is_refused(clean, raw, tmp_path):
    first = start_preparing(raw, tmp_path / "store", workers=1)
    wait_for((tmp_path / "store.partial").exists)
    with pytest.raises(StoreError, match="another process is preparing this store"):
        prepare("ntu60", raw, tmp_path / "store")
    assert first.wait() == 0
    assert ClipStore.open(tmp_path / "store").header.content == clean.header.content
    assert names_in(tmp_path) == {"store"}


def test_lock_of_a_dead_process_is_no_obstacle(clean, raw, tmp_path):
    (tmp_path / "store.lock").touch()
    assert prepare("ntu60", raw, tmp_path / "store").header.content == clean.header.content
    assert names_in(tmp_path) == {"store"}


def test_killed_worker_is_an_error_that_says_so(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(amanet.prepare, "make_shard", die)
    with pytest.raises(StoreError, match="a worker was killed"):
        prepare("ntu60", raw, tmp_path / "store")


def test_killed_starter_of_workers_is_an_error_that_says_so(raw, tmp_path, monkeypatch):
    def start(worker: ForkServerProcess) -> None:
        raise EOFError

    monkeypatch.setattr(ForkServerProcess, "start", start)
    with pytest.raises(StoreError, match="a worker was killed"):
        prepare("ntu60", raw, tmp_path / "store")


def test_full_disk_is_an_error_that_says_so_and_costs_no_work(clean, raw, tmp_path, monkeypatch):
    def extend(writer: StoreWriter, rows: pa.Table) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "extend", extend)
        with pytest.raises(PlaceError, match="No space left on device"):
            prepare("ntu60", raw, tmp_path / "store")
    assert names_in(tmp_path) == {"store.partial"}
    assert len(names_in(tmp_path / "store.partial")) == 3
    assert prepare("ntu60", raw, tmp_path / "store").header.content == clean.header.content


def test_full_disk_of_a_worker_is_an_error_that_says_so(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(amanet.prepare, "make_shard", find_disk_full)
    with pytest.raises(PlaceError, match="No space left on device") as caught:
        prepare("ntu60", raw, tmp_path / "store")
    assert "make room" in str(caught.value.cure)
    assert names_in(tmp_path) == {"store.partial"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_full_disk_leaves_no_half_shard(raw, tmp_path):
    (chunk,) = cut_chunks(list_members([raw], ".skeleton")[:20], NTU60, "aligned", tmp_path)
    chunk.shard.with_suffix(f".arrow-{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        make_shard(chunk, skip=False)
    assert names_in(tmp_path) == set()


def interrupt_all(process: subprocess.Popen[str]) -> None:
    """What a terminal does at Ctrl-C: it tells the workers too, which may just be starting."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("seconds", [0.0, 0.7])
@pytest.mark.parametrize("stop", [interrupt_all, subprocess.Popen.terminate], ids=["Ctrl-C", "SIGTERM"])
def test_interrupt_is_one_line_and_costs_no_work(clean, raw, tmp_path, seconds, stop):
    command = [sys.executable, "-m", "amanet", "prepare", "ntu60", str(tmp_path / "store"), str(raw)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for((tmp_path / "store.partial").exists)
    time.sleep(seconds)
    stop(process)
    said, _ = process.communicate()
    wait_for(lambda: group_is_gone(process.pid))
    if (tmp_path / "store").exists():  # it was faster, and may have been stopped after it
        assert "Traceback" not in said
        assert names_in(tmp_path) - {"store.partial"} == {"store"}  # or just before it cleared its work away
        assert ClipStore.open(tmp_path / "store").header.content == clean.header.content
        return
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line and " of 700 files" not in line] == ["amanet prepare: interrupted"]
    assert names_in(tmp_path) == {"store.partial"}
    assert prepare("ntu60", raw, tmp_path / "store").header.content == clean.header.content


def test_clips_without_a_body_are_refused_or_listed(own_raw, tmp_path):
    empty, blind = raw_samples(NUM_FILES)[3], raw_samples(NUM_FILES)[300]
    next(own_raw.rglob(f"{empty}.skeleton")).write_bytes(skeleton_file([[], []]))
    lines = skeleton_file([[0]]).decode().splitlines()
    unseen = [" ".join(["0 0 0", *line.split()[3:]]) if len(line.split()) == 12 else line for line in lines]
    next(own_raw.rglob(f"{blind}.skeleton")).write_text("\n".join(unseen))
    with pytest.raises(FormatError, match="no body in any frame"):
        prepare("ntu60", own_raw, tmp_path / "store", workers=1)
    store = prepare("ntu60", own_raw, tmp_path / "store", on_error="skip")
    assert not {empty, blind} & set(store.samples)
    dropped = json.loads((store.path / "report.json").read_text())["dropped"]
    assert [(each["sample"], each["detail"]) for each in dropped] == [(empty, "no body in any frame"), (blind, "no body in any frame")]


def test_hostile_archive_leaves_nothing_behind(raw, tmp_path):
    archive = zip_raw(raw / "one", tmp_path / "evil.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../../S001C001P001R001A001.skeleton", b"1")
    with pytest.raises(FormatError, match="1 entries outside the archive's folder"):
        prepare("ntu60", archive, tmp_path / "store")
    assert names_in(tmp_path) == {"evil.zip"}


def test_place_that_cannot_be_is_an_error(raw, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PlaceError, match="File exists"):
        prepare("ntu60", raw, tmp_path / "file" / "store")


def test_finished_store_is_overwritten_only_on_demand(raw, tmp_path):
    out = tmp_path / "store"
    first = prepare("ntu60", raw / "one", out)
    with pytest.raises(StoreError, match="already"):
        prepare("ntu60", raw, out)
    assert ClipStore.open(out).header == first.header
    assert len(prepare("ntu60", raw, out, overwrite=True)) == NUM_FILES
    assert names_in(tmp_path) == {"store"}


@pytest.mark.parametrize("there", [False, True])
def test_store_behind_a_link_is_written_where_the_link_leads(tmp_path, there):
    raw, out = write_raw(tmp_path / "raw", 8), tmp_path / "link"
    (tmp_path / "disk").mkdir()
    out.symlink_to(tmp_path / "disk" / "store")
    if there:
        prepare("ntu60", write_raw(tmp_path / "few", 4), tmp_path / "disk" / "store")
    assert len(prepare("ntu60", raw, out, overwrite=there)) == 8
    assert out.is_symlink()
    assert len(ClipStore.open(out)) == 8
    assert names_in(tmp_path / "disk") == {"store"}
    assert names_in(tmp_path) <= {"raw", "few", "disk", "link"}


@pytest.mark.parametrize("killed", ["between the two renames", "after them"])
def test_replacement_that_was_killed_is_ended(tmp_path, killed):
    raw, out, old = write_raw(tmp_path / "raw", 8), tmp_path / "store", tmp_path / "store.replaced"
    first = prepare("ntu60", write_raw(tmp_path / "few", 4), out)
    shutil.copytree(out, old)
    if killed == "between the two renames":
        shutil.rmtree(out)
    else:
        (old / "store.json").unlink()
    with pytest.raises(StoreError, match="already"):
        prepare("ntu60", raw, out)
    assert ClipStore.open(out).header == first.header
    assert names_in(tmp_path) == {"raw", "few", "store"}
    assert len(prepare("ntu60", raw, out, overwrite=True)) == 8
    assert names_in(tmp_path) == {"raw", "few", "store"}


@pytest.mark.parametrize("place", ["store.writing", "store.partial", "store.replaced", "store"])
def test_what_lies_where_a_store_is_made_is_never_removed(raw, tmp_path, place):
    out = tmp_path / "store"
    prepare("ntu60", raw / "one", out)
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "thesis.txt").write_text("years of work")
    with pytest.raises(AmanetError, match=r"thesis\.txt"):
        prepare("ntu60", raw, out, overwrite=True)
    assert (tmp_path / place / "thesis.txt").read_text() == "years of work"
    assert len(ClipStore.open(out)) < NUM_FILES
    (tmp_path / place / "thesis.txt").unlink()
    assert len(prepare("ntu60", raw, out, overwrite=True)) == NUM_FILES
    assert names_in(tmp_path) == {"store"}


def test_nothing_of_the_data_set_is_an_error(tmp_path):
    (tmp_path / "S001C001P001R001A099.skeleton").touch()
    with pytest.raises(StoreError, match="none of the files is of ntu60"):
        prepare("ntu60", tmp_path, tmp_path / "store")


@pytest.mark.parametrize("wrong", [{"dataset": "ntu61"}, {"recipe": "none"}, {"workers": 0}])
def test_unknown_names_are_refused_at_once(raw, tmp_path, wrong):
    with pytest.raises(ExperimentError):
        prepare(**{"dataset": "ntu60", "raw": raw, "out": tmp_path / "store", **wrong})
    assert names_in(tmp_path) == set()


def test_preparation_never_loads_torch(raw: Path, tmp_path: Path) -> None:
    """Each worker would take another 220 MB for it."""
    program = "import sys; from pathlib import Path; from amanet.data.published import NTU60; from amanet.data.shards import *; "
    program += "import amanet.prepare; "
    program += "from amanet.data.archive import list_members; raw, out = map(Path, sys.argv[1:]); "
    program += (
        "make_shard(cut_chunks(list_members([raw], '.skeleton')[:3], NTU60, 'aligned', out)[0], False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(raw), str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell which files are mapped")
def test_joined_shards_do_not_stay_in_memory(own_raw: Path, tmp_path: Path) -> None:
    """What a store keeps of a shard while it is joined is a copy of its index, not the mapped file with all its numbers."""
    (chunk,) = cut_chunks(list_members([own_raw], ".skeleton")[:20], NTU60, "aligned", tmp_path)
    make_shard(chunk, skip=True)
    writer = StoreWriter(
        tmp_path / "store",
        dataset="ntu60",
        layout=load_layout("ntu25"),
        recipe="aligned",
        class_names=[f"class {number}" for number in range(60)],
        max_bodies=2,
    )
    with writer:
        rows, _ = read_shard(chunk.shard)
        assert chunk.shard.name in Path("/proc/self/maps").read_text()
        writer.extend(rows)
        del rows
        assert chunk.shard.name not in Path("/proc/self/maps").read_text()


def test_ntu120_is_joined_from_its_two_downloads(tmp_path):
    """The archive of setups 1 to 17 and the folder of setups 18 to 32, as in the readme; both splits find their parts in it."""
    first = write_raw(tmp_path / "first", 4)
    second = tmp_path / "second"
    second.mkdir()
    later = ["S018C001P045R001A061", "S019C001P048R001A120", "S032C003P106R002A001"]
    for sample in later:
        (second / f"{sample}.skeleton").write_bytes(CONTENTS[0])
    store = prepare("ntu120", [zip_raw(first, tmp_path / "first.zip"), second], tmp_path / "store", workers=1)
    assert store.samples == raw_samples(4) + later
    assert len(store.class_names) == 120
    for name, training in (("ntu120-xsub", [0, 1, 2, 3, 4]), ("ntu120-xset", [4, 6])):
        assert split_rows(store, get_benchmark(name))["train"].tolist() == training
