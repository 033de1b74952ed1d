"""Matrix products of our own, called from loops that numba compiles, and large ones from Python.

A tile of the result stays in the vector registers while its operands are read where they lie, so a loop goes from one product to the next
without leaving the cache. A library of matrix products is asked from Python, for many windows of joints at once, which the cache does not
hold; there half of the time goes to memory. Large products are cut into parts that it holds.
"""

import platform
from typing import no_type_check

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from amanet.loops.compiled import POINTER, WHOLE, Kernel, address, compiled

_HAS = get_host_cpu_features()
VECTOR_BYTES = 64 if _HAS.get("avx512f") else 32 if _HAS.get("avx2") else 16
MANY_REGISTERS = bool(_HAS.get("avx512f")) or platform.machine().lower() in {"aarch64", "arm64"}
"""Whether there are 32 vector registers, not 16."""

MOST_VECTORS = 5 if MANY_REGISTERS else 3
"""Vectors beside each other in a tile."""

ROWS_AT_ONCE, DEPTH_AT_ONCE = 500, 64
"""Rows and depth of the parts of a large product: ``out`` stays in the core's second cache, and a stripe of ``right`` in its first."""

TILE_ROWS = [10, 10, 5, 5, 5] if MANY_REGISTERS else [10, 5, 4, 2, 2]
"""Rows of a tile of 1, 2, ... vectors: enough that a core need not wait for a sum before it adds to the next, and few enough that all sums
stay in registers."""


