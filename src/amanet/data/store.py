"""ClipStore: prepared clips in a folder that is opened in no time and read by many processes at once.

================  ==========================================================================================================
file              holds
================  ==========================================================================================================
``joints.npy``    every clip's (body, frame, joint, coord) numbers one after the other, float32; NaN where a joint is absent
``index.parquet`` one row a clip, sorted by sample: its label, who and what recorded it, its shape, and where it starts; in a store of
                  one's own clips also a column for each split: train, validation, test, or nothing
``store.json``    what the numbers mean: data set, the whole layout, recipe, class names, counts, content hash
``report.json``   written by :func:`amanet.prepare.prepare`: what was kept, what was dropped and why
================  ==========================================================================================================

Clips keep their own number of frames, so a store is a fraction of the size of one padded to 300 frames. Nothing in it is a pickle.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int

from amanet.data.benchmark import PARTS
from amanet.data.class_names import fault_of
from amanet.errors import LayoutError, StoreError, first_of
from amanet.skeleton import SkeletonClip, SkeletonLayout, layout_names, load_layout
from amanet.skeleton.layout import parse_layout

FORMAT_VERSION = 2
REPAIR = "prepare it again: `amanet prepare`"

CLIP_FIELDS = [
    pa.field("sample", pa.string(), nullable=False),
    pa.field("label", pa.int32(), nullable=False),
    pa.field("performer", pa.int32()),
    pa.field("camera", pa.int32()),
    pa.field("setup", pa.int32()),
    pa.field("bodies", pa.int32(), nullable=False),
    pa.field("frames", pa.int32(), nullable=False),
]
INDEX_SCHEMA = pa.schema([*CLIP_FIELDS, pa.field("offset", pa.int64(), nullable=False)])
"""Columns of ``index.parquet``; ``offset`` counts floats of ``joints.npy``. The columns of splits come after them."""


@dataclass(frozen=True)
class StoreHeader:
    """What ``store.json`` says.

    Attributes:
        version: of this format.
        dataset: name of the data set the clips are of.
        layout: their skeleton layout, as the tables of its TOML file; so a store can be opened where nobody knows the layout.
        recipe: how the clips were normalised.
        class_names: one a label.
        max_bodies: bodies of a clip at most.
        splits: columns of the index that say which part of a split a clip is in.
        num_clips: rows of the index.
        num_floats: numbers in ``joints.npy``.
        content: SHA-256 over the numbers, the index and the other fields of this header.
    """

    version: int
    dataset: str
    layout: dict[str, Any]
    recipe: str
    class_names: tuple[str, ...]
    max_bodies: int
    splits: tuple[str, ...]
    num_clips: int
    num_floats: int
    content: str

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(StoreHeader).items():
            value = getattr(self, name)
            members, member = (value, str) if isinstance(value, tuple) else ([value], get_origin(kind) or kind)
            if isinstance(value, tuple) != (kind == tuple[str, ...]) or not all(isinstance(each, member) for each in members):
                raise TypeError(f"{name} is not {kind}")
        if fault := fault_of(self.class_names):
            raise ValueError(fault)
        if self.max_bodies < 1 or self.num_clips < 1:
            raise ValueError("a store holds a clip or more, of a body or more")

    def seal(self, digest: "hashlib._Hash", index: bytes) -> str:
        """The content hash, given the running hash of the numbers and the bytes of the index."""
        digest.update(index)
        digest.update(json.dumps({**asdict(self), "content": ""}).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class ClipStore:
    """An open store; clips are read from disk when asked for.

    It travels to another process as its path and content hash, and is opened again there: StoreError if it was replaced in between.

    Attributes:
        path: the folder.
        header: what its ``store.json`` says.
        layout: the skeleton of every clip.
        index: one row a clip, :data:`INDEX_SCHEMA`.
    """

    path: Path
    header: StoreHeader
    layout: SkeletonLayout
    index: pa.Table
    _numbers: np.ndarray = field(repr=False, compare=False)
    _extent: Int[np.ndarray, "clip 4"] = field(repr=False, compare=False)

    @classmethod
    def open(cls, path: Path | str) -> "ClipStore":
        """Opens a store and checks that its parts belong together (not every byte: that is :meth:`verify`).

        Raises:
            StoreError: it is no store, is incomplete, or does not fit this version of the library.
        """
        path = Path(path)
        header = _read_header(path)
        layout = _read_layout(header, path)
        index = _read_index(path, header)
        numbers = _map_numbers(path)
        shape = (header.num_clips, header.num_floats)
        if shape != (len(index), numbers.size):
            raise StoreError(
                "the parts of this store do not belong together",
                where=path,
                expected=f"{header.num_clips} clips with {header.num_floats} numbers",
                got=f"{len(index)} clips with {numbers.size} numbers",
                cure=REPAIR,
            )
        check_index(index, header, layout, path)
        columns = [index[name].to_numpy() for name in ("bodies", "frames", "offset", "label")]
        return cls(path, header, layout, index, numbers, np.stack(columns, axis=1).astype(np.int64))

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self.path, self.header.content)

    def __len__(self) -> int:
        return len(self._extent)

    @property
    def dataset(self) -> str:
        return self.header.dataset

    @property
    def recipe(self) -> str:
        return self.header.recipe

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.header.class_names

    @property
    def samples(self) -> list[str]:
        """Names of the clips, in the order of the rows."""
        return self.index["sample"].to_pylist()

    def clip(self, row: int) -> SkeletonClip:
        """The clip of one row, in memory of its own."""
        bodies, frames, offset, label = self._extent[row].tolist()
        shape = (bodies, frames, self.layout.num_joints, self.layout.num_coords)
        joints = np.array(self._numbers[offset : offset + int(np.prod(shape))]).reshape(shape)
        present = ~np.isnan(joints[..., 0])
        joints[~present] = 0
        return SkeletonClip(self.index["sample"][row].as_py(), joints, present, label)

    def blocks(self, max_floats: int = 1 << 22) -> Iterator[tuple[slice, Float32[np.ndarray, " number"]]]:
        """All numbers in the order of the rows, a few clips at a time: the rows, and their clips' numbers one after the other.

        Read and not mapped, so a pass over a store of any size takes the memory of one block: ``max_floats``, or a clip if one is larger.
        """
        sizes = np.prod(self._extent[:, :2], axis=1) * self.layout.num_joints * self.layout.num_coords
        ends = np.cumsum(sizes)
        with (self.path / "joints.npy").open("rb") as file:
            file.seek(-4 * self.header.num_floats, os.SEEK_END)
            start = 0
            while start < len(self):
                room = ends[start] - sizes[start] + max_floats
                stop = max(start + 1, int(np.searchsorted(ends, room, side="right")))
                yield slice(start, stop), np.fromfile(file, "<f4", int(sizes[start:stop].sum()))
                start = stop

    def verify(self) -> None:
        """Reads every byte and compares the content hash.

        Raises:
            StoreError: a byte is not what was written.
        """
        digest = hashlib.sha256()
        with (self.path / "joints.npy").open("rb") as file:
            file.seek(-4 * self.header.num_floats, os.SEEK_END)
            while block := file.read(1 << 22):
                digest.update(block)
        content = self.header.seal(digest, (self.path / "index.parquet").read_bytes())
        if content != self.header.content:
            raise StoreError("this store is damaged", where=self.path, expected=f"SHA-256 {self.header.content}", got=content, cure=REPAIR)


def _open_again(path: Path, content: str) -> ClipStore:
    """The store of this content, which was at this place before."""
    store = ClipStore.open(path)
    if store.header.content != content:
        cure = "put it back as it was, or start again with the new one"
        raise StoreError("this store was replaced while it was in use", where=path, expected=content, got=store.header.content, cure=cure)
    return store


def _read_header(path: Path) -> StoreHeader:
    place = path / "store.json"
    try:
        fields: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        version = fields["version"]
        if version != FORMAT_VERSION:
            raise StoreError("this store has another format", where=place, expected=f"version {FORMAT_VERSION}", got=version, cure=REPAIR)
        fields.update({name: tuple(value) for name, value in fields.items() if isinstance(value, list)})
        return StoreHeader(**fields)
    except (FileNotFoundError, NotADirectoryError) as error:
        problem = "this is no store: it has no store.json" if path.exists() else "there is nothing at this place"
        raise StoreError(problem, where=path, expected="a store", cure="give a folder made by `amanet prepare`") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(f"store.json cannot be understood: {error}", where=place, cure=REPAIR) from error


def _read_layout(header: StoreHeader, path: Path) -> SkeletonLayout:
    """The layout of the store; where one of its name ships, the joints must be the same, as that of published numbers would be another."""
    try:
        layout = parse_layout(header.layout)
    except LayoutError as error:
        raise StoreError(f"the layout in store.json contradicts itself: {error.problem}", where=path, got=error.got, cure=REPAIR) from error
    known = load_layout(layout.name) if layout.name in layout_names() else layout
    if (known.joints, known.coordinates) != (layout.joints, layout.coordinates):
        raise StoreError(
            f"the layout {layout.name} has changed since this store was written",
            where=path,
            expected=f"{known.coordinates} of {', '.join(known.joints)}",
            got=f"{layout.coordinates} of {', '.join(layout.joints)}",
            cure=REPAIR,
        )
    return layout


def index_schema(splits: Sequence[str]) -> pa.Schema:
    """The columns of an index with these splits."""
    return pa.schema([*INDEX_SCHEMA, *(pa.field(name, pa.string()) for name in splits)])


def _read_index(path: Path, header: StoreHeader) -> pa.Table:
    place = path / "index.parquet"
    schema = index_schema(header.splits)
    try:
        index = pq.read_table(place).combine_chunks()
        index.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the index cannot be read: {error}", where=place, cure=REPAIR) from error
    if not index.schema.equals(schema) or any(index[name].null_count for name in ("sample", "label", "bodies", "frames", "offset")):
        raise StoreError("the index has other columns than it should", where=place, expected=schema, got=index.schema, cure=REPAIR)
    return index


def _map_numbers(path: Path) -> np.ndarray:
    place = path / "joints.npy"
    try:
        numbers = np.load(place, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"the numbers cannot be read: {error}", where=place, cure=REPAIR) from error
    if numbers.dtype != np.dtype("<f4") or numbers.ndim != 1:
        raise StoreError(
            "the numbers have another form than they should", where=place, expected="flat float32", got=numbers.dtype, cure=REPAIR
        )
    if place.stat().st_size != numbers.offset + numbers.nbytes:
        raise StoreError("something stands behind the numbers", where=place, cure=REPAIR)
    return numbers.view(np.ndarray)


def check_index(index: pa.Table, header: StoreHeader, layout: SkeletonLayout, path: Path) -> None:
    """Raises StoreError unless every row of an index can be true; the message lists the first offenders."""
    samples = index["sample"].to_pylist()
    wrong_order = [row for row, (one, two) in enumerate(pairwise(samples), start=1) if one >= two]
    sizes = num_floats(index, layout)
    starts = np.cumsum(sizes) - sizes
    labels = index["label"].to_numpy()
    problems: dict[str, Sequence[int] | np.ndarray] = {
        "samples that are not sorted or stand there twice": wrong_order,
        f"labels outside 0..{len(header.class_names) - 1}": np.flatnonzero((labels < 0) | (labels >= len(header.class_names))),
        "clips of no body or no frame, or longer than the store": np.flatnonzero((sizes <= 0) | (sizes > header.num_floats)),
        f"clips of more than {header.max_bodies} bodies": np.flatnonzero(index["bodies"].to_numpy() > header.max_bodies),
        "clips that do not follow one another": np.flatnonzero(index["offset"].to_numpy() != starts),
    }
    for name in header.splits:
        problems[f"cells of {name} that are no part of a split"] = np.flatnonzero(
            [part not in (*PARTS, None) for part in index[name].to_pylist()]
        )
    for problem, rows in problems.items():
        if len(rows):
            raise StoreError(problem, where=path, got=first_of([samples[row] for row in rows]), cure=REPAIR)
    if sizes.sum() != header.num_floats:
        raise StoreError("the clips do not fill the store", where=path, expected=header.num_floats, got=sizes.sum(), cure=REPAIR)


def num_floats(index: pa.Table, layout: SkeletonLayout) -> Int[np.ndarray, " clip"]:
    """Numbers of each clip; -1 for a shape that no clip has."""
    bodies, frames = (index[name].to_numpy().astype(np.int64) for name in ("bodies", "frames"))
    possible = (bodies >= 1) & (frames >= 1) & (bodies * frames < 1 << 40)
    return np.where(possible, bodies * frames * layout.num_joints * layout.num_coords, -1)
