"""The verb ``convert`` for pose estimators: what they write of many clips becomes a folder of one's own, which ``prepare own`` takes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import track

from amanet.data.formats.pose_json import OPENPOSE_FILE, PoseClip, read_coco, read_mediapipe, read_openpose
from amanet.data.own.labels import read_labels
from amanet.data.own.writer import OwnDatasetWriter, check_new
from amanet.data.store_writer import mark_absent
from amanet.errors import ExperimentError, FormatError, first_of
from amanet.places import in_the_making, write_file

PoseFormat = Literal["openpose", "coco", "mediapipe"]


def convert_poses(
    form: PoseFormat,
    source: Path,
    out: Path,
    *,
    labels: Path | None = None,
    name: str = "poses",
    max_bodies: int = 1,
    min_score: float = 0.1,
) -> Path:
    """Writes what a pose estimator found in many clips as a folder of one's own, or, without labels, as clips to predict.

    Args:
        form: ``openpose``, files CLIP_000000000012_keypoints.json, one a frame; ``coco``, a file CLIP.json of COCO keypoints a clip;
            ``mediapipe``, a file CLIP.json of landmarks a clip. (PYSKL's pickles have a way of their own: ``amanet convert pyskl --help``.)
        source: the folder they are in; its subfolders are searched too.
        out: the folder to write, which must be new or empty.
        labels: a table clip,class with a row a clip, and perhaps performer, split and split_NAME, as in labels.csv. Without it the clips
            alone are written, OUT/CLIP.npy, for ``amanet predict``.
        name: of the data set.
        max_bodies: people who take part in a clip at most.
        min_score: joints with a lower score were not seen.

    Raises:
        FormatError: a file is damaged, a clip has no file or no row, or something is at ``out``.
        ExperimentError: ``min_score`` is none.
    """
    if not 0 <= min_score <= 1:
        raise ExperimentError("min_score is a part of a whole", expected="0 to 1", got=min_score)
    files = _find(form, source)
    check_new(out)
    if labels is None:
        _write_clips(form, files, out, min_score)
    else:
        _write_dataset(form, files, out, labels, name, max_bodies, min_score)
    return out


def _write_clips(form: PoseFormat, files: Mapping[str, Sequence[Path]], out: Path, min_score: float) -> None:
    with in_the_making(out) as folder:
        for sample, paths in track(files.items(), "converting", console=Console(stderr=True)):
            clip = _read(form, paths, sample, min_score).clip
            buffer = BytesIO()
            np.save(buffer, mark_absent(clip.joints, clip.present))
            write_file(folder / f"{sample}.npy", buffer.getvalue())
    Console(stderr=True).print(f"{len(files):,} clips in {out}; go on with: amanet predict RUN {out}/*.npy", highlight=False, markup=False)


def _write_dataset(
    form: PoseFormat, files: Mapping[str, Sequence[Path]], out: Path, labels: Path, name: str, max_bodies: int, min_score: float
) -> None:
    rows, _ = read_labels(labels, class_names=None)
    missing = [f"{row.clip} (line {row.line})" for row in rows if row.clip not in files]
    unlabelled = sorted(files.keys() - {row.clip for row in rows})
    for problem, offenders in (("rows without files", missing), ("clips without a row", unlabelled)):
        if offenders:
            raise FormatError(f"{len(offenders)} {problem}", where=labels, got=first_of(offenders), cure="give each clip a row and files")
    classes = sorted({row.class_name for row in rows})
    layout = _read(form, files[rows[0].clip], rows[0].clip, min_score).layout
    with OwnDatasetWriter(out, name=name, layout=layout, class_names=classes, max_bodies=max_bodies) as writer:
        for row in track(rows, "converting", console=Console(stderr=True)):
            found = _read(form, files[row.clip], row.clip, min_score)
            if found.layout != layout:
                raise FormatError(f"clip {row.clip} is of another model", where=files[row.clip][0], expected=layout, got=found.layout)
            writer.add(replace(found.clip, label=classes.index(row.class_name)), performer=row.performer, splits=row.splits)
    console = Console(stderr=True)
    console.print(f"{len(rows):,} clips of {len(classes)} classes and the layout {layout} in {out}", highlight=False, markup=False)
    console.print(f"go on with: amanet prepare own STORE {out}", highlight=False, markup=False)


def _find(form: PoseFormat, source: Path) -> Mapping[str, Sequence[Path]]:
    """The files of each clip."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(source.rglob("*.json")):
        match = OPENPOSE_FILE.fullmatch(path.name)
        if form != "openpose":
            files[path.stem].append(path)
        elif match is not None:
            files[match["clip"]].append(path)
    places = {clip: {path.parent if form == "openpose" else path for path in paths} for clip, paths in files.items()}
    twice = [f"{clip} ({', '.join(map(str, sorted(found)))})" for clip, found in places.items() if len(found) > 1]
    if twice:
        raise FormatError(f"{len(twice)} clips that stand there twice", where=source, got=first_of(twice))
    if not files:
        example = "NAME_000000000012_keypoints.json" if form == "openpose" else "NAME.json"
        problem = "there is no clip here" if source.is_dir() else "there is no folder here"
        raise FormatError(problem, where=source, expected=f"a folder with files like {example}")
    return files


def _read(form: PoseFormat, files: Sequence[Path], sample: str, min_score: float) -> PoseClip:
    if form == "openpose":
        return read_openpose(files, sample, min_score)
    return (read_coco if form == "coco" else read_mediapipe)(files[0], sample, min_score)
