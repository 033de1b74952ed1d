"""Fused scores against a loop over clips, weights that are found, and scores that must not be joined."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.errors import RunError
from amanet.fusion import Fusion, join, search_weights
from amanet.metrics import Scores, top_k
from amanet.pictures import stream_bars

SOURCE = {"benchmark": "ntu60-xsub", "part": "test", "layout": "ntu25"}


def make_stream(stream: str, seed: int, num_clips: int = 9, num_classes: int = 6) -> Scores:
    """Random logits; labels are the same for every seed."""
    logits = np.random.default_rng(seed).normal(scale=3.0, size=(num_clips, num_classes)).astype(np.float32)
    label = np.random.default_rng(99).integers(num_classes, size=num_clips)
    samples = tuple(f"clip{row:03}" for row in range(num_clips))
    return Scores(samples, label, logits, tuple(f"class {index}" for index in range(num_classes)), {**SOURCE, "stream": stream})


def make_streams(seed: int, count: int = 3) -> dict[str, Scores]:
    return {f"stream {index}": make_stream(f"stream {index}", seed + index) for index in range(count)}


def shuffled(scores: Scores, seed: int = 1) -> Scores:
    order = np.random.default_rng(seed).permutation(len(scores.sample))
    return replace(scores, sample=tuple(scores.sample[row] for row in order), label=scores.label[order], logits=scores.logits[order])


@given(seed=st.integers(0, 2**31), weights=st.lists(st.floats(0.1, 5.0), min_size=3, max_size=3))
def test_the_sum_is_that_of_the_loop(seed: int, weights: list[float]) -> None:
    streams = make_streams(seed)
    found = join(streams, weights)
    for row in range(9):
        expected = np.zeros(6)
        for weight, scores in zip(weights, streams.values(), strict=True):
            powers = [np.exp(float(logit)) for logit in scores.logits[row]]
            for index, power in enumerate(powers):
                expected[index] += weight / sum(weights) * power / sum(powers)
        np.testing.assert_allclose(np.exp(found.fused.logits[row]), expected, rtol=1e-4, atol=1e-9)
    assert sum(found.weights) == pytest.approx(1)


def test_streams_are_joined_by_name_and_not_by_place() -> None:
    streams = make_streams(5)
    names = list(streams)
    mixed = {names[0]: streams[names[0]], names[1]: shuffled(streams[names[1]]), names[2]: shuffled(streams[names[2]], seed=2)}
    assert mixed[names[1]].sample != streams[names[1]].sample
    np.testing.assert_array_equal(join(mixed).fused.logits, join(streams).fused.logits)
    assert join(mixed).fused.sample == streams[names[0]].sample


@pytest.mark.parametrize(("num_classes", "told"), [(2, 1), (3, 2), (5, 4), (6, 5), (60, 5)])
def test_top_k_is_told_where_it_says_something(num_classes: int, told: int) -> None:
    streams = {name: make_stream(name, seed, num_classes=num_classes) for seed, name in enumerate(("one", "two"))}
    found = join(streams)
    for name, scores in (*streams.items(), (found.fused.source["stream"], found.fused)):
        assert found.table()[name] == tuple(top_k(scores, k) for k in range(1, told + 1))
    stream_bars(found.table())


def test_a_weight_of_nothing_leaves_a_stream_out() -> None:
    streams = make_streams(5)
    alone = join({name: streams[name] for name in list(streams)[:2]})
    np.testing.assert_allclose(join(streams, [1.0, 1.0, 0.0]).fused.logits, alone.fused.logits, rtol=1e-6)


def test_what_fusion_repairs_and_breaks() -> None:
    """Stream one is sure and right on the first clip, sure and wrong on the second; stream two is unsure and the other way round."""
    label = np.array([0, 1])
    names = ("a", "b")
    one = Scores(("x", "y"), label, np.array([[9, 0], [9, 0]], np.float32), names, {**SOURCE, "stream": "one"})
    two = Scores(("x", "y"), label, np.array([[0, 1], [0, 1]], np.float32), names, {**SOURCE, "stream": "two"})
    found = join({"one": one, "two": two})
    assert (found.repaired("one"), found.broken("one")) == ([], [])
    assert (found.repaired("two"), found.broken("two")) == (["x"], ["y"])
    assert found.table() == {"one": (0.5,), "two": (0.5,), "one + two": (0.5,)}
    assert found.best_stream() == "one"


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_best_weights_of_all(seed: int) -> None:
    streams = make_streams(seed, 3)
    label = next(iter(streams.values())).label
    found = search_weights(streams)
    assert sum(found) == pytest.approx(1)

    def quality(weights: tuple[float, ...]) -> tuple[float, float]:
        logits = join(streams, weights).fused.logits
        return float((logits.argmax(-1) == label).mean()), float(logits[np.arange(9), label].mean())

    every = [weights for weights in product(np.arange(11) / 10, repeat=3) if abs(sum(weights) - 1) < 1e-9]
    assert len(every) == 66
    best = max(map(quality, every))
    assert quality(found) == pytest.approx(best, rel=1e-5)


def test_the_search_prefers_the_stream_that_is_right() -> None:
    good, bad = make_stream("good", 0), make_stream("bad", 1)
    good = replace(good, logits=np.eye(6, dtype=np.float32)[good.label] * 4)
    assert search_weights({"good": good, "bad": bad})[0] > 0.5


def other_source(kind: str) -> Scores:
    scores = make_stream("bone", 1)
    return replace(scores, source={**scores.source, kind: "another"})


@pytest.mark.parametrize("kind", ["benchmark", "part", "layout"])
def test_other_sources_are_refused(kind: str) -> None:
    with pytest.raises(RunError, match=f"different {kind}") as caught:
        join({"joint": make_stream("joint", 0), "bone": other_source(kind)})
    assert caught.value.got == "another in bone"


def test_other_classes_are_refused() -> None:
    joint, bone = make_stream("joint", 0), make_stream("bone", 1)
    renamed = replace(bone, class_names=(*bone.class_names[:-1], "jump"))
    with pytest.raises(RunError, match="class names") as caught:
        join({"joint": joint, "bone": renamed})
    assert "class 5 'jump'" in str(caught.value)
    with pytest.raises(RunError, match="class names"):
        join({"joint": joint, "bone": make_stream("bone", 1, num_classes=7)})


def test_other_clips_are_named() -> None:
    joint, bone = make_stream("joint", 0, num_clips=9), make_stream("bone", 1, num_clips=9)
    renamed = replace(bone, sample=("other", *bone.sample[1:]))
    with pytest.raises(RunError, match="not scored on the same clips") as caught:
        join({"joint": joint, "bone": renamed})
    assert "1 only in joint: clip000" in str(caught.value)
    assert "1 only in bone: other" in str(caught.value)
    with pytest.raises(RunError) as caught:
        join({"joint": make_stream("joint", 0, num_clips=1), "bone": bone})
    assert "8 only in bone: clip001, clip002, clip003, clip004, clip005 and 3 more" in str(caught.value)


def test_other_labels_are_refused() -> None:
    joint, bone = make_stream("joint", 0), make_stream("bone", 1)
    label = bone.label.copy()
    label[4] = (label[4] + 1) % 6
    with pytest.raises(RunError) as caught:
        join({"joint": joint, "bone": replace(bone, label=label)})
    assert "1 with another class: clip004" in str(caught.value)


def test_a_sample_twice_is_refused() -> None:
    joint, bone = make_stream("joint", 0), make_stream("bone", 1)
    rows = [*range(9), 8]
    twice = Scores(tuple(bone.sample[row] for row in rows), bone.label[rows], bone.logits[rows], bone.class_names, bone.source)
    with pytest.raises(RunError, match="twice"):
        join({"joint": joint, "bone": twice})


@pytest.mark.parametrize(
    "weights", [[1.0], [0.0, 0.0, 0.0], [1.0, 1.0, -0.5], [1.0, 1.0, float("nan")], [1.0, 1.0, float("inf")], [1e308, 1e308, 0.0]]
)
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(RunError, match="weights do not fit"):
        join(make_streams(0), weights)


def test_one_stream_is_no_fusion() -> None:
    with pytest.raises(RunError, match="nothing to join"):
        join({"joint": make_stream("joint", 0)})


def test_a_fusion_is_of_its_streams() -> None:
    found: Fusion = join(make_streams(0, 2))
    assert found.fused.source == {**SOURCE, "stream": "stream 0 + stream 1"}
