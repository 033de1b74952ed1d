"""Loops that numba compiles."""

from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The loop in machine code, which is kept for the next process where there is a folder to write it to. It lets other threads run."""
    try:
        return njit(loop, cache=True, nogil=True)
    except RuntimeError:  # numba finds no such folder
        return njit(loop, nogil=True)


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
