"""Prediction of raw files: it is the evaluation of the same clips, and refuses or skips what it cannot read."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch

from amanet.cli import main
from amanet.data.own.clip_file import read_own_clip
from amanet.errors import AmanetError, ExperimentError, FormatError, PlaceError, RunError
from amanet.evaluate import evaluate
from amanet.metrics import Scores
from amanet.predict import predict, read_clip
from amanet.prepare import prepare
from amanet.synthesize import synthesize
from amanet.trained import load_trained
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
    all_of_them = [tmp_path / f"mine/clips/clip{number:02}.npy" for number in range(8)]
    for folder in (tmp_path / "mine", tmp_path / "mine/clips"):  # labels.csv is none, though a clip may be a .csv
        assert [each.path for each in predict(tmp_path / "run", folder)] == all_of_them
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"no file of own:mine in this folder[^!]*\*\.npy, \*\.csv"):
        predict(tmp_path / "run", [tmp_path / "empty"])


@pytest.mark.parametrize(("top", "named"), [(1, 1), (5, 5), (60, 60), (999, 60)])
def test_as_many_classes_as_asked_for(road: Road, top: int, named: int) -> None:
    (found,) = predict(road.run, [road.raw_file(3, 7)], top=top)
    assert len(found.class_names) == len(found.probabilities) == named
    assert len(set(found.class_names)) == named
    (best,) = predict(road.run, [road.raw_file(3, 7)], top=1)
    assert found.class_names[0] == best.class_names[0]


def test_the_name_of_the_file_has_no_say_in_the_answer(road: Road, tmp_path: Path) -> None:
    """Be it that of a sample of another class, of a class that the data set does not have, or a recording of one's own."""
    (ours,) = predict(road.run, [road.raw_file(3, 7)])
    for name in ("S002C003P040R002A060", "S001C001P001R001A061", "take 1, of the kitchen"):
        other = tmp_path / f"{name}.skeleton"
        other.write_bytes(road.raw_file(3, 7).read_bytes())
        (theirs,) = predict(road.run, [other])
        assert (ours.class_names, ours.probabilities) == (theirs.class_names, theirs.probabilities)
    assert len(predict(road.run, [tmp_path])) == 3


def test_a_network_of_a_published_set_takes_clips_in_a_form_of_ones_own(road: Road, tmp_path: Path) -> None:
    clip = read_clip(road.raw_file(3, 7), load_trained(road.run)[1])
    np.save(tmp_path / "kitchen.npy", np.where(clip.present[..., None], clip.joints, np.nan))
    for where in (tmp_path / "kitchen.npy", tmp_path):
        (found,), (expected,) = predict(road.run, [where]), predict(road.run, [road.raw_file(3, 7)])
        assert found.class_names == expected.class_names
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    np.save(tmp_path / "other.npy", np.ones((1, 5, 3, 3)))
    with pytest.raises(FormatError, match=r"other\.npy(.|\n)*25"):
        predict(road.run, [tmp_path / "other.npy"])


def test_no_clips_no_predictions(road: Road) -> None:
    assert predict(road.run, []) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a1_s1_t1_skeleton.mat", None, "no file of ntu60"),
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


def damaged(road: Road, folder: Path) -> Path:
    """A folder of the four clips of the road, one of them a folder further in, and a damaged one that comes first."""
    shutil.copytree(road.raw, folder)
    (folder / "within").mkdir()
    (folder / road.raw_file(1, 1).name).rename(folder / "within" / road.raw_file(1, 1).name)
    (folder / "S001C001P001R001A001.skeleton").write_bytes(b"3\n1\n")
    (folder / ".notes.skeleton").write_text("hidden")
    return folder


def test_a_folder_is_its_files_of_the_data_set_sorted(road: Road, tmp_path: Path) -> None:
    folder = damaged(road, tmp_path / "raw")
    (folder / "S001C001P001R001A001.skeleton").unlink()
    within = [folder / road.raw_file(*each).name for each in ((1, 7), (3, 1), (3, 7))] + [folder / "within" / road.raw_file(1, 1).name]
    assert [each.path for each in predict(road.run, [folder])] == sorted(within)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"no file of ntu60 in this folder[^!]*\.skeleton"):
        predict(road.run, [folder, tmp_path / "empty"])


def test_what_is_damaged_costs_the_others_nothing(road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = damaged(road, tmp_path / "raw")
    with pytest.raises(FormatError, match=r"S001C001P001R001A001[^!]*--on_error skip"):
        predict(road.run, [folder])
    assert main(["predict", str(road.run), str(folder), "--on_error", "skip", "--top", "1"]) == 0
    said = capsys.readouterr()
    first, last = said.err.splitlines()
    assert first.startswith(f"skipped {folder / 'S001C001P001R001A001.skeleton'}:")
    assert last == "1 of 5 files were skipped"
    assert len(said.out.splitlines()) == 2 * 4
    with pytest.raises(FormatError, match="all files were skipped"):
        predict(road.run, [folder / "S001C001P001R001A001.skeleton"], on_error="skip")


def test_predictions_are_written_for_spreadsheets_and_programs(road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = predict(str(road.run), [str(road.raw_file(3, 1)), str(road.raw_file(3, 7))], top=3)
    rows = [
        {"path": str(each.path), "rank": rank, "class": name, "probability": pytest.approx(probability, abs=1e-6)}
        for each in found
        for rank, (name, probability) in enumerate(zip(each.class_names, each.probabilities, strict=True), 1)
    ]
    for name in ("new/found.csv", "new/found.json"):
        arguments = ["predict", str(road.run), *(str(each.path) for each in found), "--top", "3", "--out", str(tmp_path / name)]
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"2 clips; written to {tmp_path / name}\n"
    assert pyarrow.csv.read_csv(tmp_path / "new/found.csv").to_pylist() == rows
    assert json.loads((tmp_path / "new/found.json").read_text(encoding="utf-8")) == rows


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_path_that_is_no_utf_8_costs_no_answer(road: Road, tmp_path: Path, suffix: str) -> None:
    clip = Path(os.fsdecode(os.fsencode(tmp_path) + b"/take\xff.skeleton"))
    clip.write_bytes(road.raw_file(3, 7).read_bytes())
    predict(road.run, [clip], out=tmp_path / f"answers{suffix}")
    assert rb"take\udcff.skeleton" in (tmp_path / f"answers{suffix}").read_bytes()


def test_predictions_are_written_whole_over_no_clip_or_not_at_all(road: Road, tmp_path: Path) -> None:
    folder = damaged(road, tmp_path / "raw")
    for out, cause, problem in (
        (tmp_path / "found.xlsx", PlaceError, r"not written as such a file[^!]*\.csv or \.json"),
        (tmp_path / "found.csv", FormatError, "S001C001P001R001A001"),
    ):
        with pytest.raises(cause, match=problem):
            predict(road.run, folder, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    clip = tmp_path / "clip.csv"
    clip.write_text("mine")
    with pytest.raises(PlaceError, match="one of the clips"):
        predict(road.run, [road.raw_file(3, 7), clip], out=str(clip))
    assert clip.read_text() == "mine"
