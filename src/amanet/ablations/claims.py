r"""What the paper claims, weighed by what was measured: the difference of two rows, how far chance moves it, and the verdict.

A claim says that one row of a table is better than another. Seeds pair them: each gives one difference, and their mean is what was
measured. Two or three seeds say little about their own spread, so the deviation s of one network is estimated over all rows together,
as what is left of top-1 after the mean of each row and of each seed is taken out (the residual of a two-way table without interaction):

.. math:: s^2 = \frac{1}{f} \sum_{r, k} (a_{rk} - \hat\mu_r - \hat\nu_k)^2, \qquad \mathrm{SE} = s \sqrt{2 / n}

=================== ============================================== =======
symbol              meaning                                        unit
=================== ============================================== =======
:math:`a_{rk}`      top-1 of row r with seed k                     points
:math:`\hat\mu_r`   mean of a row                                  points
:math:`\hat\nu_k`   what seed k adds to every row                  points
f                   numbers less what was fitted to them           one
n                   seeds that both rows of a claim have           one
=================== ============================================== =======

Where the spread of a difference's own seeds gives a larger standard error, that one is taken. The half width of the interval is the SE
times the 97.5 % quantile of Student's t with f degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from amanet.ablations.result import RowResult, TableResult

Verdict = Literal["agrees", "disagrees", "too close to tell"]

LEVEL = 0.95
"""Of the interval that decides."""


@dataclass(frozen=True)
class Noise:
    """What chance does to one network.

    Attributes:
        deviation: of its top-1, in points.
        freedom: degrees of freedom of this estimate.
    """

    deviation: float
    freedom: int

    def half_width(self, seeds: int, own: float = 0.0) -> float:
        """Of the interval around a mean difference over so many seeds, whose own standard error is ``own`` points."""
        return student_quantile(self.freedom, (1 + LEVEL) / 2) * max(self.deviation * np.sqrt(2 / seeds), own)

    @classmethod
    def estimate(cls, results: Sequence[TableResult]) -> "Noise | None":
        """Pooled over the rows of tables of one setup, each run counted once; None where no two seeds can be compared.

        Rows that fuse are left out, as a sum moves less than its parts, and those that are hidden, whose own numbers no table holds.
        """
        found: dict[tuple[str, ...], tuple[str, int, float]] = {}
        for result in results:
            fused = {row.name for row in result.table.rows if row.fuse}
            for row in result.rows:
                if row.name not in fused:
                    for seed in row.seeds:
                        found.setdefault(seed.runs, (f"{result.table.name}: {row.name}", seed.seed, 100 * seed.top[0]))
        if not found:
            return None
        row_of, seed_of, top1 = (np.array(column) for column in zip(*found.values(), strict=True))
        design = np.hstack([column[:, None] == np.unique(column) for column in (row_of, seed_of)]).astype(np.float64)
        fitted, _, rank, _ = np.linalg.lstsq(design, top1, rcond=None)
        freedom = len(top1) - int(rank)
        return cls(float(np.sqrt(((top1 - design @ fitted) ** 2).sum() / freedom)), freedom) if freedom else None


@dataclass(frozen=True)
class Claim:
    """One row is better than another.

    Attributes:
        table: name of their table.
        better: the row that the paper says is better.
        worse: the other.
        paper: by how many points of top-1, where both rows have a number of the paper.
        here: the difference that was measured, for each seed that both have.
        half_width: of the interval around their mean; None where chance is not known.
    """

    table: str
    better: str
    worse: str
    paper: float | None
    here: tuple[float, ...]
    half_width: float | None

    @property
    def mean(self) -> float | None:
        """Mean difference in points; None where a row is not trained."""
        return float(np.mean(self.here)) if self.here else None

    @property
    def verdict(self) -> Verdict | None:
        """None where a row is not trained."""
        if self.mean is None:
            return None
        if self.half_width is None or abs(self.mean) <= self.half_width:
            return "too close to tell"
        return "agrees" if self.mean > 0 else "disagrees"


def weigh(result: TableResult, noise: Noise | None) -> list[Claim]:
    """The claims of a table, in its order."""
    rows = {row.name: row for row in result.rows}
    return [_weigh(result.table.name, rows[better], rows[worse], noise) for better, worse in result.table.claims]


def _weigh(table: str, better: RowResult, worse: RowResult, noise: Noise | None) -> Claim:
    paper = None if better.paper is None or worse.paper is None else better.paper - worse.paper
    other = {seed.seed: seed.top[0] for seed in worse.seeds}
    here = tuple(100 * (seed.top[0] - other[seed.seed]) for seed in better.seeds if seed.seed in other)
    return Claim(table, better.name, worse.name, paper, here, _half_width(here, noise))


def _half_width(differences: Sequence[float], noise: Noise | None) -> float | None:
    count = len(differences)
    if noise is None or not count:
        return None
    own = float(np.std(differences, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    return noise.half_width(count, own)


def student_quantile(freedom: int, share: float) -> float:
    """Quantile of Student's t: with t = √f tan θ its density is that of cos θ to the power f - 1, over a finite range."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 20_001)
    density = np.clip(np.cos(angle), 0, None) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(freedom) * np.tan(np.interp(share, below / below[-1], angle)))
