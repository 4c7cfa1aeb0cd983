"""The variance over swept sources on a CPU, by Numba: features are sampled and summed in one go.

Sampling is that of ``toolbox.geometry.PlaneSweep``, sums are those of ``Variance``.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from toolbox.compiled.vectors import INDEX, Vectors, opened

# Pixels of a row whose sums are in the processor's nearest cache at a time.
_PIXELS = 64


@functools.cache
def variance(channels: int) -> Callable:
    """``f(volume, reference, depth, sources, cameras, corner, size, valid_only, keep_behind, aliasing)`` for Numba.

    All are float32 and contiguous: ``volume`` (b, d, h, w, c), which is written, ``reference`` (b, h, w, c) and
    ``depth`` (b, d, h, w); ``sources`` (v) are addresses of features (b, *size, c); ``cameras`` (v, b, 16) hold the
    matrix row by row, the offset, and the valid ranges of columns and of rows. See ``Variance`` and ``PlaneSweep``.
    """

    def function(volume, reference, depth, sources, cameras, corner, size, valid_only, keep_behind, aliasing):
        # With other numbers it would be computed in double precision.
        f32 = np.float32
        zero, one, ahead, nearest = f32(0), f32(1), f32(1e-6), f32(1e-12)
        batch, planes, rows, columns = depth.shape
        height, width = f32(size[0]), f32(size[1])
        middle_x, middle_y = f32(size[1] // 2), f32(size[0] // 2)
        left_end, right_end = -one - middle_x, width - middle_x
        top_end, bottom_end = -one - middle_y, height - middle_y
        for task in prange(batch * rows):
            sample, row = task // rows, task % rows
            total, square_sum = np.empty((2, _PIXELS, channels), np.float32)
            count, places, weights = np.empty(_PIXELS, f32), np.empty((4, _PIXELS), f32), np.empty((4, _PIXELS), f32)
            image = sample * size[0] * size[1] * channels
            for first in range(0, columns, _PIXELS):
                number = min(_PIXELS, columns - first)
                for plane in range(planes):
                    own = reference[sample, row, first : first + number]
                    for pixel in range(number):
                        count[pixel] = one
                        for channel in range(channels):
                            feature = own[pixel, channel]
                            square_sum[pixel, channel] = feature * feature
                            total[pixel, channel] = feature * feature if aliasing else feature
                    for view in range(len(sources)):
                        camera = cameras[view, sample]
                        position_row = f32(row + corner[0])
                        depths = depth[sample, plane, row, first : first + number]
                        for pixel in range(number):
                            across, away = f32(first + pixel + corner[1]), depths[pixel]
                            ray_x = camera[0] * across + (camera[1] * position_row + camera[2])
                            ray_y = camera[3] * across + (camera[4] * position_row + camera[5])
                            ray_z = camera[6] * across + (camera[7] * position_row + camera[8])
                            z = camera[11] + ray_z * away
                            x, y = (camera[9] + ray_x * away) / z, (camera[10] + ray_y * away) / z
                            in_front = z > ahead * max(abs(away), nearest)
                            inside = (x >= camera[12]) & (x <= camera[13]) & (y >= camera[14]) & (y <= camera[15])
                            counts = (in_front | keep_behind) & ((in_front & inside) | (not valid_only))
                            count[pixel] += one if valid_only & counts else zero
                            # What is not a number is nowhere, too.
                            somewhere = counts & (x > left_end) & (x < right_end) & (y > top_end) & (y < bottom_end)
                            x, y = x if somewhere else zero, y if somewhere else zero
                            left, top = np.floor(x), np.floor(y)
                            right, bottom = x - left, y - top
                            column, line = left + middle_x, top + middle_y
                            weights[0, pixel] = one - right if somewhere & (column >= zero) else zero
                            weights[1, pixel] = right if somewhere & (column + one < width) else zero
                            weights[2, pixel] = one - bottom if line >= zero else zero
                            weights[3, pixel] = bottom if line + one < height else zero
                            places[0, pixel] = column if column > zero else zero
                            places[1, pixel] = column + one if column + one < width else width - one
                            places[2, pixel] = line if line > zero else zero
                            places[3, pixel] = line + one if line + one < height else height - one
                        for pixel in range(number):
                            add_sample(
                                channels, total, square_sum, pixel, sources[view], image, size[1], places, weights
                            )
                    filled = volume[sample, plane, row, first : first + number]
                    for pixel in range(number):
                        part = one / (count[pixel] if valid_only else f32(len(sources) + 1))
                        for channel in range(channels):
                            mean = total[pixel, channel] * part
                            filled[pixel, channel] = square_sum[pixel, channel] * part - mean * mean

    return function


@intrinsic(prefer_literal=True)
def add_sample(typing, channels, total, square_sum, pixel, address, image, width, places, weights):
    """For Numba: a bilinear sample is added to a row of ``total``, and its square to one of ``square_sum``.

    ``address`` is that of features of so many ``channels`` (a constant), ``image`` the place where an image of this
    ``width`` begins. Of ``places`` (left, right, top, bottom) and their ``weights`` (4, pixels) a column is taken.
    """
    if not isinstance(channels, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, arguments):
        total, square_sum, pixel, address, image, width, places, weights = opened(
            context, builder, signature, arguments, 1
        )
        features = builder.gep(builder.inttoptr(address, ir.FloatType().as_pointer()), [image])
        place, weight = (
            [builder.load(builder.gep(array.place(INDEX(side)), [pixel])) for side in range(4)]
            for array in (places, weights)
        )
        place = [builder.fptosi(number, INDEX) for number in place]
        corners = []
        for line, column in itertools.product((2, 3), (0, 1)):
            number = builder.add(builder.mul(place[line], width), place[column])
            start = builder.gep(features, [builder.mul(number, INDEX(channels.literal_value))])
            corners.append((builder.fmul(weight[line], weight[column]), start))
        sums, squares = total.place(pixel), square_sum.place(pixel)
        for start, lanes in _vectors(channels.literal_value):
            vectors = Vectors(builder, 32, lanes)
            value = vectors.zero
            for factor, corner in corners:
                value = vectors.multiply_add(vectors.splat(factor), vectors.load(corner, start), value)
            vectors.store(builder.fadd(vectors.load(sums, start), value), sums, start)
            vectors.store(vectors.multiply_add(value, value, vectors.load(squares, start)), squares, start)
        return context.get_dummy_value()

    arguments = channels, total, square_sum, pixel, address, image, width, places, weights
    return types.void(*arguments), generate


def _vectors(count: int) -> Iterator[tuple[int, int]]:
    """Where vectors of 16, 8, ... numbers begin that make up so many, and their lengths."""
    start = 0
    for lanes in (16, 8, 4, 2, 1):
        while start + lanes <= count:
            yield start, lanes
            start += lanes
