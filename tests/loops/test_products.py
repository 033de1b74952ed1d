"""Matrix products within compiled loops, against sums of float64 written out, on this machine and as on ones with smaller vectors."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amanet.loops.compiled import Kernel
from amanet.loops.products import multiply, turn

Kind = type[np.floating[Any]]
SIZES = st.tuples(st.integers(1, 24), st.integers(1, 20), st.integers(1, 100))
KINDS = st.sampled_from([np.float32, np.float64])


@pytest.fixture(autouse=True, scope="module")
def _ready() -> None:
    Kernel.make_all()


def draw(seed: int, kind: Kind, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


def within(array: np.ndarray, before: int) -> np.ndarray:
    """The same numbers as a part of a larger array of NaN, so that nothing beside them can be read unseen."""
    rows, columns = array.shape
    around = np.full((rows + 2, columns + before + 5), np.nan, array.dtype)
    place = around[1:-1, before : before + columns]
    place[:] = array
    return place


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    found = np.zeros((len(left), right.shape[1]))
    for row in range(len(left)):
        for column in range(right.shape[1]):
            for inner in range(len(right)):
                found[row, column] += float(left[row, inner]) * float(right[inner, column])
    return found


def only_nan_around(place: np.ndarray) -> bool:
    around = place.base
    assert around is not None
    return bool(np.isnan(around).sum() == around.size - place.size)


@settings(deadline=None, max_examples=60)
@given(size=SIZES, kind=KINDS, turned=st.booleans(), adds=st.booleans(), before=st.integers(0, 17))
@example(size=(23, 7, 85), kind=np.float32, turned=False, adds=True, before=3)  # five vectors, and five numbers
@example(size=(21, 20, 96), kind=np.float32, turned=True, adds=False, before=0)
@example(size=(11, 5, 44), kind=np.float64, turned=False, adds=True, before=1)
def test_products_are_sums_of_products(size: tuple[int, int, int], kind: Kind, turned: bool, adds: bool, before: int) -> None:
    rows, depth, columns = size
    left, right, out = draw(0, kind, rows, depth), draw(1, kind, depth, columns), draw(2, kind, rows, columns)
    expected = product(left, right) + (out if adds else 0)
    seen = within(left.T.copy(), before).T if turned else within(left, before)
    written = within(out if adds else np.full_like(out, np.nan), before)
    multiply(seen, within(right, before), written, adds)
    np.testing.assert_allclose(written, expected, rtol=0, atol=2e-5 if kind is np.float32 else 1e-13)
    assert only_nan_around(written)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), kind=KINDS, before=st.integers(0, 17))
def test_turned_numbers_are_where_they_belong(rows: int, columns: int, kind: Kind, before: int) -> None:
    numbers = draw(0, kind, rows, columns)
    turned = within(np.full((columns, rows), np.nan, kind), before)
    turn(within(numbers, before), turned)
    assert np.array_equal(turned, numbers.T)
    assert only_nan_around(turned)


@pytest.mark.parametrize("features", [{}, {"avx2": True}, {"avx2": True, "avx512f": True}])
def test_other_processors_get_the_same(features: dict[str, bool], tmp_path: Path) -> None:
    """Vectors of 16, 32 and 64 bytes, which a processor that has smaller ones takes in parts."""
    code = f"""
import llvmlite.binding, numba
numba.njit(lambda: 0)()  # numba asks before
told = llvmlite.binding.get_host_cpu_features
llvmlite.binding.get_host_cpu_features = lambda: {features}
import numpy as np
from amanet.loops import products
from amanet.loops.compiled import Kernel
llvmlite.binding.get_host_cpu_features = told
Kernel.make_all()
print(products.VECTOR_BYTES, products.MOST_VECTORS)
for kind in (np.float32, np.float64):
    for rows, depth, columns in ((1, 1, 1), (23, 9, 85), (25, 30, 96), (12, 5, 44), (7, 3, 200)):
        left, right, out = (np.random.rand(*shape).astype(kind) for shape in ((rows, depth), (depth, columns), (rows, columns)))
        products.multiply(left, right, out, False)
        np.testing.assert_allclose(out, left.astype(float) @ right.astype(float), rtol=1e-5)
        turned = np.empty((depth, rows), kind)
        products.turn(left, turned)
        assert np.array_equal(turned, left.T)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == {0: 16, 1: 32, 2: 64}[len(features)]


def test_scattered_rows_are_refused() -> None:
    square = np.ones((3, 3), np.float32)
    for right, out in ((square.T, square), (square, square.T)):
        with pytest.raises(AssertionError):
            multiply(square, right, out, False)
        with pytest.raises(AssertionError):
            turn(right, out)
