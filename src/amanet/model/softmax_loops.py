"""The softmax of correlations and its gradient, in loops that numba compiles, of a matrix that lies in the core's own cache."""

import math
from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.numpy_support import carray

from amanet.loops.compiled import NUMBER, POINTER, WHOLE, Kernel, address, compiled

LEAST = -100
"""The least exponent of two: a correlation of 1e-30 is as good as none, and far from those that a core takes long for (subnormal)."""

TERMS = tuple(math.log(2) ** power / math.factorial(power) for power in range(7))
"""Of 2^x, which they give to 2e-7 of itself between -1/2 and 1/2; float32 has no more digits."""


@compiled
@no_type_check
def correlate(scores, bias, scale):
    """The softmax of each row of the scaled scores plus the bias, if there is any, in place."""
    added = scores if bias is None else bias
    assert scores.flags.c_contiguous
    assert added.flags.c_contiguous
    seen = address(scores), address(added), int(bias is not None)
    _call_correlate((*seen, len(scores), scores.shape[1], scores.dtype.type(scale)))


@compiled
@no_type_check
def correlate_backward(correlations, gradient, scale, of_bias):
    """The gradient of the correlations becomes that of the scores before they were scaled, in place.

    That of the bias is added to what is there, if it is asked for.
    """
    total = gradient if of_bias is None else of_bias
    assert correlations.flags.c_contiguous
    assert gradient.flags.c_contiguous
    assert total.flags.c_contiguous
    seen = address(correlations), address(gradient), address(total), int(of_bias is not None)
    _call_correlate_backward((*seen, len(gradient), gradient.shape[1], gradient.dtype.type(scale)))


@no_type_check
def _correlate(scores: POINTER, bias: POINTER, adds_bias: WHOLE, rows: WHOLE, keys: WHOLE, scale: NUMBER):
    for row in range(rows):
        line, added = carray(scores, (rows, keys))[row], carray(bias, (rows, keys))[row]
        largest = line.dtype.type(-np.inf)
        for key in range(keys):
            found = line[key] * scale
            if adds_bias:
                found += added[key]
            line[key] = found
            largest = _larger(largest, found)
        total = line.dtype.type(0)
        for key in range(keys):
            found = _exponential(line[key] - largest)
            line[key] = found
            total += found
        for key in range(keys):
            line[key] /= total


@no_type_check
def _correlate_backward(correlations: POINTER, gradient: POINTER, of_bias: POINTER, asks: WHOLE, rows: WHOLE, keys: WHOLE, scale: NUMBER):
    for row in range(rows):
        line, behind = carray(correlations, (rows, keys))[row], carray(gradient, (rows, keys))[row]
        added = carray(of_bias, (rows, keys))[row]
        total = line.dtype.type(0)
        for key in range(keys):
            total += line[key] * behind[key]
        for key in range(keys):
            found = line[key] * (behind[key] - total)
            if asks:
                added[key] += found
            behind[key] = found * scale


_call_correlate, _call_correlate_backward = (Kernel(loop, reorders=True).caller() for loop in (_correlate, _correlate_backward))


@no_type_check
def _exponential(number):
    """The exponential of a number that is not positive; what is not a number stays so."""


@overload(_exponential)
@no_type_check
def _exponential_of(number):
    def of_float32(number):
        return _exponential_of_float32(number)

    def of_float64(number):
        return math.exp(number)

    return of_float32 if number == types.float32 else of_float64


@compiled
@no_type_check
def _exponential_of_float32(number):
    """2^whole * 2^rest, in instructions that there are for whole vectors."""
    exponent = number * np.float32(1 / math.log(2))
    exponent = np.float32(LEAST) if exponent < np.float32(LEAST) else exponent
    whole = _nearest(exponent)
    rest = exponent - whole
    found = np.float32(TERMS[6])
    found = found * rest + np.float32(TERMS[5])
    found = found * rest + np.float32(TERMS[4])
    found = found * rest + np.float32(TERMS[3])
    found = found * rest + np.float32(TERMS[2])
    found = found * rest + np.float32(TERMS[1])
    found = found * rest + np.float32(TERMS[0])
    return found * _power_of_two(whole)


@intrinsic
@no_type_check
def _nearest(typing, number):
    """The nearest whole number."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), "llvm.nearbyint.f32")
        return builder.call(function, arguments)

    return number(number), generate


@intrinsic
@no_type_check
def _power_of_two(typing, whole):
    """Two to the power of a whole number, or of zero if it is not a number."""

    def generate(context, builder, signature, arguments):
        (whole,), bits = arguments, ir.IntType(32)
        known = builder.select(builder.fcmp_ordered("ord", whole, whole), whole, whole.type(0.0))
        exponent = builder.add(builder.fptosi(known, bits), bits(127))
        return builder.bitcast(builder.shl(exponent, bits(23)), whole.type)

    return whole(whole), generate


@intrinsic
@no_type_check
def _larger(typing, one, other):
    """The larger of two numbers, in an instruction that there is for whole vectors."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        name = f"llvm.maxnum.f{signature.return_type.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
        return builder.call(function, arguments, fastmath=("nnan", "nsz"))

    return one(one, one), generate
