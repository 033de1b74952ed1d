"""Loops that numba compiles."""

import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from ctypes import CFUNCTYPE, c_double, c_float, c_ssize_t, c_void_p
from threading import Lock
from typing import Any, ClassVar, no_type_check

from llvmlite import ir
from llvmlite.binding import add_symbol
from numba import njit, types
from numba.core import cgutils, event
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic

from amanet.loops.kept_code import KeptCode

REORDERED = {"reassoc", "nsz", "contract", "arcp"}
"""What a kernel may do that reorders: sums in vectors, zeros without signs, products added unrounded, reciprocals."""

POINTER, NUMBER, WHOLE = "pointer", "number", "whole"
"""What a kernel's argument is."""


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The loop in machine code, which is kept for the next process where there is a folder to write it to. It lets other threads run."""
    return _keep(njit(nogil=True)(loop), loop)


def _keep(code: Any, loop: Callable[..., Any]) -> Any:
    with suppress(RuntimeError):  # numba finds no folder to write it to
        code._cache = KeptCode(loop)
    return code


class _FirstCompiled(event.Listener):
    """Says why a first step takes its time, as loops are found where they were kept from then on."""

    def on_start(self, event: event.Event) -> None:
        logging.getLogger(__name__).info("compiling loops for this processor, which takes some seconds; they are kept for the next time")
        self.on_start = lambda event: None

    def on_end(self, event: event.Event) -> None:
        """Nothing is to be said of it."""


event.register("numba:compile", _FirstCompiled())


class Kernel:
    """A loop whose machine code there is once, for each kind of number, and which other loops call by its name, or Python.

    The code of other functions numba puts into every loop that calls them. That takes a second each where there is much of it, and copies
    of one that ``reorders`` may round differently.

    Args:
        loop: takes pointers to numbers (:data:`POINTER`), numbers of their kind (:data:`NUMBER`) and whole numbers (:data:`WHOLE`), as its
            annotations say, a pointer first.
        reorders: whether it may add up in another order than it is written in, the same each time.
    """

    made: ClassVar[dict[str, tuple[Any, Callable[..., None]]]] = {}
    waiting: ClassVar[list["Kernel"]] = []
    lock: ClassVar[Lock] = Lock()

    def __init__(self, loop: Callable[..., Any], *, reorders: bool = False) -> None:
        self.loop, self.reorders = loop, reorders
        self.waiting.append(self)

    @classmethod
    def make_all(cls) -> None:
        """Compiles all kernels, or finds them where they were kept; needed before any loop that calls one runs."""
        with cls.lock:
            while cls.waiting:
                cls.waiting[0]._make()
                cls.waiting.pop(0)

    def _make(self) -> None:
        arguments = [each.annotation for each in inspect.signature(self.loop).parameters.values()]
        options = {"fastmath": REORDERED} if self.reorders else {}
        for number, plain in ((types.float32, c_float), (types.float64, c_double)):
            name, kinds = self._name(number), {POINTER: types.CPointer(number), NUMBER: number, WHOLE: types.intp}
            signature = normalize_signature(types.void(*(kinds[each] for each in arguments)))
            code = _keep(CFunc(self.loop, signature, locals={}, options=options), self.loop)
            code.compile()
            add_symbol(name, code.address)
            seen = {POINTER: c_void_p, NUMBER: plain, WHOLE: c_ssize_t}
            self.made[name] = code, CFUNCTYPE(None, *(seen[each] for each in arguments))(code.address)

    def _name(self, number: types.Float | str) -> str:
        return f"{self.loop.__module__}.{self.loop.__name__}.{number}"

    def run(self, number: str, *arguments: int) -> None:
        """Runs a loop of no other numbers than whole ones from Python, while other threads run too; pointers are addresses."""
        if self.waiting:
            self.make_all()
        _, code = self.made[self._name(number)]
        code(*arguments)

    def caller(self) -> Callable[..., None]:
        """What a loop calls, with the arguments in a tuple."""

        @intrinsic
        @no_type_check
        def call(typing, arguments):
            def generate(context, builder, signature, values):
                values = cgutils.unpack_tuple(builder, values[0])
                kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, self._name(arguments[0].dtype)), values)
                return context.get_dummy_value()

            return types.void(arguments), generate

        return call


@intrinsic
@no_type_check
def address(typing, array):
    """Where the array's first number lies."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


LINE = 64
"""Bytes of a line of the cache."""


@intrinsic
@no_type_check
def put(typing, array, index, value, streams):
    """``array[index] = value``; past the caches, which then neither read the line first nor hold it, unless ``streams`` is None.

    Then every row must begin at a line of the cache and fill its last one. Other threads see what was written once the loop has
    returned, as Python's lock is taken again then.
    """
    signature = types.void(array, types.UniTuple(types.intp, array.ndim), array.dtype, streams)

    def generate(context, builder, signature, arguments):
        array, index, value, _ = arguments
        kind = signature.args[0]
        memory = context.make_array(kind)(context, builder, array)
        shape, strides, index = (cgutils.unpack_tuple(builder, each, kind.ndim) for each in (memory.shape, memory.strides, index))
        place = cgutils.get_item_pointer2(context, builder, memory.data, shape, strides, kind.layout, index)
        if signature.args[-1] == types.none:
            builder.store(value, place)
        else:
            store = builder.store(value, place, align=LINE)
            store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return signature, generate
