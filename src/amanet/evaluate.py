"""The verb ``evaluate``: a trained run's scores on a part of its benchmark."""

from pathlib import Path

from amanet.data.benchmark import Part
from amanet.data.dataset import ClipDataset, split_rows
from amanet.data.published import get_benchmark
from amanet.data.sampler import make_loader
from amanet.data.store import ClipStore
from amanet.errors import RunError
from amanet.experiment import EXPERIMENT_FILE, read_experiment
from amanet.metrics import Scores, write_scores
from amanet.system.devices import Accelerator, open_devices
from amanet.trained import check_experiment, check_store, check_unseen, load_trained, open_store
from amanet.training.scoring import score_clips, score_source


def evaluate(
    run: Path,
    part: Part = "test",
    *,
    store: Path | None = None,
    accelerator: Accelerator = "auto",
    batch_size: int = 32,
) -> Scores:
    """Score a part of the benchmark with the run's last weights, and keep the scores in ``RUN/scores-PART.parquet``.

    What they say of each class goes into ``RUN/classes-PART.csv``.

    Args:
        run: folder of a finished training.
        part: the clips to score; training clips are taken as they are in evaluation, without augmentation.
        store: where the prepared clips are now, if they moved since training.
        accelerator: ``auto`` takes a GPU where there is one.
        batch_size: clips at once.

    Raises:
        RunError: the run is unfinished, the store's classes, layout or recipe are not the run's, or its split gives clips that the run was
            trained on to the part.
        ExperimentError: this machine has no such accelerator, or ``batch_size`` is not 1 or more.
        TrainingError: a score is not finite.
    """
    experiment = read_experiment(run / EXPERIMENT_FILE)
    fabric = open_devices(accelerator, experiment.precision)
    network, card = load_trained(run)
    check_experiment(card, experiment, run)
    clips = ClipStore.open(store) if store else open_store(experiment, run)
    check_store(card, clips, run)
    rows = split_rows(clips, get_benchmark(experiment.benchmark), experiment.validation_performers)
    if not len(rows.get(part, ())):
        others = ", ".join(name for name, held in rows.items() if len(held))
        cure = "train with --validation_performers, or on a split that has clips for it" if part == "validation" else None
        raise RunError(f"the {part} part of this run is empty", where=run, expected=others, cure=cure)
    if part != "train":
        check_unseen(run, [clips.samples[row] for row in rows[part]])
    dataset = ClipDataset(clips, rows[part], experiment.sampling, experiment.seed, training=False)
    loader = make_loader(dataset, batch_size=batch_size, seed=experiment.seed, epoch=0, shuffle=False)
    source = score_source(experiment, card, part)
    scores = score_clips(fabric, fabric.setup_module(network), loader, card.class_names, source, dataset.samples)
    write_scores(scores, run, part)
    return scores
