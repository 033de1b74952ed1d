"""Part of a data set on its way into a store: a chunk of raw files goes in, a shard of normalised clips comes out.

A shard appears whole or not at all, is named after everything it depends on, and ends in the hash of its bytes. So shards of an earlier,
unfinished preparation are good to use, and those of other files or settings, or damaged since, are never taken for them.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from amanet import __version__
from amanet.data.archive import RawMember
from amanet.data.benchmark import Dataset
from amanet.data.normalise import get_recipe
from amanet.data.own.dataset import OwnDataset
from amanet.data.store_writer import ROW_SCHEMA, encode_clips
from amanet.errors import AmanetError, EmptyClipError, StoreError

CHUNK_CLIPS = 256
SHARD_FILE = re.compile(r"\d{7,}-[0-9a-f]{16}\.arrow(-\d+)?")
DIGEST_BYTES = hashlib.sha256().digest_size
NOBODY = "shows nobody"
"""The reason to drop a file that is sound and empty."""


@dataclass(frozen=True)
class Dropped:
    """A raw file that does not get into the store.

    Attributes:
        sample: its name.
        where: the file.
        reason: the kind of reason.
        detail: what is wrong with this one.
        line: where in the file.
        expected: what it should hold there.
        got: what it holds instead.
    """

    sample: str
    where: str
    reason: str
    detail: str = ""
    line: int | None = None
    expected: str | None = None
    got: str | None = None

    @classmethod
    def unreadable(cls, member: RawMember, error: AmanetError) -> "Dropped":
        """A file that cannot be read, and why."""
        expected, got = (None if part is None else str(part) for part in (error.expected, error.got))
        return cls(member.sample, str(member.where), "cannot be read", error.problem, error.line, expected, got)


@dataclass(frozen=True)
class Chunk:
    """Raw files that become one shard.

    Attributes:
        dataset: how they are read, and what is known about them.
        recipe: how to normalise them.
        members: the files.
        shard: where the result goes.
    """

    dataset: Dataset | OwnDataset
    recipe: str
    members: tuple[RawMember, ...]
    shard: Path


def cut_chunks(members: Sequence[RawMember], dataset: Dataset | OwnDataset, recipe: str, folder: Path) -> list[Chunk]:
    """Cuts files into chunks, whose shards lie in ``folder``."""
    settings = (__version__, dataset.name, recipe, dataset.skeleton, dataset.max_bodies)
    chunks = []
    for start in range(0, len(members), CHUNK_CLIPS):
        part = tuple(members[start : start + CHUNK_CLIPS])
        facts = (settings, [(dataset.parse(member.sample), member.sample, member.size, member.stamp) for member in part])
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        reader = dataset.only([member.sample for member in part]) if isinstance(dataset, OwnDataset) else dataset
        chunks.append(Chunk(reader, recipe, part, folder / f"{start:07}-{digest}.arrow"))
    return chunks


def is_made(chunk: Chunk, skip: bool) -> bool:
    """Whether the shard is there and will do: one with unreadable files will not, unless such files are to be skipped."""
    try:
        return chunk.shard.is_file() and all(skip or each.reason == NOBODY for each in read_shard(chunk.shard)[1])
    except StoreError:
        return False


def is_shard(path: Path) -> bool:
    """Whether a file is called as a shard is, or as one that was not finished."""
    return SHARD_FILE.fullmatch(path.name) is not None


def make_shard(chunk: Chunk, skip: bool) -> int:
    """Reads and normalises the files of a chunk, writes its shard, and returns the number of files.

    Raises:
        AmanetError: a file is damaged, and such files are not to be skipped.
    """
    dataset, recipe, layout = chunk.dataset, get_recipe(chunk.recipe), chunk.dataset.skeleton
    clips, dropped, mended = [], [], Counter[str]()
    for member in chunk.members:
        try:
            clip = dataset.read(member.read(), member.where, recipe.tracks)
            if recipe.mend is not None:
                mended += recipe.mend.count(clip, layout)
            clips.append(recipe.apply(clip, layout, max_bodies=dataset.max_bodies))
        except EmptyClipError:
            dropped.append(Dropped(member.sample, str(member.where), NOBODY))
        except AmanetError as error:
            error.where = error.where or str(member.where)
            if not skip:
                error.cure = f"{error.cure or 'repair the file'}, or skip such files: --on_error skip; finished work is kept"
                raise
            dropped.append(Dropped.unreadable(member, error))
    rows = encode_clips(clips, [dataset.parse(clip.sample) for clip in clips])
    _write_shard(rows, dropped, mended, chunk.shard)
    return len(chunk.members)


def read_shard(path: Path) -> tuple[pa.Table, list[Dropped]]:
    """The clips of a shard, mapped from disk, and the files that did not become one.

    Raises:
        StoreError: its bytes are not those that were written.
    """
    damaged = StoreError("this part of a store to be is damaged", where=path, cure="start it again: only this part is made anew")
    if path.stat().st_size <= DIGEST_BYTES:
        raise damaged  # an empty file cannot be mapped
    with pa.memory_map(str(path)) as source:
        content, digest = source.read_buffer(source.size() - DIGEST_BYTES), source.read()
    if hashlib.sha256(content).digest() != digest:
        raise damaged
    rows = pa.ipc.open_file(content).read_all()
    return rows, [Dropped(**fields) for fields in json.loads(rows.schema.metadata[b"dropped"])]


def count_mended(rows: pa.Table) -> Counter[str]:
    """How many joints of a shard were mended, by what was done to them."""
    return Counter(json.loads(rows.schema.metadata[b"mended"]))


def _write_shard(rows: pa.Table, dropped: Sequence[Dropped], mended: Counter[str], path: Path) -> None:
    metadata = {"dropped": [asdict(each) for each in dropped], "mended": mended}
    rows = rows.replace_schema_metadata({name: json.dumps(value) for name, value in metadata.items()})
    temporary = path.with_suffix(f".arrow-{os.getpid()}")
    try:
        with temporary.open("w+b") as file:
            with pa.ipc.new_file(file, ROW_SCHEMA.with_metadata(rows.schema.metadata)) as sink:
                sink.write_table(rows)
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
