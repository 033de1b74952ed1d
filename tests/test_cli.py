"""The command: what it says of itself, the whole road through it, and one clear error for every wrong turn."""

import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from amanet import __version__, cli
from amanet import arguments as of_verbs
from amanet.arguments import VERBS
from amanet.checkpoint import read_weights, write_weights
from amanet.cli import main
from amanet.metrics import Scores
from amanet.prepare import prepare
from amanet.trained import WEIGHTS_FILE
from fabricate.own import write_own
from fabricate.road import TRAINING, Road, walk_road
from fabricate.runs import weights_digest
from fabricate.stores import fabricate_clip, write_store

REQUIRED: dict[str, list[str]] = {
    "synthesize": ["out"],
    "new-dataset": ["out"],
    "convert": ["openpose", "poses", "out"],
    "prepare": ["ntu60", "store", "raw"],
    "inspect": ["store"],
    "train": ["run", "--benchmark", "ntu60-xsub", "--store", "store"],
    "evaluate": ["run"],
    "ablate": ["table9", "out", "--benchmark", "ntu60-xsub", "--store", "store"],
    "report": ["page.md", "ablation"],
    "fuse": ["fused", "run", "run"],
    "predict": ["run", "clip.skeleton"],
    "show": ["run"],
    "cost": [],
}
"""The arguments that a verb cannot do without."""


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    return walk_road(tmp_path_factory.mktemp("road"))


def command(*arguments: object) -> tuple[int, float, str]:
    """Return code, seconds and output of the command in a process of its own."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, time.perf_counter() - start, done.stdout + done.stderr


# -- what it says of itself ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_the_overview_lists_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for verb, summary in VERBS.items():
        assert any(line.split() == [verb, *summary.split()] for line in lines)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"amanet {__version__}\n"


def test_the_overview_is_instant() -> None:
    """It imports neither torch nor the parser, and so takes as long as Python takes to start."""
    program = "import sys; from amanet.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    code, _, output = command("-c", program)
    assert code == 0
    modules = set(output.splitlines()[-1].split())
    assert "amanet.cli" in modules
    assert not modules & {"torch", "jsonargparse", "numpy", "yaml", "rich", "pyarrow", "matplotlib", "amanet.train"}
    started = min(command("-c", "import typing, pathlib")[1] for _ in range(3))
    assert min(command("-m", "amanet", "--help")[1] for _ in range(3)) < started + 0.5


def test_every_verb_has_a_summary_and_a_handler() -> None:
    assert list(VERBS) == list(cli.HANDLERS) == list(REQUIRED)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: amanet {verb}" in capsys.readouterr().out


class FoundError(Exception):
    """Carries a parser out of a verb."""


def parser_of(verb: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def stop(parser: Any, rest: Sequence[str], cure: str | None = None) -> None:
        raise FoundError(parser)

    for module in (of_verbs, cli):
        monkeypatch.setattr(module, "parse", stop)
    with pytest.raises(FoundError) as found:
        main([verb, *arguments])
    return found.value.args[0]


@pytest.mark.parametrize(("verb", "arguments"), [*((verb, []) for verb in VERBS), ("train", ["--resume", "run"])])
def test_every_argument_is_described(verb: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(verb, arguments, monkeypatch)
    silent = [action.dest for action in parser._actions if not isinstance(action.help, str) or len(action.help.strip()) < 3]
    assert silent == []
    assert {action.dest for action in parser._actions} > {"help", "config", "print_config"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_its_settings(verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is printed can be given back as --config, and is printed again."""
    printed = []
    for extra in ([], ["--config", str(tmp_path / "config.yaml")]):
        with pytest.raises(SystemExit) as ended:
            main([verb, *REQUIRED[verb], *extra, "--print_config"])
        assert ended.value.code == 0
        printed.append(capsys.readouterr().out)
        (tmp_path / "config.yaml").write_text(printed[0])
    assert printed[0] == printed[1]
    assert isinstance(yaml.safe_load(printed[0]), dict)


def test_an_unknown_verb_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "run"]) == 2
    said = capsys.readouterr().err
    assert "no verb 'trian'" in said
    assert all(verb in said for verb in VERBS)


