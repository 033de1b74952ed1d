"""The verb `prepare`: from raw files as downloaded to a store that training reads.

The files are cut into chunks, several processes turn chunks into shards in a folder beside the store to be, and the shards are joined
into the store. A preparation that was stopped at any moment goes on where it was when it is started again, and ends with the same bytes.
"""

import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from amanet.data.archive import RawMember, list_members
from amanet.data.benchmark import OWN, PARTS, Dataset, own_benchmark_name
from amanet.data.label_list import Listed, check_labels, read_label_lists
from amanet.data.normalise import get_recipe
from amanet.data.own.dataset import OwnDataset, OwnFolder, Split
from amanet.data.published import BENCHMARKS, get_dataset
from amanet.data.shards import NOBODY, Chunk, Dropped, count_mended, cut_chunks, is_made, is_shard, make_shard, read_shard
from amanet.data.store import ClipStore
from amanet.data.store_writer import StoreWriter, check_place, settle
from amanet.errors import ExperimentError, FormatError, StoreError
from amanet.system.cores import num_cores
from amanet.system.countdown import Countdown
from amanet.system.interrupt import interrupts_held
from amanet.system.lock import alone
from amanet.system.places import DISK, behind_link, beside, clear, explained, in_shell, refuse_others


def prepare(
    dataset: str,
    raw: Path | Sequence[Path],
    out: Path,
    *,
    recipe: str = "aligned",
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    overwrite: bool = False,
) -> ClipStore:
    """Reads the raw files of a data set, normalises them and writes a store.

    Stopped at any moment and called again it goes on where it was; the result depends neither on that nor on the number of workers.

    Args:
        dataset: which data set, as in ``ntu60``, or ``own`` for clips of your own.
        raw: folders with its files, or its .zip archives as downloaded; of your own clips the one folder.
        out: the store to write, a folder.
        recipe: how to normalise, as in ``aligned`` or ``msg3d``; ``aligned+fill5`` closes gaps of up to 5 frames before, and
            ``aligned+score0.3`` takes 2-D joints of a lower score for absent.
        workers: processes that work at once; as many as there are cores if not given.
        on_error: at a file that cannot be read, stop and show it, or skip it and list it in the store's ``report.json``.
        overwrite: replace the store that is there.

    Raises:
        AmanetError: a file is damaged, an archive hostile, a name unknown, or the place taken.
    """
    if dataset != OWN:
        get_dataset(dataset)
    get_recipe(recipe)
    workers = num_cores() if workers is None else workers
    if workers < 1:
        raise ExperimentError("workers must be 1 or more", got=workers)
    raw, out = [raw] if isinstance(raw, Path) else raw, behind_link(out)
    _refuse_pickles(raw)
    lock = beside(out, ".lock")
    with (
        explained(DISK, out, "make room or choose another place, and start it again: finished work is kept"),
        alone(lock, StoreError("another process is preparing this store", where=lock, cure="wait until it is done")),
    ):
        settle(out)
        check_place(out, overwrite)
        source, members, listed, splits, dropped = _find(dataset, raw)
        folder = beside(out, ".partial")
        refuse_others(folder, is_shard)
        chunks = cut_chunks(members, source, recipe, folder)
        _make_shards(chunks, folder, workers, skip=on_error == "skip")
        writer = StoreWriter(
            out,
            dataset=source.name,
            layout=source.skeleton,
            recipe=recipe,
            class_names=source.class_names,
            max_bodies=source.max_bodies,
            splits=splits,
            overwrite=overwrite,
        )
        mended: Counter[str] = Counter()
        with writer, Countdown("storing", len(members)) as countdown:
            for chunk in chunks:
                rows, unreadable = read_shard(chunk.shard)
                check_labels(rows, listed)
                writer.extend(rows)
                dropped += unreadable
                mended += count_mended(rows)
                countdown.advance(len(chunk.members))
            _write_report(writer, dropped, mended)
        with interrupts_held():
            clear(folder, is_shard)
    store = ClipStore.open(out)
    _print_summary(store, dropped, mended)
    return store


def _refuse_pickles(raw: Sequence[Path]) -> None:
    """Says what takes the annotations of PYSKL, in which many know their clips."""
    for path in raw:
        if path.suffix in (".pkl", ".pickle") and path.is_file():
            cure = f"if it is of PYSKL: amanet convert pyskl {in_shell(path)} FOLDER, and then amanet prepare own STORE FOLDER"
            raise FormatError("pickles are not prepared as they are", where=path, cure=cure)


def _find(dataset: str, raw: Sequence[Path]) -> tuple[Dataset | OwnDataset, list[RawMember], Listed, Mapping[str, Split], list[Dropped]]:
    """The data set, its files, their labels in a list if there is one, the splits of one's own, and the files that are not of it."""
    if dataset != OWN:
        source = get_dataset(dataset)
        members, listed = read_label_lists(source, list_members(raw, source.suffix, source.folders))
        chosen, dropped = _choose(source, members, listed)
        return source, chosen, listed, {}, dropped
    if len(raw) != 1:
        raise ExperimentError("clips of your own lie in one folder", expected="amanet prepare own STORE DIR", got=f"{len(raw)} places")
    folder = OwnFolder.open(raw[0])
    return folder.dataset, folder.members, {}, folder.splits, []


