"""A folder of one's own clips is written whole or not at all, and says what it was given."""

from pathlib import Path

import numpy as np
import pytest

from amanet.data.own.description import read_description
from amanet.data.own.labels import read_labels
from amanet.data.own.writer import OwnDatasetWriter
from amanet.errors import AmanetError, FormatError
from amanet.skeleton import SkeletonClip, load_layout
from amanet.skeleton.layout import LAYOUT_FOLDER

CLASSES = ("sit", 'say "hi", wave', "Übung")


def clip(sample: str, label: int | None = 0, joints: int = 17) -> SkeletonClip:
    rng = np.random.default_rng(list(sample.encode()))
    present = rng.uniform(size=(2, 6, joints)) < 0.8
    return SkeletonClip(sample, np.where(present[..., None], rng.normal(size=(*present.shape, 3)), 0).astype(np.float32), present, label)


def writer(path: Path, layout: str | Path = "coco17") -> OwnDatasetWriter:
    return OwnDatasetWriter(path, name="gym", layout=layout, class_names=CLASSES, max_bodies=2)


def test_what_was_added_stands_in_the_folder(tmp_path: Path) -> None:
    with writer(tmp_path / "gym") as out:
        out.add(clip("walk (2)", 2), performer=7, splits={"split": "test", "split_view": "train"})
        out.add(clip("jump.b", 1))
        (out.folder / "README.md").write_text("mine")
    assert {path.name for path in (tmp_path / "gym").iterdir()} == {"dataset.toml", "labels.csv", "clips", "README.md"}
    description = read_description(tmp_path / "gym")
    assert (description.name, description.layout, description.class_names, description.max_bodies) == ("gym", "coco17", CLASSES, 2)
    labels, splits = read_labels(tmp_path / "gym/labels.csv", description.class_names)
    assert splits == ("split", "split_view")
    assert [(each.clip, each.class_name, each.performer, dict(each.splits)) for each in labels] == [
        ("jump.b", CLASSES[1], None, {}),
        ("walk (2)", CLASSES[2], 7, {"split": "test", "split_view": "train"}),
    ]
    numbers = np.load(tmp_path / "gym/clips/jump.b.npy", allow_pickle=False)
    np.testing.assert_array_equal(np.isnan(numbers).all(-1), ~clip("jump.b").present)
    np.testing.assert_array_equal(np.nan_to_num(numbers), clip("jump.b").joints)


def test_a_layout_of_ones_own_travels_with_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes((LAYOUT_FOLDER / "coco17.toml").read_bytes())
    with writer(tmp_path / "gym", file) as out:
        out.add(clip("one"))
    file.unlink()
    assert read_description(tmp_path / "gym").skeleton(tmp_path / "gym") == load_layout("coco17")


def test_nothing_is_left_of_a_writer_that_was_interrupted_or_got_no_clip(tmp_path: Path) -> None:
    out = writer(tmp_path / "gym").__enter__()
    out.add(clip("one"))
    out.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FormatError, match="not one clip"), writer(tmp_path / "gym"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(FormatError, match="something already"):
        writer(tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


@pytest.mark.parametrize(
    ("wrong", "settings", "message"),
    [
        (clip("../up"), {}, "name cannot be that of a file"),
        (clip("taken"), {}, "written already"),
        (clip("a", 3), {}, "label is none"),
        (clip("a", None), {}, "label is none"),
        (clip("a"), {"performer": -1}, "performer is no number"),
        (clip("a"), {"splits": {"fold": "train"}}, "splits are none"),
        (clip("a"), {"splits": {"split": "dev"}}, "splits are none"),
        (clip("a", joints=18), {}, "not of the layout coco17"),
    ],
)
def test_clips_that_could_not_be_read_back_are_refused(tmp_path: Path, wrong: SkeletonClip, settings: dict, message: str) -> None:
    with writer(tmp_path / "gym") as out:
        out.add(clip("taken"))
        with pytest.raises(AmanetError, match=message):
            out.add(wrong, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My Gym"}, "no name of a data set"),
        ({"layout": "coco99"}, "no layout"),
        ({"class_names": ["one"]}, "too few classes"),
        ({"class_names": ["one", "one", "two"]}, "twice"),
        ({"class_names": ["one", " two"]}, "cannot be printed"),
        ({"class_names": ["one", "two\nlines"]}, "cannot be printed"),
        ({"max_bodies": 0}, "no number of people"),
        ({"test_performers": [1, 1]}, "test_performers"),
    ],
)
def test_descriptions_that_say_nothing_sensible_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    settings = {"name": "gym", "layout": "coco17", "class_names": CLASSES, "max_bodies": 1, **change}
    with pytest.raises(AmanetError, match=message):
        OwnDatasetWriter(tmp_path / "gym", **settings)
