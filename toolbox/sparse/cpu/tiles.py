"""Matrix products of a few rows, gathered by their numbers, that stay in the processor's registers.

Numba has no type for vectors: these functions are written in the language of its compiler (LLVM), which makes vectors
of what the processor has. Everything around them is plain Numba.
"""

import functools
import platform
from collections.abc import Callable, Sequence
from typing import NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INDEX = ir.IntType(64)
_FLOATS = {32: ir.FloatType(), 64: ir.DoubleType()}


class Registers(NamedTuple):
    """How a tile lies in vector registers: ``rows`` times up to 3 of ``bytes``."""

    bytes: int
    rows: int


# Sums of rows times 3 vectors, these vectors, and a factor: 28 of 32 registers, or all of 16.
AVX512, AVX2, NEON = Registers(64, 8), Registers(32, 4), Registers(16, 8)


@functools.cache
def registers() -> Registers:
    """Those of this processor."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return NEON
    return AVX512 if llvmlite.binding.get_host_cpu_features().get("avx512f") else AVX2


class Tile(NamedTuple):
    """The size of a product: ``rows`` times ``vectors`` of ``lanes`` numbers of so many ``bits``."""

    bits: int
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Of the product."""
        return self.lanes * self.vectors

    @classmethod
    def fitting(cls, bits: int, columns: int, available: Registers | None = None) -> "Tile":
        """The widest that divides so many columns, rounded up to whole vectors; on this processor by default."""
        available = available or registers()
        lanes = 8 * available.bytes // bits
        count = -(-columns // lanes)
        return cls(bits, lanes, available.rows, next(vectors for vectors in (3, 2, 1) if count % vectors == 0))


@functools.cache
def multiply_rows(tile: Tile) -> Callable:
    """A function for Numba: rows of ``feats``, times a matrix, are added to rows of ``out``.

    ``f(feats, sources, weights, panel, out, targets, column, first, last)`` adds
    ``feats[sources[p]] @ weights[panel]`` to ``out[targets[p], column:]`` for up to ``tile.rows`` pairs p, from
    ``first`` on and before ``last``. A panel is (channels, tile.columns); all arrays are contiguous.
    """

    @intrinsic
    def function(typing, feats, sources, weights, panel, out, targets, column, first, last):
        signature = types.void(feats, sources, weights, panel, out, targets, column, first, last)

        def generate(context, builder, signature, arguments):
            feats, sources, weights, panel, out, targets, column, first, last = _opened(
                context, builder, signature, arguments
            )
            emit = _Emitter(builder, tile)
            pairs = [emit.at_most(builder.add(first, _INDEX(row)), last) for row in range(tile.rows)]
            rows = [feats.place(builder, sources.index(builder, pair)) for pair in pairs]
            channels = feats.shape[1]
            matrix = weights.place(builder, panel)

            def step(channel: ir.Value) -> tuple[list[ir.Value], list[ir.Value]]:
                vector = builder.gep(matrix, [builder.mul(channel, _INDEX(tile.columns))])
                return [builder.load(builder.gep(row, [channel])) for row in rows], emit.vectors(vector)

            sums = emit.sum_products(channels, step)
            for row, pair in enumerate(sums):
                place = builder.add(first, _INDEX(row))
                with builder.if_then(builder.icmp_signed("<", place, last)):
                    start = out.place(builder, targets.index(builder, place))
                    emit.add(pair, builder.gep(start, [column]))
            return context.get_dummy_value()

        return signature, generate

    return function


@functools.cache
def multiply_columns(tile: Tile) -> Callable:
    """A function for Numba: products of columns of ``feats`` and of ``grad``, summed over pairs of rows.

    ``f(feats, sources, channel, grad, targets, column, out, number, first, last)`` adds
    ``feats[sources[p], c] * grad[targets[p], column:]`` to ``out[number, c, column:]``, for pairs p from ``first`` to
    before ``last`` (at least one) and ``tile.rows`` channels c from ``channel`` on. All arrays are contiguous.
    """

    @intrinsic
    def function(typing, feats, sources, channel, grad, targets, column, out, number, first, last):
        signature = types.void(feats, sources, channel, grad, targets, column, out, number, first, last)

        def generate(context, builder, signature, arguments):
            feats, sources, channel, grad, targets, column, out, number, first, last = _opened(
                context, builder, signature, arguments
            )
            emit = _Emitter(builder, tile)

            def step(index: ir.Value) -> tuple[list[ir.Value], list[ir.Value]]:
                pair = builder.add(first, index)
                row = builder.gep(feats.place(builder, sources.index(builder, pair)), [channel])
                vector = builder.gep(grad.place(builder, targets.index(builder, pair)), [column])
                factors = [builder.load(builder.gep(row, [_INDEX(i)])) for i in range(tile.rows)]
                return factors, emit.vectors(vector)

            sums = emit.sum_products(builder.sub(last, first), step)
            matrix = out.place(builder, number)
            for row, products in enumerate(sums):
                place = builder.mul(builder.add(channel, _INDEX(row)), out.shape[2])
                emit.add(products, builder.gep(matrix, [builder.add(place, column)]))
            return context.get_dummy_value()

        return signature, generate

    return function


class _Array:
    """A contiguous array inside a function."""

    def __init__(self, context, builder: ir.IRBuilder, kind: types.Array, value: ir.Value):
        array = context.make_array(kind)(context, builder, value)
        self.data, self.shape = array.data, cgutils.unpack_tuple(builder, array.shape)

    def place(self, builder: ir.IRBuilder, index: ir.Value) -> ir.Value:
        """The address of an element of the first axis."""
        size = functools.reduce(builder.mul, self.shape[1:], index)
        return builder.gep(self.data, [size])

    def index(self, builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
        """An element, as an index."""
        return builder.sext(builder.load(builder.gep(self.data, [place])), _INDEX)


def _opened(context, builder: ir.IRBuilder, signature, arguments: Sequence[ir.Value]) -> list:
    """Arguments with arrays opened, and numbers as indices."""
    return [
        _Array(context, builder, kind, value)
        if isinstance(kind, types.Array)
        else context.cast(builder, value, kind, types.int64)
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


class _Emitter:
    """Writes instructions on vectors."""

    def __init__(self, builder: ir.IRBuilder, tile: Tile):
        self._builder, self._tile = builder, tile
        self._vector, self._align = ir.VectorType(_FLOATS[tile.bits], tile.lanes), tile.bits // 8

    def at_most(self, index: ir.Value, end: ir.Value) -> ir.Value:
        """The index, or the last one before ``end``."""
        inside = self._builder.icmp_signed("<", index, end)
        return self._builder.select(inside, index, self._builder.sub(end, _INDEX(1)))

    def vectors(self, start: ir.Value) -> list[ir.Value]:
        """Those of one row, from memory."""
        return [self._load(address) for address in self._addresses(start)]

    def add(self, vectors: list[ir.Value], start: ir.Value) -> None:
        """Add to a row in memory."""
        for vector, address in zip(vectors, self._addresses(start), strict=True):
            total = self._builder.fadd(self._load(address), vector)
            self._builder.store(total, address).align = self._align

    def sum_products(
        self, count: ir.Value, step: Callable[[ir.Value], tuple[list[ir.Value], list[ir.Value]]]
    ) -> list[list[ir.Value]]:
        """The sum over 0 <= i < count of the products of each number and each vector that ``step(i)`` gives."""
        builder, tile = self._builder, self._tile
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(_INDEX)
        sums = [[builder.phi(self._vector) for _ in range(tile.vectors)] for _ in range(tile.rows)]
        factors, vectors = step(index)
        totals = [
            [self._multiply_add(factor, vector, total) for vector, total in zip(vectors, row, strict=True)]
            for factor, row in zip(map(self._splat, factors), sums, strict=True)
        ]
        following = builder.add(index, _INDEX(1))
        index.add_incoming(_INDEX(0), before)
        index.add_incoming(following, loop)
        for row, results in zip(sums, totals, strict=True):
            for total, result in zip(row, results, strict=True):
                total.add_incoming(ir.Constant(self._vector, [0.0] * tile.lanes), before)
                total.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        return totals

    def _addresses(self, start: ir.Value) -> list[ir.Value]:
        places = (self._builder.gep(start, [_INDEX(i * self._tile.lanes)]) for i in range(self._tile.vectors))
        return [self._builder.bitcast(place, self._vector.as_pointer()) for place in places]

    def _load(self, address: ir.Value) -> ir.Value:
        vector = self._builder.load(address)
        vector.align = self._align
        return vector

    def _splat(self, number: ir.Value) -> ir.Value:
        undefined, first = ir.Constant(self._vector, ir.Undefined), ir.IntType(32)(0)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self._tile.lanes), [0] * self._tile.lanes)
        return self._builder.shuffle_vector(self._builder.insert_element(undefined, number, first), undefined, lanes)

    def _multiply_add(self, factor: ir.Value, vector: ir.Value, total: ir.Value) -> ir.Value:
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        name = f"llvm.fmuladd.v{self._tile.lanes}f{self._tile.bits}"
        function = cgutils.get_or_insert_function(self._builder.module, kind, name)
        return self._builder.call(function, [factor, vector, total])
