"""The verb ``predict``: what people do in raw clips, by a trained run."""

import csv
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track

from amanet.data.archive import read_file
from amanet.data.benchmark import Dataset
from amanet.data.normalise import get_recipe
from amanet.data.own.clip_file import SUFFIXES as OWN_SUFFIXES
from amanet.data.own.clip_file import read_own_clip
from amanet.data.own.dataset import OwnDataset, own_files_in
from amanet.errors import AmanetError, EmptyClipError, ExperimentError, FormatError, PlaceError, TrainingError
from amanet.model import Network
from amanet.skeleton import SkeletonClip
from amanet.system.places import make_folder, write_file
from amanet.trained import NetworkCard, load_trained

COLUMNS = ("path", "rank", "class", "probability")
"""Of a file of predictions: a row a clip and class named, the most probable of rank 1."""
SUFFIXES = (".csv", ".json")
MANY = 20
"""Files whose reading takes long enough for a bar."""


@dataclass(frozen=True)
class Prediction:
    """The classes of a clip, most probable first."""

    path: Path
    class_names: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict(
    run: Path | str,
    clips: Path | str | Sequence[Path | str],
    top: int = 5,
    *,
    out: Path | str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
) -> list[Prediction]:
    """Name the action in each raw file, prepared just as the run's training clips were.

    Args:
        run: folder of a finished training, or its weights file.
        clips: raw files in the format of the run's data set, whatever they are called, or .npy, .csv and .jsonl clips of its skeleton
            (docs/data.md); or folders of either. Of several, those that show nobody are named and passed over.
        top: classes to name.
        out: file to write the predictions into, .csv or .json: a row a clip and class, with its path, rank (from 1), class and probability.
        on_error: at a file that cannot be read, stop and show it, or skip it, say so, and go on.

    Raises:
        RunError: the run is unfinished.
        ExperimentError: ``top`` names no class.
        FormatError: a file is not of the format, a folder has none that is, or all were skipped.
        TrainingError: a score is not finite, so the weights have run away.
        PlaceError: ``out`` is neither kind of file, is one of the clips, or cannot be written.
    """
    if top < 1:
        raise ExperimentError("top is how many classes to name", expected="1 or more", got=top)
    out = None if out is None else Path(out)
    if out is not None and out.suffix not in SUFFIXES:
        raise PlaceError("predictions are not written as such a file", where=out, expected=f"a name that ends in {' or '.join(SUFFIXES)}")
    network, card = load_trained(run)
    clips = [clips] if isinstance(clips, Path | str) else clips
    paths = [path for each in clips for path in _files_at(Path(each), card.source)]
    if out is not None:
        if out.resolve() in {path.resolve() for path in paths}:
            raise PlaceError("this file is one of the clips", where=out, cure="write the predictions into another folder")
        make_folder(out.parent)
    found = _predict_all(paths, network, card, top, skip=on_error == "skip")
    if out is not None:
        write_file(out, _table(found, out.suffix))
    return found


def read_clip(path: Path, card: NetworkCard) -> SkeletonClip:
    """A raw file of the kind that the network was trained on, or a clip of its skeleton in a form of one's own, as it is."""
    content = read_file(path)
    if isinstance(card.source, Dataset) and path.suffix not in OWN_SUFFIXES:
        return card.source.read_unnamed(content, path, get_recipe(card.normalisation).tracks)
    return read_own_clip(content, path, card.layout, card.max_bodies)


def _files_at(path: Path, source: Dataset | OwnDataset) -> list[Path]:
    """The file itself, or those of the data set in a folder, or else clips of one's own in it, sorted."""
    if not path.is_dir():
        return [path]
    files = source.files_in(path) or own_files_in(path)
    if not files:
        kinds = (source.suffix, *OWN_SUFFIXES) if isinstance(source, Dataset) else OWN_SUFFIXES
        expected = ", ".join(f"*{suffix}" for suffix in kinds)
        raise FormatError(f"there is no file of {source.name} in this folder", where=path, expected=expected, cure="name another folder")
    return files


def _predict_all(paths: Sequence[Path], network: Network, card: NetworkCard, top: int, *, skip: bool) -> list[Prediction]:
    """Of each file that can be read; of the others it is said why not, and how many they are."""
    found: list[Prediction] = []
    remarks = logging.getLogger(__name__)
    for path in track(paths, "predicting", console=Console(stderr=True), transient=True, disable=len(paths) < MANY):
        try:
            found.append(_predict_one(path, network, card, top))
        except AmanetError as error:
            error.where = error.where or str(path)
            if not (skip or (isinstance(error, EmptyClipError) and len(paths) > 1)):
                if len(paths) > 1:
                    error.cure = f"{error.cure or 'repair the file'}, or skip such files: --on_error skip"
                raise
            remarks.warning("skipped %s", str(error).partition("\n")[0])
    if paths and not found:
        raise FormatError("all files were skipped", got=f"{len(paths):,} that cannot be read", cure="are they of the run's data set?")
    if len(found) < len(paths):
        remarks.warning("%s of %s files were skipped", f"{len(paths) - len(found):,}", f"{len(paths):,}")
    return found


@torch.inference_mode()
def _predict_one(path: Path, network: Network, card: NetworkCard, top: int) -> Prediction:
    batch = card.batch([read_clip(path, card)])
    probabilities = network(batch.joints, batch.present).softmax(-1)[0]
    if not probabilities.isfinite().all():
        raise TrainingError("the scores of this clip are not finite", where=path, cure="train with a lower recipe.learning_rate")
    best = probabilities.topk(min(top, len(card.class_names)))
    names = tuple(card.class_names[index] for index in best.indices.tolist())
    return Prediction(path, names, tuple(best.values.tolist()))


def _table(found: Sequence[Prediction], suffix: str) -> bytes:
    """The predictions as a table or a list of objects, probabilities to six decimals.

    A table begins with the mark by which spreadsheets know UTF-8, which readers of tables skip. Of a path that is no UTF-8 the bytes that
    are none are escaped.
    """
    rows = [
        (str(each.path), rank, name, round(probability, 6))
        for each in found
        for rank, (name, probability) in enumerate(zip(each.class_names, each.probabilities, strict=True), 1)
    ]
    if suffix == ".json":
        objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return f"{json.dumps(objects, indent=1, ensure_ascii=False)}\n".encode(errors="backslashreplace")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(rows)
    return text.getvalue().encode("utf-8-sig", errors="backslashreplace")
