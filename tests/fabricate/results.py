"""What `amanet ablate` would have written, without a training: numbers of a seed in place of measured ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from amanet.ablations.result import RowResult, SeedResult, TableResult
from amanet.ablations.table import Row, Table, load_table
from amanet.experiment import Experiment, to_plain
from amanet.system.places import write_file
from fabricate.runs import TINY_NETWORK, TINY_RECIPE, TINY_SAMPLING

START = Experiment("ntu60-xsub", Path("store"), network=TINY_NETWORK, sampling=TINY_SAMPLING, recipe=TINY_RECIPE)


def row_result(name: str, top1: Mapping[int, float], *, paper: float | None = None, run: str | None = None) -> RowResult:
    """A row of these accuracies in percent by seed; rows of one ``run`` are the same networks."""
    seeds = [
        SeedResult(seed, tuple(min(1.0, value / 100 + 0.02 * k) for k in range(5)), (f"{run or name}-{seed}",))
        for seed, value in top1.items()
    ]
    return RowResult(name, paper, 1000, 2e9, tuple(seeds))


def table_result(table: Table, rows: Sequence[RowResult], *, benchmarks: tuple[str, ...] = ("ntu60-xsub",)) -> TableResult:
    """A result of all seeds that the rows have."""
    seeds = sorted({seed.seed for row in rows for seed in row.seeds})
    return TableResult(table, tuple(rows), benchmarks, tuple(seeds), "test", 430, START)


def fabricate_result(
    name: str, *, seeds: Sequence[int] = (0, 1), deviation: float = 0.5, benchmarks: tuple[str, ...] = ("ntu60-xsub",)
) -> TableResult:
    """A table of the paper whose rows have the paper's accuracy, 85 where it states none, and noise of that deviation in points."""
    table = load_table(name).on(benchmarks[0])
    rng = np.random.default_rng(sum(name.encode()))

    def made(row: Row) -> RowResult:
        return row_result(
            row.name, {seed: (row.paper or 85.0) + deviation * rng.normal() for seed in seeds}, paper=row.paper, run=f"{name} {row.name}"
        )

    return table_result(table, [made(row) for row in table.rows if not row.hidden], benchmarks=benchmarks)


def write_result(result: TableResult, folder: Path) -> Path:
    """The file that ``amanet ablate`` writes of it; gives back the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{result.table.name}.json", json.dumps(to_plain(result)).encode())
    return folder
