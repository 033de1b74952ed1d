"""Pictures of runs, stores and raw files: which are written, of which clip, and what is said where they cannot be."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from amanet import show as verb
from amanet.cli import main
from amanet.data.store import ClipStore
from amanet.errors import AmanetError, FormatError, LayoutError, PlaceError, RunError, StoreError
from amanet.experiment import read_experiment, write_experiment
from amanet.metrics import Scores
from amanet.pictures import action_correlations, hero
from amanet.show import show
from amanet.skeleton import load_layout
from fabricate.own import write_own
from fabricate.road import TRAINING, Road, walk_road
from fabricate.stores import fabricate_clip, write_store

NTU25 = load_layout("ntu25")
PICTURES = ["learning_curves", "confusion_test", "clip", "groups", "correlations", "dp_parts"]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    return walk_road(tmp_path_factory.mktemp("road"))


@pytest.fixture
def copied_run(road: Road, tmp_path: Path) -> Path:
    """A run to damage."""
    return Path(shutil.copytree(road.run, tmp_path / "run"))


def assert_pictures(paths: list[Path]) -> None:
    """Each is a picture that shows something."""
    for path in paths:
        image = matplotlib.image.imread(path)
        assert min(image.shape[:2]) > 100
        assert np.ptp(image[..., :3]) > 0.2


def test_a_run_gives_its_pictures(road: Road) -> None:
    written = show(road.run)
    assert written == [road.run / "figures" / f"{name}.png" for name in PICTURES]
    assert_pictures(written)


def test_the_picture_of_a_clip_says_which_it_is(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[Any] = []

    def noted(*arguments: Any, title: str | None = None, **options: Any) -> Figure:
        titles.append(title)
        return hero(*arguments, title=title, **options)

    monkeypatch.setattr(verb, "hero", noted)
    store = ClipStore.open(road.store)
    clip = store.clip(0)
    show(road.run, tmp_path, sample=clip.sample)
    assert titles == [f"{clip.sample}: {store.class_names[clip.label or 0]}, {clip.num_frames} frames"]


def test_a_network_without_attention_has_no_correlations_to_draw(road: Road, tmp_path: Path) -> None:
    run = tmp_path / "run"
    slots = [f"--network.block.{slot}" for slot in ("spatial=ms_gcn", "temporal=ms_tcn+ms_tcn", "spatio_temporal=ms_g3d")]
    assert main([str(part) for part in ("train", run, "--store", road.store, *TRAINING, "--network.dp", "none", *slots)]) == 0
    with pytest.raises(RunError, match="no SFEM"):
        show(run, classes=(names_of(road)[0],))
    written = show(run)
    assert [path.stem for path in written] == [name for name in PICTURES if name != "correlations"]
    assert_pictures(written)


def names_of(road: Road) -> list[str]:
    """Names of the two classes of the road."""
    names = ClipStore.open(road.store).class_names
    return [names[0], names[6]]


def test_classes_of_a_run_give_the_whole_of_figure_8(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    original = action_correlations
    monkeypatch.setattr(
        verb, "action_correlations", lambda actions, *rest, **more: original(drawn.setdefault("all", actions), *rest, **more)
    )
    (written,) = show(road.run, tmp_path / "pictures", classes=tuple(names_of(road)))
    assert written == tmp_path / "pictures/fig8.png"
    assert_pictures([written])
    assert [title.partition(" (")[0] for title in drawn["all"]] == names_of(road)
    assert [road.raw_file(3, action).stem in title for title, action in zip(drawn["all"], (1, 7), strict=True)] == [True, True]
    for matrices, _ in drawn["all"].values():
        bones, learned, *both = matrices.values()
        assert [name[:3] for name in matrices] == ["(a)", "(b)", "(c)", "(d)", "(e)"]
        np.testing.assert_allclose(learned.sum(-1), 1, rtol=1e-5)
        along = [float((matrix * (bones > 0)).sum()) for matrix in (learned, *both)]
        assert along == sorted(set(along)), "the more the bones weigh, the more is along them"


def test_classes_that_cannot_be_drawn_are_said(copied_run: Path, road: Road, tmp_path: Path) -> None:
    name = names_of(road)[0]
    for what, sample, classes, message in (
        (copied_run, None, (name, name + "s"), f"no class '{name}s'[^!]*'{name}'"),
        (copied_run, None, ("clapping",), "no held-out clip is of class"),
        (copied_run, road.raw_file(3, 7).stem, (name,), "a clip of its own"),
        (road.store, None, (name,), "a clip of its own"),
    ):
        with pytest.raises(RunError, match=message):
            show(what, tmp_path / "pictures", sample=sample, classes=classes)
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("stream", ["bone", "joint-fused"])
def test_a_run_of_another_stream_with_validation_performers(road: Road, tmp_path: Path, stream: str) -> None:
    raw, store, run = tmp_path / "raw", tmp_path / "store", tmp_path / "run"
    for line in (
        ["synthesize", raw, "--actions", "[1,7]", "--performers", "[1,2,3]", "--cameras", "[2]", "--replications", "1"],
        ["prepare", "ntu60", store, raw, "--workers", "1"],
        ["train", run, "--store", store, *TRAINING, "--stream", stream, "--validation_performers", "[2]"],
    ):
        assert main([str(argument) for argument in line]) == 0
    assert_pictures(show(run, tmp_path / "fig8", classes=(names_of(road)[0],)))
    written = show(run, tmp_path / "pictures")
    assert [path.stem for path in written] == [name.replace("test", "validation") for name in PICTURES]
    assert_pictures(written)


def test_a_stored_clip(road: Road, tmp_path: Path) -> None:
    (first,) = show(road.store, tmp_path)
    assert first == tmp_path / f"{road.raw_file(1, 1).stem}.png"
    (named,) = show(road.store, tmp_path / "new" / "folder", sample=road.raw_file(3, 7).stem)
    assert named == tmp_path / "new" / "folder" / f"{road.raw_file(3, 7).stem}.png"
    assert_pictures([first, named])


def test_a_raw_file_is_drawn_here_if_nothing_else_is_said(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = show(road.raw_file(3, 7))
    assert path == Path(f"{road.raw_file(3, 7).stem}.png")
    assert_pictures([path])


def test_the_clip_of_a_run_is_the_surest_right_one_or_the_one_named(
    copied_run: Path, road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    original = verb._clip_figures
    monkeypatch.setattr(verb, "_clip_figures", lambda clip, *rest: drawn.append(clip.sample) or original(clip, *rest))
    scores = Scores.read(copied_run / "scores-test.parquet")
    logits = np.zeros_like(scores.logits)
    logits[0, scores.label[0]], logits[1, 30] = 1, 9  # the first is right, the second surer and wrong
    Scores(scores.sample, scores.label, logits, scores.class_names, scores.source).write(copied_run / "scores-test.parquet")
    show(copied_run, tmp_path / "pictures")
    show(copied_run, tmp_path / "pictures", sample=road.raw_file(1, 7).stem)
    assert drawn == [scores.sample[0], road.raw_file(1, 7).stem]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "metrics.jsonl").unlink(), "metrics of the run cannot be read"),
        (lambda run: (run / "metrics.jsonl").write_text("{epoch"), "metrics of the run cannot be read"),
        (lambda run: (run / "metrics.jsonl").write_text("3\n"), "not the metrics of a run"),
        (lambda run: (run / "metrics.jsonl").write_text('{"epoch": 0}\n'), "not the metrics of a run"),
        (lambda run: (run / "metrics.jsonl").write_text('{"epoch": "0", "part": "train", "loss": 1, "top1": 0.5}\n'), "not the metrics"),
        (lambda run: (run / "metrics.jsonl").write_text('{"epoch": 0, "part": "train", "loss": 1, "top1": "a"}\n'), "not the metrics"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "not the metrics of a run"),
        (lambda run: (run / "scores-test.parquet").unlink(), "amanet evaluate"),
        (lambda run: (run / "weights.safetensors").unlink(), "--resume"),
        (lambda run: (run / "weights.safetensors").write_bytes(b""), "weights cannot be read"),
        (lambda run: (run / "experiment.yaml").write_text("3"), "settings cannot be read"),
    ],
)
def test_damaged_runs_end_in_one_error(copied_run: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copied_run)
    with pytest.raises(AmanetError, match=message):
        show(copied_run)


def test_a_run_whose_store_is_gone_or_another(copied_run: Path, tmp_path: Path) -> None:
    experiment = read_experiment(copied_run / "experiment.yaml")
    other = write_store(tmp_path / "other", [fabricate_clip("a1_s1_t1_skeleton", dataset="utd-mhad")], "utd-mhad")
    for place, problem in ((other.path, "skeleton is not"), (tmp_path / "gone", "not where it was")):
        write_experiment(replace(experiment, store=place), copied_run / "experiment.yaml")
        with pytest.raises(RunError, match=problem):
            show(copied_run)


def test_a_clip_of_ones_own_is_drawn_wherever_it_lies(tmp_path: Path) -> None:
    """By its folder's description, or by the layout that is named; the pictures are the same."""
    folder = write_own(tmp_path / "mine")
    clip = Path(shutil.copy(folder / "clips/clip03.npy", tmp_path))
    with pytest.raises(FormatError, match=r"no data set has files of this kind[^!]*--layout"):
        show(clip, tmp_path / "alone")
    (described,) = show(folder / "clips/clip03.npy", tmp_path / "described")
    (alone,) = show(clip, tmp_path / "alone", layout=str(folder / "layout.toml"))
    assert_pictures([alone])
    assert alone.read_bytes() == described.read_bytes()
    with pytest.raises(FormatError, match="not of the layout coco17"):
        show(clip, tmp_path / "other", layout="coco17")
    with pytest.raises(LayoutError, match="no layout 'coco18'"):
        show(clip, tmp_path / "other", layout="coco18")


