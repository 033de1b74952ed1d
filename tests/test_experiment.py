"""Experiments as files: round trips, refusals by name, and configurations that say what the paper says."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from amanet.cli import main
from amanet.data.dataset import ClipSampling
from amanet.errors import ExperimentError
from amanet.experiment import Experiment, Recipe, from_plain, read_experiment, to_plain, write_experiment
from amanet.model import BlockConfig, NetworkConfig
from amanet.settings_file import read_settings

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))

SMALL = ["nucla", "sbu-small", "sbu", "utd-mhad-short", "utd-mhad-small", "utd-mhad"]

CHANGED = Experiment(
    benchmark="ntu120-xset",
    store=Path("somewhere else/ünder"),
    stream="bone-fused",
    network=NetworkConfig(
        dp="vel+acc+both",
        dp_streams=("bone", "bone-fused"),
        alien="pinv",
        alien_scale=0.7,
        block=BlockConfig(
            spatial="ms_gcn",
            temporal="ff+ms_tcn",
            spatio_temporal="none",
            order="temporal-first",
            alpha=0.1,
            beta=1e-7,
            graph_joins="correlations",
            learn_weights=True,
            heads=2,
            group=3,
            windows=(7,),
            spatial_scales=5,
            window_scales=3,
            tail=False,
            residual_gain=0.5,
        ),
        width=12,
        body_mean="present",
        dropout=0.25,
    ),
    sampling=ClipSampling(frames=17, fit="resize", crop=(0.1, 0.9), test_crop=0.5, bodies=3, rotate=11.5, scale=0.2, mirror=True),
    recipe=Recipe(
        epochs=7,
        batch_size=3,
        micro_batch=2,
        learning_rate=1e-5,
        reference_batch=64,
        schedule="cosine",
        milestones=(),
        decay=0.3,
        warmup_epochs=2,
        momentum=0.0,
        nesterov=False,
        weight_decay=0.0,
        label_smoothing=0.1,
        clip_gradient=2.5,
        balance="weights",
    ),
    validation_performers=(8, 13),
    seed=2**40,
    precision="64-true",
    synchronise_statistics=False,
)
"""No field has its default."""


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """All fields of nested dataclasses by their dotted names."""
    found: dict[str, Any] = {}
    for field in fields(value):
        inner = getattr(value, field.name)
        found |= flat(inner, f"{prefix}{field.name}.") if is_dataclass(inner) else {prefix + field.name: inner}
    return found


def test_the_changed_experiment_has_no_default() -> None:
    default = flat(Experiment(benchmark="ntu60-xsub", store=Path("store")))
    same = {name for name, value in flat(CHANGED).items() if default[name] == value}
    assert not same


@pytest.mark.parametrize("experiment", [CHANGED, Experiment(benchmark="utd-mhad", store=Path("store"))])
def test_an_experiment_comes_back_as_it_was(tmp_path: Path, experiment: Experiment) -> None:
    assert from_plain(Experiment, to_plain(experiment), "here") == experiment
    path = tmp_path / "experiment.yaml"
    write_experiment(experiment, path)
    assert read_experiment(path) == experiment


def test_the_file_is_plain_yaml(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    write_experiment(CHANGED, path)
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(plain) == [field.name for field in fields(Experiment)]
    assert plain["recipe"]["milestones"] == []
    assert plain["validation_performers"] == [8, 13]
    assert plain["store"] == "somewhere else/ünder"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda plain: plain.update(colour="red"), "colour"),
        (lambda plain: plain["recipe"].update(epoch=3), "epoch"),
        (lambda plain: plain["network"]["block"].update(depth=3), "depth"),
        (lambda plain: plain.pop("store"), "store"),
        (lambda plain: plain["recipe"].update(epochs="many"), "epochs"),
        (lambda plain: plain["recipe"].update(epochs=2.5), "epochs"),
        (lambda plain: plain["recipe"].update(milestones=3), "milestones"),
        (lambda plain: plain["recipe"].update(schedule="steps", milestones=[-5, 20]), "epochs of 1 or more"),
        (lambda plain: plain["recipe"].update(schedule="exponential"), "schedule"),
        (lambda plain: plain["sampling"].update(crop=[0.5]), "crop"),
        (lambda plain: plain.update(stream="bones"), "stream"),
        (lambda plain: plain.update(precision="16"), "precision"),
        (lambda plain: plain.update(recipe=[1, 2]), "recipe"),
        (lambda plain: plain.update(seed=None), "seed"),
        (lambda plain: plain["recipe"].update(nesterov=None), "recipe.nesterov is empty"),
        (lambda plain: plain["network"]["block"].update(tail=None), "network.block.tail is empty"),
        (lambda plain: plain["network"].update(block=3), "network.block is no table"),
        (lambda plain: plain["recipe"].update(decay=10**400), "too large"),
        (lambda plain: plain["network"].update(width="wide"), "width"),
    ],
)
def test_unknown_fields_and_wrong_types_are_refused_by_name(tmp_path: Path, change: Callable[[dict[str, Any]], Any], named: str) -> None:
    plain = to_plain(CHANGED)
    change(plain)
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(ExperimentError, match=named) as caught:
        read_experiment(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content", [b"", b"3", b"[1, 2]", b"epochs", b"{unclosed: [", b"\xff\xfe\x00", b"!!python/object/apply:os.getcwd []"]
)
def test_files_of_something_else_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(content)
    with pytest.raises(ExperimentError) as caught:
        read_experiment(path)
    assert str(path) in str(caught.value)


LINES = [f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]" for name, after in pairwise("abcdefghi")]
BOMB = "\n".join(["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]", *LINES])


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", "a: " + "[" * 10_000 + "]" * 10_000])
def test_files_that_stand_for_more_than_any_memory_holds_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"written out|recursion"):
        read_experiment(path)


def test_parts_of_a_file_can_stand_for_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("one: &one {a: [1, 2]}\ntwo: *one\nthree: {<<: *one, b: 3}\n", encoding="utf-8")
    one = {"a": [1, 2]}
    assert read_settings(path, "these settings") == {"one": one, "two": one, "three": {**one, "b": 3}}


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no run here.*\n.*\n.*amanet train"):
        read_experiment(tmp_path / "experiment.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is out of its bounds"),
        ({"seed": 2**63}, "seed is out of its bounds"),
        ({"sampling": {"frames": 10**6}}, "frames must be 1 to"),
        ({"sampling": {"bodies": 10**6}}, "bodies must be 1 to"),
        ({"benchmark": "ntu61-xsub"}, "ntu61-xsub"),
        ({"recipe": {"epochs": 0}}, "recipe.epochs makes no training"),
        ({"network": {"width": 7}}, "width of the network"),
        ({"sampling": {"frames": 0}}, "frames must be 1 to"),
    ],
)
def test_contradictions_of_a_file_are_those_of_its_values(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "experiment.yaml"
    plain = to_plain(CHANGED)
    for name, value in change.items():
        plain[name] = {**plain[name], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(ExperimentError, match=message):
        read_experiment(path)


def configured(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Experiment:
    """The experiment that a configuration gives on the command line, as --print_config resolves it."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "run", "--config", str(path), "--store", "store", "--print_config"])
    assert ended.value.code == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    known = {field.name for field in fields(Experiment)}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({name: value for name, value in settings.items() if name in known}))
    return read_experiment(tmp_path / "experiment.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_is_of_the_benchmark_it_is_named_after(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    experiment = configured(path, capsys, tmp_path)
    assert experiment.benchmark.startswith(path.stem.removesuffix("-small").removesuffix("-short"))
    assert experiment.store == Path("store")


@pytest.mark.parametrize(
    ("name", "epochs", "milestones"),
    [
        ("ntu60-xsub", 50, (30, 40)),
        ("ntu60-xview", 50, (30, 40)),
        ("ntu120-xsub", 60, (30, 50)),
        ("ntu120-xset", 60, (30, 50)),
        ("kinetics", 65, (45, 55)),
    ],
)
def test_configurations_of_the_paper(
    name: str, epochs: int, milestones: tuple[int, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The paper's section Implementations, number by number; all else is the network as published."""
    path = next(path for path in CONFIGS if path.stem == name)
    experiment = configured(path, capsys, tmp_path)
    recipe, sampling = experiment.recipe, experiment.sampling
    assert (recipe.epochs, recipe.milestones) == (epochs, milestones)
    assert (recipe.learning_rate, recipe.batch_size, recipe.reference_batch) == (0.05, 32, 32)
    assert (recipe.weight_decay, recipe.momentum, recipe.schedule, recipe.decay) == (5e-4, 0.9, "steps", 0.1)
    assert (recipe.warmup_epochs, recipe.label_smoothing, recipe.clip_gradient) == (0, 0, None)
    assert (sampling.frames, sampling.fit, sampling.bodies) == (300, "replay", 2)
    assert (sampling.rotate, sampling.scale, sampling.mirror) == (0, 0, False)
    network = NetworkConfig(block=BlockConfig(spatial_scales=8, window_scales=8)) if name == "kinetics" else NetworkConfig()
    published = Experiment(benchmark=name, store=Path("store"), network=network)
    assert experiment == replace(published, recipe=Recipe(epochs=epochs, milestones=milestones))


def test_there_is_a_configuration_of_each_kind() -> None:
    large = ["kinetics", "ntu120-xset", "ntu120-xsub", "ntu60-xsub", "ntu60-xview"]
    assert {path.stem for path in CONFIGS} == {*large, *SMALL}
