"""Tables of experiments: rows that differ in a few settings, the runs behind them, and what came of them.

A table is a YAML file. The paper's are in ``amanet/ablations/tables``; a user's own has the same form::

    title: What DP adds to MS-G3D
    paper: NTU RGB+D 60, X-Sub, joint stream      # what the numbers under `paper` are of; leave both out of a table of your own
    base: {network.block.spatial: ms_gcn}         # settings of every row
    rows:
      - {name: MS-G3D, paper: 89.1}
      - {name: with DP, settings: {network.dp: vel+acc+alien}, paper: 90.2}
      - {name: both, fuse: [MS-G3D, with DP]}     # the sum of the probabilities of other rows
    claims:
      - [with DP, MS-G3D]                         # the paper says that the first is better

The first row is the one that the others are compared with. A row may be hidden (``hidden: true``): it is trained to be fused only.
Numbers and claims that a paper has for other benchmarks stand beside, and take the place of the former when these are trained::

    elsewhere:
      ntu120-xsub: {of: "NTU RGB+D 120, X-Sub", numbers: {MS-G3D: 84.9}, claims: [[MS-G3D, with DP]]}
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from amanet.errors import ExperimentError
from amanet.experiment import Experiment, from_plain, to_plain
from amanet.settings_file import read_settings

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: what is written in its first column; rows are told apart by it.
        settings: dotted names of an experiment's settings and their values, on top of the table's.
        fuse: names of the rows whose probabilities it adds; such a row has no run of its own.
        paper: top-1 in percent that the paper's text states, or that follows from a difference it states.
        hidden: trained only to be fused.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    fuse: tuple[str, ...] = ()
    paper: float | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Elsewhere:
    """What the paper says of a table's rows on another benchmark.

    Attributes:
        of: what its numbers are of.
        numbers: top-1 in percent, by the names of rows.
        claims: as those of a table.
    """

    of: str
    numbers: dict[str, float]
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """Experiments to compare.

    Attributes:
        name: of its file.
        title: what is compared.
        rows: in the order they are written.
        base: settings of every row.
        paper: what the paper's numbers are of.
        sweep: setting that a picture is drawn over, where the rows are values of one.
        claims: pairs of rows of which the paper says that the first is better than the second; ``amanet report`` weighs them.
        elsewhere: what it says on other benchmarks, by their names.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    base: dict[str, Any] = field(default_factory=dict)
    paper: str | None = None
    sweep: str | None = None
    claims: tuple[tuple[str, str], ...] = ()
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if not names or len(set(names)) < len(names):
            raise ExperimentError("a table has rows, each with a name of its own", got=", ".join(names) or "none")
        shown = [row.name for row in self.rows if not row.hidden]
        if not shown:
            raise ExperimentError("a table shows rows, and all of these are hidden", expected="a row without hidden: true", got=names)
        if self.paper is None and any(row.paper is not None for row in self.rows):
            raise ExperimentError("rows have a paper's numbers, and the table does not say what they are of", expected="paper: ...")
        trained = {row.name for row in self.rows if not row.fuse}
        for row in self.rows:
            if unknown := [name for name in row.fuse if name not in trained]:
                raise ExperimentError(
                    f"row {row.name!r} fuses rows that are not trained in this table", expected=f"some of {sorted(trained)}", got=unknown
                )
            if len(row.fuse) == 1 or (row.fuse and row.settings):
                raise ExperimentError(f"row {row.name!r} cannot be made", expected="settings, or two or more rows to fuse", got=row)
            value = {**self.base, **row.settings}.get(self.sweep or "")
            if self.sweep is not None and not isinstance(value, int | float):
                raise ExperimentError(f"row {row.name!r} has no place in the sweep", expected=f"a number for {self.sweep}", got=value)
        others = self.elsewhere.values()
        for claim in (*self.claims, *(claim for other in others for claim in other.claims)):
            if len(set(claim)) < len(claim) or not set(claim) <= set(shown):
                raise ExperimentError("a claim is about two rows that the table shows", expected=f"two of {shown}", got=list(claim))
        if unknown := {name for other in others for name in other.numbers} - set(shown):
            raise ExperimentError("a paper's numbers are of rows that the table shows", expected=f"some of {shown}", got=sorted(unknown))

    def on(self, benchmark: str) -> "Table":
        """The table with what the paper says on a benchmark, where it says something else there."""
        other = self.elsewhere.get(benchmark)
        if other is None:
            return self
        rows = tuple(replace(row, paper=other.numbers.get(row.name)) for row in self.rows)
        return replace(self, paper=other.of, rows=rows, claims=other.claims, elsewhere={})

    def members(self, row: Row) -> list[Row]:
        """The rows whose runs a row is made of: itself, or those that it fuses."""
        by_name = {each.name: each for each in self.rows}
        return [by_name[name] for name in row.fuse] or [row]

    def example_settings(self) -> dict[str, Any]:
        """The settings of the first row that is trained."""
        return {**self.base, **next(row.settings for row in self.rows if not row.fuse)}

    def experiment(self, row: Row, start: Experiment, seed: int, benchmark: str) -> Experiment:
        """The experiment of a trained row, made from one that has everything the table leaves open.

        Raises:
            ExperimentError: a setting does not exist, is of another type, or contradicts another.
        """
        plain = to_plain(replace(start, seed=seed, benchmark=benchmark))
        for name, value in {**self.base, **row.settings}.items():
            _set(plain, name, value, self.name)
        return from_plain(Experiment, plain, f"{self.name}, row {row.name!r}")


def _set(plain: dict[str, Any], name: str, value: Any, table: str) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        plain = plain.get(parent) if isinstance(plain.get(parent), dict) else {}  # pyright: ignore[reportAssignmentType]
    if last not in plain:
        raise ExperimentError(f"there is no setting {name!r}", where=table, expected="a name that amanet train --print_config shows")
    plain[last] = value


def table_names() -> list[str]:
    """The paper's tables and figures that can be run, those of the whole method first."""
    return sorted((path.stem for path in TABLES.glob("*.yaml")), key=lambda name: (name not in ("table8", "table1"), name))


def load_table(what: str) -> Table:
    """A table of the paper by its name, or one of a user's own by its file.

    Raises:
        ExperimentError: there is no such table, or it is not what a table is.
    """
    path = TABLES / f"{what}.yaml"
    if not path.is_file():
        path = Path(what)
    if not path.is_file():
        raise ExperimentError("there is no such table", expected=f"one of {', '.join(table_names())}, or a YAML file", got=what)
    plain = read_settings(path, "this table")
    if not isinstance(plain, dict):
        raise ExperimentError("this is no table", where=path, expected="title and rows", got=type(plain).__name__)
    return from_plain(Table, {**plain, "name": path.stem}, path)
