"""Writing a :class:`~amanet.data.store.ClipStore`: clip by clip into a folder of its own, and in place at once."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amanet.data.benchmark import SampleKey
from amanet.data.class_names import fault_of
from amanet.data.store import CLIP_FIELDS, FORMAT_VERSION, StoreHeader, check_index, index_schema, num_floats
from amanet.errors import StoreError, first_of
from amanet.skeleton import SkeletonClip, SkeletonLayout
from amanet.skeleton.layout import describe_layout
from amanet.system.places import behind_link, beside, clear, sync

ROW_SCHEMA = pa.schema([*CLIP_FIELDS, pa.field("joints", pa.large_list(pa.float32()), nullable=False)])
"""Clips on their way into a store: the same columns, and the numbers themselves."""

PARTS = ("store.json", "joints.npy", "index.parquet", "report.json")
"""The files of a store."""

REPLACED = ".replaced"
"""Suffix of the place that a store has for the moment in which another takes its own."""


class StoreWriter:
    """Writes a store beside its place and moves it there once it is complete and on disk.

    Used as a context manager: leaving it normally publishes the store, leaving it by an exception removes what was written. One writer at
    a time for one place (:func:`amanet.prepare.prepare` holds a lock for that).

    Args:
        path: the folder to be.
        dataset: name of the data set.
        layout: skeleton of every clip.
        recipe: how the clips were normalised.
        class_names: one a label.
        max_bodies: bodies of a clip at most.
        splits: for each column of the index that says which part of a split a clip is in, that part by sample.
        overwrite: replace the store that is there; anything else that is there is never touched.

    Raises:
        StoreError: there is something at ``path``; or, at the end, the clips are none, not sorted, not unique or of unknown labels.
    """

    def __init__(
        self,
        path: Path,
        *,
        dataset: str,
        layout: SkeletonLayout,
        recipe: str,
        class_names: Sequence[str],
        max_bodies: int,
        splits: Mapping[str, Mapping[str, str]] | None = None,
        overwrite: bool = False,
    ) -> None:
        path = behind_link(path)
        check_place(path, overwrite)
        if fault := fault_of(class_names):
            raise StoreError(fault, where=path)
        self.path = path
        self.layout = layout
        self.folder = beside(path, ".writing")
        self._facts: dict[str, Any] = {
            "version": FORMAT_VERSION,
            "dataset": dataset,
            "layout": describe_layout(layout),
            "recipe": recipe,
            "class_names": tuple(class_names),
            "max_bodies": max_bodies,
            "splits": tuple(splits or ()),
        }
        self._splits = dict(splits or {})
        self._digest = hashlib.sha256()
        self._num_floats = 0
        self._rows: list[pa.Table] = []

    def __enter__(self) -> "StoreWriter":
        clear(self.folder, is_part)
        self.folder.mkdir(parents=True)
        self._file = (self.folder / "joints.npy").open("wb")
        self._write_npy_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def index(self) -> pa.Table:
        """The index of the clips written so far."""
        rows = pa.concat_tables([pa.table({name: [] for name in ROW_SCHEMA.names[:-1]}, pa.schema(CLIP_FIELDS)), *self._rows])
        ends = np.cumsum(num_floats(rows, self.layout))
        offset = np.concatenate([[0], ends[:-1]]) if len(rows) else ends
        columns = {"offset": pa.array(offset, pa.int64())}
        samples = rows["sample"].to_pylist()
        columns |= {name: pa.array([split.get(sample) for sample in samples], pa.string()) for name, split in self._splits.items()}
        for name, column in columns.items():
            rows = rows.append_column(index_schema(tuple(self._splits)).field(name), column)
        return rows.combine_chunks()

    def extend(self, rows: pa.Table) -> None:
        """Appends clips made by :func:`encode_clips`; over all calls they come sorted by sample."""
        joints = rows["joints"].combine_chunks()
        numbers = joints.flatten().to_numpy()
        if not np.array_equal(joints.value_lengths().to_numpy(), num_floats(rows, self.layout)):
            raise StoreError("clips do not have the shape that their row tells", where=self.path, expected=f"layout {self.layout.name}")
        self._file.write(numbers.data)
        self._digest.update(numbers.data)
        self._num_floats += numbers.size
        # Copied, since columns of a mapped shard would keep all of it, the numbers too, in memory until the end.
        self._rows.append(pa.table(rows.drop_columns(["joints"]).to_pydict(), pa.schema(CLIP_FIELDS)))

    def _write_npy_header(self) -> None:
        fields = {"descr": "<f4", "fortran_order": False, "shape": (self._num_floats,)}
        np.lib.format.write_array_header_1_0(self._file, fields)

    def _finish(self) -> None:
        index = self.index
        if not len(index):
            raise StoreError("not one clip is left to store", where=self.path)
        header = StoreHeader(**self._facts, num_clips=len(index), num_floats=self._num_floats, content="")
        check_index(index, header, self.layout, self.path)
        start = self._file.tell() - 4 * self._num_floats
        self._file.seek(0)
        self._write_npy_header()
        if self._file.tell() != start:
            raise RuntimeError("the header of joints.npy changed its length")  # numpy leaves room for growth, so it never does
        self._file.close()
        buffer = BytesIO()
        pq.write_table(index, buffer, compression="zstd")
        (self.folder / "index.parquet").write_bytes(buffer.getvalue())
        sealed = {**asdict(header), "content": header.seal(self._digest, buffer.getvalue())}
        (self.folder / "store.json").write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")
        _publish(self.folder, self.path)


def encode_clips(clips: Sequence[SkeletonClip], keys: Sequence[SampleKey]) -> pa.Table:
    """Clips as rows of :data:`ROW_SCHEMA`, NaN where a joint is absent.

    Raises:
        StoreError: a clip has no label.
    """
    unknown = [clip.sample for clip in clips if clip.label is None]
    if unknown:
        raise StoreError("clips without a label cannot be stored", got=first_of(unknown))
    numbers = [clip.numbers.ravel() for clip in clips]
    ends = np.cumsum([0, *(part.size for part in numbers)], dtype=np.int64)
    flat = np.concatenate(numbers) if numbers else np.empty(0, np.float32)
    columns = {
        "sample": [clip.sample for clip in clips],
        "label": [clip.label for clip in clips],
        "performer": [key.performer for key in keys],
        "camera": [key.camera for key in keys],
        "setup": [key.setup for key in keys],
        "bodies": [clip.num_bodies for clip in clips],
        "frames": [clip.num_frames for clip in clips],
        "joints": pa.LargeListArray.from_arrays(pa.array(ends), pa.array(flat)),
    }
    return pa.table(columns, ROW_SCHEMA)


def check_place(path: Path, overwrite: bool) -> None:
    """Raises StoreError unless a store may be written at ``path``."""
    if not path.exists():
        return
    if not (path / "store.json").is_file():
        raise StoreError("there is something else at this place", where=path, expected="nothing, or a store", cure="choose another name")
    strange = sorted(each.name for each in path.iterdir() if not is_part(each))
    if overwrite and strange:
        cure = "move it away, or choose another name"
        raise StoreError("there is more than a store at this place", where=path, got=", ".join(strange[:5]), cure=cure)
    if not overwrite:
        raise StoreError("there is a store at this place already", where=path, cure="choose another name, or replace it: --overwrite true")


def settle(path: Path) -> None:
    """Ends a replacement that was killed: the old store is put back where the new one is not there yet, else it goes.

    Raises:
        PlaceError: something else lies where the old store was moved to.
    """
    old = beside(path, REPLACED)
    if (old / "store.json").is_file() and not path.exists():
        old.rename(path)
    clear(old, is_part)


def is_part(path: Path) -> bool:
    """Whether a file is called as a part of a store is."""
    return path.name in PARTS


def _publish(folder: Path, path: Path) -> None:
    """Makes a complete folder appear at ``path`` at once, also across a power cut."""
    for part in [*folder.iterdir(), folder]:
        sync(part)
    if path.exists():
        old = beside(path, REPLACED)
        clear(old, is_part)
        path.rename(old)
        folder.rename(path)
        shutil.rmtree(old)
    else:
        folder.rename(path)
    sync(path.parent)
