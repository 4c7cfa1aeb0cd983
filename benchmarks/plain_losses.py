"""The unsupervised losses of ``configs/self_cvp_mvsnet/unsup_cvp_mvsnet.py``, written as they usually are."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .plain_mvs import PlainMVSTraining, pixels, projection


def unsupervised_loss(network: PlainMVSTraining, images: Tensor, *cameras: Tensor) -> Tensor:
    """Arguments as of ``PlainMVSTraining.depths``: the loss, a scalar."""
    total, world_to_cam = 0, cameras[1]
    for level, depth, intrinsics in network.depths(images, *cameras):
        resized = _resized(images.flatten(0, 1), level).unflatten(0, images.shape[:2])
        total = total + _level_loss(resized, depth, intrinsics, world_to_cam)
    return total


def _level_loss(images: Tensor, depth: Tensor, cameras: Tensor, world_to_cam: Tensor) -> Tensor:
    """(b, v, 3, h, w), (b, h, w), (b, v, 3, 3), (b, v, 4, 4): colour, SSIM and smoothness."""
    reference, colours, similarities = images[:, 0], [], []
    for view in range(1, images.shape[1]):
        samples = zip(images[:, view], depth, cameras, world_to_cam, strict=True)
        warped, valid = (torch.stack(parts) for parts in zip(*(_warped(view, *s) for s in samples), strict=True))
        colours.append(_colour_error(warped, reference, valid))
        similarities.append(_dissimilarity(warped, reference, valid))
    return 36 * _best(colours, 3) + 12 * _best(similarities, 2) + 0.05 * _roughness(depth, reference)


def _resized(image: Tensor, level: int) -> Tensor:
    """(n, 3, h, w): half the size for each level, pixel i at pixel 2 i."""
    taps = torch.tensor([1.0, 2.0, 1.0], device=image.device)
    taps = (torch.outer(taps, taps) / 16)[None, None].repeat(3, 1, 1, 1)
    for _ in range(level):
        image = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), taps, stride=2, groups=3)
    return image


def _warped(view: int, image: Tensor, depth: Tensor, cameras: Tensor, world_to_cam: Tensor) -> tuple[Tensor, Tensor]:
    height, width = depth.shape
    matrix = projection(cameras, world_to_cam, view).to(depth.dtype)
    points = (matrix[:3, :3] @ pixels(height, width, depth)) * depth.reshape(1, -1) + matrix[:3, 3:]
    x, y = points[0] / points[2], points[1] / points[2]
    grid = torch.stack((x / ((width - 1) / 2) - 1, y / ((height - 1) / 2) - 1), dim=-1).reshape(height, width, 2)
    warped = F.grid_sample(image[None], grid[None], align_corners=True)[0]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1) & (points[2] > 0)
    return warped, inside.reshape(height, width)


def _colour_error(warped: Tensor, reference: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pixel and of its differences to the right and downwards."""
    colour = F.smooth_l1_loss(warped, reference, reduction="none").mean(1)
    error = warped - reference
    across, down = error[..., :-1, 1:] - error[..., :-1, :-1], error[..., 1:, :-1] - error[..., :-1, :-1]
    gradient = F.smooth_l1_loss(across, torch.zeros_like(across), reduction="none").mean(1)
    gradient = gradient + F.smooth_l1_loss(down, torch.zeros_like(down), reduction="none").mean(1)
    known = valid[:, :-1, :-1] & valid[:, :-1, 1:] & valid[:, 1:, :-1]
    return 0.5 * colour + 0.5 * F.pad(gradient, (0, 1, 0, 1)), F.pad(known, (0, 1, 0, 1))


def _dissimilarity(warped: Tensor, reference: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - SSIM) / 2 in windows of 3 x 3."""
    x, y = (F.pad(image, (1, 1, 1, 1), mode="reflect") for image in (warped, reference))

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 3, stride=1)

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    similarity = similarity / ((mean_x**2 + mean_y**2 + 1e-4) * (variances + 9e-4))
    windows = -F.max_pool2d(-valid.to(x.dtype)[:, None], 3, stride=1, padding=1)[:, 0]
    return ((1 - similarity) / 2).clamp(0, 1).mean(1), windows > 0


def _best(errors: list[tuple[Tensor, Tensor]], number: int) -> Tensor:
    """Mean over the pixels of the mean over a pixel's best sources."""
    values, known = (torch.stack(parts) for parts in zip(*errors, strict=True))
    values, order = values.masked_fill(~known, torch.inf).topk(min(number, len(errors)), dim=0, largest=False)
    known = known.gather(0, order)
    mean = values.masked_fill(~known, 0).sum(0) / known.sum(0).clamp(min=1)
    return mean.sum() / known.any(0).sum().clamp(min=1)


def _roughness(depth: Tensor, image: Tensor) -> Tensor:
    inverse = 1 / depth
    inverse = inverse / inverse.mean((1, 2), keepdim=True)
    across = inverse.diff(dim=2).abs() * torch.exp(-image.diff(dim=3).abs().mean(1))
    down = inverse.diff(dim=1).abs() * torch.exp(-image.diff(dim=2).abs().mean(1))
    return (across[:, :-1] + down[:, :, :-1]).mean()
