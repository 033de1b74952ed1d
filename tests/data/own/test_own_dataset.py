"""A folder of one's own clips is taken whole or refused with the file, the line and the first offenders."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amanet.data.dataset import held_out_part, split_rows
from amanet.data.own.dataset import OwnFolder
from amanet.data.published import get_benchmark
from amanet.data.store import ClipStore
from amanet.errors import AmanetError, ExperimentError
from amanet.prepare import prepare
from amanet.skeleton.layout import LAYOUT_FOLDER
from fabricate.own import as_npy, write_own
from fabricate.stores import ragged_clips, write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_own(tmp_path / "mine")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    place = tmp_path_factory.mktemp("own")
    return prepare("own", write_own(place / "mine"), place / "store", workers=1, recipe="raw")


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def copy_clip(folder: Path) -> None:
    shutil.copy(folder / "clips/clip02.npy", folder / "clips/clip05.npy")


def all_train(folder: Path) -> None:
    rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([rows[0], *(",".join([*row.split(",")[:4], "train"]) for row in rows[1:])]))


def encode(name: str, encoding: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(("# é\n" + (folder / name).read_text()).encode(encoding))


REFUSALS: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "dataset.toml").unlink(), r"no dataset.toml here(.|\n)*amanet new-dataset"),
    (edit("dataset.toml", "name", "nam"), r"dataset.toml: the fields are not those"),
    (edit("dataset.toml", '"mine"', "7"), r"dataset.toml: name is of the wrong kind"),
    (edit("dataset.toml", "max_bodies = 2", "max_bodies = true"), "max_bodies is of the wrong kind"),
    (edit("dataset.toml", "[", "[["), "cannot be read"),
    (edit("dataset.toml", '"layout.toml"', '"other.toml"'), "no layout"),
    (edit("dataset.toml", '"layout.toml"', '"../layout.toml"'), "layout is no layout"),
    (edit("layout.toml", '"stick"', '"ntu25"'), r"layout.toml: a layout ntu25 ships(.|\n)*another name"),
    (edit("dataset.toml", '"wave",', '"wave", "jump",'), r"labels.csv: 1 classes without a clip(.|\n)*jump"),
    (edit("labels.csv", "clip03,wave", "clip03,fly"), r"labels.csv:5: 1 classes that dataset.toml does not list(.|\n)*'fly' in line 5"),
    (edit("labels.csv", "clip03", "clip02"), r"labels.csv:5: 1 clips that stand there twice"),
    (edit("labels.csv", "clip03", "clip33"), r"1 rows whose clips are not in clips/(.|\n)*clip33 \(line 5\)"),
    (edit("labels.csv", "clip03,wave,1,train,train\n", ""), r"clips: 1 clips without a row in labels.csv(.|\n)*clip03.npy"),
    (edit("labels.csv", "wave,1,", "wave,one,"), r"labels.csv:5: 1 performers that are no numbers"),
    (
        edit("labels.csv", "1,train,", "1,dev,"),
        r"labels.csv:4: 1 cells of the column split that are no part(.|\n)*train, validation, test, or empty",
    ),
    (edit("labels.csv", "split_other", "fold"), r"labels.csv:1: the columns"),
    (edit("labels.csv", "clip00,sit,0,train,test", "clip00,sit,0,train"), r"labels.csv:2: 1 rows with too few"),
    (edit("labels.csv", "clip,class,performer,split,split_other", "clip;class"), "labels.csv:1: semicolons separate the columns"),
    (edit("labels.csv", "clip,", ",clip,"), r"labels.csv:1: a column without a name(.|\n)*above column 1 of 6"),
    (encode("labels.csv", "utf-16"), r"labels.csv: this is no text in UTF-8(.|\n)*got: UTF-16(.|\n)*save it as UTF-8"),
    (encode("labels.csv", "cp1252"), r"labels.csv:1: this is no text in UTF-8(.|\n)*0xe9(.|\n)*save it as UTF-8"),
    (encode("dataset.toml", "utf-16"), r"dataset.toml: this is no text in UTF-8(.|\n)*save it as UTF-8"),
    (encode("layout.toml", "cp1252"), r"layout.toml: this is not a TOML file(.|\n)*save it as UTF-8"),
    (all_train, "no clip tests in split_other"),
    (copy_clip, r"1 clips whose files hold the same bytes(.|\n)*clip02.npy = clip05.npy"),
    (lambda folder: (folder / "clips/notes.txt").write_text("x"), r"entries that are no files of clips(.|\n)*notes.txt"),
    (lambda folder: (folder / "clips/clip03.csv").write_text("x"), r"in two files(.|\n)*clip03.csv and clip03.npy"),
    (lambda folder: shutil.rmtree(folder / "clips"), "clips cannot be listed"),
    (edit("dataset.toml", "classes", "test_performers = [3]\nclasses"), "labels.csv has a column split too"),
]


@pytest.mark.parametrize(("damage", "message"), REFUSALS)
def test_what_does_not_fit_together_is_refused(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(AmanetError, match=message):
        OwnFolder.open(folder)


def test_a_mark_of_utf_8_before_a_file_is_no_part_of_it(folder: Path) -> None:
    for name in ("dataset.toml", "layout.toml", "labels.csv"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    found = OwnFolder.open(folder)
    assert (found.dataset.name, found.dataset.skeleton.name, len(found.members)) == ("own:mine", "stick", 8)


def test_a_class_that_never_trains_is_refused(folder: Path) -> None:
    edit("labels.csv", "clip01,wave,0,train", "clip01,wave,0,")(folder)
    edit("labels.csv", "clip03,wave,1,train", "clip03,wave,1,test")(folder)
    with pytest.raises(AmanetError, match=r"1 classes without a training clip in split(.|\n)*wave"):
        OwnFolder.open(folder)


def test_the_first_ten_offenders_are_listed(folder: Path) -> None:
    for number in range(13):
        (folder / f"clips/more{number:02}.npy").write_bytes(as_npy(np.full((2, 4, 3), number + 1.0)))
    with pytest.raises(AmanetError, match=r"13 clips without a row(.|\n)*more09.npy and 3 more"):
        OwnFolder.open(folder)


def test_test_performers_make_a_split(folder: Path) -> None:
    edit("dataset.toml", "classes", "test_performers = [0, 3]\nclasses")(folder)
    edit("labels.csv", ",split,", ",split_first,")(folder)
    splits = OwnFolder.open(folder).splits
    assert set(splits) == {"split", "split_first", "split_other"}
    assert [splits["split"][f"clip{number:02}"] for number in range(8)] == ["test"] * 2 + ["train"] * 4 + ["test"] * 2
    edit("dataset.toml", "[0, 3]", "[0, 5]")(folder)
    with pytest.raises(AmanetError, match=r"1 test_performers who perform in no clip(.|\n)*5"):
        OwnFolder.open(folder)
    edit("dataset.toml", "[0, 5]", "[0, 3]")(folder)
    edit("labels.csv", "wave,1,", "wave,,")(folder)
    with pytest.raises(AmanetError, match=r"1 clips without a performer(.|\n)*clip03 \(line 5\)"):
        OwnFolder.open(folder)


def test_a_store_of_ones_own_needs_nothing_beside_it(store: ClipStore) -> None:
    shutil.rmtree(store.path.with_name("mine"))
    again = ClipStore.open(store.path)
    assert (again.dataset, again.layout.name, again.header.splits) == ("own:mine", "stick", ("split", "split_other"))
    assert again.layout.joints == ("hip", "chest", "hand_left", "hand_right")
    assert again.index["performer"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert again.clip(3).label == 1
    again.verify()


def test_splits_are_those_of_the_store(store: ClipStore) -> None:
    parts = split_rows(store, get_benchmark("own"))
    assert [parts[part].tolist() for part in ("train", "validation", "test")] == [[0, 1, 2, 3], [], [4, 5, 6, 7]]
    assert split_rows(store, get_benchmark("own-other"))["test"].tolist() == [0, 1]
    held = split_rows(store, get_benchmark("own"), validation_performers=[1])
    assert [held[part].tolist() for part in ("train", "validation", "test")] == [[0, 1], [2, 3], [4, 5, 6, 7]]


def test_a_split_may_have_clips_for_validation(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("labels.csv", "clip05,wave,2,test", "clip05,wave,2,validation")(folder)
    store = prepare("own", folder, tmp_path / "store", workers=1)
    assert "own: 4 train, 1 validation, 3 test" in capsys.readouterr().out
    parts = split_rows(store, get_benchmark("own"))
    assert parts["validation"].tolist() == [5]
    assert (parts["train"].tolist(), parts["test"].tolist()) == ([0, 1, 2, 3], [4, 6, 7])
    assert split_rows(store, get_benchmark("own"), validation_performers=[1])["validation"].tolist() == [2, 3, 5]
    assert (held_out_part(parts), held_out_part(split_rows(store, get_benchmark("own-other")))) == ("validation", "test")


def test_benchmarks_and_stores_that_do_not_belong_together_are_refused(store: ClipStore, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no split own-view(.|\n)*own, own-other(.|\n)*column split_view"):
        split_rows(store, get_benchmark("own-view"))
    with pytest.raises(ExperimentError, match="not of the benchmark ntu60-xsub"):
        split_rows(store, get_benchmark("ntu60-xsub"))
    with pytest.raises(ExperimentError, match="for clips of your own"):
        split_rows(write_store(tmp_path / "store", ragged_clips()), get_benchmark("own"))
    with pytest.raises(ExperimentError, match="there is no benchmark 'owl'"):
        get_benchmark("owl")


def test_clips_no_split_uses_are_stored_and_neither_train_nor_test(folder: Path, tmp_path: Path) -> None:
    edit("labels.csv", "clip02,sit,1,train", "clip02,sit,1,")(folder)
    store = prepare("own", folder, tmp_path / "store", workers=1)
    parts = split_rows(store, get_benchmark("own"))
    assert len(store) == 8
    assert 2 not in np.concatenate([*parts.values()])


def test_new_labels_are_not_taken_from_shards_of_before(folder: Path, tmp_path: Path) -> None:
    edit("labels.csv", "clip07", "clip08")(folder)
    (folder / "clips/clip07.npy").rename(folder / "clips/clip08.npy")
    (folder / "clips/clip08.npy").write_bytes(b"no array")
    with pytest.raises(AmanetError, match=r"clip08\.npy: this is no .npy file"):
        prepare("own", folder, tmp_path / "store", workers=1)
    (folder / "clips/clip08.npy").write_bytes(as_npy(np.ones((2, 4, 3))))
    edit("labels.csv", "clip00,sit", "clip00,wave")(folder)
    assert prepare("own", folder, tmp_path / "store", workers=1).clip(0).label == 1


def test_nobody_is_held_out_where_nobody_is_named(folder: Path, tmp_path: Path) -> None:
    rows = [row.split(",") for row in (folder / "labels.csv").read_text().splitlines()]
    (folder / "labels.csv").write_text("\n".join(",".join([row[0], row[1], row[3]]) for row in rows))
    store = prepare("own", folder, tmp_path / "store", workers=1)
    with pytest.raises(ExperimentError, match="own:mine does not say who performs"):
        split_rows(store, get_benchmark("own"), validation_performers=[1])


def test_a_clip_whose_frames_come_first_is_refused_by_how_many_take_part(folder: Path, tmp_path: Path) -> None:
    (folder / "clips/clip03.npy").write_bytes(as_npy(np.ones((9, 1, 4, 3))))
    with pytest.raises(AmanetError, match=r"clip03\.npy: the axes of this array(.|\n)*up to 2 people"):
        prepare("own", folder, tmp_path / "store", workers=1)


@pytest.mark.parametrize("raw", [["one", "two"], ["nowhere"]])
def test_one_folder_is_needed(tmp_path: Path, raw: list[str]) -> None:
    with pytest.raises(AmanetError, match=r"one folder|no folder here"):
        prepare("own", [tmp_path / name for name in raw], tmp_path / "store")


def test_the_layouts_that_ship_may_be_copied(folder: Path) -> None:
    shutil.copy(LAYOUT_FOLDER / "sbu15.toml", folder / "layout.toml")
    assert OwnFolder.open(folder).dataset.skeleton.name == "sbu15"
