"""How well scores name the classes: accuracies, confusion, and the files of scores and metrics that runs leave behind."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Int64
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from amanet.data.class_names import fault_of
from amanet.errors import RunError
from amanet.system.places import write_file

METRICS_FILE = "metrics.jsonl"
CLASS_COLUMNS = ("class", "clips", "right", "recall", "precision", "most_taken_for", "times")


@dataclass(frozen=True)
class Scores:
    """The logits of a network on a part of a data set.

    Attributes:
        sample: clip names, in rising order.
        label: true classes.
        logits: scores before the softmax.
        class_names: names of the classes.
        source: what the scores are of: benchmark, part, stream, layout; fusion refuses to join scores that differ in it.
    """

    sample: tuple[str, ...]
    label: Int64[np.ndarray, " clip"]
    logits: Float32[np.ndarray, "clip class"]
    class_names: tuple[str, ...]
    source: dict[str, str]

    def write(self, path: Path) -> None:
        """As parquet, with everything but the numbers in its metadata; the file appears whole or not at all.

        Raises:
            PlaceError: the disk is full or the folder cannot be written.
        """
        table = pa.table(
            {
                "sample": pa.array(self.sample),
                "label": pa.array(self.label),
                "logits": pa.FixedSizeListArray.from_arrays(pa.array(self.logits.ravel()), self.logits.shape[1]),
            }
        )
        facts = {"class_names": json.dumps(self.class_names), "source": json.dumps(self.source)}
        table = table.replace_schema_metadata({**facts, "sha256": self._seal()})
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        write_file(path, content.getvalue().to_pybytes())

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """What :meth:`write` wrote.

        Raises:
            RunError: the file is missing, damaged, or not a score file.
        """
        try:
            table = pq.read_table(path)
            metadata = table.schema.metadata or {}
            class_names = tuple(json.loads(metadata[b"class_names"]))
            source = dict(json.loads(metadata[b"source"]))
            kinds = {"sample": pa.string(), "label": pa.int64(), "logits": pa.list_(pa.float32(), len(class_names))}
            table = table.cast(pa.schema(kinds))
            _check_columns(table, class_names, source)
            logits = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            label = table["label"].to_numpy().copy()  # torch wants memory that it could write, and parquet's is not
            scores = cls(tuple(table["sample"].to_pylist()), label, logits.copy().reshape(len(table), -1), class_names, source)
            if scores._seal().encode() != metadata[b"sha256"]:
                raise ValueError("a number or a word in them is not what was written")
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise RunError(f"these scores cannot be read: {error}", where=path, cure="write them again with amanet evaluate") from error
        return scores

    def _seal(self) -> str:
        """SHA-256 over all of it."""
        digest = hashlib.sha256(json.dumps([self.sample, self.class_names, self.source]).encode())
        digest.update(self.label.astype("<i8").data)
        digest.update(np.ascontiguousarray(self.logits, "<f4").data)
        return digest.hexdigest()


def scores_file(run: Path, part: str) -> Path:
    """Where a run keeps its scores on a part."""
    return run / f"scores-{part}.parquet"


def classes_file(run: Path, part: str) -> Path:
    """Where a run keeps what its scores on a part say of each class."""
    return run / f"classes-{part}.csv"


def write_scores(scores: Scores, run: Path, part: str) -> None:
    """The scores of a part into a run's folder; before them what they say of each class, ``classes-PART.csv``.

    Raises:
        PlaceError: the disk is full or the folder cannot be written.
    """
    write_file(classes_file(run, part), class_table(scores).encode("utf-8-sig"))  # spreadsheets know UTF-8 by its mark
    scores.write(scores_file(run, part))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """What a run wrote of its epochs, in order: a mapping for training and one for each time that the held-out part was scored.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = run / METRICS_FILE
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunError(f"the metrics of the run cannot be read: {error}", where=path) from error
    if not records or not all(map(_is_of_an_epoch, records)):
        raise RunError("these are not the metrics of a run", where=path, expected="epoch, part, loss and top1 in each line")
    return records


def _is_of_an_epoch(record: object) -> bool:
    kinds = {"epoch": int, "part": str, "loss": int | float, "top1": int | float}
    if not isinstance(record, dict) or not all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
        return False
    return isinstance(record.get("learning_rate", 0.0), int | float)


