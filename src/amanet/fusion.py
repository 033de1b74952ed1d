r"""Several streams as one (MS-DS, Fig. 6): their probabilities, weighted and added.

.. math:: \mathrm{Score} = \sum_i \alpha_i \, \mathrm{softmax}(z_i), \qquad \sum_i \alpha_i = 1

=============== ============================================ ==================
symbol          meaning                                      shape
=============== ============================================ ==================
:math:`z_i`     logits of stream i                           (clip, class)
:math:`\alpha`  weight of stream i, 0 or more                one a stream
=============== ============================================ ==================
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from amanet.errors import RunError
from amanet.metrics import Scores, top_k

TOP = 5
"""Fig. 9 shows top-1 to top-5. Of few classes fewer are told: among the k highest of k classes every clip's is."""
SEARCH_STEPS = 10
"""A search tries all weights that are multiples of one in so many."""
NAMED = 5
"""Samples that an error names."""


@dataclass(frozen=True)
class Fusion:
    """The streams that were joined, their weights, and what came of it.

    Attributes:
        streams: scores by the name of the stream, all on the same clips.
        weights: of the streams, in their order; they add up to one.
        fused: scores of all together: logarithms of the weighted probabilities.
    """

    streams: dict[str, Scores]
    weights: tuple[float, ...]
    fused: Scores

    def table(self) -> dict[str, tuple[float, ...]]:
        """:func:`top_accuracies` of each stream and, last, of all together (Fig. 9)."""
        parts = {**self.streams, self.fused.source["stream"]: self.fused}
        return {name: top_accuracies(scores) for name, scores in parts.items()}

    def best_stream(self) -> str:
        """The stream with the highest top-1; the first of equals."""
        return max(self.streams, key=lambda name: top_k(self.streams[name], 1))

    def repaired(self, stream: str) -> list[str]:
        """Clips that the stream alone names wrongly and all together name rightly."""
        return self._samples(_right(self.fused) & ~_right(self.streams[stream]))

    def broken(self, stream: str) -> list[str]:
        """Clips that the stream alone names rightly and all together name wrongly."""
        return self._samples(~_right(self.fused) & _right(self.streams[stream]))

    def _samples(self, chosen: Bool[np.ndarray, " clip"]) -> list[str]:
        return [self.fused.sample[row] for row in np.flatnonzero(chosen)]


def top_accuracies(scores: Scores) -> tuple[float, ...]:
    """Top-1 to top-5 as parts of one, as far as k is less than the number of classes."""
    return tuple(top_k(scores, k) for k in range(1, max(2, min(TOP + 1, len(scores.class_names)))))


def join(streams: Mapping[str, Scores], weights: Sequence[float] | None = None) -> Fusion:
    """Join streams by the names of their samples.

    Args:
        streams: scores of two or more networks by name, in any order of samples.
        weights: one a stream, 0 or more, not all 0; they are scaled to add up to one. Equal ones where none are given.

    Raises:
        RunError: the scores are of different clips, classes, labels, layouts, benchmarks or parts, or the weights do not fit them.
    """
    check_alike(streams)
    aligned = {name: _in_order(scores) for name, scores in streams.items()}
    shares = _shares(list(streams), weights)
    first = next(iter(aligned.values()))
    logits = _weighted(_log_probabilities(aligned), shares).astype(np.float32)
    source = {**first.source, "stream": " + ".join(streams)}
    return Fusion(aligned, shares, Scores(first.sample, first.label, logits, first.class_names, source))


def search_weights(streams: Mapping[str, Scores]) -> tuple[float, ...]:
    """The weights, in steps of a tenth, with the highest top-1 on these scores; of equals, those with the lowest cross entropy.

    Search on clips held out of training for this, never on those that the result is stated for.
    """
    check_alike(streams)
    aligned = {name: _in_order(scores) for name, scores in streams.items()}
    label = next(iter(aligned.values())).label
    log_probabilities = _log_probabilities(aligned)

    def quality(weights: tuple[float, ...]) -> tuple[float, float]:
        logits = _weighted(log_probabilities, weights)
        return float((logits.argmax(-1) == label).mean()), float(logits[np.arange(len(label)), label].mean())

    return max(_simplex(len(aligned)), key=quality)


