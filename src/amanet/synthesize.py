"""The verb `synthesize`: people acting, written as raw `.skeleton` files, so that everything can be tried without anybody's data."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from amanet.data.synthetic import ACTIONS, CAMERA_AZIMUTH, SyntheticName, get_action, skeleton_text, watch
from amanet.errors import ExperimentError
from amanet.system.places import DISK, explained, in_the_making


@dataclass(frozen=True)
class SynthesisSummary:
    """What was written.

    Attributes:
        folder: where the clips are.
        num_clips: how many files.
        num_frames: in all files together.
        num_bytes: in all files together.
    """

    folder: Path
    num_clips: int
    num_frames: int
    num_bytes: int


def synthesize(
    out: Path,
    *,
    actions: Sequence[int] = tuple(ACTIONS),
    performers: int | Sequence[int] = 10,
    cameras: Sequence[int] = tuple(CAMERA_AZIMUTH),
    setups: Sequence[int] = (1,),
    replications: int = 2,
    seed: int = 0,
) -> SynthesisSummary:
    """Writes clips of people acting under the names and in the format of NTU RGB+D.

    Every performer does every action, each replication seen by all cameras at once. A clip depends on the seed and its name alone: more
    performers or fewer actions leave the other files as they are, byte for byte. The folder appears when all its files are written.

    Args:
        out: the folder to write, which must be new or empty.
        actions: which actions, by their numbers in NTU RGB+D.
        performers: how many, counted from 1, or which; of the first ten, 3, 6, 7 and 10 test in the cross-subject split.
        cameras: which of the three; the first one tests in the cross-view split.
        setups: heights and distances of the cameras; performers are dealt out to them in turn.
        replications: how often each performer does each action, facing cameras 2 and 3 in turn.
        seed: another one gives other people doing the same actions.

    Raises:
        ExperimentError: an action, camera or count that there is not, or something is at ``out``; the message says what there is.
        PlaceError: the folder cannot be made.
    """
    everybody = range(1, performers + 1) if isinstance(performers, int) else tuple(performers)
    _check_choices("actions", actions, 999)
    _check_choices("performers", everybody, 999)
    _check_choices("setups", setups, 999)
    _check_choices("cameras", cameras, len(CAMERA_AZIMUTH))
    _check_choices("replications", range(1, replications + 1), 999)
    if seed < 0:
        raise ExperimentError("a seed is not negative", expected="0 or more", got=seed)
    for action in actions:
        get_action(action)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExperimentError(
            "there is something already", where=out, expected="a new or an empty folder", cure="name another, or remove it"
        )
    names = list(_names(actions, everybody, cameras, setups, replications))
    summary = _write(out, names, seed)
    print(
        f"{summary.num_clips:,} clips of {len(actions)} actions by {len(everybody)} performers: {summary.num_frames:,} frames, "
        f"{summary.num_bytes / 1e6:,.0f} MB in {out}",
        file=sys.stderr,
    )
    return summary


def _names(
    actions: Sequence[int], performers: Sequence[int], cameras: Sequence[int], setups: Sequence[int], replications: int
) -> Iterator[SyntheticName]:
    """All clips; those of one performance, which differ in the camera, one after the other."""
    for performer, replication, action, camera in product(performers, range(1, replications + 1), actions, cameras):
        yield SyntheticName(setups[(performer - 1) % len(setups)], camera, performer, replication, action)


def _write(out: Path, names: Sequence[SyntheticName], seed: int) -> SynthesisSummary:
    num_frames = num_bytes = 0
    console = Console(stderr=True)
    columns = TextColumn("people acting"), BarColumn(), MofNCompleteColumn(), TextColumn("clips, left"), TimeRemainingColumn()
    display = Progress(*columns, console=console, disable=not console.is_terminal)
    with explained(DISK, out), in_the_making(out) as folder, display as progress:
        for name in progress.track(names):
            recording = watch(name, seed)
            num_frames += recording.num_frames
            num_bytes += (folder / f"{name}.skeleton").write_bytes(skeleton_text(recording))
    return SynthesisSummary(out, len(names), num_frames, num_bytes)


def _check_choices(what: str, chosen: Sequence[int], last: int) -> None:
    if not 0 < len(chosen) <= last or len(set(chosen)) < len(chosen) or not all(1 <= number <= last for number in chosen):
        expected = f"at least one number from 1 to {last}, none of them twice"
        got = f"{len(chosen):,} of them" if len(chosen) > last else list(chosen) or "none"
        raise ExperimentError(f"these are no {what}", expected=expected, got=got)
