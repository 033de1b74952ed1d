"""The verb ``show``: pictures of a run, of a prepared clip, or of a raw file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from amanet.checkpoint import make_folder
from amanet.data.archive import read_file
from amanet.data.benchmark import DATASETS, Dataset
from amanet.data.dataset import fit_clip
from amanet.data.normalise import align
from amanet.data.own.clip_file import SUFFIXES
from amanet.data.own.dataset import own_dataset
from amanet.data.own.description import DESCRIPTION_FILE, MOST_BODIES, read_description
from amanet.data.store import ClipStore
from amanet.errors import FormatError, RunError
from amanet.experiment import EXPERIMENT_FILE, METRICS_FILE, Experiment, read_experiment
from amanet.metrics import Scores, confusion
from amanet.model import DP, Network
from amanet.pictures import (
    View,
    confusion_matrix,
    film_strip,
    groups_picture,
    hero,
    joint_correlations,
    learning_curves,
    part_frames,
    save_figure,
)
from amanet.skeleton import ClipBatch, SkeletonClip, SkeletonLayout, stream_layout
from amanet.skeleton.graph import adjacency, normalise_symmetric, with_self_loops
from amanet.skeleton.stream import barycentres
from amanet.trained import check_store, load_trained


def show(what: Path, out: Path | None = None, *, sample: str | None = None) -> list[Path]:
    """Draw what there is to see.

    A run gives its learning curves, its confusion matrix, and for one clip the prediction, the correlations between joints (the paper's
    Fig. 8, where the network has SFEM) and the frames of DP (Fig. 3). A store or a raw file gives the film strip of a clip.

    Args:
        what: a run folder, a store, or a raw file; of one's own clips, a file in the folder that describes them.
        out: folder for the pictures; RUN/figures of a run, the current folder otherwise.
        sample: clip to draw; by default the held-out clip that the network names rightly and most surely, or a store's first.

    Returns:
        The pictures written.

    Raises:
        AmanetError: there is nothing to draw at ``what``, or it is damaged, or ``out`` cannot be written.
    """
    if not what.exists():
        raise FormatError("there is nothing at this place", where=what, expected="a run folder, a store, or a raw file")
    if (what / EXPERIMENT_FILE).is_file():
        return _show_run(what, out or what / "figures", sample)
    if what.is_dir():
        store = ClipStore.open(what)
        clip = store.clip(_row_of(store, sample))
        return [_show_clip(clip, store.layout, store.class_names, View.prepared(store.recipe, store.layout), out or Path())]
    if what.suffix in SUFFIXES and (what.absolute().parents[1] / DESCRIPTION_FILE).is_file():
        return [_show_own(what, out or Path())]
    clip, dataset = _read_raw(what)
    return [_show_clip(clip, dataset.skeleton, dataset.class_names, View("y"), out or Path())]


def _show_clip(clip: SkeletonClip, layout: SkeletonLayout, class_names: Sequence[str], view: View, out: Path) -> Path:
    action = "" if clip.label is None else f": {class_names[clip.label]}"
    path = out / f"{clip.sample}.png"
    make_folder(out)
    save_figure(film_strip(clip.joints, clip.present, layout, title=f"{clip.sample}{action}, {clip.num_frames} frames", view=view), path)
    return path


def _show_run(run: Path, out: Path, sample: str | None) -> list[Path]:
    experiment = read_experiment(run / EXPERIMENT_FILE)
    network, card = load_trained(run)
    part = "validation" if experiment.validation_performers else "test"
    scores = Scores.read(run / f"scores-{part}.parquet")
    store = ClipStore.open(experiment.store)
    check_store(card, store, run)
    make_folder(out)
    clip = store.clip(_row_of(store, sample or _surest(scores)))
    figures = {
        "learning_curves": learning_curves(_epochs(run), title=f"{experiment.benchmark}, {experiment.stream} stream"),
        f"confusion_{part}": confusion_matrix(*_occurring(scores), title=f"{experiment.benchmark}, {len(scores.sample):,} held-out clips"),
        **_clip_figures(clip, network, experiment, store),
    }
    paths = [out / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


@torch.inference_mode()
def _clip_figures(clip: SkeletonClip, network: Network, experiment: Experiment, store: ClipStore) -> dict[str, Any]:
    """Prediction, correlations and DP of one clip."""
    layout, view = store.layout, View.prepared(store.recipe, store.layout)
    batch = ClipBatch.stack([fit_clip(clip, experiment.sampling)])
    pose = _pose(clip)
    network_layout = stream_layout(layout, experiment.stream)
    if network_layout != layout:
        pose_of_network = barycentres(torch.from_numpy(pose), torch.ones(len(pose), dtype=torch.bool), layout.groups)[0].numpy()
    else:
        pose_of_network = pose
    matrices = _correlations(network, batch, network_layout)
    probabilities = network(batch.joints, batch.present).softmax(-1)[0].double().numpy()
    figures = {
        "clip": hero(clip, layout, store.class_names, probabilities, matrices, pose_of_network, view=view)
        if matrices and network_layout == layout
        else film_strip(clip.joints, clip.present, layout, view=view),
        "groups": groups_picture(layout, pose, view=view),
    }
    if matrices:
        figures["correlations"] = joint_correlations(matrices, pose_of_network, network_layout, view=view)
    alien = DP(layout, "vel+acc+alien", experiment.network.alien, experiment.network.alien_scale).alien
    assert alien is not None
    places = torch.from_numpy(pose)[None, None, None, :, : layout.num_axes]
    mapped = alien(places, torch.ones(places.shape[:-1], dtype=torch.bool))[0, 0, 0].numpy()
    figures["dp_parts"] = part_frames(layout, pose, alien=mapped, scale=experiment.network.alien_scale, view=view)
    return figures


def _correlations(network: Network, batch: ClipBatch, layout: SkeletonLayout) -> dict[str, Float[np.ndarray, "joint joint"]]:
    """The panels of Fig. 8: the bone graph, what the last SFEM learned, and both together; means over frames of the first body.

    A network without SFEM has none.
    """
    matrices = {"bones alone": normalise_symmetric(with_self_loops(adjacency(layout)))}
    for name, weight in (("learned alone", 0.0), ("both, as trained", None)):
        spatial = network.explain(batch.joints, batch.present, weight).blocks[-1].spatial
        if spatial is None:
            return {}
        matrices[name] = spatial[0].mean(0).double().numpy()
    return matrices


def _epochs(run: Path) -> list[dict[str, float]]:
    """The metrics of a run as one mapping an epoch, counted from 1."""
    epochs: dict[int, dict[str, float]] = {}
    for record in _records(run / METRICS_FILE):
        row = epochs.setdefault(record["epoch"], {"epoch": record["epoch"] + 1.0})
        kind = "train" if record["part"] == "train" else "held_out"
        row |= {f"{kind}_loss": record["loss"], f"{kind}_accuracy": record["top1"]}
        if "learning_rate" in record:
            row["learning_rate"] = record["learning_rate"]
    return [epochs[epoch] for epoch in sorted(epochs)]


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunError(f"the metrics of the run cannot be read: {error}", where=path) from error
    if not records or not all(isinstance(each, dict) and {"epoch", "part", "loss", "top1"} <= each.keys() for each in records):
        raise RunError("these are not the metrics of a run", where=path, expected="epoch, part, loss and top1 in each line")
    return records


def _occurring(scores: Scores) -> tuple[np.ndarray, list[str]]:
    """The confusion counts and names of the classes that occur as truth or answer."""
    counts = confusion(scores)
    occurs = np.flatnonzero(counts.sum(0) + counts.sum(1))
    return counts[np.ix_(occurs, occurs)], [scores.class_names[index] for index in occurs]


def _surest(scores: Scores) -> str:
    """The clip named rightly with the highest probability; the surest of all where none is right."""
    probabilities = torch.from_numpy(scores.logits).softmax(-1).numpy()
    right = probabilities.argmax(1) == scores.label
    return scores.sample[int((probabilities.max(1) + right).argmax())]


def _pose(clip: SkeletonClip) -> Float[np.ndarray, "joint coord"]:
    """The first body in the frame where most of its joints are seen."""
    frame = int(clip.present[0].sum(-1).argmax())
    if not clip.present[0, frame].all():
        raise RunError(f"clip {clip.sample} has no frame with a whole body to draw on", cure="name another clip with --sample")
    return clip.joints[0, frame]


def _row_of(store: ClipStore, sample: str | None) -> int:
    if sample is None:
        return 0
    names = store.samples
    if sample not in names:
        raise RunError(f"the store has no clip {sample!r}", where=store.path, expected=f"a name like {names[0]}")
    return names.index(sample)


def _show_own(path: Path, out: Path) -> Path:
    """A clip of one's own, from the folder that describes it; set upright, as nobody knows which way its axes point."""
    folder = path.absolute().parents[1]
    description = read_description(folder)
    dataset = own_dataset(description, description.skeleton(folder))
    clip = align(dataset.read(read_file(path), path, "body-id"), dataset.skeleton, MOST_BODIES)
    return _show_clip(clip, dataset.skeleton, dataset.class_names, View.prepared("aligned", dataset.skeleton), out)


def _read_raw(path: Path) -> tuple[SkeletonClip, Dataset]:
    """A raw file by the first data set that knows names like its own."""
    for dataset in DATASETS.values():
        if path.name.endswith(dataset.suffix) and dataset.holds(dataset.sample_of(path)):
            return dataset.read(read_file(path), path, "body-id"), dataset
    known = ", ".join(dict.fromkeys(dataset.file_example() for dataset in DATASETS.values()))
    raise FormatError("no data set has files of this name", where=path, expected=f"a name like one of {known}")
