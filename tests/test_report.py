"""The page of results: what stands on it, in which order, what of it is kept, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from amanet.ablations.result import TableResult
from amanet.ablations.table import Row, Table, table_names
from amanet.errors import RunError
from amanet.report import BEGIN, END, ORDER, _differences, _sections, report
from fabricate.results import fabricate_result, row_result, table_result, write_result

FOLDS = tuple(f"sbu-fold{fold}" for fold in range(1, 6))


@pytest.fixture(scope="module")
def results() -> list[TableResult]:
    """All tables on one data set, and two of them on the folds of another."""
    whole = [fabricate_result(name) for name in table_names()]
    return [*whole, *(fabricate_result(name, benchmarks=FOLDS, seeds=(0, 1, 2)) for name in ("table8", "table2"))]


@pytest.fixture(scope="module")
def written(results: list[TableResult], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A page of all of them, and its pictures."""
    folder = tmp_path_factory.mktemp("ablations")
    folders = [write_result(result, folder / result.benchmarks[0]) for result in results]
    return report(folder / "docs/results.md", list(dict.fromkeys(folders)))


@pytest.fixture(scope="module")
def page(written: list[Path]) -> Path:
    return written[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short table."""
    return write_result(fabricate_result("table9"), tmp_path_factory.mktemp("small"))


def rows_of(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its header."""
    text = page.read_text().partition(f"\n{heading}\n")[2]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    count = next(index for index, line in enumerate([*text.partition("|")[2].splitlines(), ""]) if index and not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:count]]


def test_every_table_of_the_paper_has_its_place() -> None:
    assert set(ORDER) == set(table_names())


def test_tables_stand_in_the_papers_order_under_their_data(page: Path) -> None:
    headings = re.findall(r"^##+ (.*)$", page.read_text(), re.MULTILINE)
    assert headings[:3] == ["What was trained", "The paper's claims", "ntu60-xsub"]
    assert [title.partition(":")[0] for title in headings[3:14]] == [
        *("Table 1", "Table 2", "Fig. 7", "Table 3", "Table 4", "Table 5", "Table 6", "Table 7", "Table 8 and Fig. 9", "Table 9"),
        "Choices that the paper leaves open, in AMANet",
    ]
    assert [title.partition(":")[0] for title in headings[14:]] == ["sbu, mean over 5 folds", "Table 2", "Table 8 and Fig. 9"]


def test_the_overview_says_what_was_trained(page: Path) -> None:
    first, second = rows_of(page, "## What was trained")
    assert first[0] == "ntu60-xsub"
    assert first[1] == "width 6, 8 frames, 3 epochs in batches of 4"
    assert (first[2], first[4]) == ("0, 1", "430 of the test part")
    assert second[2] == "0, 1, 2"
    assert "degrees of freedom" in second[5]


def test_every_claim_stands_once_with_the_papers_number_and_a_verdict(page: Path) -> None:
    rows = rows_of(page, "## The paper's claims")
    assert len(rows) == len({tuple(row[:2]) for row in rows}) == 31
    by_claim = {row[1]: row for row in rows}
    stated = by_claim["w(velocity + acceleration + alien relative) **over** MS-G3D"]
    assert stated[2] == "+1.1"
    assert re.fullmatch(r"[+-]\d+\.\d ± \d+\.\d", stated[3])
    assert by_claim["s = 1.2 **over** s = 0.4"][2] == "better"
    assert by_claim["s = 1.2 **over** s = 0.4"][5] == "not trained", "the second data set has no Fig. 7"
    counts = re.search(r"\*\*ntu60-xsub\*\*: of (\d+) claims (\d+) agree, (\d+) disagree, (\d+) are too", page.read_text())
    assert counts
    verdicts = [row[4] for row in rows]
    expected = [len(rows), *(verdicts.count(verdict) for verdict in ("agrees", "disagrees", "too close to tell"))]
    assert [int(count) for count in counts.groups()] == expected


def test_what_the_paper_says_of_other_data_stands_beside(tmp_path: Path) -> None:
    benchmarks = ("ntu60-xsub", "ntu60-xview", "ntu120-xsub")
    results = [fabricate_result("table1", benchmarks=(each,)) for each in benchmarks]
    page, *_ = report(tmp_path / "page.md", [write_result(result, tmp_path / result.benchmarks[0]) for result in results])
    ahead, behind = rows_of(page, "## The paper's claims")
    assert ahead[1] == "AMANet, four streams **over** MS-G3D, joints and bones"
    assert behind[1] == "MS-G3D, joints and bones **over** AMANet, four streams"
    assert (ahead[2], behind[2]) == ("+0.6, +0.4", "+0.2")
    assert [row[7] for row in (ahead, behind)].count("not claimed") == 1
    assert (behind[3], ahead[7]) == ("not claimed", "not claimed")
    assert "paper, % (NTU RGB+D 120, X-Sub)" in page.read_text()