def _choose(source: Dataset, members: Sequence[RawMember], listed: Listed) -> tuple[list[RawMember], list[Dropped]]:
    chosen, dropped = [], []
    for member in members:
        reason = _reason_to_drop(source, member.sample, listed)
        if reason is None:
            chosen.append(member)
        else:
            dropped.append(Dropped(member.sample, str(member.where), reason))
    if not chosen:
        got = f"{dropped[0].where}: {dropped[0].reason}" if dropped else "lists of labels alone"
        raise StoreError(f"none of the files is of {source.name}", expected=f"names like {source.file_example()}", got=got)
    return chosen, dropped


def _reason_to_drop(source: Dataset, sample: str, listed: Listed) -> str | None:
    if not source.holds(sample):
        return "excluded by its authors" if sample in source.excluded else f"not of {source.name}"
    return NOBODY if listed.get(sample, 0) is None else None


def _make_shards(chunks: Sequence[Chunk], folder: Path, workers: int, skip: bool) -> None:
    folder.mkdir(exist_ok=True)
    wanted = {chunk.shard for chunk in chunks}
    for path in set(folder.glob("*.arrow*")) - wanted:
        path.unlink()
    todo = [chunk for chunk in chunks if not is_made(chunk, skip)]
    total = sum(len(chunk.members) for chunk in chunks)
    with Countdown("preparing", total, done=total - sum(len(chunk.members) for chunk in todo)) as countdown:
        for files in _work(todo, workers, skip):
            countdown.advance(files)


def _work(chunks: Sequence[Chunk], workers: int, skip: bool) -> Iterator[int]:
    """Makes the shards in processes of their own and yields the number of files of each as it is done."""
    if not chunks:
        return
    context = multiprocessing.get_context("forkserver")  # this process runs threads, so it must not fork itself
    context.set_forkserver_preload([make_shard.__module__])
    pool = ProcessPoolExecutor(min(workers, len(chunks)), context, initializer=_end_with_parent)
    others = set(multiprocessing.active_children())
    try:
        with interrupts_held():
            shards = [pool.submit(make_shard, chunk, skip) for chunk in chunks]
        for shard in as_completed(shards):
            yield shard.result()
    except (BrokenProcessPool, EOFError, ConnectionError) as error:  # the latter of the process that starts them
        cure = "give it more memory or fewer workers and start it again: finished work is kept"
        raise StoreError("a worker was killed, most likely for its memory", cure=cure) from error
    except KeyboardInterrupt:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Lets a worker end when the main process is killed; it would wait for work for ever otherwise."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _write_report(writer: StoreWriter, dropped: Sequence[Dropped], mended: Counter[str]) -> None:
    report = {"kept": len(writer.index), **_statistics(writer.index), "mended": mended, "dropped": [asdict(each) for each in dropped]}
    (writer.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _statistics(index: pa.Table) -> dict[str, dict[str, int | float]]:
    """How many clips have how many bodies, and how long they are."""
    if not len(index):
        return {}
    frames = index["frames"].to_numpy()
    bodies = Counter(index["bodies"].to_pylist())
    return {
        "bodies": {str(number): bodies[number] for number in sorted(bodies)},
        "frames": {"shortest": int(frames.min()), "median": float(np.median(frames)), "longest": int(frames.max())},
    }


def _print_summary(store: ClipStore, dropped: Sequence[Dropped], mended: Counter[str]) -> None:
    table = Table("clips", "")
    table.columns[0].justify = "right"
    table.add_row(f"{len(store):,}", "kept")
    for reason, number in sorted(Counter(each.reason for each in dropped).items()):
        table.add_row(f"{number:,}", escape(reason))
    statistics = _statistics(store.index)
    for number, clips in statistics["bodies"].items():
        table.add_row(f"{clips:,}", f"of {number} {'body' if number == '1' else 'bodies'}")
    lengths = statistics["frames"]
    table.add_row("", f"{lengths['shortest']} to {lengths['longest']} frames, median {lengths['median']:g}")
    for name, joints in mended.items():
        table.add_row(f"{joints:,}", name.replace("_", " "))
    for split in _splits(store):
        table.add_row("", split)
    print(store.path)
    Console().print(table)


def _splits(store: ClipStore) -> list[str]:
    """How many clips each benchmark has for its parts, beside the published numbers, which a part of an archive does not reach."""
    found: list[str] = []
    for benchmark in BENCHMARKS.values():
        if benchmark.dataset.name == store.dataset:
            trains = sum(benchmark.in_training(benchmark.dataset.parse(sample)) for sample in store.samples)
            train, test = f"{trains:,} of {benchmark.num_train:,} train", f"{len(store) - trains:,} of {benchmark.num_test:,} test"
            found.append(f"{benchmark.name}: {train}, {test}")
    for column in store.header.splits:
        counts = Counter(store.index[column].to_pylist())
        found.append(f"{own_benchmark_name(column)}: " + ", ".join(f"{counts[part]:,} {part}" for part in PARTS if counts[part]))
    return found
