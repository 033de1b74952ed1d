"""Pickles of plain values and arrays, read without calling anything that they name.

A pickle is a program: it names functions and has them called. Here the few names that dictionaries of arrays need stand for small
functions of this module, which check what they are given; every other name ends the reading. Nothing of NumPy is called by the pickle
either, as some of its functions can be made to read memory that is not theirs.

What is left to an attacker is to take memory and time. :mod:`amanet.data.formats.pyskl_process` bounds both, by reading in a process of
its own.
"""

import math
import pickle
import re
from collections.abc import Callable
from io import BufferedIOBase
from typing import Any

import numpy as np

TYPE_CODE = re.compile(r"f[248]|[iu][1248]|b1")
MOST_AXES = 8


class RefusedPickleError(Exception):
    """The pickle names or holds something that is no plain value and no array of numbers."""


class PickledType:
    """A dtype of numbers on its way out of a pickle."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not TYPE_CODE.fullmatch(code):
            raise RefusedPickleError("an array of something else than numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise RefusedPickleError("an array of numbers in an unknown order of bytes")
        self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """An array on its way out of a pickle; ``values`` when it is complete."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.values = _numbers(content, kind, shape, "F" if fortran else "C")


class ArrayUnpickler(pickle.Unpickler):
    """Reads plain values and :class:`PickledArray`; see the module.

    Raises:
        RefusedPickleError: another name stands in the pickle, or an array is none of numbers. A damaged pickle raises whatever it comes to.
    """

    def __init__(self, file: BufferedIOBase) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")

    def find_class(self, module_name: str, global_name: str, /) -> Callable[..., Any]:
        found = ALLOWED.get((module_name, global_name))
        if found is None:
            raise RefusedPickleError("the name " + ascii(f"{module_name}.{global_name}"[:80]))
        return found

    def persistent_load(self, pid: object) -> object:
        raise RefusedPickleError("a reference to something outside of it")


def _reconstruct(kind: type, *_: object) -> PickledArray:
    if kind is not PickledArray:
        raise RefusedPickleError("an array of a class of its own")
    return PickledArray()


def _scalar(kind: object, content: object) -> int | float | bool:
    return _numbers(content, kind, (), "C").item()


def _from_buffer(content: object, kind: object, shape: object, order: object) -> PickledArray:
    """How protocol 5 writes arrays."""
    array = PickledArray()
    array.values = _numbers(content, kind, shape, "F" if order == "F" else "C")
    return array


def _encode(text: object, encoding: object) -> bytes:
    """How protocols up to 2 write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError("bytes in an encoding of their own")
    return text.encode("latin1")


def _numbers(content: object, kind: object, shape: object, order: Any) -> np.ndarray:
    if not isinstance(content, bytes | bytearray) or not isinstance(kind, PickledType):
        raise RefusedPickleError("an array of something else than numbers")
    if not isinstance(shape, tuple) or len(shape) > MOST_AXES or not all(type(size) is int and size >= 0 for size in shape):
        raise RefusedPickleError("an array of no shape")
    if math.prod(shape) * kind.dtype.itemsize != len(content):
        raise RefusedPickleError("an array with more or fewer numbers than its shape")
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}
"""All names that may stand in a pickle, and what they stand for."""