def test_tables_are_those_of_their_own_pages(page: Path, results: list[TableResult]) -> None:
    for result in results:
        assert "\n".join(result.body()) in page.read_text()


def test_every_table_says_how_far_chance_moves_a_difference(page: Path) -> None:
    reach = re.findall(
        r"^Chance moves .* by ± (\d\.\d) points \(95 % interval, seeds of every row: (\d) or more\)\.$", page.read_text(), re.M
    )
    assert [int(seeds) for _, seeds in reach] == [2] * 11 + [3] * 2
    assert len({value for value, _ in reach[:11]}) == 1, "pooled over all tables of the data"


def test_every_picture_is_written_and_shown(written: list[Path]) -> None:
    page, *pictures = written
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())
    assert sorted(shown) == sorted(f"images/{path.name}" for path in pictures) == sorted({*shown})
    assert {path.name for path in pictures} >= {
        "claims.png",
        "ntu60-xsub-fig7-sweep.png",
        "ntu60-xsub-table8-streams.png",
        "sbu-table8-streams.png",
    }
    assert all(path.stat().st_size > 1000 for path in pictures)


def test_pictures_of_a_folder_with_any_name_are_shown(tmp_path: Path) -> None:
    folders = [write_result(fabricate_result("fig7"), tmp_path / name) for name in ("my runs", "run #2 (50%)")]
    page, *pictures = report(tmp_path / "results.md", folders)
    shown = re.findall(r"!\[[^]]+\]\(([^()<>#? ]+)\)", page.read_text())
    assert "images/ntu60-xsub-my%20runs-fig7-sweep.png" in shown
    assert sorted(unquote(name) for name in shown) == sorted(f"images/{path.name}" for path in pictures)