@compiled
@no_type_check
def multiply(left, right, out, adds):
    """``out = left @ right``, or ``out += left @ right`` if it ``adds``.

    The rows of ``right`` and ``out`` are contiguous, and fastest where they begin at lines of the cache; ``left`` may have any strides.
    """
    size = left.itemsize
    assert right.strides[1] == size or right.shape[1] == 1
    assert out.strides[1] == size or out.shape[1] == 1
    lefts = address(left), left.strides[0] // size, left.strides[1] // size
    rights, outs = (address(right), right.strides[0] // size), (address(out), out.strides[0] // size)
    _call_multiply((*lefts, *rights, *outs, len(out), left.shape[1], out.shape[1], int(adds)))


@compiled
@no_type_check
def turn(rows, turned):
    """``turned = rows.T``; the rows of both are contiguous."""
    size = rows.itemsize
    assert rows.strides[1] == size or rows.shape[1] == 1
    assert turned.strides[1] == size or turned.shape[1] == 1
    _call_turn((address(rows), rows.strides[0] // size, address(turned), turned.strides[0] // size, len(rows), rows.shape[1]))


@no_type_check
def _multiply(
    left: POINTER,
    left_row: WHOLE,
    left_depth: WHOLE,
    right: POINTER,
    right_row: WHOLE,
    out: POINTER,
    out_row: WHOLE,
    rows: WHOLE,
    depth: WHOLE,
    columns: WHOLE,
    adds: WHOLE,
):
    """In stripes of some vectors each, about equally wide; then half and a quarter of one, and what is left in single columns."""
    left, right, out = (left, left_row, left_depth), (right, right_row), (out, out_row)
    lanes, column = _lanes(right[0]), 0
    vectors = columns // lanes
    stripes = -(-vectors // MOST_VECTORS)
    for stripe in range(stripes):
        wide = vectors // stripes + (stripe < vectors % stripes)
        if wide == 5:
            _stripe(5, 1, left, right, out, column, rows, depth, adds)
        elif wide == 4:
            _stripe(4, 1, left, right, out, column, rows, depth, adds)
        elif wide == 3:
            _stripe(3, 1, left, right, out, column, rows, depth, adds)
        elif wide == 2:
            _stripe(2, 1, left, right, out, column, rows, depth, adds)
        else:
            _stripe(1, 1, left, right, out, column, rows, depth, adds)
        column += wide * lanes
    if columns - column >= lanes // 2:
        _stripe(1, 2, left, right, out, column, rows, depth, adds)
        column += lanes // 2
    if columns - column >= lanes // 4 > 0:
        _stripe(1, 4, left, right, out, column, rows, depth, adds)
        column += lanes // 4
    while column < columns:
        _stripe(1, 0, left, right, out, column, rows, depth, adds)
        column += 1


@no_type_check
def _turn(rows: POINTER, row_stride: WHOLE, turned: POINTER, turned_stride: WHOLE, number: WHOLE, columns: WHOLE):
    """In squares as wide as a vector, and number by number what is left."""
    lanes = _lanes(rows)
    whole_rows, whole_columns = number - number % lanes, columns - columns % lanes
    for column in range(0, whole_columns, lanes):
        for row in range(0, whole_rows, lanes):
            _turn_square((rows, row_stride), (turned, turned_stride), row, column)
    for row in range(number):
        for column in range(whole_columns if row < whole_rows else 0, columns):
            turned[column * turned_stride + row] = rows[row * row_stride + column]


_call_multiply, _call_turn = (Kernel(loop).caller() for loop in (_multiply, _turn))


@no_type_check
def _multiply_large(
    left: POINTER,
    left_row: WHOLE,
    left_depth: WHOLE,
    right: POINTER,
    right_row: WHOLE,
    out: POINTER,
    out_row: WHOLE,
    rows: WHOLE,
    depth: WHOLE,
    columns: WHOLE,
    adds: WHOLE,
):
    """Part by part; what parts of the depth give is added up, which keeps more digits than one long sum."""
    for row in range(0, rows, ROWS_AT_ONCE):
        some = min(ROWS_AT_ONCE, rows - row)
        outs = _behind(out, row * out_row), out_row
        for first in range(0, max(depth, 1), DEPTH_AT_ONCE):
            lefts = _behind(left, row * left_row + first * left_depth), left_row, left_depth
            part = some, min(DEPTH_AT_ONCE, depth - first), columns, int(adds or first > 0)
            _call_multiply((*lefts, _behind(right, first * right_row), right_row, *outs, *part))


multiply_large = Kernel(_multiply_large)
"""The same as :func:`multiply`, of operands in memory: addresses, and strides in numbers."""


@intrinsic
@no_type_check
def _behind(typing, place, numbers):
    """The address so many numbers behind another."""
    return place(place, types.intp), lambda context, builder, signature, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
@no_type_check
def _lanes(typing, place):
    """Numbers of a vector register."""
    lanes = VECTOR_BYTES * 8 // place.dtype.bitwidth
    return types.intp(place), lambda context, builder, *_: context.get_constant(types.intp, lanes)


@intrinsic(prefer_literal=True)
@no_type_check
def _stripe(typing, vectors, part, left, right, out, column, rows, depth, adds):
    """Some columns of a product: as many vectors, of whole registers or such a part of one, or of one number where ``part`` is 0."""
    number, wide = right[0].dtype, vectors.literal_value
    lanes = max(1, VECTOR_BYTES * 8 // number.bitwidth // part.literal_value) if part.literal_value else 1

    def generate(context, builder, signature, arguments):
        (left, left_row, left_depth), (right, right_row), (out, out_row) = (cgutils.unpack_tuple(builder, each) for each in arguments[2:5])
        column, rows, depth, adds = arguments[5:]
        right, out = builder.gep(right, [column]), builder.gep(out, [column])
        first, one, tall = (context.get_constant(types.intp, each) for each in (0, 1, TILE_ROWS[wide - 1]))
        whole = builder.mul(builder.sdiv(rows, tall), tall)
        for start, stop, height in ((first, whole, tall), (whole, rows, one)):
            tile = _Tile(builder, context.get_value_type(number), number.bitwidth, height.constant, wide, lanes)
            with cgutils.for_range_slice(builder, start, stop, height, intp=rows.type) as (row, _):
                lefts = builder.gep(left, [builder.mul(row, left_row)]), left_row, left_depth
                tile.multiply(depth, lefts, (right, right_row), (builder.gep(out, [builder.mul(row, out_row)]), out_row), adds)
        return context.get_dummy_value()

    return types.void(vectors, part, left, right, out, types.intp, types.intp, types.intp, types.intp), generate


@no_type_check
class _Tile:
    """Writes the instructions for some rows and vectors of a product, whose sums stay in registers."""

    def __init__(self, builder, number, bits, rows, vectors, lanes):
        self.builder, self.bytes, self.rows, self.vectors, self.lanes = builder, bits // 8, rows, vectors, lanes
        self.kind = number if lanes == 1 else ir.VectorType(number, lanes)
        name = f"llvm.fmuladd.{'' if lanes == 1 else f'v{lanes}'}f{bits}"
        self.fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.kind, [self.kind] * 3), name)

    def multiply(self, depth, left, right, out, adds):
        """Of operands by their addresses and strides."""
        builder, (left, left_row, left_depth), (right, right_row), (out, out_row) = self.builder, left, right, out
        lefts = [self._row(left, left_row, row) for row in range(self.rows)]
        outs = [vector for row in range(self.rows) for vector in self._vectors(self._row(out, out_row, row))]
        sums = [cgutils.alloca_once(builder, self.kind) for _ in outs]
        for place in sums:
            builder.store(self._spread(self._number(0.0)), place)
        with cgutils.for_range(builder, depth) as loop:
            vectors = [builder.load(each, align=self.bytes) for each in self._vectors(self._row(right, right_row, loop.index))]
            factors = [self._spread(builder.load(self._row(start, left_depth, loop.index))) for start in lefts]
            pairs = ((factor, vector) for factor in factors for vector in vectors)
            for (factor, vector), place in zip(pairs, sums, strict=True):
                builder.store(builder.call(self.fused, [factor, vector, builder.load(place)]), place)
        with builder.if_else(builder.icmp_signed("!=", adds, adds.type(0))) as (continues, begins):
            for branch, total in (continues, self._add), (begins, lambda found, _: found):
                with branch:
                    for place, vector in zip(sums, outs, strict=True):
                        builder.store(total(builder.load(place), vector), vector, align=self.bytes)

    def _add(self, found, vector):
        return self.builder.fadd(found, self.builder.load(vector, align=self.bytes))

    def _number(self, value):
        return (self.kind if self.lanes == 1 else self.kind.element)(value)

    def _row(self, start, stride, row):
        row = stride.type(row) if isinstance(row, int) else row
        return self.builder.gep(start, [self.builder.mul(stride, row)])

    def _vectors(self, start):
        """The addresses of the vectors that begin here."""
        places = (self.builder.gep(start, [ir.IntType(64)(vector * self.lanes)]) for vector in range(self.vectors))
        return [self.builder.bitcast(place, self.kind.as_pointer()) for place in places]

    def _spread(self, number):
        """A vector of equal numbers."""
        if self.lanes == 1:
            return number
        index, nothing = ir.IntType(32), ir.Constant(self.kind, ir.Undefined)
        first = self.builder.insert_element(nothing, number, index(0))
        return self.builder.shuffle_vector(first, nothing, ir.VectorType(index, self.lanes)([0] * self.lanes))


@intrinsic
@no_type_check
def _turn_square(typing, source, target, row, column):
    """A square as wide as a vector: vectors exchange halves, then quarters of each half, and so on."""
    number = source[0].dtype
    lanes = VECTOR_BYTES * 8 // number.bitwidth

    def generate(context, builder, signature, arguments):
        (rows, stride), (turned, turned_stride) = (cgutils.unpack_tuple(builder, each) for each in arguments[:2])
        row, column = arguments[2:]
        kind = ir.VectorType(context.get_value_type(number), lanes)

        def place(start, stride, line, offset):
            first = builder.gep(start, [builder.add(builder.mul(line, stride), offset)])
            return builder.bitcast(first, kind.as_pointer())

        lines = [row.type(line) for line in range(lanes)]
        vectors = [builder.load(place(rows, stride, builder.add(row, line), column), align=number.bitwidth // 8) for line in lines]
        apart = lanes // 2
        while apart:
            kept = [lanes + lane - apart if lane & apart else lane for lane in range(lanes)]
            others = [lanes + lane if lane & apart else lane + apart for lane in range(lanes)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), lanes), each) for each in (kept, others)]
            for line in (each for each in range(lanes) if not each & apart):
                pair = vectors[line], vectors[line + apart]
                vectors[line], vectors[line + apart] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            apart //= 2
        for line, vector in zip(lines, vectors, strict=True):
            builder.store(vector, place(turned, turned_stride, builder.add(column, line), row), align=number.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(source, target, types.intp, types.intp), generate
