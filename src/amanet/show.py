"""The verb ``show``: pictures of a run, of a prepared clip, or of a raw file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from amanet.data.archive import read_file
from amanet.data.benchmark import Dataset
from amanet.data.dataset import fit_clip
from amanet.data.normalise import align
from amanet.data.own.clip_file import SUFFIXES, read_own_clip
from amanet.data.own.description import DESCRIPTION_FILE, MOST_BODIES, read_description
from amanet.data.published import DATASETS
from amanet.data.store import ClipStore
from amanet.errors import FormatError, RunError
from amanet.experiment import EXPERIMENT_FILE, Experiment, read_experiment
from amanet.metrics import Scores, occurring, read_metrics, scores_file
from amanet.model import DP, Network
from amanet.pictures import (
    View,
    action_correlations,
    confusion_matrix,
    film_strip,
    groups_picture,
    hero,
    joint_correlations,
    learning_curves,
    part_frames,
    save_figure,
)
from amanet.skeleton import ClipBatch, SkeletonClip, SkeletonLayout, load_layout, stream_layout
from amanet.skeleton.graph import adjacency, normalise_symmetric, with_self_loops
from amanet.skeleton.stream import barycentres
from amanet.system.places import make_folder
from amanet.trained import check_experiment, check_store, load_trained, open_store

FIGURE_8 = {"(b) learned, α = 0": 0.0, "(c) α = 0.4": 0.4, "(d) α = 0.8": 0.8, "(e) α = 1.5": 1.5}
"""Weights of the bones in the panels of Fig. 8: 0, 0.8 and 1.5 as its caption says, and one between; panel (a) is the bones alone."""


def show(
    what: Path, out: Path | None = None, *, sample: str | None = None, classes: tuple[str, ...] | str = (), layout: str | None = None
) -> list[Path]:
    """Draw what there is to see.

    A run gives its learning curves, its confusion matrix, and for one clip the prediction, the correlations between joints (where the
    network has SFEM) and the frames of DP (Fig. 3). A store or a raw file gives the film strip of a clip. A run with ``--classes`` gives
    Fig. 8 alone: for each class, the bone graph, the correlations learned, and both together with several weights of the bones.

    Args:
        what: a run folder, a store, or a raw file; of one's own clips, a file in the folder that describes them, or any with ``layout``.
        out: folder for the pictures; RUN/figures of a run, the current folder otherwise.
        sample: clip to draw, of a run or a store; by default the held-out clip that the network names rightly and most surely, or a store's
            first.
        classes: of a run, a class to draw Fig. 8 for, or several, as ``["clapping", "check time (from watch)"]``; each by the held-out clip
            of it that is named most surely.
        layout: of a .npy, .csv or .jsonl clip outside of such a folder, the skeleton: a name that ships, or a .toml file.

    Returns:
        The pictures written.

    Raises:
        AmanetError: there is nothing to draw at ``what``, or it is damaged, or ``out`` cannot be written.
    """
    if not what.exists():
        raise FormatError("there is nothing at this place", where=what, expected="a run folder, a store, or a raw file")
    classes = (classes,) if isinstance(classes, str) else classes
    if classes and (sample is not None or not (what / EXPERIMENT_FILE).is_file()):
        raise RunError("classes are drawn of a run, each by a clip of its own", where=what, cure="name a run, and no sample")
    if sample is not None and what.is_file():
        raise FormatError("a file holds a single clip", where=what, expected="a run or a store to choose from", cure="leave out --sample")
    if (skeleton := _own_layout(what, layout)) is not None:
        return [_show_own(what, skeleton, out or Path())]
    if (what / EXPERIMENT_FILE).is_file():
        run, out = _Run.open(what), out or what / "figures"
        return [_show_classes(run, out, classes)] if classes else _show_run(run, out, sample)
    if what.is_dir():
        store = ClipStore.open(what)
        clip = store.clip(_row_of(store, sample))
        return [_show_clip(clip, store.layout, store.class_names, View.prepared(store.recipe, store.layout), out or Path())]
    clip, dataset = _read_raw(what)
    return [_show_clip(clip, dataset.skeleton, dataset.class_names, View("y"), out or Path())]


def _show_clip(clip: SkeletonClip, layout: SkeletonLayout, class_names: Sequence[str], view: View, out: Path) -> Path:
    path = out / f"{clip.sample}.png"
    make_folder(out)
    save_figure(film_strip(clip.joints, clip.present, layout, title=_title(clip, class_names), view=view), path)
    return path


def _title(clip: SkeletonClip, class_names: Sequence[str]) -> str:
    action = "" if clip.label is None else f": {class_names[clip.label]}"
    return f"{clip.sample}{action}, {clip.num_frames} frames"


@dataclass(frozen=True)
class _Run:
    """A finished run with its held-out clips."""

    path: Path
    experiment: Experiment
    network: Network
    part: str
    scores: Scores
    store: ClipStore

    @classmethod
    def open(cls, path: Path) -> "_Run":
        experiment = read_experiment(path / EXPERIMENT_FILE)
        network, card = load_trained(path)
        check_experiment(card, experiment, path)
        store = open_store(experiment, path)
        part = "validation" if scores_file(path, "validation").is_file() else "test"
        scores = Scores.read(scores_file(path, part))
        check_store(card, store, path)
        return cls(path, experiment, network, part, scores, store)


def _show_run(run: _Run, out: Path, sample: str | None) -> list[Path]:
    experiment, scores, store = run.experiment, run.scores, run.store
    make_folder(out)
    clip = store.clip(_row_of(store, sample or _surest(scores)))
    title = f"{experiment.benchmark}, {len(scores.sample):,} {run.part} clips"
    figures = {
        "learning_curves": learning_curves(_epochs(run.path), title=f"{experiment.benchmark}, {experiment.stream} stream"),
        f"confusion_{run.part}": confusion_matrix(*occurring(scores), title=title),
        **_clip_figures(clip, run.network, experiment, store),
    }
    paths = [out / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


@torch.inference_mode()
def _show_classes(run: _Run, out: Path, classes: Sequence[str]) -> Path:
    """The whole of Fig. 8, for classes of one's own."""
    layout = run.store.layout
    network_layout = stream_layout(layout, run.experiment.stream)
    actions: dict[str, Any] = {}
    for name in classes:
        sample = _surest(_of_class(run, name))
        clip = run.store.clip(_row_of(run.store, sample))
        batch = ClipBatch.stack([fit_clip(clip, run.experiment.sampling)])
        matrices = _correlations(run.network, batch, network_layout, "(a) bones alone", FIGURE_8)
        if not matrices:
            raise RunError("this network has no SFEM, and Fig. 8 shows its correlations", where=run.path)
        answer = run.scores.class_names[int(run.scores.logits[run.scores.sample.index(sample)].argmax())]
        wrong = "" if answer == name else f", named {answer}"
        actions[f"{name} ({sample}{wrong})"] = (matrices, _stream_pose(_pose(clip, layout), layout, network_layout))
    path = out / "fig8.png"
    make_folder(out)
    view = View.prepared(run.store.recipe, layout)
    save_figure(action_correlations(actions, network_layout, view=view), path)
    return path