def test_text_by_hand_is_kept(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Mine\n\nBy hand.\n")
    report(page, [small])
    page.write_text(page.read_text() + "\nAlso by hand.\n")
    once = page.read_text()
    assert once.startswith(f"# Mine\n\nBy hand.\n\n{BEGIN}\n")
    assert once.endswith(f"{END}\n\nAlso by hand.\n")
    report(page, [small])
    assert page.read_text() == once
    report(page, [write_result(fabricate_result("table9", benchmarks=FOLDS), tmp_path / "other")])
    assert "ntu60-xsub" not in page.read_text()
    assert page.read_text().endswith(f"{END}\n\nAlso by hand.\n")


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_without_both_marks_once_is_left_alone(text: str, small: Path, tmp_path: Path) -> None:
    (tmp_path / "results.md").write_text(text)
    with pytest.raises(RunError, match="two marks"):
        report(tmp_path / "results.md", [small])
    assert [path.read_text() for path in tmp_path.iterdir()] == [text], "nothing else was written either"


def test_what_cannot_be_reported_is_said(small: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"\xff\xfe")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/table2.json").write_text((small / "table9.json").read_text()[:-5])
    for page, folder, message in (
        ("page.md", small, "page cannot be read"),
        ("damaged", small, "page cannot be read"),
        ("new.md", tmp_path, "holds no table"),
        ("new.md", tmp_path / "nowhere", "holds no table"),
        ("new.md", tmp_path / "damaged", "table cannot be read"),
    ):
        with pytest.raises(RunError, match=message):
            report(tmp_path / page, [folder])


def test_tables_of_other_trainings_are_not_compared(tmp_path: Path) -> None:
    """Two recipes in one folder, and another of the first recipe: three sections under their folders, with pictures of their own."""
    other = fabricate_result("table8")
    other = replace(other, example=replace(other.example, recipe=replace(other.example.recipe, epochs=9)))
    write_result(fabricate_result("fig7"), tmp_path / "one")
    write_result(other, tmp_path / "one")
    write_result(fabricate_result("fig7"), tmp_path / "ntu60-xsub-two")
    written = report(tmp_path / "results.md", [tmp_path / "one", tmp_path / "ntu60-xsub-two"])
    names = ["ntu60-xsub-one", "ntu60-xsub-one-2", "ntu60-xsub-two"]
    assert [row[0] for row in rows_of(tmp_path / "results.md", "## What was trained")] == names
    assert len({path.name for path in written}) == len(written) == 5


def test_all_data_sets_of_the_paper_stand_on_one_page(tmp_path: Path) -> None:
    benchmarks = ("ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset", "utd-mhad", "nucla", "sbu-fold1")
    folders = [write_result(fabricate_result("table1", benchmarks=(each,)), tmp_path / each) for each in benchmarks]
    page, *pictures = report(tmp_path / "results.md", folders)
    assert [row[0] for row in rows_of(page, "## What was trained")] == list(benchmarks)
    assert tmp_path / "images/claims.png" in pictures
    ahead, behind = _differences(_sections(folders))
    assert {name: round(number, 1) for name, number in ahead.paper.items()} == {
        **dict.fromkeys(("ntu60-xsub", "utd-mhad", "nucla", "sbu-fold1"), 0.6),
        "ntu60-xview": 0.4,
        "ntu120-xset": 0.2,
    }
    assert (round(behind.paper["ntu120-xsub"], 1), len(behind.paper)) == (0.2, 1)


def changed(result: TableResult, **settings: object) -> TableResult:
    """The result of a table as it comes of another experiment."""
    return replace(result, example=replace(result.example, **settings))  # type: ignore[arg-type]


def setting(result: TableResult, base: dict[str, object], **network: object) -> TableResult:
    """The result of a table that sets something for all of its rows, and its network in the first."""
    result = replace(result, table=replace(result.table, base={**result.table.base, **base}))
    return changed(result, network=replace(result.example.network, **network))  # type: ignore[arg-type]


FIG7 = fabricate_result("fig7")


@pytest.mark.parametrize(
    ("other", "sections"),
    [
        (FIG7, 1),
        (setting(FIG7, {}, body_mean="present"), 2),
        (setting(FIG7, {}, width=12), 2),
        (changed(FIG7, synchronise_statistics=False), 2),
        (changed(FIG7, stream="bone"), 2),
        (changed(FIG7, seed=5), 1),
        (setting(FIG7, {}, dp="none"), 1),
        (setting(FIG7, {"network.body_mean": "present"}, body_mean="present"), 1),
        (setting(FIG7, {"network.width": 12}, width=12), 2),
        (changed(setting(FIG7, {"recipe.epochs": 9}), recipe=replace(FIG7.example.recipe, epochs=9)), 2),
        (replace(FIG7, part="validation"), 2),
    ],
)
def test_tables_are_compared_that_differ_in_what_they_are_about(other: TableResult, sections: int, tmp_path: Path) -> None:
    """What a table itself sets of networks is what it is about; all else is how networks were trained."""
    for result in (fabricate_result("table9"), other):
        write_result(result, tmp_path)
    page, *_ = report(tmp_path / "results.md", [tmp_path])
    assert len(rows_of(page, "## What was trained")) == sections


def test_a_table_is_compared_with_all_of_a_section(tmp_path: Path) -> None:
    """The first table studies what tells the two others apart, so each may stand beside it, and not both."""
    first = setting(FIG7, {"network.body_mean": "present"}, body_mean="present")
    for result in (first, fabricate_result("table5"), setting(fabricate_result("table9"), {}, body_mean="present")):
        write_result(result, tmp_path)
    page, *_ = report(tmp_path / "results.md", [tmp_path])
    assert len(rows_of(page, "## What was trained")) == 2


def test_a_number_that_tells_sections_apart_is_no_others_name(tmp_path: Path) -> None:
    """A folder with two recipes, and one that is called as the second of them would be."""
    other = fabricate_result("table8")
    other = replace(other, example=replace(other.example, recipe=replace(other.example.recipe, epochs=9)))
    folders = [write_result(fabricate_result("table8"), tmp_path / f"ntu60-xsub{end}") for end in ("-x", "-x-2")]
    write_result(replace(other, table=replace(other.table, name="mine")), folders[0])
    page, *pictures = report(tmp_path / "results.md", folders)
    names = ["ntu60-xsub-x", "ntu60-xsub-x-3", "ntu60-xsub-x-2"]
    assert [row[0] for row in rows_of(page, "## What was trained")] == names
    assert len(set(pictures)) == len(pictures) == 4


def test_a_table_of_ones_own_comes_last_and_needs_no_claims(tmp_path: Path) -> None:
    table = Table("a-table", "Mine", (Row("a"), Row("b")))
    write_result(table_result(table, [row_result("a", {0: 80.0}), row_result("b", {})]), tmp_path)
    written = report(tmp_path / "results.md", [tmp_path])
    assert written == [tmp_path / "results.md"]
    text = written[0].read_text()
    assert "claims" not in text
    assert "| b | not trained |" in text
    assert rows_of(written[0], "## What was trained")[0][5] == "not known"
    write_result(fabricate_result("choices"), tmp_path)
    report(tmp_path / "results.md", [tmp_path])
    assert written[0].read_text().index("### Choices") < written[0].read_text().index("### Mine")
