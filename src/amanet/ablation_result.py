"""What became of a table of experiments, as a file and as a page."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amanet.ablation import Table
from amanet.errors import RunError
from amanet.experiment import Experiment, from_plain


@dataclass(frozen=True)
class RowResult:
    """A row of a table.

    Attributes:
        name: of the row.
        paper: top-1 in percent that the paper states.
        parameters: weights of all its networks.
        operations: of one clip through all its networks, two a multiply-add.
        top: top-1 to top-5 as parts of one, for each seed whose runs are all there.
    """

    name: str
    paper: float | None
    parameters: int
    operations: float
    top: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> float | None:
        """Mean top-1 in percent."""
        return 100 * float(np.mean([seed[0] for seed in self.top])) if self.top else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of top-1 over the seeds, in points; of one seed there is none."""
        return 100 * float(np.std([seed[0] for seed in self.top], ddof=1)) if len(self.top) > 1 else None


@dataclass(frozen=True)
class TableResult:
    """A table and its numbers.

    Attributes:
        table: what was compared.
        rows: what became of it.
        benchmarks: that each number is the mean over.
        seeds: that were wanted.
        part: clips that were scored.
        example: the experiment of the first row and seed, for all that the rows have in common.
    """

    table: Table
    rows: tuple[RowResult, ...]
    benchmarks: tuple[str, ...]
    seeds: tuple[int, ...]
    part: str
    example: Experiment

    @classmethod
    def read(cls, path: Path) -> "TableResult":
        """What ``amanet ablate`` wrote as ``OUT/TABLE.json``.

        Raises:
            RunError: it is missing or something else.
        """
        try:
            return from_plain(cls, json.loads(path.read_text(encoding="utf-8")), path)
        except (OSError, ValueError) as error:
            raise RunError(f"this table cannot be read: {error}", where=path, cure="write it again with amanet ablate") from error

    def markdown(self) -> str:
        """The table, with the paper's numbers and the differences to the first row beside ours."""
        first = self.rows[0]
        stated = any(row.paper is not None for row in self.rows)
        header = ["", "top-1, %", "difference", "parameters", "GFLOP a clip"]
        if stated:
            header += [f"paper, % ({self.table.paper})", "difference there"]
        lines = [f"**{self.table.title}**", "", _line(header), _line(["---"] * len(header))]
        for row in self.rows:
            cells = [row.name, _accuracy(row), _difference(row.mean, first.mean, row is first)]
            cells += [f"{row.parameters:,}", f"{row.operations / 1e9:.3g}"]
            if stated:
                cells += ["" if row.paper is None else f"{row.paper:.1f}", _difference(row.paper, first.paper, row is first)]
            lines.append(_line(cells))
        lines += ["", self.conditions()]
        return "\n".join(lines) + "\n"

    def conditions(self) -> str:
        """One sentence on how the numbers came about."""
        recipe, sampling = self.example.recipe, self.example.sampling
        over = f"mean over {len(self.benchmarks)} folds" if len(self.benchmarks) > 1 else ""
        seeds = f"mean ± standard deviation over seeds {', '.join(map(str, self.seeds))}"
        where = ", ".join(self.benchmarks)
        return (
            f"{where}, {self.part} part; {', '.join(filter(None, [over, seeds]))}; width {self.example.network.width}, "
            f"{sampling.frames} frames, {recipe.epochs} epochs; last epoch."
        )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _accuracy(row: RowResult) -> str:
    if row.mean is None:
        return "not trained"
    return f"{row.mean:.1f}" + ("" if row.spread is None else f" ± {row.spread:.1f}")


def _difference(value: float | None, first: float | None, is_first: bool) -> str:
    return "" if is_first or value is None or first is None else f"{value - first:+.1f}"
