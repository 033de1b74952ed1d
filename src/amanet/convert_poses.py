"""The verb ``convert`` for pose estimators: what they write of many clips becomes a folder of one's own, which ``prepare own`` takes."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.progress import track

from amanet.data.archive import walk_files
from amanet.data.formats.pose_json import FILE_A_FRAME, OPENPOSE_FILE, PoseFormat, frame_numbers, read_poses
from amanet.data.formats.pose_tracks import step_of
from amanet.data.own.labels import OwnLabel, read_labels
from amanet.data.own.npy_file import as_npy
from amanet.data.own.writer import OwnDatasetWriter, check_new
from amanet.errors import ExperimentError, FormatError, first_of
from amanet.skeleton import SkeletonClip
from amanet.system.places import in_shell, in_the_making, write_file

MOST_UNSEEN = 0.5
"""Of a clip's frames, those that may show nobody before it is remarked."""

NAMES = "give each file a name of its own; only where all are called alike, each in a folder of its own, these name the clips"


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
        form: ``openpose``, files CLIP_000000000012_keypoints.json, one a frame; ``ultralytics``, files CLIP/12.json, one a frame, of
            YOLO-Pose's ``results.to_json()``; of the others a file CLIP.json a clip: ``coco``, COCO keypoints; ``mmpose``, what MMPose
            writes of a video; ``mediapipe``, landmarks. (PYSKL's pickles have a way of their own: ``amanet convert pyskl
            --help``.)
        source: the folder they are in; its subfolders are searched too. Where all files are called alike, as AlphaPose's are, each in a
            folder of its own, these folders name the clips.
        out: the folder to write, which must be new or empty.
        labels: a table clip,class with a row a clip, and perhaps performer, split and split_NAME, as in labels.csv. Without it the clips
            alone are written, OUT/CLIP.npy, for ``amanet predict``.
        name: of the data set.
        max_bodies: people who take part in a clip at most.
        min_score: joints with a lower score were not seen.

    Where only every n-th frame was written, by the numbers of all clips' frames, these are taken as consecutive, which is printed. So is a
    warning of clips that show nobody in more than half of their frames.

    Raises:
        FormatError: a file is damaged, a clip has no file or no row, or something is at ``out``.
        ExperimentError: ``min_score`` is none.
    """
    if not 0 <= min_score <= 1:
        raise ExperimentError("min_score is a part of a whole", expected="0 to 1", got=min_score)
    videos = _Videos(form, _find(form, source), min_score, max_bodies)
    check_new(out)
    if labels is None:
        _write_clips(videos, out)
    else:
        _write_dataset(videos, out, labels, name)
    return out


class _Videos:
    """The files of each video, read as clips one after the other, and what a user should know about these.

    Attributes:
        step: of the numbers of all videos' frames; so many are one frame.
        unseen: of each clip that was read, the frames that show nobody, and all.
    """

    def __init__(self, form: PoseFormat, files: Mapping[str, Sequence[Path]], min_score: float, max_bodies: int) -> None:
        self.form: PoseFormat = form
        self.files, self.min_score, self.max_bodies = files, min_score, max_bodies
        self.unseen: dict[str, tuple[int, int]] = {}

    @cached_property
    def step(self) -> int:
        found = track(self.files.values(), "counting frames", console=Console(stderr=True), transient=True)
        return step_of(frame_numbers(self.form, files) for files in found)

    def layout(self, sample: str) -> str:
        """The name of the layout of a video."""
        return read_poses(self.form, self.files[sample]).layout

    def read(self, samples: Sequence[str]) -> Iterator[tuple[SkeletonClip, str]]:
        """The clips of these videos, each with the name of its layout."""
        step = self.step
        for sample in track(samples, "converting", console=Console(stderr=True)):
            poses = read_poses(self.form, self.files[sample])
            clip = poses.clip(sample, self.min_score, step, self.max_bodies)
            self.unseen[sample] = clip.num_frames - int(clip.present.any((0, 2)).sum()), clip.num_frames
            yield clip, poses.layout

    def remarks(self) -> Iterator[str]:
        """What was done with the frames, and where hardly any shows anybody."""
        if self.step > 1:
            yield f"by their numbers one frame in {self.step:,} was written; these are taken as consecutive"
        empty = {sample: unseen / frames for sample, (unseen, frames) in self.unseen.items() if unseen > MOST_UNSEEN * frames}
        if empty:
            worst = max(empty, key=lambda sample: empty[sample])
            unseen, frames = self.unseen[worst]
            yield (
                f"warning: in {len(empty):,} of {len(self.unseen):,} clips more than half of the frames show nobody; "
                f"most in {worst}, {unseen:,} of {frames:,}"
            )


def _write_clips(videos: _Videos, out: Path) -> None:
    with in_the_making(out) as folder:
        for clip, _ in videos.read(list(videos.files)):
            write_file(folder / f"{clip.sample}.npy", as_npy(clip))
    done = f"{len(videos.files):,} clips in {out}; go on with: amanet predict RUN {in_shell(out)}"
    print(*videos.remarks(), done, sep="\n", file=sys.stderr)


def _write_dataset(videos: _Videos, out: Path, labels: Path, name: str) -> None:
    rows, _ = read_labels(labels, class_names=None)
    _match(rows, videos.files, labels)
    classes = sorted({row.class_name for row in rows})
    layout = videos.layout(rows[0].clip)
    with OwnDatasetWriter(out, name=name, layout=layout, class_names=classes, max_bodies=videos.max_bodies) as writer:
        for row, (clip, found) in zip(rows, videos.read([row.clip for row in rows]), strict=True):
            if found != layout:
                raise FormatError(f"clip {row.clip} is of another model", where=videos.files[row.clip][0], expected=layout, got=found)
            writer.add(replace(clip, label=classes.index(row.class_name)), performer=row.performer, splits=row.splits)
    done = f"{len(rows):,} clips of {len(classes)} classes and the layout {layout} in {out}"
    print(*videos.remarks(), done, f"go on with: amanet prepare own STORE {in_shell(out)}", sep="\n", file=sys.stderr)


def _match(rows: Sequence[OwnLabel], files: Mapping[str, Sequence[Path]], labels: Path) -> None:
    """Refuse rows without files and clips without a row."""
    missing = [f"{row.clip} (line {row.line})" for row in rows if row.clip not in files]
    unlabelled = sorted(files.keys() - {row.clip for row in rows})
    faults = {
        "rows without files": (missing, f"clips that have files: {first_of(sorted(files))}", "mend or remove these rows, or add the files"),
        "clips without a row": (unlabelled, "a row for each clip", "add rows for these, or move their files out of the folder"),
    }
    for problem, (offenders, expected, cure) in faults.items():
        if offenders:
            raise FormatError(f"{len(offenders)} {problem}", where=labels, expected=expected, got=first_of(offenders), cure=cure)


def _find(form: PoseFormat, source: Path) -> Mapping[str, Sequence[Path]]:
    """The files of each clip."""
    paths = sorted(path for path in walk_files(source) if path.suffix == ".json") if source.is_dir() else []
    alike = len(paths) > 1 and len({path.name for path in paths}) == 1  # as AlphaPose's alphapose-results.json in a folder a video
    files: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if clip := _clip_of(form, path, alike):
            files[clip].append(path)
    places = {clip: {path.parent if form in FILE_A_FRAME else path for path in found} for clip, found in files.items()}
    twice = [f"{clip} ({', '.join(map(str, sorted(found)))})" for clip, found in places.items() if len(found) > 1]
    if twice:
        raise FormatError(f"{len(twice)} clips that stand there twice", where=source, got=first_of(twice), cure=NAMES)
    if not files:
        example = {"openpose": "NAME_000000000012_keypoints.json", "ultralytics": "NAME/12.json"}.get(form, "NAME.json")
        problem = "there is no clip here" if source.is_dir() else "there is no folder here"
        raise FormatError(problem, where=source, expected=f"a folder with files like {example}")
    return files


def _clip_of(form: PoseFormat, path: Path, alike: bool) -> str | None:
    """The clip that a file is of; None if of none."""
    if form == "openpose":
        match = OPENPOSE_FILE.fullmatch(path.name)
        return match["clip"] if match else None
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 (either may be a link, and its own name is what counts)
    return folder.name if alike or form == "ultralytics" else path.stem
