"""A data set of one's own: a folder of clips read as strictly as a published one, and its splits."""

import hashlib
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from amanet.data.archive import MAX_FILE_BYTES, RawMember
from amanet.data.benchmark import OWN_PREFIX, SampleKey
from amanet.data.normalise import Tracks
from amanet.data.own.clip_file import SUFFIXES, read_own_clip
from amanet.data.own.description import DESCRIPTION_FILE, OwnDescription, read_description
from amanet.data.own.labels import LABELS_FILE, OwnLabel, read_labels
from amanet.data.own.writer import CLIPS_FOLDER
from amanet.errors import FormatError, first_of
from amanet.skeleton import SkeletonClip, SkeletonLayout

Split = Mapping[str, str]
"""``train`` or ``test`` of each clip that takes part."""


@dataclass(frozen=True)
class OwnDataset:
    """Clips of one's own: how their files are read, and what is known about them.

    Attributes:
        name: as stores and networks call it, ``own:NAME``.
        skeleton: layout of the clips.
        class_names: one name a class, in the order of the labels.
        max_bodies: people who take part in a clip at most.
        labels: what ``labels.csv`` says, by clip; a clip that is not among them can be read, and has no label.
    """

    name: str
    skeleton: SkeletonLayout
    class_names: tuple[str, ...]
    max_bodies: int
    labels: Mapping[str, OwnLabel] = field(default_factory=dict, repr=False)

    def parse(self, sample: str) -> SampleKey:
        """What is known about a clip with a label."""
        label = self.class_names.index(self.labels[sample].class_name)
        return SampleKey(performer=self.labels[sample].performer, action=label + 1, label=label)

    def only(self, samples: Iterable[str]) -> "OwnDataset":
        """The same without the labels of other clips; what a process is sent that reads some of them."""
        return replace(self, labels={sample: self.labels[sample] for sample in samples})

    def files_in(self, folder: Path) -> list[Path]:
        """The files of clips in a folder, as :func:`own_files_in`."""
        return own_files_in(folder)

    def read(self, content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
        """The clip in the content of one file, with its label if there is one. Bodies are always told apart by their ids.

        Raises:
            FormatError: the content is not of the format; the message names the file and the line.
        """
        clip = read_own_clip(content, path, self.skeleton, self.max_bodies)
        return replace(clip, label=self.parse(clip.sample).label if clip.sample in self.labels else None)


def own_files_in(folder: Path) -> list[Path]:
    """The files of clips in a folder, sorted, or in its ``clips/`` where it describes a data set; hidden ones are left out."""
    place = folder / CLIPS_FOLDER if (folder / DESCRIPTION_FILE).is_file() else folder
    return sorted(path for path in place.glob("*") if path.suffix in SUFFIXES and path.is_file() and not path.name.startswith("."))


@dataclass(frozen=True)
class OwnFolder:
    """A folder in the form of one's own, checked.

    Attributes:
        dataset: its clips.
        members: a file a clip, sorted by clip.
        splits: by the names of their columns in ``labels.csv``.
    """

    dataset: OwnDataset
    members: list[RawMember]
    splits: Mapping[str, Split]

    @classmethod
    def open(cls, folder: Path) -> "OwnFolder":
        """Reads all of a folder but the clips themselves, and checks that its parts belong together.

        Raises:
            FormatError: a file is missing or not what it should be; clips without a row or rows without a clip; two clips of the same
                content; a split that has no training clip of a class, or no test clip.
            LayoutError: the layout does not exist or contradicts itself.
        """
        description = read_description(folder)
        dataset = own_dataset(description, description.skeleton(folder))
        rows, columns = read_labels(folder / LABELS_FILE, description.class_names)
        labels = {row.clip: row for row in rows}
        members = _list_clips(folder / CLIPS_FOLDER)
        _match(labels, members, folder)
        unused = [name for name in description.class_names if name not in {row.class_name for row in rows}]
        _refuse("classes without a clip", unused, folder / LABELS_FILE, cure="take them out of dataset.toml")
        splits = _splits(description, rows, columns, folder)
        for name, split in splits.items():
            _check_split(name, split, labels, description.class_names, folder)
        _refuse_copies(members, folder)
        return cls(replace(dataset, labels=labels), members, splits)


def own_dataset(description: OwnDescription, layout: SkeletonLayout) -> OwnDataset:
    """The data set of a description, without labels."""
    return OwnDataset(OWN_PREFIX + description.name, layout, description.class_names, description.max_bodies)


def _list_clips(folder: Path) -> list[RawMember]:
    """The files of clips, sorted by clip; hidden files are left out."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        members = [
            RawMember(path.stem, folder, path.name, state.st_size, state.st_mtime_ns)
            for path, state in ((path, path.stat()) for path in paths)
            if stat.S_ISREG(state.st_mode) and path.suffix in SUFFIXES
        ]
    except OSError as error:
        cure = f"put the files of the clips into {folder.name}/ (docs/data.md)"
        raise FormatError(f"the clips cannot be listed: {error.strerror}", where=error.filename or folder, cure=cure) from error
    known = {member.entry for member in members}
    strange = [path.name for path in paths if path.name not in known]
    _refuse("entries that are no files of clips", strange, folder, expected=", ".join(SUFFIXES))
    _refuse(f"files of more than {MAX_FILE_BYTES >> 20} MB", [each.entry for each in members if each.size > MAX_FILE_BYTES], folder)
    by_sample = defaultdict(list)
    for member in members:
        by_sample[member.sample].append(member.entry)
    twice = [" and ".join(entries) for entries in by_sample.values() if len(entries) > 1]
    _refuse("clips that stand there in two files", twice, folder)
    return sorted(members, key=lambda member: member.sample)


def _match(labels: Mapping[str, OwnLabel], members: Sequence[RawMember], folder: Path) -> None:
    samples = {member.sample for member in members}
    unlabelled = [member.entry for member in members if member.sample not in labels]
    missing = [f"{row.clip} (line {row.line})" for row in labels.values() if row.clip not in samples]
    cure = "give each clip one row and one file; a clip that no split uses has an empty cell there"
    _refuse(f"rows whose clips are not in {CLIPS_FOLDER}/", missing, folder / LABELS_FILE, cure=cure)
    _refuse(f"clips without a row in {LABELS_FILE}", unlabelled, folder / CLIPS_FOLDER, cure=cure)


def _splits(description: OwnDescription, rows: Sequence[OwnLabel], columns: Sequence[str], folder: Path) -> dict[str, Split]:
    splits: dict[str, Split] = {column: {row.clip: row.splits[column] for row in rows if column in row.splits} for column in columns}
    if not description.test_performers:
        return splits
    where, testers = folder / DESCRIPTION_FILE, set(description.test_performers)
    if "split" in columns:
        cure = "remove one of them, or call the column split_NAME"
        raise FormatError(f"test_performers make a split, and {LABELS_FILE} has a column split too", where=where, cure=cure)
    nobody = [f"{row.clip} (line {row.line})" for row in rows if row.performer is None]
    _refuse(f"clips without a performer in {LABELS_FILE}, which test_performers needs", nobody, where)
    strangers = sorted(testers - {row.performer for row in rows})
    _refuse("test_performers who perform in no clip", [str(number) for number in strangers], where)
    return {**splits, "split": {row.clip: "test" if row.performer in testers else "train" for row in rows}}


def _check_split(name: str, split: Split, labels: Mapping[str, OwnLabel], class_names: Sequence[str], folder: Path) -> None:
    trained = {labels[clip].class_name for clip, part in split.items() if part == "train"}
    untrained = [each for each in class_names if each not in trained]
    cure = "give each class a training clip, or take it out of dataset.toml"
    _refuse(f"classes without a training clip in {name}", untrained, folder / LABELS_FILE, cure=cure)
    if "test" not in split.values():
        raise FormatError(f"no clip tests in {name}", where=folder / LABELS_FILE, cure="mark some clips as test")


def _refuse_copies(members: Sequence[RawMember], folder: Path) -> None:
    """Refuse two clips of the same bytes: counted twice in training, and no test at all if one trains and the other tests."""
    by_size: dict[int, list[RawMember]] = defaultdict(list)
    for member in members:
        by_size[member.size].append(member)
    by_content: dict[bytes, list[str]] = defaultdict(list)
    for member in members:
        if len(by_size[member.size]) > 1:
            by_content[hashlib.sha256(member.read()).digest()].append(member.entry)
    copies = [" = ".join(entries) for entries in by_content.values() if len(entries) > 1]
    cure = "keep one of each, in the file and in labels.csv"
    _refuse("clips whose files hold the same bytes", copies, folder / CLIPS_FOLDER, cure=cure)


def _refuse(problem: str, offenders: Sequence[str], where: Path, *, expected: str | None = None, cure: str | None = None) -> None:
    if offenders:
        raise FormatError(f"{len(offenders)} {problem}", where=where, expected=expected, got=first_of(offenders), cure=cure)
