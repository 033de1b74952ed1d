"""Prediction of raw files: it is the evaluation of the same clips, and refuses what it cannot read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from amanet.cli import main
from amanet.data.own.clip_file import read_own_clip
from amanet.errors import AmanetError, ExperimentError, FormatError, RunError
from amanet.evaluate import evaluate
from amanet.metrics import Scores
from amanet.predict import predict
from amanet.prepare import prepare
from amanet.synthesize import synthesize
from fabricate.ntu import skeleton_file
from fabricate.own import as_csv, as_jsonl, stick, write_own
from fabricate.road import TRAINING, Road, walk_road


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    return walk_road(tmp_path_factory.mktemp("road"))


def assert_same_answers(run: Path, scores: Scores, raw: Path) -> None:
    """Each raw file's probabilities are those of its logits, most probable first."""
    paths = [raw / f"{sample}.skeleton" for sample in scores.sample]
    found = predict(run, paths, top=60)
    assert [each.path for each in found] == paths
    for prediction, logits in zip(found, scores.logits, strict=True):
        expected = torch.from_numpy(logits).softmax(-1).numpy()
        order = [scores.class_names.index(name) for name in prediction.class_names]
        np.testing.assert_allclose(prediction.probabilities, expected[order], atol=1e-5)
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-5)
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)


def test_a_raw_file_is_scored_as_its_stored_clip_is(road: Road) -> None:
    assert_same_answers(road.run, evaluate(road.run), road.raw)


@pytest.mark.parametrize(("recipe", "bodies"), [("aligned", 1), ("aligned", 3), ("msg3d", 2), ("raw", 1)])
def test_every_recipe_and_number_of_bodies(tmp_path: Path, recipe: str, bodies: int) -> None:
    """Clips of two and of three people, read with room for one, two and three; a store holds two at most."""
    synthesize(tmp_path / "raw", actions=(50, 58), performers=(1, 3), cameras=(2,), replications=1)
    (tmp_path / "raw" / "S001C002P003R002A050.skeleton").write_bytes(skeleton_file([[1, 2, 3]] * 20))
    prepare("ntu60", tmp_path / "raw", tmp_path / "store", recipe=recipe, workers=1)
    arguments = ["train", tmp_path / "run", "--store", tmp_path / "store", *TRAINING, "--sampling.bodies", bodies]
    assert main([str(argument) for argument in arguments]) == 0
    assert_same_answers(tmp_path / "run", evaluate(tmp_path / "run"), tmp_path / "raw")


def test_the_weights_file_alone_is_enough(road: Road, tmp_path: Path) -> None:
    weights = tmp_path / "handed-over.safetensors"
    weights.write_bytes((road.run / "weights.safetensors").read_bytes())
    clip = road.raw_file(3, 7)
    assert predict(weights, [clip]) == predict(road.run, [clip])


def test_ones_own_clips_of_every_format_are_scored_as_their_stored_ones_are(tmp_path: Path) -> None:
    prepare("own", write_own(tmp_path / "mine"), tmp_path / "store", workers=1)
    training = [flag if flag != "ntu60-xsub" else "own" for flag in TRAINING]
    assert main([str(each) for each in ("train", tmp_path / "run", "--store", tmp_path / "store", *training)]) == 0
    scores = evaluate(tmp_path / "run")
    (tmp_path / "store").rename(tmp_path / "gone")  # the weights alone know the skeleton
    layout = stick(tmp_path)
    for sample, logits in zip(scores.sample, scores.logits, strict=True):
        source = tmp_path / f"mine/clips/{sample}.npy"
        clip = read_own_clip(source.read_bytes(), source, layout)
        (tmp_path / "other.csv").write_bytes(as_csv(clip, layout))
        (tmp_path / "other.jsonl").write_bytes(as_jsonl(clip))
        expected = sorted(torch.from_numpy(logits).softmax(-1).tolist(), reverse=True)
        for found in predict(tmp_path / "run", [source, tmp_path / "other.csv", tmp_path / "other.jsonl"]):
            assert found.probabilities == pytest.approx(expected, abs=1e-5)
    with pytest.raises(FormatError, match="no file of a clip"):
        predict(tmp_path / "run", [tmp_path / "mine/dataset.toml"])


@pytest.mark.parametrize(("top", "named"), [(1, 1), (5, 5), (60, 60), (999, 60)])
def test_as_many_classes_as_asked_for(road: Road, top: int, named: int) -> None:
    (found,) = predict(road.run, [road.raw_file(3, 7)], top=top)
    assert len(found.class_names) == len(found.probabilities) == named
    assert len(set(found.class_names)) == named
    (best,) = predict(road.run, [road.raw_file(3, 7)], top=1)
    assert found.class_names[0] == best.class_names[0]


def test_the_name_of_the_file_has_no_say_in_the_answer(road: Road, tmp_path: Path) -> None:
    other = tmp_path / "S002C003P040R002A060.skeleton"
    other.write_bytes(road.raw_file(3, 7).read_bytes())
    (ours,), (theirs,) = predict(road.run, [road.raw_file(3, 7)]), predict(road.run, [other])
    assert (ours.class_names, ours.probabilities) == (theirs.class_names, theirs.probabilities)


def test_no_clips_no_predictions(road: Road) -> None:
    assert predict(road.run, []) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clip.skeleton", None, "no sample of ntu60"),
        ("a1_s1_t1_skeleton.mat", None, "no file of ntu60"),
        ("S001C001P001R001A061.skeleton", None, "a class outside ntu60"),
        ("S001C001P001R001A001.skeleton", b"", "S001C001P001R001A001"),
        ("S001C001P001R001A001.skeleton", b"2\n0\n0\n", "no body|no joint|body"),
        ("S001C001P001R001A001.skeleton", b"\x00\xff" * 100, "S001C001P001R001A001"),
    ],
)
def test_files_that_are_no_clips_are_refused_by_name(road: Road, tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(road.raw_file(3, 7).read_bytes() if content is None else content)
    with pytest.raises(AmanetError, match=message) as caught:
        predict(road.run, [path])
    assert name.partition(".")[0] in str(caught.value)


def test_what_is_not_there_is_said(road: Road, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        predict(road.run, [tmp_path / "S001C001P001R001A001.skeleton"])
    with pytest.raises(RunError, match="there is no run here"):
        predict(tmp_path, [road.raw_file(3, 7)])
    with pytest.raises(ExperimentError, match="how many classes"):
        predict(road.run, [road.raw_file(3, 7)], top=0)
