"""The verb ``predict``: what people do in raw clips, by a trained run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from amanet.data.archive import read_file
from amanet.data.dataset import fit_clip
from amanet.data.normalise import get_recipe
from amanet.errors import ExperimentError, TrainingError
from amanet.skeleton import ClipBatch, SkeletonClip
from amanet.trained import NetworkCard, load_trained


@dataclass(frozen=True)
class Prediction:
    """The classes of a clip, most probable first."""

    path: Path
    class_names: tuple[str, ...]
    probabilities: tuple[float, ...]


@torch.inference_mode()
def predict(run: Path, clips: Sequence[Path], top: int = 5) -> list[Prediction]:
    """Name the action in each raw file, prepared just as the run's training clips were.

    Args:
        run: folder of a finished training, or its weights file.
        clips: raw files in the format of the run's data set; of a data set of one's own, any of .npy, .csv and .jsonl.
        top: classes to name.

    Raises:
        RunError: the run is unfinished.
        ExperimentError: ``top`` names no class.
        FormatError: a file is not of the format.
        TrainingError: a score is not finite, so the weights have run away.
    """
    if top < 1:
        raise ExperimentError("top is how many classes to name", expected="1 or more", got=top)
    network, card = load_trained(run)
    found: list[Prediction] = []
    for path in clips:
        batch = ClipBatch.stack([fit_clip(read_clip(path, card), card.sampling)])
        probabilities = network(batch.joints, batch.present).softmax(-1)[0]
        if not probabilities.isfinite().all():
            raise TrainingError("the scores of this clip are not finite", where=path, cure="train with a lower recipe.learning_rate")
        best = probabilities.topk(min(top, len(card.class_names)))
        names = tuple(card.class_names[index] for index in best.indices.tolist())
        found.append(Prediction(path, names, tuple(best.values.tolist())))
    return found


def read_clip(path: Path, card: NetworkCard) -> SkeletonClip:
    """A raw file, read and normalised as the network's training clips were."""
    recipe = get_recipe(card.normalisation)
    raw = card.source.read(read_file(path), path, recipe.tracks)
    return recipe.apply(raw, card.layout, card.max_bodies)
