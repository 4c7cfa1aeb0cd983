"""Loops that Numba compiles, for the registers of any processor: against products of gathered rows."""

import numpy as np
import pytest
import torch

from toolbox.compiled.run import run
from toolbox.sparse.cpu.loops import group_pairs, outer_products, products
from toolbox.sparse.cpu.tiles import AVX2, AVX512, NEON, Tile

VOLUME, SOURCES, TARGETS = 5, 40, 37


@pytest.fixture
def table() -> np.ndarray:
    """The source of each target under each weight, -1: none; no pairs at all under the last but one."""
    random = np.random.default_rng(1)
    table = np.stack([random.permutation(SOURCES)[:TARGETS] for _ in range(VOLUME)], axis=1).astype(np.int32)
    table[random.random(table.shape) < 0.3] = -1
    table[:, 3] = -1
    return table


@pytest.mark.parametrize("block", [1, 8, 37, 100])
def test_pairs_come_by_block_of_targets_and_by_weight(table, block):
    rows = np.random.default_rng(2).permutation(TARGETS).astype(np.int32)
    starts, sources, targets = run(group_pairs, table, rows, block)
    blocks = -(-TARGETS // block)
    assert len(starts) == blocks * VOLUME + 1 and starts[0] == 0 and starts[-1] == (table >= 0).sum()
    for number in range(blocks):
        places = range(number * block, min((number + 1) * block, TARGETS))
        for weight in range(VOLUME):
            expected = [(table[place, weight], rows[place]) for place in places if table[place, weight] >= 0]
            part = slice(*starts[number * VOLUME + weight :][:2])
            assert list(zip(sources[part], targets[part], strict=True)) == expected


@pytest.mark.parametrize(
    ("registers", "bits", "vectors"),
    [(AVX512, 32, 3), (AVX512, 64, 1), (AVX2, 32, 3), (AVX2, 64, 2), (NEON, 32, 3), (NEON, 64, 1)],
)
def test_tiles_of_any_registers_multiply_rows_and_columns(table, registers, bits, vectors):
    lanes = 8 * registers.bytes // bits
    tile = Tile.fitting(bits, lanes * vectors, registers)
    assert tile == (bits, lanes, registers.rows, vectors)
    before, after, dtype = 2 * tile.rows, 2 * tile.columns, {32: torch.float32, 64: torch.float64}[bits]
    order = np.arange(TARGETS, dtype=np.int32)
    starts, sources, targets = run(group_pairs, table, order, 16)
    feats, grad = torch.randn(SOURCES, before, dtype=dtype), torch.randn(TARGETS, after, dtype=dtype)
    weight = torch.randn(VOLUME, before, after, dtype=dtype)
    panels = weight.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1).contiguous()

    out, gradient = torch.ones(TARGETS, after, dtype=dtype), torch.ones(VOLUME, before, after, dtype=dtype)
    run(products(tile), feats.numpy(), panels.numpy(), sources, targets, starts, out.numpy(), VOLUME)
    arguments = feats.numpy(), sources, grad.numpy(), targets, starts, gradient.numpy()
    run(outer_products(tile), *arguments, 2, tile.rows)

    padded = torch.cat((feats, feats.new_zeros(1, before)))[torch.from_numpy(table).long()]
    torch.testing.assert_close(out, 1 + torch.einsum("tkb,kba->ta", padded, weight))
    torch.testing.assert_close(gradient, 1 + torch.einsum("tkb,ta->kba", padded, grad))


@pytest.mark.parametrize(
    ("columns", "vectors"), [(1, 1), (16, 1), (17, 2), (32, 2), (48, 3), (64, 2), (80, 1), (96, 3), (128, 2)]
)
def test_the_widest_tile_that_divides_the_columns(columns, vectors):
    assert Tile.fitting(32, columns, AVX512).vectors == vectors