def _check_columns(table: pa.Table, class_names: tuple[str, ...], source: dict[str, str]) -> None:
    """Raises ValueError unless every row can be a clip's."""
    if fault := fault_of(class_names):
        raise ValueError(fault)
    samples, labels, logits = table["sample"].to_pylist(), table["label"], table["logits"].combine_chunks()
    if not samples or labels.null_count or None in samples or any(one >= two for one, two in pairwise(samples)):
        raise ValueError("its clips are none, or have no name or label, or are not sorted")
    numbers = labels.to_numpy()
    if not 0 <= numbers.min() <= numbers.max() < len(class_names):
        raise ValueError(f"its labels are not from 0 to {len(class_names) - 1}")
    if logits.null_count or logits.flatten().null_count or not np.isfinite(logits.flatten().to_numpy()).all():
        raise ValueError("its scores are not finite")
    if set(source) != {"benchmark", "part", "stream", "layout"} or not all(isinstance(value, str) for value in source.values()):
        raise ValueError("it does not say what its scores are of")


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of scores, as parts of one.

    Attributes:
        top1: clips whose highest score is their class.
        top5: clips whose class is among their five highest scores.
        per_class: mean over the classes that occur of the part of their clips recognised.
        loss: mean cross entropy.
    """

    top1: float
    top5: float
    per_class: float
    loss: float


def top_k(scores: Scores, k: int) -> float:
    """Part of the clips whose class is among their k highest scores; fewer classes than k make it one of all."""
    num_classes = scores.logits.shape[1]
    logits, label = torch.from_numpy(scores.logits), torch.from_numpy(scores.label)
    return multiclass_accuracy(logits, label, num_classes, average="micro", top_k=min(k, num_classes)).item()


def accuracy(scores: Scores) -> Accuracy:
    """The accuracies of scores."""
    logits, label = torch.from_numpy(scores.logits), torch.from_numpy(scores.label)
    counts = confusion(scores)
    occurring = counts.sum(1) > 0
    recall = counts.diagonal()[occurring] / counts.sum(1)[occurring]
    loss = torch.nn.functional.cross_entropy(logits, label).item()
    return Accuracy(top_k(scores, 1), top_k(scores, 5), float(recall.mean()), loss)


def in_words(scores: Scores) -> list[str]:
    """The accuracies of scores as they are printed; of five classes or fewer without top-5, which is all of them."""
    found = accuracy(scores)
    top5 = [f"top-5 {found.top5:.2%}"] if len(scores.class_names) > 5 else []
    return [f"top-1 {found.top1:.2%}", *top5, f"mean per class {found.per_class:.2%}"]


def confusion(scores: Scores) -> Int64[np.ndarray, "true_class named_class"]:
    """How often clips of a class (row) were named a class (column)."""
    logits, label = torch.from_numpy(scores.logits), torch.from_numpy(scores.label)
    return multiclass_confusion_matrix(logits, label, scores.logits.shape[1]).numpy().astype(np.int64)


def occurring(scores: Scores) -> tuple[Int64[np.ndarray, "true_class named_class"], list[str]]:
    """The :func:`confusion` and the names of the classes that occur as truth or as answer."""
    counts = confusion(scores)
    rows = np.flatnonzero(counts.sum(0) + counts.sum(1))
    return counts[np.ix_(rows, rows)], [scores.class_names[row] for row in rows]


def class_table(scores: Scores) -> str:
    """A row of :data:`CLASS_COLUMNS` for each class that occurs as truth or as answer, with a comma between columns.

    Of a class: how many clips it has, how many of them were named rightly and which part that is; which part of the clips that were named
    so are so; and which other class its clips were taken for most often, and how often. What there is none of is empty.
    """
    counts, names = occurring(scores)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CLASS_COLUMNS)
    for each, name in enumerate(names):
        clips, named, right = counts[each].sum(), counts[:, each].sum(), counts[each, each]
        wrong = np.where(np.arange(len(names)) == each, 0, counts[each])
        mistake = (names[wrong.argmax()], wrong.max()) if wrong.any() else ("", "")
        table.writerow([name, clips, right, *(f"{right / whole:.4f}" if whole else "" for whole in (clips, named)), *mistake])
    return text.getvalue()