def check_alike(streams: Mapping[str, Scores]) -> None:
    """Refuse to join scores that are not of the same clips and classes.

    Raises:
        RunError: what differs, in which two streams, and for samples which.
    """
    if len(streams) < 2:
        raise RunError("there is nothing to join", expected="two streams or more", got=", ".join(streams) or "none")
    (first_name, first), *others = streams.items()
    for name, other in others:
        kinds = {kind: (first.source.get(kind), other.source.get(kind)) for kind in ("benchmark", "part", "layout")}
        kinds["class names"] = _first_difference(first.class_names, other.class_names)
        for kind, (one, another) in kinds.items():
            if one != another:
                raise RunError(
                    f"scores of different {kind} cannot be joined",
                    expected=f"{one}, as in {first_name}",
                    got=f"{another} in {name}",
                    cure="fuse runs that were trained and evaluated on the same store, benchmark and part",
                )
        _check_samples(first_name, first, name, other)


def _first_difference(names: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, str]:
    """What two lists of class names differ in: their number, or the first class of another name."""
    if len(names) != len(others):
        return f"{len(names)} classes", f"{len(others)} classes"
    pairs = ((f"class {index} {name!r}", f"class {index} {other!r}") for index, (name, other) in enumerate(zip(names, others, strict=True)))
    return next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))


def _check_samples(first_name: str, first: Scores, name: str, other: Scores) -> None:
    labels, other_labels = dict(zip(first.sample, first.label, strict=True)), dict(zip(other.sample, other.label, strict=True))
    differences = {
        f"only in {first_name}": sorted(labels.keys() - other_labels.keys()),
        f"only in {name}": sorted(other_labels.keys() - labels.keys()),
        "with another class": sorted(sample for sample in labels.keys() & other_labels.keys() if labels[sample] != other_labels[sample]),
    }
    found = [_named(what, samples) for what, samples in differences.items() if samples]
    if found:
        raise RunError(
            f"{first_name} and {name} were not scored on the same clips",
            expected="the same samples with the same classes in both",
            got="; ".join(found),
            cure="evaluate all runs on the same store",
        )
    for which, scores in ((first_name, first), (name, other)):
        if len(set(scores.sample)) != len(scores.sample):
            raise RunError(f"the scores of {which} hold a sample twice", cure="write them again with amanet evaluate")


def _named(what: str, samples: list[str]) -> str:
    rest = f" and {len(samples) - NAMED:,} more" if len(samples) > NAMED else ""
    return f"{len(samples):,} {what}: {', '.join(samples[:NAMED])}{rest}"


def _in_order(scores: Scores) -> Scores:
    """The same scores in the order of their sample names."""
    order = np.argsort(np.array(scores.sample), kind="stable")
    samples = tuple(scores.sample[row] for row in order)
    return Scores(samples, scores.label[order], scores.logits[order], scores.class_names, scores.source)


def _shares(names: list[str], weights: Sequence[float] | None) -> tuple[float, ...]:
    weights = [1.0] * len(names) if weights is None else list(weights)
    if len(weights) != len(names) or not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < np.inf:
        expected = f"{len(names)} of 0 or more, with a finite sum above 0, for {', '.join(names)}"
        raise RunError("these weights do not fit the streams", expected=expected, got=weights)
    return tuple(weight / sum(weights) for weight in weights)


def _log_probabilities(streams: Mapping[str, Scores]) -> Float64[Tensor, "stream clip class"]:
    return torch.stack([torch.from_numpy(scores.logits).double().log_softmax(-1) for scores in streams.values()])


def _weighted(log_probabilities: Float64[Tensor, "stream clip class"], weights: Sequence[float]) -> Float64[np.ndarray, "clip class"]:
    """Logarithm of the weighted sum of probabilities."""
    return (log_probabilities + torch.tensor(weights, dtype=torch.float64).log()[:, None, None]).logsumexp(0).numpy()


def _simplex(streams: int) -> Iterator[tuple[float, ...]]:
    """All weights that are multiples of a step and add up to one: stars and bars."""
    for bars in combinations(range(SEARCH_STEPS + streams - 1), streams - 1):
        edges = (-1, *bars, SEARCH_STEPS + streams - 1)
        yield tuple((after - before - 1) / SEARCH_STEPS for before, after in pairwise(edges))


def _right(scores: Scores) -> Bool[np.ndarray, " clip"]:
    return scores.logits.argmax(-1) == scores.label
