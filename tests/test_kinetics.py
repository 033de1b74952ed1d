"""The road of Kinetics-Skeleton: from its archives, with their lists of labels and empty clips, to a prediction and pictures."""

import json
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest

from amanet.cli import main
from amanet.data.store import ClipStore
from amanet.errors import StoreError
from amanet.experiment import read_experiment
from amanet.prepare import prepare
from fabricate.raw import kinetics_sample, write_kinetics

CONFIG = Path(__file__).parents[1] / "configs/kinetics.yaml"
SHORT = (
    *("--recipe.epochs", "1", "--recipe.milestones", "[]", "--recipe.batch_size", "4", "--recipe.micro_batch", "4"),
    *("--sampling.frames", "8", "--network.width", "6", "--network.block.windows", "[3]", "--accelerator", "cpu"),
)


EMPTY = {"data": [{"frame_index": 1, "skeleton": []}], "label": "abseiling", "label_index": 0}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training part as an archive with its list of labels, the other one as a folder without; each has an empty clip."""
    raw = write_kinetics(tmp_path_factory.mktemp("raw"))
    (raw / "kinetics_val" / f"{kinetics_sample(2)}.json").write_text(json.dumps(EMPTY))
    (raw / "kinetics_val_label.json").unlink()
    with ZipFile(raw / "kinetics_train.zip", "w") as archive:
        for path in [*(raw / "kinetics_train").iterdir(), raw / "kinetics_train_label.json"]:
            archive.write(path, path.relative_to(raw))
    return raw


@pytest.fixture(scope="module")
def store(raw: Path) -> ClipStore:
    return prepare("kinetics", [raw / "kinetics_train.zip", raw / "kinetics_val"], raw / "store", recipe="stgcn", workers=1)


def test_clips_are_stored_with_part_and_label_and_empty_ones_are_listed(store: ClipStore) -> None:
    train, val = ([f"kinetics_{part}-{kinetics_sample(clip)}" for clip in range(4)] for part in ("train", "val"))
    assert store.samples == train[:3] + val[:2]
    assert store.index["label"].to_pylist() == [0, 1, 2, 0, 1]
    assert store.index["performer"].null_count == 5
    assert (store.layout.name, store.recipe, len(store.class_names)) == ("kinetics18", "stgcn", 400)
    report = json.loads((store.path / "report.json").read_text())
    assert [(each["sample"], each["reason"]) for each in report["dropped"]] == [(train[3], "shows nobody"), (val[2], "shows nobody")]


def test_a_list_that_contradicts_the_clips_stops_the_preparation(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw / "kinetics_val", tmp_path / "raw/kinetics_val")
    listed = {kinetics_sample(1): {"has_skeleton": True, "label": "yoga", "label_index": 398}}
    (tmp_path / "raw/kinetics_val_label.json").write_text(json.dumps(listed))
    with pytest.raises(StoreError, match="1 clips have another label") as caught:
        prepare("kinetics", tmp_path / "raw", tmp_path / "store", workers=1)
    assert caught.value.got == f"kinetics_val-{kinetics_sample(1)} (1, listed as 398)"
    assert not (tmp_path / "store").exists()


def test_a_run_trains_names_raw_clips_and_is_drawn(raw: Path, store: ClipStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, clip = tmp_path / "run", raw / "kinetics_val" / f"{kinetics_sample(1)}.json"
    assert main(["train", str(run), "--config", str(CONFIG), "--store", str(store.path), *SHORT]) == 0
    assert read_experiment(run / "experiment.yaml").network.block.window_scales == 8
    assert main(["predict", str(run), str(clip), "--top", "1"]) == 0
    printed = capsys.readouterr().out
    assert any(name in printed for name in store.class_names)
    folders = [str(raw / part) for part in ("kinetics_train", "kinetics_val")]
    assert main(["predict", str(run), *folders, "--top", "1", "--out", str(tmp_path / "answers.csv")]) == 0
    said = capsys.readouterr()
    assert said.err.count("skipped") == 3, "two clips of nobody, and how many"
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 1 + 5
    assert main(["predict", str(run), str(raw / "kinetics_val" / f"{kinetics_sample(2)}.json")]) == 2
    own = shutil.copy(clip, tmp_path / "kitchen.json")
    assert main(["predict", str(run), str(own), "--top", "1"]) == 0
    assert main(["show", str(own), "--out", str(tmp_path)]) == 0
    assert main(["show", str(run)]) == 0
    assert main(["show", str(clip), "--out", str(tmp_path)]) == 0
    assert (tmp_path / f"kinetics_val-{clip.stem}.png").is_file()
