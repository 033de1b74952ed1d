"""What became of a table of experiments, as a file and as a page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amanet.ablations.table import Table
from amanet.errors import AmanetError, RunError
from amanet.experiment import Experiment, from_plain


@dataclass(frozen=True)
class SeedResult:
    """A row with one seed.

    Attributes:
        seed: of its runs.
        top: top-1 to top-5 as parts of one; fewer of few classes (:func:`~amanet.fusion.top_accuracies`).
        runs: names of its run folders.
        repaired: clips that its best stream alone names wrongly and the sum names rightly; none where nothing is fused.
        broken: the reverse.
    """

    seed: int
    top: tuple[float, ...]
    runs: tuple[str, ...]
    repaired: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowResult:
    """A row of a table.

    Attributes:
        name: of the row.
        paper: top-1 in percent of the paper (:class:`~amanet.ablations.table.Row`).
        parameters: weights of all its networks.
        operations: of one clip through all its networks, two a multiply-add.
        seeds: what came of each seed whose runs are all there.
    """

    name: str
    paper: float | None
    parameters: int
    operations: float
    seeds: tuple[SeedResult, ...]

    @property
    def top(self) -> tuple[float, ...]:
        """Top-1, top-2 and so on as parts of one, means over the seeds; empty where nothing is trained."""
        return tuple(np.mean([seed.top for seed in self.seeds], axis=0).tolist()) if self.seeds else ()

    @property
    def mean(self) -> float | None:
        """Mean top-1 in percent."""
        return 100 * self.top[0] if self.seeds else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of top-1 over the seeds, in points; of one seed there is none."""
        return 100 * float(np.std([seed.top[0] for seed in self.seeds], ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True)
class TableResult:
    """A table and its numbers.

    Attributes:
        table: what was compared.
        rows: what became of it.
        benchmarks: that each number is the mean over.
        seeds: that were wanted.
        part: clips that were scored.
        clips: their number, over all benchmarks; 0 where nothing is trained.
        example: the experiment of the first row and seed, for all that the rows have in common.
        normalisation: the recipe that the clips were prepared by; empty in a file of before it was written down.
    """

    table: Table
    rows: tuple[RowResult, ...]
    benchmarks: tuple[str, ...]
    seeds: tuple[int, ...]
    part: str
    clips: int
    example: Experiment
    normalisation: str = ""

    @classmethod
    def read(cls, path: Path) -> "TableResult":
        """What ``amanet ablate`` wrote as ``OUT/TABLE.json``.

        Raises:
            RunError: it is missing or something else.
        """
        try:
            return from_plain(cls, json.loads(path.read_text(encoding="utf-8")), path)
        except (OSError, ValueError, AmanetError) as error:
            raise RunError(f"this table cannot be read: {error}", where=path, cure="write it again with amanet ablate") from error

    def markdown(self) -> str:
        """The table as a page of its own."""
        return "\n".join([f"**{self.table.title}**", "", *self.body()]) + "\n"

    def body(self) -> list[str]:
        """All lines under the title: the numbers, how they came about, and what fusion did."""
        lines = [*self._numbers(), "", self.conditions()]
        if any(row.fuse for row in self.table.rows):
            lines += ["", *self._top5(), *self._changed()]
        return lines

    def _numbers(self) -> list[str]:
        """The table, with the paper's numbers and the differences to the first row beside ours."""
        first = self.rows[0]
        stated = any(row.paper is not None for row in self.rows)
        header = ["", "top-1, %", "difference", "parameters", "GFLOP a clip"]
        if stated:
            header += [f"paper, % ({self.table.paper})", "difference there"]
        lines = [markdown_row(header), markdown_row(["---"] * len(header))]
        for row in self.rows:
            cells = [row.name, _accuracy(row), _difference(row.mean, first.mean, row is first)]
            cells += [f"{row.parameters:,}", f"{row.operations / 1e9:.3g}"]
            if stated:
                cells += ["" if row.paper is None else f"{row.paper:.1f}", _difference(row.paper, first.paper, row is first)]
            lines.append(markdown_row(cells))
        return lines

    def _top5(self) -> list[str]:
        """Top-1, top-2 and so on of every row that is trained."""
        header = ["", *(f"top-{k}, %" for k in range(1, max(1, *(len(row.top) for row in self.rows)) + 1))]
        rows = [markdown_row([row.name, *(f"{100 * value:.1f}" for value in row.top)]) for row in self.rows if row.seeds]
        return [markdown_row(header), markdown_row(["---"] * len(header)), *rows]

    def _changed(self) -> list[str]:
        """A sentence for every sum on the clips that it repaired and broke."""
        fused = {row.name for row in self.table.rows if row.fuse}
        lines: list[str] = []
        for row in self.rows:
            if row.name in fused and row.seeds:
                repaired = np.mean([len(seed.repaired) for seed in row.seeds])
                broken = np.mean([len(seed.broken) for seed in row.seeds])
                lines += ["", f"Against the best of its streams alone, *{row.name}* repairs {repaired:.1f} clips and breaks {broken:.1f}."]
        if lines:
            lines += ["", f"(Means over the seeds, of {self.clips:,} clips; their names are in `{self.table.name}.json`.)"]
        return lines

    def conditions(self) -> str:
        """One sentence on how the numbers came about."""
        recipe, sampling = self.example.recipe, self.example.sampling
        over = f"mean over {len(self.benchmarks)} folds" if len(self.benchmarks) > 1 else ""
        prepared = f", prepared by {self.normalisation}" if self.normalisation else ""
        numbers = ", ".join(map(str, self.seeds))
        seeds = f"mean ± standard deviation over seeds {numbers}" if len(self.seeds) > 1 else f"seed {numbers}"
        where = ", ".join(self.benchmarks)
        return (
            f"{where}, {self.part} part{prepared}; {', '.join(filter(None, [over, seeds]))}; width {self.example.network.width}, "
            f"{sampling.frames} frames, {recipe.epochs} epochs; last epoch."
        )


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _accuracy(row: RowResult) -> str:
    if row.mean is None:
        return "not trained"
    return f"{row.mean:.1f}" + ("" if row.spread is None else f" ± {row.spread:.1f}")


def _difference(value: float | None, first: float | None, is_first: bool) -> str:
    return "" if is_first or value is None or first is None else f"{value - first:+.1f}"
