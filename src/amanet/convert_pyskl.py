"""The verb ``convert`` for annotation pickles of PYSKL, which become a folder of one's own, with their splits."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from amanet.data.formats.pyskl import PysklContent, open_pyskl
from amanet.data.own.description import MOST_BODIES
from amanet.data.own.writer import OwnDatasetWriter
from amanet.data.published import get_dataset
from amanet.errors import ExperimentError, FormatError, first_of
from amanet.skeleton import SkeletonClip
from amanet.system.places import in_shell


def convert_pyskl(
    source: Path,
    out: Path,
    *,
    name: str | None = None,
    class_names: Path | None = None,
    memory_gb: float = 4.0,
    minutes: float = 10.0,
) -> Path:
    """Writes an annotation pickle of PYSKL as a folder of clips in the form of one's own.

    Args:
        source: the file, 2-D or 3-D.
        out: the folder to write, new or empty.
        name: of the data set; made from the name of the file if not given.
        class_names: text file with the name of a class in each line, in the order of the labels; the numbers are the names if not given.
        memory_gb: memory that reading the pickle may take; about twice the size of the file is needed.
        minutes: time of the processor that reading the pickle may take.

    Raises:
        FormatError: the source is damaged, hostile or takes too much, or something is at ``out``.
        ExperimentError: a bound is none.
    """
    if memory_gb < 0.5 or minutes <= 0:
        raise ExperimentError("the bounds leave no room to read", expected="memory_gb of 0.5 or more, minutes above 0")
    names = None if class_names is None else _read_names(class_names)
    with open_pyskl(source, int(memory_gb * 2**30), max(1, round(60 * minutes))) as content:
        writer = OwnDatasetWriter(
            out,
            name=name or _dataset_name(source),
            layout=content.layout,
            class_names=_classes(content, names, class_names),
            max_bodies=min(content.max_bodies, MOST_BODIES),
        )
        with writer:
            empty = _write(content, writer)
    done = f"{content.num_clips - empty:,} clips of {content.layout} in {out}"
    left_out = [f"{empty:,} more were left out: nobody is seen in them"] if empty else []
    print(done, *left_out, f"go on with: amanet prepare own STORE {in_shell(out)}", sep="\n", file=sys.stderr)
    return out


def _write(content: PysklContent, writer: OwnDatasetWriter) -> int:
    """Writes all clips, and returns how many were left out since they are empty."""
    empty = 0
    row = {label: index for index, label in enumerate(content.labels)}
    for clip in track(content.clips, "converting", total=content.num_clips, console=Console(stderr=True)):
        if clip is None:
            empty += 1
            continue
        splits = {column: parts[clip.sample] for column, parts in content.splits.items() if clip.sample in parts}
        named = SkeletonClip(_file_name(clip.sample), clip.joints, clip.present, row[clip.label or 0])
        writer.add(named, performer=_performer(clip.sample), splits=splits)
    return empty


def _classes(content: PysklContent, names: Sequence[str] | None, source: Path | None) -> list[str]:
    """A name for each label that occurs."""
    if names is None:
        return [str(label) for label in content.labels]
    if len(names) <= content.labels[-1]:
        raise FormatError(
            "a label has no name", where=source, expected=f"{content.labels[-1] + 1} lines or more", got=f"{len(names)} lines"
        )
    return [names[label] for label in content.labels]


def _read_names(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"the names of the classes cannot be read: {error}", where=path, expected="text, one name a line") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError("names of classes that stand there twice", where=path, got=first_of(twice))
    return names


def _dataset_name(source: Path) -> str:
    """The file's name as that of a data set."""
    return re.sub(r"[^a-z0-9._-]", "-", source.stem.lower()).lstrip("._-")[:64] or "pyskl"


def _file_name(sample: str) -> str:
    """The name of a clip as that of a file; two that become one are refused by the writer."""
    name = re.sub(r"[^\w.+=@() -]", "_", sample)
    return name if re.match(r"\w", name) else f"_{name}"


def _performer(sample: str) -> int | None:
    """Who acts, where the clip has a name of NTU RGB+D."""
    match = get_dataset("ntu120").pattern.fullmatch(sample)
    return None if match is None else int(match["performer"])
