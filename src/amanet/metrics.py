"""How well scores name the classes: accuracies, confusion, and the score files that runs leave behind."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Int64
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from amanet.checkpoint import write_file
from amanet.errors import RunError


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
            RunError: the disk is full or the folder cannot be written.
        """
        table = pa.table(
            {
                "sample": pa.array(self.sample),
                "label": pa.array(self.label),
                "logits": pa.FixedSizeListArray.from_arrays(pa.array(self.logits.ravel()), self.logits.shape[1]),
            }
        ).replace_schema_metadata({"class_names": json.dumps(self.class_names), "source": json.dumps(self.source)})
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        write_file(path, content.getvalue().to_pybytes())

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """What :meth:`write` wrote.

        Raises:
            RunError: the file is missing or is not a score file.
        """
        try:
            table = pq.read_table(path)
            metadata = table.schema.metadata or {}
            class_names = tuple(json.loads(metadata[b"class_names"]))
            source = dict(json.loads(metadata[b"source"]))
            kinds = {"sample": pa.string(), "label": pa.int64(), "logits": pa.list_(pa.float32(), len(class_names))}
            table = table.cast(pa.schema(kinds))
            logits = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise RunError(f"these scores cannot be read: {error}", where=path, cure="write them again with amanet evaluate") from error
        label = table["label"].to_numpy().copy()  # torch wants memory that it could write, and parquet's is not
        return cls(tuple(table["sample"].to_pylist()), label, logits.copy().reshape(len(table), -1), class_names, source)


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


def confusion(scores: Scores) -> Int64[np.ndarray, "true_class named_class"]:
    """How often clips of a class (row) were named a class (column)."""
    logits, label = torch.from_numpy(scores.logits), torch.from_numpy(scores.label)
    return multiclass_confusion_matrix(logits, label, scores.logits.shape[1]).numpy().astype(np.int64)
