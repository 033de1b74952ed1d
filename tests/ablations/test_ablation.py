"""Tables: those of the paper, what a table may not be, and the pages that results become."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from amanet.ablations.result import RowResult, SeedResult, TableResult
from amanet.ablations.table import Row, Table, load_table, table_names
from amanet.errors import ExperimentError, RunError
from amanet.experiment import Experiment, to_plain
from amanet.system.places import write_file
from fabricate.runs import TINY_NETWORK, TINY_RECIPE, TINY_SAMPLING

START = Experiment("ntu60-xsub", Path("store"), network=TINY_NETWORK, sampling=TINY_SAMPLING, recipe=TINY_RECIPE)
PAPER = {
    "table2": {89.1, 89.7, 89.9, 90.2},
    "table4": {88.4, 88.8, 89.1, 89.5},
    "table5": {89.1, 89.3, 89.4, 89.6},
    "table6": {88.5, 88.7, 89.1, 89.3},
    "table8": {89.2, 90.4, 91.7, 92.1},
}
"""Top-1 that the paper's text states, or that follows from a difference it states."""


def test_every_table_and_sweep_of_the_paper_is_there() -> None:
    assert set(table_names()) == {*(f"table{number}" for number in range(1, 10)), "fig7", "choices"}
    assert table_names()[:2] == ["table1", "table8"], "the results of the whole method come first"


@pytest.mark.parametrize("name", table_names())
def test_every_row_is_an_experiment_of_its_own(name: str) -> None:
    table = load_table(name)
    found = [table.experiment(row, START, seed=3, benchmark="ntu60-xview") for row in table.rows if not row.fuse]
    assert all(each.seed == 3 and each.benchmark == "ntu60-xview" for each in found)
    assert all(each.recipe == TINY_RECIPE and each.network.width == TINY_NETWORK.width for each in found)
    assert all(found.count(each) == 1 for each in found)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers_are_those_of_its_text(name: str) -> None:
    assert {row.paper for row in load_table(name).rows if row.paper is not None} == PAPER[name]


def test_table_1_has_the_papers_numbers_of_every_split() -> None:
    names = ("MS-G3D, joints and bones", "AMANet, four streams")
    found = {}
    for benchmark in ("ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset"):
        table = load_table("table1").on(benchmark)
        paper = {row.name: row.paper for row in table.rows}
        found[table.paper] = tuple(paper[name] for name in names)
        assert table.claims == (names if benchmark == "ntu120-xsub" else names[::-1],)
    assert found == {
        "NTU RGB+D 60, X-Sub": (91.5, 92.1),
        "NTU RGB+D 60, X-View": (96.2, 96.6),
        "NTU RGB+D 120, X-Sub": (86.9, 86.7),
        "NTU RGB+D 120, X-Set": (88.4, 88.6),
    }
    assert load_table("table1").on("sbu-fold1") == load_table("table1")


