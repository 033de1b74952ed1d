"""The verb ``report``: the tables of several ablations on one page, what they say about the paper's claims, and their pictures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

from matplotlib.figure import Figure

from amanet.ablations.claims import Claim, Noise, Verdict, weigh
from amanet.ablations.result import TableResult, markdown_row
from amanet.data.benchmark import OWN, OwnBenchmark
from amanet.data.published import get_benchmark
from amanet.errors import RunError
from amanet.experiment import differing, to_plain
from amanet.pictures import Difference, difference_chart, save_figure, stream_bars, sweep
from amanet.system.places import make_folder, write_file

BEGIN, END = "<!-- amanet report: begin -->", "<!-- amanet report: end -->"
ORDER = ("table1", "table2", "fig7", *(f"table{number}" for number in range(3, 10)), "choices")
"""The paper's order; tables of one's own follow."""
_Key = tuple[str, str, str]
"""A claim: its table, the row that is better, and the other."""
VERDICTS: dict[Verdict, str] = {"agrees": "agree", "disagrees": "disagree", "too close to tell": "are too close to tell"}

RULE = """\
The paper claims of pairs of rows that the first is better. *Paper* is by how many points of top-1, on the data that each table names, where
that follows from its text. Where the text names only the best value of a setting, the other values are chosen here, and it is "better". The
other columns hold what was measured: the mean difference over the seeds, each seed with itself, ± half of its 95 % interval. What was
measured **agrees** or **disagrees** where the interval leaves out zero, and is **too close to tell** elsewhere.