def _of_class(run: _Run, name: str) -> Scores:
    """The scores of the held-out clips of a class."""
    names = run.scores.class_names
    if name not in names:
        near = get_close_matches(name, names, 3, 0.0)
        raise RunError(f"the run has no class {name!r}", where=run.path, expected=f"a name like {', '.join(map(repr, near))}")
    rows = np.flatnonzero(run.scores.label == names.index(name))
    if not len(rows):
        raise RunError(f"no held-out clip is of class {name!r}", where=run.path, cure="name another class")
    samples = tuple(run.scores.sample[row] for row in rows)
    return replace(run.scores, sample=samples, label=run.scores.label[rows], logits=run.scores.logits[rows])


@torch.inference_mode()
def _clip_figures(clip: SkeletonClip, network: Network, experiment: Experiment, store: ClipStore) -> dict[str, Any]:
    """Prediction, correlations and DP of one clip."""
    layout, view = store.layout, View.prepared(store.recipe, store.layout)
    batch = ClipBatch.stack([fit_clip(clip, experiment.sampling)])
    pose = _pose(clip, layout)
    network_layout = stream_layout(layout, experiment.stream)
    pose_of_network = _stream_pose(pose, layout, network_layout)
    matrices = _correlations(network, batch, network_layout, "bones alone", {"learned alone": 0.0, "both, as trained": None})
    probabilities = network(batch.joints, batch.present).softmax(-1)[0].double().numpy()
    title = _title(clip, store.class_names)
    answer = f"; named {store.class_names[probabilities.argmax()]}, {probabilities.max():.0%}"
    figures = {
        "clip": hero(clip, layout, store.class_names, probabilities, matrices, pose_of_network, view=view, title=title)
        if matrices and network_layout == layout
        else film_strip(clip.joints, clip.present, layout, view=view, title=title + answer),
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


def _stream_pose(pose: Float[np.ndarray, "joint coord"], layout: SkeletonLayout, of: SkeletonLayout) -> Float[np.ndarray, "node coord"]:
    """A pose in the layout of the stream: itself, or its barycentres."""
    if of == layout:
        return pose
    return barycentres(torch.from_numpy(pose), torch.ones(len(pose), dtype=torch.bool), layout.groups)[0].numpy()


def _correlations(
    network: Network, batch: ClipBatch, layout: SkeletonLayout, bones: str, weights: Mapping[str, float | None]
) -> dict[str, Float[np.ndarray, "joint joint"]]:
    """The panels of Fig. 8: the bone graph Å by itself, and with what the last SFEM learned; means over frames of the first body.

    A network without SFEM has none.

    Args:
        network: to look into.
        batch: one clip.
        layout: of the network's stream.
        bones: name of the panel of the bone graph.
        weights: by the name of each other panel, the weight of the bone graph; None leaves it as trained.
    """
    matrices = {bones: normalise_symmetric(with_self_loops(adjacency(layout)))}
    for name, weight in weights.items():
        spatial = network.explain(batch.joints, batch.present, weight).blocks[-1].spatial
        if spatial is None:
            return {}
        matrices[name] = spatial[0].mean(0).double().numpy()
    return matrices


def _epochs(run: Path) -> list[dict[str, float]]:
    """The metrics of a run as one mapping an epoch, counted from 1."""
    epochs: dict[int, dict[str, float]] = {}
    for record in read_metrics(run):
        row = epochs.setdefault(record["epoch"], {"epoch": record["epoch"] + 1.0})
        kind = "train" if record["part"] == "train" else "held_out"
        row |= {f"{kind}_loss": record["loss"], f"{kind}_accuracy": record["top1"]}
        if "learning_rate" in record:
            row["learning_rate"] = record["learning_rate"]
    return [epochs[epoch] for epoch in sorted(epochs)]


def _surest(scores: Scores) -> str:
    """The clip named rightly with the highest probability; the surest of all where none is right."""
    probabilities = torch.from_numpy(scores.logits).softmax(-1).numpy()
    right = probabilities.argmax(1) == scores.label
    return scores.sample[int((probabilities.max(1) + right).argmax())]


def _pose(clip: SkeletonClip, layout: SkeletonLayout) -> Float[np.ndarray, "joint coord"]:
    """The first body in the frame where most of its joints are seen; the others stand where the next joint towards the root does."""
    frame = int(clip.present[0].sum(-1).argmax())
    places, seen = clip.joints[0, frame].copy(), clip.present[0, frame]
    for joint in np.flatnonzero(~seen):
        towards = joint
        while not seen[towards] and layout.parents[towards] != towards:
            towards = layout.parents[towards]
        places[joint] = places[towards] if seen[towards] else places[seen].mean(axis=0)
    return places


def _row_of(store: ClipStore, sample: str | None) -> int:
    if sample is None:
        return 0
    names = store.samples
    if sample not in names:
        raise RunError(f"the store has no clip {sample!r}", where=store.path, expected=f"a name like {names[0]}")
    return names.index(sample)


def _own_layout(path: Path, named: str | None) -> SkeletonLayout | None:
    """The skeleton of a clip of one's own, as the folder that it lies in describes it, or as it was named; None of anything else."""
    folder = path.absolute().parent.parent
    own = path.is_file() and path.suffix in SUFFIXES
    described = own and (folder / DESCRIPTION_FILE).is_file()
    if named is None:
        return read_description(folder).skeleton(folder) if described else None
    if described or not own:
        got = f"a clip that {DESCRIPTION_FILE} tells the layout of" if described else None
        expected = f"a clip of your own ({', '.join(SUFFIXES)}) outside of its data set's folder"
        raise FormatError("what is here has a layout already", where=path, expected=expected, got=got, cure="leave out --layout")
    return load_layout(named)


def _show_own(path: Path, layout: SkeletonLayout, out: Path) -> Path:
    """A clip of one's own, set upright, as nobody knows which way its axes point."""
    clip = align(read_own_clip(read_file(path), path, layout), layout, MOST_BODIES)
    return _show_clip(clip, layout, (), View.prepared("aligned", layout), out)


def _read_raw(path: Path) -> tuple[SkeletonClip, Dataset]:
    """A raw file by the first data set that knows names like its own, or else by the first that can read it."""
    of_its_kind = [dataset for dataset in DATASETS.values() if path.name.endswith(dataset.suffix)]
    for dataset in of_its_kind:
        if dataset.holds(dataset.sample_of(path)):
            return dataset.read(read_file(path), path, "body-id"), dataset
    refused: FormatError | None = None
    for dataset in of_its_kind:
        try:
            return dataset.read_unnamed(read_file(path), path, "body-id"), dataset
        except FormatError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    known = ", ".join(dict.fromkeys(f"*{dataset.suffix}" for dataset in DATASETS.values()))
    cure = "say which skeleton this clip of your own is of: --layout ntu25, or a .toml file" if path.suffix in SUFFIXES else None
    raise FormatError("no data set has files of this kind", where=path, expected=known, cure=cure)
