"""What a data set is, what the name of a sample says, and what a benchmark is. The published ones are in :mod:`amanet.data.published`."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from amanet.data.archive import sample_name, walk_files
from amanet.data.normalise import Tracks
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip, SkeletonLayout, load_layout

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
"""Of a split: every clip that it uses is in one of them."""
Reader = Callable[[bytes, Path | str, Tracks], SkeletonClip]
LabelReader = Callable[[bytes, Path | str], dict[str, int | None]]

OWN = "own"
"""What the command line calls a data set of one's own, and its first split."""
OWN_PREFIX = f"{OWN}:"
"""How the names of such data sets begin in stores and networks, so that they are never taken for a published one."""
OWN_BENCHMARK = re.compile(r"own(?:-([a-z0-9_]+))?", re.ASCII)
NO_DIGIT = re.compile(r"\D", re.ASCII)


@dataclass(frozen=True)
class SampleKey:
    """What the name of a sample says about it; None where the data set does not say.

    Attributes:
        performer: who acts, counted from 1; of a pair, both numbers as one (103 for 1 and 3). None where nobody says.
        action: the class by its number in the data set.
        label: the class as a network counts it, from 0.
        part: to train or to validate, where the data set comes in such parts.
        camera: which of the cameras saw it.
        setup: which arrangement of cameras and room.
        replication: which repetition of the same action by the same performer.
    """

    performer: int | None = None
    action: int | None = None
    label: int | None = None
    part: str | None = None
    camera: int | None = None
    setup: int | None = None
    replication: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A published set of clips.

    Attributes:
        name: ``ntu60``, ``ntu120``, ``utd-mhad``, ``sbu``, ``nucla`` or ``kinetics``.
        layout: the name of its skeleton layout.
        class_names: one name a class, in the order of the labels.
        max_bodies: how many bodies take part in its actions at most.
        suffix: how the names of its files end.
        excluded: samples that the authors of the set declare unusable.
        max_setup: the last setup that belongs to the set, where sets share one numbering.
        pattern: the name of a sample, with a named group for each number in it; what is no digit in a group is skipped. Only
            ``part`` is a word.
        name_example: a name that fits the pattern.
        reader: reads the content of one file. Where names tell no class, it gives the label; where both do, they must agree.
        folders: how many of the folders that a file lies in are part of its sample's name.
        actions: the number of each class in the names, where that is not 1, 2, 3 and so on.
        label_list: the name of a file that lists the labels of samples, where there are such files among the raw ones.
        label_reader: reads one into the label of each sample, None for a sample that shows nobody.
    """

    name: str
    layout: str
    class_names: tuple[str, ...]
    max_bodies: int
    suffix: str
    pattern: re.Pattern[str]
    name_example: str
    reader: Reader
    folders: int = 0
    actions: tuple[int, ...] = ()
    label_list: re.Pattern[str] | None = None
    label_reader: LabelReader | None = None
    max_setup: int | None = None
    excluded: frozenset[str] = frozenset()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def skeleton(self) -> SkeletonLayout:
        """The layout of its clips."""
        return load_layout(self.layout)

    def parse(self, sample: str) -> SampleKey:
        """What the name of a sample says.

        Raises:
            FormatError: no name of this data set, or a class or setup outside it.
        """
        match = self.pattern.fullmatch(sample)
        if match is None:
            raise FormatError(f"{sample!r} is no sample of {self.name}", expected=f"a name like {self.name_example}")
        groups = match.groupdict()
        part = groups.pop("part", None)
        numbers = {field: int(NO_DIGIT.sub("", digits)) for field, digits in groups.items()}
        label = self._label_of(numbers["action"], sample) if "action" in numbers else None
        if self.max_setup is not None and not 1 <= numbers["setup"] <= self.max_setup:
            raise FormatError(f"{sample!r} names a setup outside {self.name}", expected=f"1 to {self.max_setup}", got=numbers["setup"])
        return SampleKey(**numbers, label=label, part=part)

    def _label_of(self, action: int, sample: str) -> int:
        actions = self.actions or range(1, self.num_classes + 1)
        if action not in actions:
            expected = " ".join(map(str, self.actions)) or f"1 to {self.num_classes}"
            raise FormatError(f"{sample!r} names a class outside {self.name}", expected=expected, got=action)
        return actions.index(action)

    def holds(self, sample: str) -> bool:
        """Whether the name is one of this data set and its authors do not exclude it."""
        try:
            self.parse(sample)
        except FormatError:
            return False
        return sample not in self.excluded

    def sample_of(self, path: Path) -> str:
        """The name of the sample that a file holds."""
        return sample_name(path.absolute(), self.suffix, self.folders)

    def files_in(self, folder: Path) -> list[Path]:
        """The files of its kind in a folder and its subfolders, sorted, whatever they are called; hidden ones and lists of labels not."""
        files = (path for path in walk_files(folder) if path.name.endswith(self.suffix) and not path.name.startswith("."))
        return sorted(path for path in files if path.is_file() and not (self.label_list and self.label_list.fullmatch(path.name)))

    def file_example(self) -> str:
        """A file with the name that it should have."""
        *around, name = (*self.name_example.split("-", self.folders), "")[: self.folders + 1]
        return "/".join((*around, name + self.suffix))

    def read(self, content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
        """The clip in the content of one file, with its label and the sample's name.

        Raises:
            FormatError: the name or the content is not of this data set's format, or they name different classes; the message names the
                file and the line.
        """
        try:
            named = self.parse(self.sample_of(Path(path))).label
        except FormatError as error:
            error.where = str(path)
            raise
        clip = self.read_unnamed(content, path, tracks)
        if named is not None and clip.label not in (None, named):
            raise FormatError("the file's label is not that of its name", where=path, expected=f"label {named}", got=f"label {clip.label}")
        return replace(clip, label=clip.label if named is None else named)

    def read_unnamed(self, content: bytes, path: Path | str, tracks: Tracks) -> SkeletonClip:
        """The clip in the content of one file of this kind, whatever it is called, as of a recording of one's own.

        Raises:
            FormatError: the name ends otherwise, or the content is not of this data set's format.
        """
        if not Path(path).name.endswith(self.suffix):
            raise FormatError(f"this is no file of {self.name}", where=path, expected=f"a name that ends in {self.suffix}")
        return replace(self.reader(content, path, tracks), sample=self.sample_of(Path(path)))


@dataclass(frozen=True)
class Benchmark:
    """A protocol: which clips of a data set train and which test.

    Attributes:
        name: the data set and the split, as in ``ntu60-xsub``.
        dataset: the data set it splits.
        in_training: the rule.
        num_train: published number of training clips.
        num_test: published number of test clips.
        description: the rule in a sentence.
    """

    name: str
    dataset: Dataset
    in_training: Callable[[SampleKey], bool]
    num_train: int
    num_test: int
    description: str


@dataclass(frozen=True)
class OwnBenchmark:
    """A split of a data set of one's own, which its store holds.

    Attributes:
        name: ``own``, or ``own-NAME``.
        column: of the store's index: ``split``, or ``split_NAME``.
    """

    name: str
    column: str


def own_benchmark_name(column: str) -> str:
    """The benchmark of a split of one's own, by its column."""
    return OWN + column.removeprefix("split").replace("_", "-", 1)
