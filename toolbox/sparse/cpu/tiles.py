"""Matrix products of a few rows, gathered by their numbers, that stay in the processor's registers."""

import functools
import platform
from collections.abc import Callable
from typing import NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from toolbox.compiled.vectors import INDEX, Vectors, opened


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


@intrinsic(prefer_literal=True)
def multiply_rows(
    typing, bits, lanes, tile_rows, vectors, feats, sources, weights, panel, out, targets, column, first, last
):
    """For Numba: rows of ``feats``, times a matrix, are added to rows of ``out``.

    ``feats[sources[p]] @ weights[panel]`` is added to ``out[targets[p], column:]`` for up to ``tile_rows`` pairs p,
    from ``first`` on and before ``last``. The tile is given by constants; a panel is (channels, columns of the tile);
    all arrays are contiguous.
    """
    numbers = bits, lanes, tile_rows, vectors
    arguments = feats, sources, weights, panel, out, targets, column, first, last
    tile = _tile(numbers)
    if tile is None:
        return None

    def generate(context, builder, signature, arguments):
        feats, sources, weights, panel, out, targets, column, first, last = opened(
            context, builder, signature, arguments, len(numbers)
        )
        pairs = [builder.add(first, INDEX(row)) for row in range(tile.rows)]
        there = [builder.icmp_signed("<", pair, last) for pair in pairs]
        # The last pair stands for those that are not there.
        known = [
            builder.select(is_there, pair, builder.sub(last, INDEX(1)))
            for is_there, pair in zip(there, pairs, strict=True)
        ]
        rows, matrix = [feats.place(sources.index(pair)) for pair in known], weights.place(panel)

        def step(channel: ir.Value) -> tuple[list[ir.Value], ir.Value]:
            start = builder.gep(matrix, [builder.mul(channel, INDEX(tile.columns))])
            return [builder.load(builder.gep(row, [channel])) for row in rows], start

        sums = _sum_products(builder, tile, feats.shape[1], step)
        for pair, is_there, total in zip(pairs, there, sums, strict=True):
            with builder.if_then(is_there):
                _add(builder, tile, total, builder.gep(out.place(targets.index(pair)), [column]))
        return context.get_dummy_value()

    return types.void(*numbers, *arguments), generate


@intrinsic(prefer_literal=True)
def multiply_columns(
    typing, bits, lanes, tile_rows, vectors, feats, sources, channel, grad, targets, column, out, number, first, last
):
    """For Numba: products of columns of ``feats`` and of ``grad``, summed over pairs of rows.

    ``feats[sources[p], c] * grad[targets[p], column:]`` is added to ``out[number, c, column:]``, for pairs p from
    ``first`` to before ``last`` (at least one) and ``tile_rows`` channels c from ``channel`` on. The tile is given by
    constants; all arrays are contiguous.
    """
    numbers = bits, lanes, tile_rows, vectors
    arguments = feats, sources, channel, grad, targets, column, out, number, first, last
    tile = _tile(numbers)
    if tile is None:
        return None

    def generate(context, builder, signature, arguments):
        feats, sources, channel, grad, targets, column, out, number, first, last = opened(
            context, builder, signature, arguments, len(numbers)
        )

        def step(index: ir.Value) -> tuple[list[ir.Value], ir.Value]:
            pair = builder.add(first, index)
            row = builder.gep(feats.place(sources.index(pair)), [channel])
            start = builder.gep(grad.place(targets.index(pair)), [column])
            return [builder.load(builder.gep(row, [INDEX(i)])) for i in range(tile.rows)], start

        sums = _sum_products(builder, tile, builder.sub(last, first), step)
        matrix = out.place(number)
        for row, total in enumerate(sums):
            place = builder.mul(builder.add(channel, INDEX(row)), out.shape[2])
            _add(builder, tile, total, builder.gep(matrix, [builder.add(place, column)]))
        return context.get_dummy_value()

    return types.void(*numbers, *arguments), generate


def _tile(numbers: tuple[types.Type, ...]) -> Tile | None:
    """From types of constants; None where Numba asks for other types first."""
    literal = all(isinstance(number, types.IntegerLiteral) for number in numbers)
    return Tile(*(number.literal_value for number in numbers)) if literal else None


def _sum_products(
    builder: ir.IRBuilder, tile: Tile, count: ir.Value, step: Callable[[ir.Value], tuple[list[ir.Value], ir.Value]]
) -> list[list[ir.Value]]:
    """The sum over 0 <= i < count of the products of each number and each vector.

    Args:
        step: gives the numbers of i, ``tile.rows``, and the address of the vectors, ``tile.vectors``.
    """
    kind = Vectors(builder, tile.bits, tile.lanes)
    before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(INDEX)
    sums = [[builder.phi(kind.type) for _ in range(tile.vectors)] for _ in range(tile.rows)]
    numbers, start = step(index)
    vectors = [kind.load(start, i * tile.lanes) for i in range(tile.vectors)]
    factors = [kind.splat(number) for number in numbers]
    totals = [
        [kind.multiply_add(factor, vector, total) for vector, total in zip(vectors, row, strict=True)]
        for factor, row in zip(factors, sums, strict=True)
    ]
    following = builder.add(index, INDEX(1))
    index.add_incoming(INDEX(0), before)
    index.add_incoming(following, loop)
    for row, results in zip(sums, totals, strict=True):
        for total, result in zip(row, results, strict=True):
            total.add_incoming(kind.zero, before)
            total.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return totals


def _add(builder: ir.IRBuilder, tile: Tile, vectors: list[ir.Value], start: ir.Value) -> None:
    """Add a row to one in memory."""
    kind = Vectors(builder, tile.bits, tile.lanes)
    for place, vector in enumerate(vectors):
        offset = place * tile.lanes
        kind.store(builder.fadd(kind.load(start, offset), vector), start, offset)