def test_a_layout_is_named_only_where_it_is_needed(road: Road, tmp_path: Path) -> None:
    own = write_own(tmp_path / "mine") / "clips/clip03.npy"
    for what in (road.run, road.store, road.raw_file(3, 7), own):
        with pytest.raises(FormatError, match=r"has a layout already[^!]*leave out --layout"):
            show(what, tmp_path / "pictures", layout="ntu25")
    assert not (tmp_path / "pictures").exists()


def test_a_sample_is_named_only_where_there_are_several(road: Road, tmp_path: Path) -> None:
    own = write_own(tmp_path / "mine") / "clips/clip03.npy"
    for what in (road.raw_file(3, 7), own):
        with pytest.raises(FormatError, match=r"a file holds a single clip[^!]*leave out --sample"):
            show(what, tmp_path / "pictures", sample=what.stem)
    assert not (tmp_path / "pictures").exists()


def test_what_cannot_be_drawn_is_said(road: Road, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing at this place"):
        show(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no store"):
        show(tmp_path)
    with pytest.raises(RunError, match=f"no clip 'mine'[^!]*{road.raw_file(1, 1).stem}"):
        show(road.store, tmp_path, sample="mine")
    (tmp_path / "notes.txt").write_text("3")
    with pytest.raises(FormatError, match="no data set has files of this kind"):
        show(tmp_path / "notes.txt")
    with pytest.raises(PlaceError, match="folder cannot be made"):
        show(road.store, tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_joints_that_are_never_seen_are_drawn_where_they_hang(copied_run: Path, road: Road, tmp_path: Path) -> None:
    """The correlations are drawn on a body of all joints; no frame of this clip has one."""
    sample = road.raw_file(3, 7).stem
    clip = fabricate_clip(sample, frames=12)
    clip.present[:, :, [6, 7]] = False
    pose = verb._pose(clip, NTU25)
    np.testing.assert_array_equal(pose[[6, 7]], clip.joints[0, [0, 0], 5])
    clip.present[:, :, 20] = False  # the root
    np.testing.assert_allclose(verb._pose(clip, NTU25)[20], clip.joints[0, 0, clip.present[0, 0]].mean(axis=0), rtol=1e-6)
    store = write_store(tmp_path / "gaps", [clip.with_joints(clip.joints)])
    experiment = read_experiment(copied_run / "experiment.yaml")
    write_experiment(replace(experiment, store=store.path), copied_run / "experiment.yaml")
    assert_pictures(show(copied_run, tmp_path / "pictures", sample=sample))
