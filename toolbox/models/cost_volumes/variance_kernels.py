"""Triton kernels of the fused cost volume: a source is sampled and summed in one go, forwards and backwards.

Imported only where they are asked for: this file needs Triton. Sampling is that of ``toolbox.geometry.PlaneSweep``,
sums are those of ``Variance``. A program has BLOCK_P pixels with all their channels, padded to BLOCK_C, and sums in
registers.

Memory layouts: sources and gradients (b, h, w, c), the volume (b, d, h, w, c), all contiguous; reference and depth by
their strides. ``sources`` and ``gradients`` hold a pointer for each view, to float32 at a multiple of 16 bytes;
``cameras`` (v, b, 16) holds the matrix row by row, the offset, and the valid ranges of columns and of rows.
"""

import triton
import triton.language as tl


@triton.jit
def _view(pointers, view):
    """A view's features; said to be aligned, else they are loaded one by one."""
    return tl.multiple_of(tl.load(pointers + view).to(tl.pointer_type(tl.float32)), 16)


@triton.jit
def _project(camera, row, column, depth, real, height, width, KEEP_BEHIND: tl.constexpr):
    """Columns and rows from the middle one, and where they are valid; two beyond the border is what lies nowhere."""
    x = tl.load(camera + 9) + (tl.load(camera) * column + (tl.load(camera + 1) * row + tl.load(camera + 2))) * depth
    y = (
        tl.load(camera + 10)
        + (tl.load(camera + 3) * column + (tl.load(camera + 4) * row + tl.load(camera + 5))) * depth
    )
    z = (
        tl.load(camera + 11)
        + (tl.load(camera + 6) * column + (tl.load(camera + 7) * row + tl.load(camera + 8))) * depth
    )
    in_front = z > 1e-6 * tl.maximum(tl.abs(depth), 1e-12)
    x, y = tl.div_rn(x, z), tl.div_rn(y, z)
    valid = in_front & (x >= tl.load(camera + 12)) & (x <= tl.load(camera + 13))
    valid = valid & (y >= tl.load(camera + 14)) & (y <= tl.load(camera + 15))
    somewhere = real & (x == x) & (y == y)
    if not KEEP_BEHIND:
        somewhere = somewhere & in_front
    first_x, first_y = -2 - width // 2, -2 - height // 2
    x = tl.where(somewhere, tl.minimum(tl.maximum(x, first_x), width - width // 2), first_x)
    y = tl.where(somewhere, tl.minimum(tl.maximum(y, first_y), height - height // 2), first_y)
    return x, y, valid.to(tl.float32)


@triton.jit
def _corner(row, column, channel, height, width, CHANNELS: tl.constexpr):
    """Offsets of a corner's channels, and which of them there are."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    offset = (row * width + column) * CHANNELS
    return offset[:, None] + channel[None, :], inside[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def _sample(source, x, y, channel, height, width, CHANNELS: tl.constexpr):
    """Bilinear, zeros outside."""
    left, top = tl.floor(x), tl.floor(y)
    x, y = x - left, y - top
    row, column = top.to(tl.int32) + height // 2, left.to(tl.int32) + width // 2
    value = tl.zeros([x.shape[0], channel.shape[0]], tl.float32)
    for corner in tl.static_range(4):
        weight = (x if corner % 2 else 1 - x) * (y if corner // 2 else 1 - y)
        offset, inside = _corner(row + corner // 2, column + corner % 2, channel, height, width, CHANNELS)
        value += weight[:, None] * tl.load(source + offset, mask=inside, other=0.0)
    return value


@triton.jit
def _scatter(gradient, value, x, y, channel, height, width, CHANNELS: tl.constexpr):
    """Adds to what ``_sample`` has read."""
    left, top = tl.floor(x), tl.floor(y)
    x, y = x - left, y - top
    row, column = top.to(tl.int32) + height // 2, left.to(tl.int32) + width // 2
    for corner in tl.static_range(4):
        weight = (x if corner % 2 else 1 - x) * (y if corner // 2 else 1 - y)
        offset, inside = _corner(row + corner // 2, column + corner % 2, channel, height, width, CHANNELS)
        tl.atomic_add(gradient + offset, weight[:, None] * value, mask=inside, sem="relaxed")


@triton.jit
def _sampled_view(
    sources, cameras, view, batch, sample, row, column, depth, real, channel, height, width,
    CHANNELS: tl.constexpr, VALID_ONLY: tl.constexpr, KEEP_BEHIND: tl.constexpr,
):  # fmt: skip
    """A view's features, with their positions and their weight in the mean."""
    x, y, valid = _project(cameras + (view * batch + sample) * 16, row, column, depth, real, height, width, KEEP_BEHIND)
    source = _view(sources, view) + sample * height * width * CHANNELS
    value = _sample(source, x, y, channel, height, width, CHANNELS)
    weight = valid if VALID_ONLY else tl.full([x.shape[0]], 1.0, tl.float32)
    return value * weight[:, None], x, y, weight


@triton.jit
def _sums(
    features, sources, cameras, views, batch, sample, row, column, depth, real, channel, height, width,
    CHANNELS: tl.constexpr, VALID_ONLY: tl.constexpr, KEEP_BEHIND: tl.constexpr, ALIASING: tl.constexpr,
):  # fmt: skip
    """Sum, sum of squares and number over the reference and all sources."""
    square_sum = features * features
    total = square_sum if ALIASING else features
    count = tl.full([row.shape[0]], 1.0, tl.float32)
    for view in range(views):
        value, _, _, weight = _sampled_view(
            sources, cameras, view, batch, sample, row, column, depth, real, channel, height, width, CHANNELS,
            VALID_ONLY, KEEP_BEHIND,
        )  # fmt: skip
        total += value
        square_sum += value * value
        count += weight
    return total, square_sum, count


@triton.jit(do_not_specialize=["top", "left"])
def variance_forward(
    volume, reference, depth, sources, cameras, views, batch, planes, rows, columns, top, left, height, width,
    ref_b, ref_c, ref_h, ref_w, depth_b, depth_d, depth_h, depth_w,
    VALID_ONLY: tl.constexpr, KEEP_BEHIND: tl.constexpr, ALIASING: tl.constexpr,
    CHANNELS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of pixels, planes, batch)."""
    pixel, channel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_C)
    plane, sample = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    row, column, real = pixel // columns, pixel % columns, pixel < rows * columns
    there = real[:, None] & (channel < CHANNELS)[None, :]
    at = reference + sample * ref_b + (row * ref_h + column * ref_w)[:, None] + (channel * ref_c)[None, :]
    features = tl.load(at, mask=there, other=0.0).to(tl.float32)
    at = depth + sample * depth_b + plane * depth_d + row * depth_h + column * depth_w
    total, square_sum, count = _sums(
        features, sources, cameras, views, batch, sample, row + top, column + left,
        tl.load(at, mask=real, other=1.0).to(tl.float32), real, channel, height, width, CHANNELS,
        VALID_ONLY, KEEP_BEHIND, ALIASING,
    )  # fmt: skip
    mean = total / count[:, None]
    variance = square_sum / count[:, None] - mean * mean
    first = (sample * planes + plane) * rows * columns
    at = volume + (first + pixel)[:, None] * CHANNELS + channel[None, :]
    tl.store(at, variance.to(volume.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["top", "left"])
def variance_backward(
    grad_reference, gradients, grad_volume,
    reference, depth, sources, cameras, views, batch, planes, rows, columns, top, left, height, width,
    ref_b, ref_c, ref_h, ref_w, depth_b, depth_d, depth_h, depth_w,
    VALID_ONLY: tl.constexpr, KEEP_BEHIND: tl.constexpr, ALIASING: tl.constexpr,
    CHANNELS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of pixels, batch). Samples again; a source's gradient is 2 (feature - mean) / count, spread."""
    pixel, channel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_C)
    sample = tl.program_id(1).to(tl.int64)
    row, column, real = pixel // columns, pixel % columns, pixel < rows * columns
    there = real[:, None] & (channel < CHANNELS)[None, :]
    at = reference + sample * ref_b + (row * ref_h + column * ref_w)[:, None] + (channel * ref_c)[None, :]
    features = tl.load(at, mask=there, other=0.0).to(tl.float32)
    towards_reference = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for plane in range(planes):
        at = depth + sample * depth_b + plane * depth_d + row * depth_h + column * depth_w
        hypotheses = tl.load(at, mask=real, other=1.0).to(tl.float32)
        total, _, count = _sums(
            features, sources, cameras, views, batch, sample, row + top, column + left, hypotheses, real, channel,
            height, width, CHANNELS, VALID_ONLY, KEEP_BEHIND, ALIASING,
        )  # fmt: skip
        mean = total / count[:, None]
        first = (sample * planes + plane) * rows * columns
        at = grad_volume + (first + pixel)[:, None] * CHANNELS + channel[None, :]
        scale = 2.0 * tl.load(at, mask=there, other=0.0).to(tl.float32) / count[:, None]
        if ALIASING:
            towards_reference += scale * features * (1.0 - 2.0 * mean)
        else:
            towards_reference += scale * (features - mean)
        for view in range(views):
            value, x, y, weight = _sampled_view(
                sources, cameras, view, batch, sample, row + top, column + left, hypotheses, real, channel,
                height, width, CHANNELS, VALID_ONLY, KEEP_BEHIND,
            )  # fmt: skip
            gradient = _view(gradients, view) + sample * height * width * CHANNELS
            value = scale * (value - mean) * weight[:, None]
            _scatter(gradient, value, x, y, channel, height, width, CHANNELS)
    at = grad_reference + (sample * rows * columns + pixel)[:, None] * CHANNELS + channel[None, :]
    tl.store(at, towards_reference, mask=there)
