"""The documents say what is true of the code: names exist, defaults are those written, links lead somewhere, commands are commands."""

import ast
import dataclasses
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch

from amanet.ablations.table import load_table
from amanet.arguments import VERBS
from amanet.data.dataset import ClipSampling
from amanet.data.normalise import RECIPES
from amanet.data.published import BENCHMARKS, DATASETS
from amanet.experiment import Experiment, Recipe
from amanet.model import BlockConfig, Network, NetworkConfig
from amanet.model.presets import msg3d
from amanet.skeleton import SkeletonLayout, load_layout, stream_layout
from amanet.skeleton.layout import parse_layout

ROOT = Path(__file__).parents[1]
PAPER, DATA, RELIABILITY = (ROOT / f"docs/{name}.md" for name in ("paper", "data", "reliability"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CONFIGS: dict[str, type] = {kind.__name__: kind for kind in (NetworkConfig, BlockConfig, ClipSampling, Recipe, Experiment)}
ITEMS = [
    *(f"Eq. {number}" for number in range(1, 15)),
    "Alg. 1",
    *(f"Fig. {number}" for number in range(1, 10)),
    *(f"Table {number}" for number in range(1, 10)),
]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def rows(page: Path, *header: str) -> list[list[str]]:
    """The rows of all tables of a page whose first columns have this header."""
    found: list[list[str]] = []
    wanted = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            wanted = False
        elif tuple(cells[: len(header)]) == header:
            wanted = True
        elif wanted and not set(cells[0]) <= {"-", ":"}:
            found.append(cells)
    return found


def quoted(text: str) -> list[str]:
    """What stands between backticks, outside of blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def find(path: str) -> object:
    """The module, class, function, constant or field of a dotted path."""
    names = path.split(".")
    for length in range(len(names), 0, -1):
        try:
            found: object = import_module(".".join(names[:length]))
        except ModuleNotFoundError:
            continue
        for name in names[length:]:
            fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
            found = name if name in fields else getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as the usual viewers of Markdown make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_item_of_the_paper_is_accounted_for() -> None:
    table = rows(PAPER, "Item", "What it says", "Code", "Test")
    assert [item for item, *_ in table] == ITEMS
    for item, says, code, test in table:
        assert says
        assert "`amanet." in code or code == "Nothing to build", f"{item} names no code"
        assert "`tests/" in test or (test == "None" and code == "Nothing to build"), f"{item} names no test"


def test_everything_that_can_go_wrong_has_a_test() -> None:
    table = rows(RELIABILITY, "What goes wrong", "What happens", "Shown by")
    assert len(table) > 30
    for wrong, happens, tests in table:
        assert happens
        assert all(re.fullmatch(r"tests/[\w/]+\.py::test_\w+", test) for test in quoted(tests)), f"{wrong!r} names something else"
        assert quoted(tests), f"{wrong!r} names no test"


@each_page
def test_every_name_of_the_code_exists(page: Path) -> None:
    for text in quoted(page.read_text(encoding="utf-8")):
        if re.fullmatch(r"amanet(\.\w+)+", text) and not text.endswith((".md", ".py")):
            find(text)


@each_page
def test_every_test_and_file_exists(page: Path) -> None:
    for text in quoted(page.read_text(encoding="utf-8")):
        path, _, test = text.partition("::")
        if re.match(r"(tests|src|docs|configs|benchmarks|examples)/[\w/.-]*$", path):
            assert (ROOT / path).exists(), f"there is no {path}"
            assert not test or test in names_of_tests(ROOT / path), f"{path} has no test {test}"


def test_every_setting_stands_in_the_list_with_its_default() -> None:
    written = [cells[0].strip("`").partition(" = ") for cells in rows(PAPER, "Field and default")]
    defaults = {f"{name}.{field.name}": field for name, kind in CONFIGS.items() for field in dataclasses.fields(kind)}
    for path, sign, value in written:
        assert path in defaults, f"there is no field {path}"
        if sign:
            assert ast.literal_eval(value) == defaults[path].default, f"{path} has another default"
    needed = {path for path in defaults if not path.startswith("Experiment.")}
    assert needed <= {path for path, *_ in written}, "a field is not in the list"


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", target):
            continue
        place = page if not target else (page.parent / target).resolve()
        assert place.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in headings(place), f"{place.name} has no heading #{anchor}"


@each_page
def test_every_command_is_one(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "(?:bash|sh|shell|console)"):
        for verb in re.findall(r"^(?:\$ )?amanet ([a-z][\w-]*)", block, flags=re.MULTILINE):
            assert verb in VERBS, f"there is no verb {verb}"


def test_the_layout_shown_is_one() -> None:
    (text,) = blocks(DATA.read_text(encoding="utf-8"), "toml")
    layout = parse_layout(tomllib.loads(text))
    assert isinstance(layout, SkeletonLayout)
    assert stream_layout(layout, "joint-fused").num_joints == len(layout.groups)


def test_the_table_shown_is_one(tmp_path: Path) -> None:
    (text,) = blocks(PAPER.read_text(encoding="utf-8"), "yaml")
    (tmp_path / "mine.yaml").write_text(text)
    table = load_table(str(tmp_path / "mine.yaml"))
    start = Experiment("ntu60-xsub", tmp_path)
    found = {row.name: table.experiment(row, start, 0, "ntu60-xsub") for row in table.rows if not row.fuse}
    assert found["AMANet"] == start
    assert found["MS-G3D"].network == msg3d()
    assert len(found) == 4


def test_protocols_data_sets_and_recipes_are_those_of_the_code() -> None:
    assert [cells[0].strip("`") for cells in rows(DATA, "Data set")] == list(DATASETS)
    assert [cells[0].strip("`") for cells in rows(DATA, "Recipe")] == list(RECIPES)
    table = rows(DATA, "Benchmark", "Trains", "Training clips", "Test clips")
    written = [(name.strip("`"), int(train.replace(",", "")), int(test.replace(",", ""))) for name, _, train, test in table]
    assert written == [(each.name, each.num_train, each.num_test) for each in BENCHMARKS.values()]


def test_the_readmes_python_runs_as_written() -> None:
    """Its first block; the second needs a run, and runs in `tests/test_readme.py`."""
    first, second = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    assert 'load_trained("run")' in second
    found: dict[str, torch.Tensor] = {}
    exec(first, found)
    assert found["logits"].shape == (1, 60)
    assert found["correlations"].shape == (2, 150, 25, 25)


def test_joints_that_were_not_seen_are_told_by_a_mask() -> None:
    network = Network(NetworkConfig(width=6), load_layout("ntu25"), num_classes=4, num_bodies=1).eval()
    joints, present = torch.randn(1, 1, 16, 25, 3), torch.ones(1, 1, 16, 25, dtype=torch.bool)
    present[0, 0, 3, 4] = False
    nowhere = torch.where(present[..., None], joints, torch.nan)
    with torch.inference_mode():
        torch.testing.assert_close(network(nowhere, present), network(joints, present), rtol=0, atol=0)
        assert network(nowhere).isnan().all()
