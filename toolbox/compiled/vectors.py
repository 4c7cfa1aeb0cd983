"""Instructions on vectors, for functions that Numba compiles into its loops.

Numba has no type for vectors: such functions are written in the language of its compiler (LLVM), which makes of vectors
of any length what the processor has.
"""

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

INDEX = ir.IntType(64)
_FLOATS = {32: ir.FloatType(), 64: ir.DoubleType()}


class Array:
    """A contiguous array inside a function."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: types.Array, value: ir.Value):
        array = context.make_array(kind)(context, builder, value)
        self.data, self.shape, self._builder = array.data, cgutils.unpack_tuple(builder, array.shape), builder

    def place(self, index: ir.Value) -> ir.Value:
        """The address of an element of the first axis."""
        return self._builder.gep(self.data, [functools.reduce(self._builder.mul, self.shape[1:], index)])

    def index(self, place: ir.Value) -> ir.Value:
        """An element of whole numbers, as an index."""
        return self._builder.sext(self._builder.load(self._builder.gep(self.data, [place])), INDEX)


def opened(
    context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value], skipped: int
) -> list[Array | ir.Value]:
    """Arguments of a function, arrays as ``Array`` and whole numbers as indices, without the first ones."""
    return [
        Array(context, builder, kind, value)
        if isinstance(kind, types.Array)
        else context.cast(builder, value, kind, types.int64)
        for kind, value in list(zip(signature.args, arguments, strict=True))[skipped:]
    ]


class Vectors:
    """Vectors of ``lanes`` numbers of so many ``bits``."""

    def __init__(self, builder: ir.IRBuilder, bits: int, lanes: int):
        self._builder, self._bits, self._lanes = builder, bits, lanes
        self.type = ir.VectorType(_FLOATS[bits], lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)

    def load(self, start: ir.Value, offset: int = 0) -> ir.Value:
        """From memory, so many numbers behind an address."""
        vector = self._builder.load(self._address(start, offset))
        vector.align = self._bits // 8
        return vector

    def store(self, vector: ir.Value, start: ir.Value, offset: int = 0) -> None:
        """Into memory, so many numbers behind an address."""
        self._builder.store(vector, self._address(start, offset)).align = self._bits // 8

    def splat(self, number: ir.Value) -> ir.Value:
        """A number in all lanes."""
        undefined, first = ir.Constant(self.type, ir.Undefined), ir.IntType(32)(0)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self._lanes), [0] * self._lanes)
        return self._builder.shuffle_vector(self._builder.insert_element(undefined, number, first), undefined, lanes)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``a * b + c``, rounded once where the processor can."""
        kind = ir.FunctionType(self.type, [self.type] * 3)
        name = f"llvm.fmuladd.v{self._lanes}f{self._bits}"
        return self._builder.call(cgutils.get_or_insert_function(self._builder.module, kind, name), [a, b, c])

    def _address(self, start: ir.Value, offset: int) -> ir.Value:
        return self._builder.bitcast(self._builder.gep(start, [INDEX(offset)]), self.type.as_pointer())
