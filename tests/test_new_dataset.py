"""The example of a data set of one's own is complete, the same for the same seed, and nothing is written over."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from amanet.data.own.dataset import OwnFolder
from amanet.errors import AmanetError
from amanet.experiment import Experiment, from_plain
from amanet.new_dataset import ACTIONS, TEST_PERFORMERS, new_dataset
from amanet.show import show
from amanet.skeleton.layout import parse_layout

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_dataset(tmp_path_factory.mktemp("example") / "gym")


def test_the_example_is_a_data_set(example: Path) -> None:
    folder = OwnFolder.open(example)
    assert len(folder.members) == 120
    assert folder.dataset.class_names == tuple(ACTIONS)
    assert folder.dataset.skeleton.name == "mocap15"
    testing = {folder.dataset.labels[clip].performer for clip, part in folder.splits["split"].items() if part == "test"}
    assert testing == TEST_PERFORMERS


def test_its_people_are_whole(example: Path) -> None:
    folder = OwnFolder.open(example)
    member = folder.members[0]
    clip = folder.dataset.read(member.read(), member.where, "body-id")
    layout = folder.dataset.skeleton
    frame = int(np.flatnonzero(clip.present[0].all(-1))[0])
    bones = [np.linalg.norm(clip.joints[0, frame, one] - clip.joints[0, frame, two]) for one, two in layout.bones]
    assert 0.03 < min(bones) < max(bones) < 0.7
    head, foot = (clip.joints[0, frame, layout.joints.index(name), 1] for name in ("head", "foot_left"))
    assert head - foot > 1


def test_its_settings_and_its_skeleton_are_those_of_the_documents(example: Path) -> None:
    settings = yaml.safe_load((example / "config.yaml").read_text())
    assert from_plain(Experiment, {**settings, "store": "store"}, "config.yaml").benchmark == "own"
    shown = (ROOT / "docs/data.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert parse_layout(tomllib.loads(shown)) == OwnFolder.open(example).dataset.skeleton


def test_its_clips_can_be_drawn(example: Path, tmp_path: Path) -> None:
    (picture,) = show(example / "clips/jump-p03-1.npy", tmp_path)
    assert picture.name == "jump-p03-1.png"
    assert picture.stat().st_size > 10_000


def test_what_is_there_stays(example: Path) -> None:
    with pytest.raises(AmanetError, match="something already"):
        new_dataset(example)
    with pytest.raises(AmanetError, match="not negative"):
        new_dataset(example.with_name("other"), seed=-1)