The standard error of a difference over *n* seeds is *s* √(2/*n*), where *s* is the deviation of one network by chance. It is pooled over
all rows of a column that are one network, as what is left of top-1 after the mean of each row and each seed is taken out, since two or
three seeds alone say little about their own spread. Where the spread of a difference's own seeds gives a larger error, that one is taken.
The interval is Student's, with the degrees of freedom of *s*. A sum of networks moves less than one, so for sums this is cautious. Without
a second seed chance is not known, and nothing is decided.

Three things are not in the error. All networks are tested on the same clips: other performers would move the differences further. Of twenty
claims with nothing behind them, one is expected to pass for agreeing or disagreeing. And the trainings are other than the paper's, on other
data: what disagrees here may well hold there."""


def report(page: Path, ablations: Sequence[Path]) -> list[Path]:
    """Write the tables of ablations to a page, with the paper's claims weighed and the pictures in ``images`` beside it.

    A page that is there keeps its own text: only what stands between the two marks that an earlier report left is replaced; a page without
    marks gets them at its end.

    Args:
        page: the Markdown file to write.
        ablations: folders that ``amanet ablate`` wrote.

    Returns:
        The files written, the page first.

    Raises:
        RunError: a folder holds no table or a damaged one, the page cannot be read, or it has not both marks once.
    """
    before, after = _around(page)
    sections = _sections(ablations)
    pictures = {f"{section.slug}-{name}": figure for section in sections for name, figure in section.pictures().items()}
    differences = _differences(sections)
    if any(each.here for each in differences):
        pictures["claims"] = difference_chart(differences)
    lines = [*_trained(sections), *_claims(sections, "claims" in pictures)]
    for section in sections:
        lines += section.lines()
    images = page.parent / "images"
    make_folder(images if pictures else page.parent)
    paths = [images / f"{name}.png" for name in pictures]
    for path, figure in zip(paths, pictures.values(), strict=True):
        save_figure(figure, path)
    write_file(page, "\n".join([before + BEGIN, "", *lines, END + after]).encode())
    return [page, *paths]


@dataclass(frozen=True)
class _Section:
    """The tables of one folder that were trained alike, so that their numbers may be compared.

    Attributes:
        title: the data, as the page names it.
        slug: begins the names of its pictures.
        results: in the paper's order.
    """

    title: str
    slug: str
    results: list[TableResult]

    @property
    def noise(self) -> Noise | None:
        return Noise.estimate(self.results)

    def claims(self) -> list[Claim]:
        noise = self.noise
        return [claim for result in self.results for claim in weigh(result, noise)]

    def lines(self) -> list[str]:
        """Every table under its title, and its pictures."""
        lines, noise = [f"## {self.title}", ""], self.noise
        for result in self.results:
            lines += [f"### {result.table.title}", "", *result.body(), ""]
            if noise is not None and (counts := [len(row.seeds) for row in result.rows if row.seeds]):
                reach = f"± {noise.half_width(min(counts)):.1f} points (95 % interval, seeds of every row: {min(counts)} or more)"
                lines += [f"Chance moves the difference of two single networks by {reach}.", ""]
            for name in _pictures(result):
                lines += [f"![{result.table.title}, {self.title}](images/{quote(f'{self.slug}-{name}.png')})", ""]
        return lines

    def pictures(self) -> dict[str, Figure]:
        return {name: figure for result in self.results for name, figure in _pictures(result).items()}

    def summary(self) -> list[str]:
        """A row of the overview of what was trained."""
        first, noise = self.results[0], self.noise
        recipe, sampling = first.example.recipe, first.example.sampling
        seeds = sorted({seed.seed for result in self.results for row in result.rows for seed in row.seeds})
        runs = {run for result in self.results for row in result.rows for seed in row.seeds for run in seed.runs}
        clips = max(result.clips for result in self.results)
        chance = "not known" if noise is None else f"{noise.deviation:.2f} ({noise.freedom} degrees of freedom)"
        how = f"width {first.example.network.width}, {sampling.frames} frames, {recipe.epochs} epochs in batches of {recipe.batch_size}"
        scored = f"{clips:,} of the {first.part} part"
        return [self.title, how, ", ".join(map(str, seeds)) or "none", f"{len(runs):,}", scored, chance]


def _sections(ablations: Sequence[Path]) -> list[_Section]:
    """Every folder's tables, parted where their numbers may not be compared."""
    alike = [(folder, results) for folder in ablations for results in _alike(_read(folder))]
    data = [_data(results[0]) for _, results in alike]
    names = _tell_apart(
        [name if data.count(name) == 1 else _in_folder(name, folder) for name, (folder, _) in zip(data, alike, strict=True)]
    )
    titles = _tell_apart([name + _folds(results[0]) for name, (_, results) in zip(names, alike, strict=True)])
    return [_Section(title, name, results) for title, name, (_, results) in zip(titles, names, alike, strict=True)]


def _data(result: TableResult) -> str:
    """The benchmark, or the data set of which there are several folds."""
    first, *others = result.benchmarks
    split = get_benchmark(first)
    if not others:
        return first
    return OWN if isinstance(split, OwnBenchmark) else split.dataset.name


def _folds(result: TableResult) -> str:
    count = len(result.benchmarks)
    return f", mean over {count} folds" if count > 1 else ""


def _in_folder(data: str, folder: Path) -> str:
    name = folder.resolve().name
    return name if name.startswith(data) else f"{data}-{name}"


def _tell_apart(names: Sequence[str]) -> list[str]:
    """Names that come again are numbered, past the names of others."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        found.append(name if name not in found else next(each for each in numbered if each not in {*names, *found}))
    return found


def _read(folder: Path) -> list[TableResult]:
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise RunError("this folder holds no table", where=folder, expected="*.json as amanet ablate writes them")
    return [TableResult.read(path) for path in paths]


def _alike(results: Sequence[TableResult]) -> list[list[TableResult]]:
    """Tables in the paper's order, each with the first others whose numbers may all be compared with its own."""
    found: list[list[TableResult]] = []
    for result in sorted(results, key=_place):
        together = next((each for each in found if all(_comparable(result, other) for other in each)), None)
        if together is None:
            found.append([result])
        else:
            together.append(result)
    return found


def _comparable(one: TableResult, other: TableResult) -> bool:
    """Whether two tables were trained alike on the same data: they differ only in what they themselves set of streams and networks."""
    own = {*one.table.example_settings(), *other.table.example_settings()}
    apart = set(differing(to_plain(one.example), to_plain(other.example))) - {"seed"}
    studied = {name for name in apart if _is_part(name, ("stream", "network")) and name != "network.width" and _is_part(name, own)}
    return all(getattr(one, name) == getattr(other, name) for name in ("benchmarks", "part", "normalisation")) and apart == studied


def _is_part(name: str, of: Collection[str]) -> bool:
    """Whether the dotted name of a setting is one of these, or lies in one."""
    return any(f"{name}.".startswith(f"{each}.") for each in of)


def _place(result: TableResult) -> tuple[int, str]:
    name = result.table.name
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _trained(sections: Sequence[_Section]) -> list[str]:
    header = ["Data", "Training", "Seeds", "Networks", "Clips scored", "Chance: deviation of one network, points"]
    rows = [section.summary() for section in sections]
    return ["## What was trained", "", *_table(header, rows), ""]


def _claims(sections: Sequence[_Section], drawn: bool) -> list[str]:
    """The claims of the paper beside what every section measured of them, and how many agree."""
    by_section = [{(claim.table, claim.better, claim.worse): claim for claim in section.claims()} for section in sections]
    titles = {result.table.name: result.table.title.partition(":")[0] for section in sections for result in section.results}
    keys = _claim_keys(sections)
    if not keys:
        return []
    lines = ["## The paper's claims", ""]
    for section, claims in zip(sections, by_section, strict=True):
        verdicts = [claim.verdict for claim in claims.values() if claim.verdict]
        counts = ", ".join(f"{verdicts.count(verdict)} {verb}" for verdict, verb in VERDICTS.items())
        lines.append(f"- **{section.title}**: of {len(verdicts)} claims {counts}.")
    if drawn:
        lines += ["", "![The paper's claims and what was measured of each](images/claims.png)"]
    rows = []
    for key in keys:
        stated = dict.fromkeys(claims[key].paper for claims in by_section if key in claims)
        paper = ", ".join("better" if number is None else f"{number:+.1f}" for number in stated)
        cells = [cell for claims in by_section for cell in _measured(claims, key)]
        rows.append([titles[key[0]], f"{key[1]} **over** {key[2]}", paper, *cells])
    header = ["", "Claim", "Paper", *(cell for section in sections for cell in (section.title, "Verdict"))]
    return [*lines, "", *_table(header, rows), "", RULE, ""]


def _claim_keys(sections: Sequence[_Section]) -> list[_Key]:
    """Every claim, in the paper's order."""
    results = sorted((result for section in sections for result in section.results), key=_place)
    return list(dict.fromkeys((result.table.name, *claim) for result in results for claim in result.table.claims))


def _measured(claims: dict[_Key, Claim], key: _Key) -> list[str]:
    """Of the claims of one section; the paper may say the reverse of its data."""
    claim = claims.get(key)
    if claim is None and any(table == key[0] for table, *_ in claims):
        return ["not claimed", ""]
    if claim is None or claim.mean is None:
        return ["not trained", ""]
    chance = "" if claim.half_width is None else f" ± {claim.half_width:.1f}"
    return [f"{round(claim.mean, 1) + 0.0:+.1f}{chance}", claim.verdict or ""]  # -0.0 becomes +0.0


def _differences(sections: Sequence[_Section]) -> list[Difference]:
    """The claims as rows of their picture."""
    found: list[Difference] = []
    titles = {result.table.name: result.table.title for section in sections for result in section.results}
    by_section = [{(each.table, each.better, each.worse): each for each in section.claims()} for section in sections]
    for key in _claim_keys(sections):
        claims = {section.title: claims[key] for section, claims in zip(sections, by_section, strict=True) if key in claims}
        here = {title: (claim.mean, claim.half_width) for title, claim in claims.items() if claim.mean is not None}
        paper = {title: claim.paper for title, claim in claims.items() if claim.paper is not None}
        found.append(Difference(titles[key[0]], key[1], key[2], paper, here))
    return found


def _pictures(result: TableResult) -> dict[str, Figure]:
    """Fig. 7 where the table is a sweep, Fig. 9 where it fuses streams; rows that were not trained are left out."""
    rows = [row for row in result.rows if row.seeds]
    name, setting = result.table.name, result.table.sweep
    figures: dict[str, Figure] = {}
    if setting is not None and len(rows) > 1:
        values: dict[str, float] = {row.name: {**result.table.base, **row.settings}[setting] for row in result.table.rows}
        paper = {values[row.name]: row.paper / 100 for row in rows if row.paper is not None}
        accuracy, spread = [row.top[0] for row in rows], [(row.spread or 0.0) / 100 for row in rows]
        figures[f"{name}-sweep"] = sweep([values[row.name] for row in rows], accuracy, spread, setting.rpartition(".")[2], paper=paper)
    if rows and any(row.fuse for row in result.table.rows):
        figures[f"{name}-streams"] = stream_bars({row.name: row.top for row in rows})
    return figures


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [markdown_row(cells) for cells in (header, ["---"] * len(header), *rows)]


def _around(page: Path) -> tuple[str, str]:
    """What stands on a page before and after the part that a report writes."""
    try:
        text = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"the page cannot be read: {error}", where=page, expected="a Markdown file") from error
    if BEGIN not in text and END not in text:
        return text.rstrip() + "\n\n", "\n"
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end or text.count(BEGIN) + text.count(END) != 2:
        raise RunError(
            "a report is written between two marks, and this page has not both of them once", where=page, expected=f"{BEGIN} and {END}"
        )
    return before, after
