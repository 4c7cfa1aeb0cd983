"""A source's features at depth hypotheses of the reference, a rectangle of pixels at a time."""

from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .cameras import relative_projection

_BORDER_TOLERANCE = 1e-6  # of half an image
_FAR_OUTSIDE = -1e6


class Positions(NamedTuple):
    """Where points fall in the source: its array's columns x and rows y, counted from the middle one.

    Counted so, float32 is finest in the middle of an image; whole parts and fractions are not changed by it.
    """

    x: Float[Tensor, "b d h w"]
    y: Float[Tensor, "b d h w"]
    in_front: Bool[Tensor, "b d h w"] | None  # None where nobody asks


class PlaneSweep:
    """Samples a source view where the reference's pixels fall at given depths; zeros outside the source.

    What does not depend on the depth is computed once. No gradient flows into cameras or depths.

    Args:
        source: features of the source view.
        ref_intrinsics, src_intrinsics: of the reference's and the source's resolution here.
        dtype: in which positions and samples are computed.
        align_corners, keep_behind: see ``warp_to_reference``.
    """

    def __init__(
        self,
        source: Float[Tensor, "b c hs ws"],
        ref_intrinsics: Float[Tensor, "b 3 3"],
        ref_world_to_cam: Float[Tensor, "b 4 4"],
        src_intrinsics: Float[Tensor, "b 3 3"],
        src_world_to_cam: Float[Tensor, "b 4 4"],
        dtype: torch.dtype = torch.float32,
        align_corners: bool = True,
        keep_behind: bool = False,
    ):
        self.source, self.size = source.to(dtype), tuple(source.shape[-2:])
        self.align_corners, self.keep_behind = align_corners, keep_behind
        matrix, offset = relative_projection(
            ref_intrinsics.double(), ref_world_to_cam, src_intrinsics.double(), src_world_to_cam
        )
        to_array = self._pixel_to_array(matrix)
        self.matrix, self.offset = (to_array @ matrix).to(dtype), (offset @ to_array.T).to(dtype)
        self.gathers, self.table = _gathers(self.source), None

    def __call__(
        self, depth: Float[Tensor, "b d h w"], corner: tuple[int, int] = (0, 0), with_valid: bool = True
    ) -> tuple[Float[Tensor, "b c d h w"], Bool[Tensor, "b d h w"] | None]:
        """The source's features at some pixels of the reference, and where they are valid (None unless asked for).

        Valid is what lies inside the source and in front of its camera. Features behind it are 0 unless kept.

        Args:
            depth: hypotheses of a rectangle of reference pixels.
            corner: row and column of its top-left pixel.
        """
        positions = self._positions(depth, corner, with_valid)
        valid = self._valid(positions) if with_valid else None
        if self.gathers and self.table is None:
            # As large as the source, which is not needed any more.
            self.table, self.source = _table(self.source), None
        sample = self._gathered if self.gathers else self._interpolated
        return sample(positions), valid

    @cached_property
    def camera(self) -> Float[Tensor, "b 16"]:
        """Where the source shows the reference's pixels, in sixteen numbers.

        Nine of the matrix, row by row, and three of the offset: a depth d of the pixel (u, v) is at column x / z and
        row y / z, counted from the middle ones, with (x, y, z) = matrix @ (u, v, 1) * d + offset. Then the lowest and
        the highest column, and row, that lie inside.
        """
        ranges = self.offset.new_tensor([end for ends in self.valid_ranges() for end in ends])
        return torch.cat((self.matrix.flatten(1), self.offset, ranges.expand(len(self.offset), -1)), dim=1)

    @cached_property
    def pixels(self) -> Float[Tensor, "b hs ws c"]:
        """The source's features, contiguous: those of a pixel stay together."""
        return self.source.permute(0, 2, 3, 1).contiguous()

    def valid_ranges(self) -> list[tuple[float, float]]:
        """The columns and the rows, lowest and highest, counted from the middle one, that lie inside the source."""
        to_array, ranges = self._pixel_to_array(torch.empty(0, dtype=self.offset.dtype)), []
        for axis in range(2):
            last = self.size[1 - axis] - 1
            tolerance = _BORDER_TOLERANCE * max(last, 1) / 2
            low, high = (
                (to_array[axis, axis] * end + to_array[axis, 2]).item() for end in (-tolerance, last + tolerance)
            )
            ranges.append((low, high))
        return ranges

    def _pixel_to_array(self, like: Tensor) -> Float[Tensor, "3 3"]:
        """Pixel positions -> columns and rows of the array, from its middle one; see ``sample_at_pixels``."""
        (height, width), stretch, shift = self.size, (1.0, 1.0), 0.0
        if not self.align_corners:
            stretch, shift = (height / max(height - 1, 1), width / max(width - 1, 1)), -0.5
        return like.new_tensor(
            [[stretch[1], 0, shift - width // 2], [0, stretch[0], shift - height // 2], [0, 0, 1]],
        )

    def _positions(self, depth: Float[Tensor, "b d h w"], corner: tuple[int, int], with_valid: bool) -> Positions:
        rows, columns = (
            torch.arange(first, first + number, dtype=depth.dtype, device=depth.device)
            for first, number in zip(corner, depth.shape[-2:], strict=True)
        )
        m, t = self.matrix[..., None, None], self.offset[..., None, None, None]
        x, y, z = (
            torch.addcmul(t[:, k], (m[:, k, 0] * columns + (m[:, k, 1] * rows[:, None] + m[:, k, 2]))[:, None], depth)
            for k in range(3)
        )
        asked = with_valid or not self.keep_behind
        in_front = z > 1e-6 * depth.abs().clamp(min=1e-12) if asked else None
        x, y = x.div_(z), y.div_(z)
        if self.keep_behind:
            return Positions(*(p.nan_to_num_(_FAR_OUTSIDE, -_FAR_OUTSIDE, _FAR_OUTSIDE) for p in (x, y)), in_front)
        behind = ~in_front
        return Positions(x.masked_fill_(behind, _FAR_OUTSIDE), y.masked_fill_(behind, _FAR_OUTSIDE), in_front)

    def _valid(self, positions: Positions) -> Bool[Tensor, "b d h w"]:
        valid = positions.in_front
        for position, (low, high) in zip(positions[:2], self.valid_ranges(), strict=True):
            valid = valid & (position >= low) & (position <= high)
        return valid

    def _interpolated(self, positions: Positions) -> Float[Tensor, "b c d h w"]:
        """By ``grid_sample``, which without aligned corners spans [-0.5, size - 0.5] of the array by [-1, 1]."""
        height, width = self.size
        x, y = (2 * positions.x + (1 - width % 2)) / width, (2 * positions.y + (1 - height % 2)) / height
        batch, planes, rows, columns = x.shape
        grid = torch.stack((x, y), dim=-1).reshape(batch, planes * rows, columns, 2)
        return F.grid_sample(self.source, grid, align_corners=False).unflatten(2, (planes, rows))

    def _gathered(self, positions: Positions) -> Float[Tensor, "b c d h w"]:
        """Weighted sums of four rows of the table: channels stay together, and so does the cost volume's memory."""
        (height, width), batch = self.size, len(positions.x)
        x, y = (
            p.clamp_(-1 - size // 2, size - size // 2) for p, size in zip(positions[:2], (width, height), strict=True)
        )
        left, top = x.floor(), y.floor()
        x, y = x.sub_(left), y.sub_(top)
        last = x * y
        weights = torch.stack((1 - x - y + last, x - last, y - last, last), dim=-1)
        first = torch.add(left.int(), top.int(), alpha=width + 1)
        samples = torch.arange(batch, dtype=torch.int32, device=x.device)[:, None, None, None]
        first += samples * ((height + 4) * (width + 1)) + ((height // 2 + 1) * (width + 1) + width // 2 + 1)
        corners = torch.tensor([0, 1, width + 1, width + 2], dtype=torch.int32, device=x.device)
        features = F.embedding_bag(
            (first[..., None] + corners).reshape(-1, 4),
            self.table,
            mode="sum",
            per_sample_weights=weights.reshape(-1, 4),
        )
        return features.reshape(*x.shape, -1).permute(0, 4, 1, 2, 3)


def _table(source: Float[Tensor, "b c hs ws"]) -> Float[Tensor, "n c"]:
    """A row of channels for each pixel; what lies one beyond the borders is a row of zeros.

    One column of zeros is enough: beyond the last column comes the next row's, which takes one row more at the end.
    """
    batch, channels, height, width = source.shape
    # Not by F.pad, which writes the inner part twice.
    table = source.new_empty(batch, height + 4, width + 1, channels)
    for border in (table[:, :1], table[:, -3:], table[:, :, :1]):
        border.zero_()
    table[:, 1:-3, 1:] = source.permute(0, 2, 3, 1)
    return table.flatten(0, 2)


def _gathers(source: Tensor) -> bool:
    """Whether to sample by gathering: on a CPU twice as fast as ``grid_sample``, whose backward is the faster one."""
    learns = torch.is_grad_enabled() and source.requires_grad
    return source.device.type == "cpu" and source.dtype == torch.float32 and not learns
