"""Writing a folder of clips in the form of one's own: what converters and examples are made with."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from amanet.data.benchmark import PARTS
from amanet.data.own.description import DESCRIPTION_FILE, OwnDescription
from amanet.data.own.labels import CLIP_NAME, LABELS_FILE, LARGEST_PERFORMER, SPLIT_COLUMN, OwnLabel, format_labels
from amanet.data.own.npy_file import as_npy
from amanet.errors import FormatError
from amanet.skeleton import SkeletonClip, load_layout
from amanet.system.places import DISK, explained, in_the_making

CLIPS_FOLDER = "clips"


class OwnDatasetWriter:
    """Writes a folder of one's own clips beside its place and moves it there once it is complete and on disk.

    Used as a context manager: leaving it normally publishes the folder, leaving it by an exception removes what was written. Further
    files, a README for one, may be put into ``writer.folder`` meanwhile::

        with OwnDatasetWriter(Path("gym"), name="gym", layout="coco17", class_names=["squat", "lunge"], max_bodies=1) as writer:
            for clip in clips:
                writer.add(clip, performer=3, splits={"split": "train", "split_xview": "test"})

    Args:
        path: the folder to be; new or empty.
        name: of the data set, as in ``dataset.toml``, like the others.
        layout: the name of a layout that ships, or the path of a .toml file, which is copied into the folder.
        class_names: one a label.
        max_bodies: people who take part in a clip at most.
        test_performers: who tests, in place of a split ``split``.

    Raises:
        FormatError: something is at ``path``, or an argument is none that the format allows.
        PlaceError: the disk does not play along.
        LayoutError: the layout does not exist or contradicts itself.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        layout: str | Path,
        class_names: Sequence[str],
        max_bodies: int,
        test_performers: Sequence[int] = (),
    ) -> None:
        check_new(path)
        self.layout = load_layout(layout)
        self._layout_file = Path(layout) if str(layout).endswith(".toml") else None
        named = "layout.toml" if self._layout_file else str(layout)
        self.description = OwnDescription(name, named, tuple(class_names), max_bodies, tuple(test_performers))
        self.path = path
        self._making = in_the_making(path)
        self._labels: dict[str, OwnLabel] = {}

    def __enter__(self) -> "OwnDatasetWriter":
        self.folder = self._making.__enter__()
        with explained(DISK, self.path):
            (self.folder / CLIPS_FOLDER).mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._making.__exit__(kind, error, trace)
            return
        with explained(DISK, self.path), ExitStack() as ending:
            ending.push(self._making)
            self._finish()

    def add(self, clip: SkeletonClip, *, performer: int | None = None, splits: Mapping[str, str] | None = None) -> None:
        """Writes a clip as ``clips/SAMPLE.npy``: float32 (body, frame, joint, coord), NaN where a joint is absent.

        Args:
            clip: with its label, as the numbers were recorded; preparation normalises them.
            performer: who acts.
            splits: ``train`` or ``test`` by the name of the split's column, ``split`` or ``split_NAME``; none for a split that does not
                use the clip.

        Raises:
            FormatError: no name of a file, one that was added already, no label of the data set, or no such performer or split.
            LayoutError: the clip is not of the layout.
        """
        splits = dict(splits or {})
        clip.check_fit(self.layout)
        rules = {
            "its name cannot be that of a file": CLIP_NAME.fullmatch(clip.sample),
            "a clip of this name was written already": clip.sample not in self._labels,
            "its label is none of the data set": clip.label is not None and 0 <= clip.label < len(self.description.class_names),
            "its performer is no number of 0 or more": performer is None or 0 <= performer <= LARGEST_PERFORMER,
            "its splits are none": all(SPLIT_COLUMN.fullmatch(name) and part in PARTS for name, part in splits.items()),
        }
        for problem, holds in rules.items():
            if not holds:
                got = f"label {clip.label}, performer {performer}, splits {splits}"
                raise FormatError(f"clip {clip.sample} cannot be written: {problem}", where=self.path, got=got)
        with explained(DISK, self.path):
            (self.folder / CLIPS_FOLDER / f"{clip.sample}.npy").write_bytes(as_npy(clip))
        self._labels[clip.sample] = OwnLabel(clip.sample, self.description.class_names[clip.label or 0], performer, splits)

    def _finish(self) -> None:
        if not self._labels:
            raise FormatError("not one clip was written", where=self.path)
        if self._layout_file:
            shutil.copyfile(self._layout_file, self.folder / self.description.layout)
        (self.folder / DESCRIPTION_FILE).write_text(self.description.to_toml(), encoding="utf-8")
        (self.folder / LABELS_FILE).write_text(format_labels(self._labels[name] for name in sorted(self._labels)), encoding="utf-8")
        os.sync()  # one call for all files: forcing each to disk takes minutes for a hundred thousand


def check_new(path: Path) -> None:
    """Raises FormatError unless there is nothing at a place, or an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FormatError("there is something already", where=path, expected="a new or an empty folder", cure="name another, or remove it")