@pytest.mark.parametrize("benchmark", ["ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset"])
@pytest.mark.parametrize("name", table_names())
def test_the_papers_numbers_bear_out_its_claims(name: str, benchmark: str) -> None:
    table = load_table(name).on(benchmark)
    paper = {row.name: row.paper for row in table.rows}
    assert bool(table.claims) == (name != "choices")
    for better, worse in table.claims:
        one, other = paper[better], paper[worse]
        assert one is None or other is None or one > other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: [", "cannot be read"),
        ("- a", "no table"),
        ("title: t\nrows: []", "rows, each with a name"),
        ("title: t\nrows: [{name: a}, {name: a}]", "rows, each with a name"),
        ("title: t\nrows: [{name: a, hidden: true}]", "all of these are hidden"),
        ("title: t\nbase: {1: 2}\nrows: [{name: a}]", "1 is no name of a setting"),
        ("title: t\nrows: [{name: a}, {name: b, settings: {null: 2}}]", "None is no name of a setting"),
        ("title: t\nrows: [{name: a, setings: {stream: bone}}]", "setings"),
        ("title: t\nrows: [{name: a}, {name: b, fuse: [a, c]}]", "not trained in this table"),
        ("title: t\nrows: [{name: a}, {name: b, fuse: [a]}]", "cannot be made"),
        ("title: t\nrows: [{name: a}, {name: c}, {name: b, fuse: [a, c], settings: {stream: bone}}]", "cannot be made"),
        ("title: t\nrows: [{name: a, paper: 90.0}]", "does not say what they are of"),
        ("title: t\nrows: [{name: a, paper: much}]", "cannot be read"),
        ("title: t\nrows: [{name: a}, {name: b}]\nclaims: [[a, c]]", "two rows that the table shows"),
        ("title: t\nrows: [{name: a}, {name: b}]\nclaims: [[a, a]]", "two rows that the table shows"),
        ("title: t\nrows: [{name: a}, {name: b, hidden: true}]\nclaims: [[a, b]]", "two rows that the table shows"),
        ("title: t\nrows: [{name: a}, {name: b}]\nclaims: [[a]]", "cannot be read"),
        ("title: t\nrows: [{name: a}, {name: b}]\nelsewhere: {sbu-fold1: {of: s, numbers: {c: 90.0}}}", "rows that the table shows"),
        ("title: t\nrows: [{name: a}, {name: b}]\nelsewhere: {sbu-fold1: {of: s, numbers: {}, claims: [[a, c]]}}", "the table shows"),
        ("title: t\nrows: [{name: a}, {name: b}]\nelsewhere: {sbu-fold1: {numbers: {}}}", "cannot be read"),
        ("title: t\nrows: [{name: a}, {name: b}]\nelsewhere: [sbu-fold1]", "cannot be read"),
        ("title: t\nsweep: network.dropout\nrows: [{name: a, settings: {network.dropout: 0.5}}, {name: b}]", "no place in the sweep"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=message) as caught:
        load_table(str(path))
    assert "mine" in str(caught.value) or caught.value.where is None


@pytest.mark.parametrize("setting", [{"network.depth": 3}, {"stream.joint": 1}, {"network.dp": "velocity"}, {"recipe.epochs": "many"}])
def test_a_setting_that_does_not_exist_is_refused(setting: dict[str, object]) -> None:
    table = Table("mine", "mine", (Row("a", setting),))
    with pytest.raises(ExperimentError) as caught:
        table.experiment(table.rows[0], START, 0, "ntu60-xsub")
    assert "mine" in str(caught.value)


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(ExperimentError, match="no such table") as caught:
        load_table("table10")
    assert "table9" in str(caught.value)


def make_result(**changes: object) -> TableResult:
    table = Table("mine", "Mine", (Row("a", paper=90.0), Row("b", paper=91.5), Row("c")), paper="somewhere")
    rows = (
        RowResult(
            "a", 90.0, 1000, 2e9, (SeedResult(0, (0.80, 1.0, 1.0, 1.0, 1.0), ("a0",)), SeedResult(1, (0.90, 1.0, 1.0, 1.0, 1.0), ("a1",)))
        ),
        RowResult("b", 91.5, 2000, 3e9, (SeedResult(1, (0.70, 1.0, 1.0, 1.0, 1.0), ("b1",)),)),
        RowResult("c", None, 3000, 4e9, ()),
    )
    return replace(TableResult(table, rows, ("ntu60-xsub",), (0, 1), "test", 20, START), **changes)  # type: ignore[arg-type]


def test_a_result_becomes_a_table_with_the_papers_numbers_beside() -> None:
    lines = make_result().markdown().splitlines()
    assert lines[4:7] == [
        "| a | 85.0 ± 7.1 |  | 1,000 | 2 | 90.0 |  |",
        "| b | 70.0 | -15.0 | 2,000 | 3 | 91.5 | +1.5 |",
        "| c | not trained |  | 3,000 | 4 |  |  |",
    ]
    assert "somewhere" in lines[2]
    assert "ntu60-xsub, test part" in lines[-1]
    assert "8 frames, 3 epochs" in lines[-1]


def test_a_name_that_would_break_a_table_is_escaped() -> None:
    page = make_result(rows=(RowResult("a|b", None, 1000, 2e9, ()),)).markdown()
    assert r"| a\|b | not trained |" in page


def test_a_table_that_fuses_shows_top_1_to_top_5_and_what_fusion_changed() -> None:
    table = Table("mine", "Mine", (Row("a"), Row("b"), Row("both", fuse=("a", "b"))))
    top = (0.5, 0.6, 0.7, 0.8, 0.9)
    rows = tuple(RowResult(name, None, 1000, 2e9, (SeedResult(0, top, (name,)),)) for name in ("a", "b"))
    seeds = (SeedResult(0, top, ("a", "b"), ("x", "y"), ("z",)), SeedResult(1, top, ("a1", "b1"), ("x",), ()))
    page = make_result(table=table, rows=(*rows, RowResult("both", None, 2000, 4e9, seeds))).markdown()
    assert "| b | 50.0 | 60.0 | 70.0 | 80.0 | 90.0 |" in page
    assert "*both* repairs 1.5 clips and breaks 0.5" in page


def test_of_three_classes_no_top_3_is_shown() -> None:
    table = Table("mine", "Mine", (Row("a"), Row("b"), Row("both", fuse=("a", "b"))))
    rows = [RowResult(name, None, 1000, 2e9, (SeedResult(0, (0.5, 0.75), (name,)),)) for name in ("a", "both")]
    page = make_result(table=table, rows=(*rows, RowResult("b", None, 1000, 2e9, ()))).markdown()
    assert "|  | top-1, % | top-2, % |\n| --- | --- | --- |\n| a | 50.0 | 75.0 |\n" in page
    assert "top-3" not in page


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    result = make_result()
    write_file(tmp_path / "mine.json", json.dumps(to_plain(result)).encode())
    assert TableResult.read(tmp_path / "mine.json") == result
    for damaged in ("[", "{}", '{"runs": []}', (tmp_path / "mine.json").read_text().replace('"seeds"', '"sides"')):
        (tmp_path / "other.json").write_text(damaged)
        with pytest.raises(RunError, match="cannot be read"):
            TableResult.read(tmp_path / "other.json")


def test_own_tables_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "Mine", "rows": [{"name": "a"}, {"name": "b", "settings": {"network.dropout": 0.5}}]}))
    table = load_table(str(path))
    assert table.name == "mine"
    assert table.experiment(table.rows[1], START, 0, "ntu60-xsub").network.dropout == 0.5
