"""Loops that numba compiles."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The loop in machine code, which is kept for the next process where there is a folder to write it to. It lets other threads run."""
    try:
        return njit(loop, cache=True, nogil=True)
    except RuntimeError:  # numba finds no such folder
        return njit(loop, nogil=True)
