"""Claims weighed: what chance is, that it is counted once, and that verdicts err as rarely as they say."""

import numpy as np
import pytest
from scipy.stats import t as student

from amanet.ablations.claims import Claim, Noise, student_quantile, weigh
from amanet.ablations.table import Row, Table
from fabricate.results import row_result, table_result

TABLE = Table("mine", "Mine", (Row("a", paper=90.0), Row("b", paper=89.0), Row("c")), paper="somewhere", claims=(("a", "b"), ("c", "b")))


def result_of(a: dict[int, float], b: dict[int, float], c: dict[int, float]):
    return table_result(TABLE, [row_result("a", a, paper=90.0), row_result("b", b, paper=89.0), row_result("c", c)])


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 40, 1000])
def test_quantiles_are_those_of_students_t(freedom: int) -> None:
    assert student_quantile(freedom, 0.975) == pytest.approx(student.ppf(0.975, freedom), rel=1e-5)


def test_noise_is_what_rows_and_seeds_leave() -> None:
    """By hand: of a difference of two rows over two seeds, the residuals are a quarter of how much it changes."""
    rows = [row_result("a", {0: 80.0, 1: 90.0}), row_result("b", {0: 70.0, 1: 82.0})]
    noise = Noise.estimate([table_result(Table("mine", "Mine", (Row("a"), Row("b"))), rows)])
    assert noise is not None
    assert noise.freedom == 1
    assert noise.deviation == pytest.approx(np.sqrt(4 * 0.5**2))


def test_noise_finds_the_deviation_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    table = Table("mine", "Mine", tuple(Row(str(index)) for index in range(300)))
    shift = {0: 0.0, 1: 5.0, 2: -3.0}
    rows = [
        row_result(row.name, {seed: 60 + index / 20 + shift[seed] + 2 * rng.normal() for seed in shift})
        for index, row in enumerate(table.rows)
    ]
    noise = Noise.estimate([table_result(table, rows)])
    assert noise is not None
    assert noise.freedom == 299 * 2
    assert noise.deviation == pytest.approx(2.0, rel=0.08)


def test_a_run_of_several_tables_and_sums_of_runs_count_once() -> None:
    first = table_result(Table("one", "One", (Row("a"), Row("b"))), [row_result("a", {0: 80, 1: 84}), row_result("b", {0: 70, 1: 71})])
    again = Table("two", "Two", (Row("as a"), Row("c"), Row("sum", fuse=("as a", "c"))))
    rows = [row_result("as a", {0: 80, 1: 84}, run="a"), row_result("c", {0: 60, 1: 60}), row_result("sum", {0: 90, 1: 10})]
    noise = Noise.estimate([first, table_result(again, rows)])
    assert noise is not None
    assert noise.freedom == 3 * 2 - (3 + 1)


def test_of_one_seed_nothing_is_known() -> None:
    result = result_of({0: 95.0}, {0: 60.0}, {})
    assert Noise.estimate([result]) is None
    assert Noise.estimate([result_of({}, {}, {})]) is None
    claim, untrained = weigh(result, None)
    assert claim.here == pytest.approx((35.0,))
    assert (claim.half_width, claim.verdict) == (None, "too close to tell")
    assert (untrained.mean, untrained.verdict) == (None, None)


def test_seeds_pair_the_rows() -> None:
    """A seed that one row lacks is left out, whatever its place in the other."""
    result = result_of({0: 50.0, 1: 81.0, 2: 82.0}, {1: 80.0, 2: 80.0}, {2: 79.0})
    claim, other = weigh(result, Noise(0.1, 10))
    assert claim.here == pytest.approx((1.0, 2.0))
    assert other.here == pytest.approx((-1.0,))
    assert claim.paper == pytest.approx(1.0)
    assert other.paper is None


def test_the_larger_error_decides() -> None:
    calm = weigh(result_of({0: 81.0, 1: 81.0}, {0: 80.0, 1: 80.0}, {}), Noise(0.2, 10))[0]
    assert calm.half_width == pytest.approx(0.2 * student.ppf(0.975, 10), rel=1e-4)
    assert calm.verdict == "agrees"
    wild = weigh(result_of({0: 81.5, 1: 80.5}, {0: 80.0, 1: 80.0}, {}), Noise(0.2, 10))[0]
    assert wild.half_width == pytest.approx(0.5 * student.ppf(0.975, 10), rel=1e-4)
    assert wild.verdict == "too close to tell"


@pytest.mark.parametrize(
    ("here", "half_width", "verdict"),
    [((1.0,), 0.9, "agrees"), ((-1.0,), 0.9, "disagrees"), ((1.0,), 1.0, "too close to tell"), ((-0.5,), 0.6, "too close to tell")],
)
def test_the_interval_decides(here: tuple[float, ...], half_width: float, verdict: str) -> None:
    assert Claim("mine", "a", "b", None, here, half_width).verdict == verdict


def test_where_nothing_is_to_be_found_one_in_twenty_passes_at_most() -> None:
    """Four hundred ablations of equal rows over two seeds: the verdicts other than too close are as rare as the page says."""
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(400):
        results = [result_of(*({seed: 80 + rng.normal() for seed in (0, 1)} for _ in "abc"))]
        passed += weigh(results[0], Noise.estimate(results))[0].verdict != "too close to tell"
    assert 0 < passed <= 0.05 * 400
