"""The verb ``fuse``: the scores of several runs joined into one result."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from amanet.data.benchmark import Part
from amanet.errors import RunError
from amanet.evaluate import evaluate
from amanet.experiment import EXPERIMENT_FILE, read_experiment
from amanet.fusion import Fusion, join, search_weights
from amanet.metrics import Scores, accuracy, occurring, scores_file, write_scores
from amanet.pictures import confusion_matrix, save_figure, stream_bars
from amanet.system.devices import Accelerator
from amanet.system.places import make_folder, write_file

FUSION_FILE = "fusion.json"


def fuse(
    out: Path,
    runs: Sequence[Path],
    weights: Literal["equal", "search"] | tuple[float, ...] = "equal",
    part: Part = "test",
    *,
    accelerator: Accelerator = "auto",
) -> Fusion:
    """Join the scores of runs by sample name: the weighted sum of their probabilities.

    A run that was not scored on the part yet is evaluated first. Leaves in ``out`` the fused scores (``scores-PART.parquet``), what they
    say of each class (``classes-PART.csv``), weights and accuracies (``fusion.json``), every clip that fusion repaired or broke
    (``changed.csv``) and two pictures (``streams.png``, ``confusion_PART.png``).

    Args:
        out: folder to write.
        runs: folders of finished trainings, usually one a stream.
        weights: ``equal``; one number a run, as ``[0.6,0.6,0.4,0.4]``; or ``search``, which looks for the best ones on the validation part,
            which all runs held out of training (as by ``--validation_performers``), never on the part that is scored.
        part: the clips to score.
        accelerator: ``auto`` takes a GPU where there is one.

    Raises:
        RunError: runs differ in samples, labels, classes, layout or benchmark, one is unfinished, or the weights do not fit.
    """
    if (out / EXPERIMENT_FILE).is_file():
        cure = "name a folder to write before the runs"
        raise RunError("the fused scores would take the place of this run's", where=out, cure=cure)
    names = stream_names(runs)
    if weights == "search":
        chosen = search_weights(_scores(names, runs, "validation", accelerator))
    else:
        chosen = None if weights == "equal" else weights
    found = join(_scores(names, runs, part, accelerator), chosen)
    make_folder(out)
    write_scores(found.fused, out, part)
    write_file(out / "changed.csv", _changes(found).encode())
    write_file(out / FUSION_FILE, json.dumps(_summary(found, runs, weights, part), indent=2).encode())
    title = f"{found.fused.source['benchmark']}, {len(found.fused.sample):,} {part} clips"
    save_figure(stream_bars(found.table(), title=title), out / "streams.png")
    save_figure(confusion_matrix(*occurring(found.fused), title=title), out / f"confusion_{part}.png")
    return found


def stream_names(runs: Sequence[Path]) -> list[str]:
    """Runs by their streams; by their folders too where several are of one stream."""
    streams = [read_experiment(run / EXPERIMENT_FILE).stream for run in runs]
    counts = Counter(streams)
    names = [stream if counts[stream] == 1 else f"{stream} ({run.name})" for stream, run in zip(streams, runs, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{stream} ({run})" for stream, run in zip(streams, runs, strict=True)]
    if len(set(names)) < len(names):
        raise RunError("a run is named twice", got=", ".join(map(str, runs)), cure="name each run once, and weigh it with --weights")
    return names


def _scores(names: list[str], runs: Sequence[Path], part: Part, accelerator: Accelerator) -> dict[str, Scores]:
    """The scores of every run on a part, computed where a run has none yet."""
    found: dict[str, Scores] = {}
    for name, run in zip(names, runs, strict=True):
        path, stream = scores_file(run, part), read_experiment(run / EXPERIMENT_FILE).stream
        found[name] = Scores.read(path) if path.is_file() else evaluate(run, part, accelerator=accelerator)
        if (scored := found[name].source["stream"]) != stream:
            problem = f"these scores are of another stream than {EXPERIMENT_FILE} says"
            raise RunError(problem, where=path, expected=stream, got=scored, cure="put the stream back as it was, or train a new run")
    return found


def _changes(found: Fusion) -> str:
    """Every clip that fusion repaired or broke for some stream: its class, what each stream says, and what all together say."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sample", "class", *found.streams, "fused"])
    changed = {sample for name in found.streams for sample in (*found.repaired(name), *found.broken(name))}
    names = found.fused.class_names
    answers = [scores.logits.argmax(-1) for scores in (*found.streams.values(), found.fused)]
    for row, sample in enumerate(found.fused.sample):
        if sample in changed:
            table.writerow([sample, names[found.fused.label[row]], *(names[answer[row]] for answer in answers)])
    return text.getvalue()


def _summary(found: Fusion, runs: Sequence[Path], weights: object, part: str) -> dict[str, object]:
    return {
        "runs": [str(run.resolve()) for run in runs],
        "streams": list(found.streams),
        "weights": found.weights,
        "weights_chosen": "given" if isinstance(weights, tuple) else weights,
        "part": part,
        "top1_to_top5": found.table(),
        "accuracy": asdict(accuracy(found.fused)),
        "changed": {name: {"repaired": found.repaired(name), "broken": found.broken(name)} for name in found.streams},
    }