def test_an_unknown_flag_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cost", "--colour", "red"])
    assert ended.value.code == 2
    assert "--colour" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["train", "run", "--benchmark", "ntu60-xsub", "--store", "store", "--validation_performers", "1"], 'a list, as in "[1, 5]"'),
        (["train", "run", "--benchmark", "ntu60-xsub", "--store", "store", "--recipe.decay", "1" + 400 * "0"], "see amanet train --help"),
        (["train", "--resume", "run", "--recipe.epochs", "4"], "what to do: with --resume go --accelerator, "),
    ],
)
def test_what_to_write_instead_is_said(arguments: list[str], cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert cure in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("network: 24", "network is no table of names and values"),
        ("network: {block: 3}", "network.block is no table"),
        ("network.block: 3", "network.block is no table"),
        ("recipe: [1]", "recipe is no table"),
        ("recipe:", "recipe is no table"),
        ("recipe: {nesterov: }", "the setting recipe.nesterov is empty"),
        ("recipe.epochs:", "the setting recipe.epochs is empty"),
        ("precision:", "the setting precision is empty"),
        ("loader_workers: null", "the setting loader_workers is empty"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "ablate"])
def test_settings_of_another_form_are_never_the_default(
    verb: str, text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("benchmark: ntu60-xsub\nstore: store\n" + text)
    assert main([verb, *REQUIRED[verb][: 1 if verb == "train" else 2], "--config", "mine.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"amanet {verb}: mine.yaml: ")
    assert problem in said


def test_a_table_in_a_flag_holds_a_value_for_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", "--benchmark", "ntu60-xsub", "--store", "store", "--recipe", "{nesterov: null}"]) == 2
    assert "the setting recipe.nesterov is empty" in capsys.readouterr().err


def test_a_form_with_empty_places_for_what_is_required_is_filled_in_by_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "form.yaml").write_text("benchmark: null\nstore: null\nrecipe: {clip_gradient: null}\n")
    with pytest.raises(SystemExit) as ended:
        main(["train", "run", "--config", str(tmp_path / "form.yaml"), "--benchmark", "ntu60-xsub", "--store", "store", "--print_config"])
    assert ended.value.code == 0
    assert "benchmark: ntu60-xsub" in capsys.readouterr().out


def test_an_error_is_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    code, _, said = command("-m", "amanet", "evaluate", tmp_path / "nowhere")
    assert code == 2
    assert said.startswith(f"amanet evaluate: {tmp_path / 'nowhere'}")
    assert "Traceback" not in said


def test_an_interrupt_ends_with_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(rest: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.HANDLERS, "cost", interrupted)
    assert main(["cost"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupt_in_text_that_is_executed_ends_with_its_code_too(tmp_path: Path) -> None:
    """As where it comes while a dataclass is made; ``python -m`` would end by a signal."""
    handler = "lambda rest: exec('raise KeyboardInterrupt')"
    (tmp_path / "sitecustomize.py").write_text(f"from amanet import cli\ncli.HANDLERS['cost'] = {handler}\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "amanet", "cost"], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (130, "amanet cost: interrupted\n")


def test_a_remark_of_the_library_is_printed_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.HANDLERS, "cost", lambda rest: logging.getLogger("amanet.loops.compiled").info("this takes its time"))
    for _ in range(2):
        assert main(["cost"]) == 0
        assert capsys.readouterr().err == "this takes its time\n"


# -- the road -----------------------------------------------------------------------------------------------------------------------


def test_the_road_leaves_its_things(road: Road) -> None:
    assert {path.name for path in road.raw.iterdir()} == {road.raw_file(p, a).name for p in (1, 3) for a in (1, 7)}
    assert (road.store / "store.json").is_file()
    assert {path.name for path in road.run.iterdir()} >= {"experiment.yaml", "metrics.jsonl", "weights.safetensors", "scores-test.parquet"}


def test_evaluate(road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(road.run), "--part", "train", "--accelerator", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "ntu60-xsub, joint stream, train part, 2 clips" in said
    assert re.search(r"^top-1 .*%   top-5 .*%   mean per class .*%   loss \d", said, re.MULTILINE)
    assert f"scores: {road.run}/scores-train.parquet, of each class: {road.run}/classes-train.csv" in said
    assert Scores.read(road.run / "scores-train.parquet").sample == tuple(road.raw_file(1, action).stem for action in (1, 7))


def test_predict(road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(road.raw_file(3, action)) for action in (1, 7)]
    assert main(["predict", str(road.run), *paths, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[4]] == paths
    assert all("%" in line for line in (*lines[1:4], *lines[5:]))
    assert len(lines) == 8


def test_show(road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what, count in ((road.run, 6), (road.store, 1), (road.raw_file(3, 7), 1)):
        assert main(["show", str(what), "--out", str(tmp_path / what.name)]) == 0
        written = capsys.readouterr().out.splitlines()
        assert len(written) == count
        assert {Path(line) for line in written} == set((tmp_path / what.name).iterdir())


@pytest.mark.parametrize("form", [["--resume", "{}"], ["--resume={}"]])
def test_a_finished_run_is_resumed_without_harm(road: Road, form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in road.run.glob("*.jsonl")}
    digest = weights_digest(road.run)
    assert main(["train", *(part.format(road.run) for part in form), "--accelerator", "cpu"]) == 0
    said = capsys.readouterr().out
    assert re.match(r"last epoch, test clips: top-1 \d+\.\d\d%, top-5 .*%, mean per class .*%\n", said)
    assert f"amanet show {road.run}" in said
    assert weights_digest(road.run) == digest
    assert {path.name: path.read_bytes() for path in road.run.glob("*.jsonl")} == before


def test_clips_for_validation_are_named_and_there_is_no_top_5_of_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished run that was evaluated too says again what it was measured on."""
    folder = write_own(tmp_path / "mine", clips=16)
    labels = folder / "labels.csv"
    rows = labels.read_text().splitlines()
    labels.write_text("\n".join(row.replace(",2,test", f",2,{'validation' if number % 2 else 'test'}") for number, row in enumerate(rows)))
    assert main(["prepare", "own", str(tmp_path / "store"), str(folder), "--workers", "1"]) == 0
    flags = [flag if flag != "ntu60-xsub" else "own" for flag in TRAINING]
    capsys.readouterr()
    assert main(["train", str(tmp_path / "run"), "--store", str(tmp_path / "store"), *flags]) == 0
    first = capsys.readouterr().out
    assert re.match(r"last epoch, validation clips: top-1 \d+\.\d\d%, mean per class .*%\n", first)
    assert main(["evaluate", str(tmp_path / "run"), "--accelerator", "cpu"]) == 0
    assert re.search(r"^top-1 .*%   mean per class .*%   loss \d", capsys.readouterr().out, re.MULTILINE)
    assert main(["train", "--resume", str(tmp_path / "run"), "--accelerator", "cpu"]) == 0
    assert capsys.readouterr().out == first


def test_a_run_whose_settings_were_changed_is_not_resumed(road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(road.run, tmp_path / "run"))
    settings = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(settings.replace("width: 6", "width: 12"))
    assert main(["train", "--resume", str(run), "--accelerator", "cpu"]) == 2
    assert "does not fit the settings" in capsys.readouterr().err
    assert weights_digest(run) == weights_digest(road.run)


def test_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Of an experiment as it ships, made small."""
    config = Path(__file__).parents[1] / "configs" / "sbu-small.yaml"
    assert main(["cost", "--config", str(config), "--network.width", "6", "--frames", "8", "--batch", "1", "--repeats", "1"]) == 0
    said = capsys.readouterr().out
    assert "parameters" in said
    assert re.search(r"^16 epochs of 2\d\d clips take .* where each has 2 bodies, besides scoring$", said, re.MULTILINE)


# -- wrong turns --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong(road: Road) -> dict[str, str]:
    """What a user may name by mistake."""
    folder = road.raw.parent
    (folder / "empty").mkdir()
    (folder / "file").write_text("a file")
    (folder / "ntu60.pkl").write_bytes(b"")
    (folder / "S001C001P001R001A001.skeleton").write_text("3\n1\nnot a skeleton\n")
    sample = "a1_s1_t1_skeleton"
    write_store(folder / "other", [fabricate_clip(sample, dataset="utd-mhad")], "utd-mhad")
    (folder / "bomb").write_text(
        "\n".join(f"{name}: &{name} [{f'*{before}, ' * 9}]" for before, name in pairwise("abcdefghij")).replace("*a", "1")
    )
    names = ("empty", "file", "bomb", "other", "nowhere", "run_away", "S001C001P001R001A001.skeleton")
    places = {name.partition(".")[0]: str(folder / name) for name in names} | {"long": "n" * 300, "pickle": str(folder / "ntu60.pkl")}
    tensors, description = read_weights(shutil.copytree(road.run, folder / "run_away") / WEIGHTS_FILE)
    write_weights(folder / "run_away" / WEIGHTS_FILE, {name: 1e19 * tensor for name, tensor in tensors.items()}, description)
    return {**places, "raw": str(road.raw), "store": str(road.store), "run": str(road.run), "clip": str(road.raw_file(3, 7))}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("synthesize {store}", "something already"),
        ("synthesize ..", "something already"),
        ("prepare ntu60 . {raw}", "nothing can be put in this place"),
        ("synthesize {file}/new", "folder cannot be made"),
        ("synthesize {nowhere} --actions [2]", "no synthetic action 2"),
        ("prepare ntu61 {nowhere} {raw}", "no data set 'ntu61'"),
        ("prepare ntu60 {nowhere} {nowhere}", "nothing at this place"),
        ("prepare own {nowhere} {nowhere}", "there is no folder here"),
        ("prepare ntu60 {nowhere} {file}", "neither a folder nor a .zip archive"),
        ("convert openpse {raw} {nowhere}", "one of openpose, coco, mmpose, ultralytics, mediapipe, pyskl"),
        ("prepare ntu60 {nowhere} {pickle}", "amanet convert pyskl {pickle} FOLDER"),
        ("prepare own {nowhere} {pickle}", "amanet convert pyskl {pickle} FOLDER"),
        ("prepare ntu60 {nowhere} {empty}", "no file whose name ends in .skeleton"),
        ("prepare utd-mhad {nowhere} {raw}", "no file whose name ends in"),
        ("prepare ntu60 {raw} {raw}", "something else at this place"),
        ("prepare ntu60 {store} {raw}", "store"),
        ("prepare ntu60 {nowhere} {raw} --recipe mine", "no recipe 'mine'"),
        ("train {nowhere} --store {empty}", "this is no store"),
        ("train {nowhere} --store {raw}", "this is no store"),
        ("train {nowhere} --store {other}", "not of the benchmark ntu60-xsub"),
        ("train {nowhere} --store {store} --benchmark ntu61", "ntu61"),
        ("train {nowhere} --store {store} --network.width 7", "width of the network"),
        ("train {nowhere} --store {store} --validation_performers [1]", "train"),
        ("train {run} --store {store}", "there is a run in this folder already"),
        ("train {file} --store {store}", "folder cannot be made"),
        ("train {nowhere} --store {nowhere}", "nothing at this place"),
        ("train {nowhere} --store {store} --evaluate_every 0", "evaluate_every is out of its bounds"),
        ("train --resume {empty}", "holds no run"),
        ("train --resume {store}", "holds no run"),
        ("evaluate {nowhere}", "there is no run here"),
        ("evaluate {store}", "there is no run here"),
        ("evaluate {run} --store {empty}", "this is no store"),
        ("evaluate {run} --store {other}", "skeleton is not the one that the network was trained on"),
        ("evaluate {run} --part validation", "validation part of this run is empty"),
        ("predict {empty} {clip}", "there is no run here"),
        ("predict {run} {empty}", "no file of ntu60 in this folder"),
        ("predict {file} {clip}", "weights cannot be read"),
        ("predict {run} {nowhere}", "this file cannot be read"),
        ("predict {run} {file}", "no file of ntu60"),
        ("predict {run} {S001C001P001R001A001}", "S001C001P001R001A001.skeleton:"),
        ("predict {run} {clip} --top 0", "how many classes to name"),
        ("show {nowhere}", "nothing at this place"),
        ("show {empty}", "this is no store"),
        ("show {file}", "no data set has files of this kind"),
        ("show /nothing.npy", "nothing at this place"),
        ("show {S001C001P001R001A001}", "S001C001P001R001A001.skeleton:"),
        ("show {run} --sample mine", "no clip 'mine'"),
        ("show {store} --sample mine", "no clip 'mine'"),
        ("show {store} --out {file}", "folder cannot be made"),
        ("show {store} --classes [clapping]", "classes are drawn of a run"),
        ("show {run} --classes [clapping] --sample mine", "classes are drawn of a run"),
        ("show {run} --classes [claping]", "a name like 'clapping'"),
        ("show {run} --classes claping", "a name like 'clapping'"),
        ("show {run} --classes claping,drink", "no class 'claping,drink'"),
        ("report {nowhere} {empty}", "this folder holds no table"),
        ("report {nowhere} {store}", "this table cannot be read"),
        ("cost --layout ntu26", "no layout 'ntu26'"),
        ("cost --frames 0", "with this frames"),
        ("cost --repeats 0", "with this repeats"),
        ("cost --num_classes 1000000000000", "memory of this machine does not suffice"),
        ("synthesize {nowhere} --performers 1000000000000", "these are no performers"),
        ("synthesize {nowhere} --seed -1", "a seed is not negative"),
        ("train {nowhere} --store {store} --sampling.frames 1000000000", "frames must be 1 to"),
        ("train {nowhere} --store {store} --network.block.windows [1000000000]", "windows of STFEM"),
        ("train {nowhere} --store {store} --seed 100000000000000000000", "seed is out of its bounds"),
        ("train {nowhere} --store {store} --accelerator mps", "does not have these devices"),
        ("train {nowhere} --store {store} --config {bomb}", "would hold more than"),
        ("evaluate {run} --accelerator mps", "does not have these devices"),
        ("evaluate {run} --batch_size 0", "batch size 0"),
        ("evaluate {run_away}", "scores of 2 clips are not finite"),
        ("predict {run_away} {clip}", "scores of this clip are not finite"),
        ("predict {run} " + "n" * 300, "File name too long"),
        ("inspect {long}", "File name too long"),
    ],
)
def test_wrong_turns_end_in_one_error(line: str, problem: str, wrong: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    verb, *rest = line.format(**wrong).split()
    training = [flag for flag in TRAINING if "--benchmark" not in line or flag not in ("--benchmark", "ntu60-xsub")]
    flags = training if verb == "train" and "--resume" not in rest else []
    capsys.readouterr()
    assert main([verb, rest[0], *flags, *rest[1:]] if rest else [verb]) == 2
    said = capsys.readouterr().err
    assert said.count(f"amanet {verb}: ") == 1
    assert problem.replace("{pickle}", wrong["pickle"]) in said
    assert not Path(wrong["nowhere"]).exists()


SMALL_COST = (sys.executable, "-m", "amanet", "cost", "--network.width", "6", "--frames", "8", "--batch", "1", "--repeats", "1")


def test_a_reader_that_has_seen_enough_ends_the_command_in_silence() -> None:
    with subprocess.Popen(SMALL_COST, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141  # as of a command that the signal ends


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_nobody_who_reads_on_is_told_either(flag: str) -> None:
    with subprocess.Popen([sys.executable, "-m", "amanet", flag], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_nobody_to_print_to_is_no_fault() -> None:
    done = subprocess.run(["/bin/sh", "-c", f"{shlex.join(SMALL_COST)} >&-"], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    """As in the locale C."""
    folder = write_own(tmp_path / "mine")
    for name in ("dataset.toml", "labels.csv"):
        (folder / name).write_text((folder / name).read_text().replace("wave", "κύμα"), encoding="utf-8")
    prepare("own", folder, tmp_path / "store", workers=1)
    command = [sys.executable, "-m", "amanet", "inspect", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_written_is_one_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(SMALL_COST, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr == "amanet cost: the system does not play along: No space left on device\n"


def test_an_error_of_the_code_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(rest: Sequence[str]) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setitem(cli.HANDLERS, "cost", broken)
    with pytest.raises(RuntimeError, match="ours"):
        main(["cost"])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("train run --store store --recipe.epoch 3", "unrecognized arguments: --recipe.epoch"),
        ("train run --store store --config nothing.yaml", "does not exist"),
        ("evaluate run --part tset", "part: Expected one of train, validation, test. Got value: tset"),
        ("evaluate", "required: run"),
    ],
)
def test_arguments_that_there_are_not_are_said_without_the_whole_usage(line: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    said = capsys.readouterr().err
    assert problem in said
    assert len(said.splitlines()) <= 3
    assert "--help" in said
