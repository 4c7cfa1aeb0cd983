"""CVP-MVSNet with the published numerics, written as such networks usually are: the reference of the works on it.

Layout as PyTorch gives it, features anew for every reference, all warped volumes side by side, matrices inverted.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]

# Of the published training, in mm.
_INTERVAL = 6.8085
_MIN_DEPTH = 425.0


class PlainMVS:
    """Depth of a reference from its sources.

    Args:
        weights: the state of ``MultiViewStereo`` with ``configs/cvp_mvsnet/cvp_mvsnet_official.py``.
        levels: of the pyramid.
        planes: of its coarsest level; the others have 8.
    """

    training = False

    def __init__(self, weights: Weights, levels: int, planes: int = 48):
        self.weights, self.levels, self.planes = weights, levels, planes
        self.num_convs = sum(name.startswith("backbone.") and name.endswith("weight") for name in weights)

    @torch.no_grad()
    def __call__(self, images: Tensor, intrinsics: Tensor, world_to_cam: Tensor, depth_range: Tensor) -> dict:
        """(v, 3, h, w), (v, 3, 3), (v, 4, 4), (2): finest depth and confidence, (h, w)."""
        pyramids = [self._features(image[None]) for image in images]
        depth = None
        for level in reversed(range(self.levels)):
            cameras = intrinsics.clone()
            cameras[:, :2] /= 2**level
            features = torch.stack([pyramid[level][0] for pyramid in pyramids])
            hypotheses = self._hypotheses(depth, features.shape[-2:], cameras, world_to_cam, depth_range)
            volume = _variance(features, hypotheses, cameras, world_to_cam)
            probability = torch.softmax(self._regularized(volume)[0, 0], dim=0)
            depth = (probability * hypotheses).sum(0)
        return {"depth": depth, "confidence": _confidence(probability)}

    def _features(self, image: Tensor) -> list[Tensor]:
        pyramid = []
        for level in range(self.levels):
            if level:
                image = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
            x = image
            for number in range(self.num_convs):
                name = f"backbone.convs.{number}.conv"
                x = F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)
                x = F.leaky_relu(x, 0.1)
            pyramid.append(x)
        return pyramid

    def _hypotheses(self, coarser, size, cameras: Tensor, world_to_cam: Tensor, depth_range: Tensor) -> Tensor:
        if coarser is None:
            planes = torch.linspace(float(depth_range[0]), float(depth_range[1]), self.planes, device=cameras.device)
            return planes[:, None, None].expand(-1, *size)
        depth = F.interpolate(coarser[None, None], size=tuple(size), mode="bicubic", align_corners=False)[0, 0]
        interval = _depth_of_a_pixel(depth, cameras, world_to_cam).abs().mean().to(depth.dtype)
        return depth + torch.arange(-4, 4, device=depth.device)[:, None, None] * interval

    def _regularized(self, x: Tensor) -> Tensor:
        def block(x: Tensor, name: str, stride: int = 1, up: bool = False) -> Tensor:
            name = f"head.regularizer.{name}"
            weight = self.weights[f"{name}.conv.weight"]
            if up:
                x = F.conv_transpose3d(x, weight, stride=stride, padding=1, output_padding=stride - 1)
            else:
                x = F.conv3d(x, weight, stride=stride, padding=1)
            parts = ("running_mean", "running_var", "weight", "bias")
            mean, variance, *norm = [self.weights[f"{name}.norm.{part}"] for part in parts]
            if self.training:
                return F.relu(F.batch_norm(x, None, None, *norm, training=True))
            return F.relu(F.batch_norm(x, mean, variance, *norm))

        x0 = block(block(x, "conv0"), "conv0a")
        x2 = block(block(block(x0, "conv1", stride=2), "conv2"), "conv2a")
        x4 = block(block(block(x2, "conv3"), "conv4"), "conv4a")
        x6 = x0 + block(x2 + block(x4, "conv5", up=True), "conv6", stride=2, up=True)
        last = "head.regularizer.prob0"
        return F.conv3d(x6, self.weights[f"{last}.weight"], self.weights[f"{last}.bias"], padding=1)


class PlainMVSTraining(PlainMVS):
    """Its training: hypotheses at the published interval, batch statistics.

    Attributes:
        weights: those that are trained require gradients.
    """

    training = True

    def __init__(self, weights: Weights, trained: Iterable[str], levels: int):
        trained = set(trained)
        weights = {name: value.detach().clone().requires_grad_(name in trained) for name, value in weights.items()}
        super().__init__(weights, levels)

    def supervised_loss(self, inputs: tuple[Tensor, ...], truth: Tensor) -> Tensor:
        """Inputs as of ``depths``, and (b, h, w): the loss, a scalar."""
        total = 0
        for _, depth, _ in self.depths(*inputs):
            size = tuple(depth.shape[-2:])
            target = F.interpolate(truth[:, None], size=size, mode="bicubic", align_corners=False, antialias=True)[:, 0]
            known = target > _MIN_DEPTH
            total = total + F.smooth_l1_loss(depth[known], target[known])
        return total

    def depths(
        self, images: Tensor, intrinsics: Tensor, world_to_cam: Tensor, depth_range: Tensor
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(b, v, 3, h, w), (b, v, 3, 3), (b, v, 4, 4), (b, 2): levels, coarsest first, their depth and intrinsics."""
        pyramids = [self._features(image) for image in images.unbind(1)]
        depth = None
        for level in reversed(range(self.levels)):
            cameras = intrinsics.clone()
            cameras[:, :, :2] /= 2**level
            features = torch.stack([pyramid[level] for pyramid in pyramids], dim=1)
            size = tuple(features.shape[-2:])
            if depth is None:
                planes = torch.linspace(*depth_range[0].tolist(), self.planes, device=cameras.device)
                hypotheses = planes[None, :, None, None].expand(len(images), -1, *size)
            else:
                depth = F.interpolate(depth[:, None], size=size, mode="bicubic", align_corners=False)
                hypotheses = depth + torch.arange(-4, 4, device=depth.device)[None, :, None, None] * _INTERVAL
            samples = zip(features, hypotheses.detach(), cameras, world_to_cam, strict=True)
            volume = torch.cat([_variance(*sample) for sample in samples])
            depth = (torch.softmax(self._regularized(volume)[:, 0], dim=1) * hypotheses).sum(1)
            yield level, depth, cameras


def projection(cameras: Tensor, world_to_cam: Tensor, view: int) -> Tensor:
    """(4, 4): reference pixels times depth -> source pixels times depth."""

    def full(i: int) -> Tensor:
        matrix = torch.eye(4, dtype=torch.float64, device=cameras.device)
        matrix[:3] = cameras[i].double() @ world_to_cam[i, :3].double()
        return matrix

    return full(view) @ torch.inverse(full(0))


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """(3, height * width): homogeneous."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x.reshape(-1), y.reshape(-1), torch.ones(height * width))).to(like)


def _depth_of_a_pixel(depth: Tensor, cameras: Tensor, world_to_cam: Tensor) -> Tensor:
    """Depth change that moves the projection into the first source one pixel to the right along its epipolar line.

    The two rays' crossing, by a 2 x 2 system for each pixel.
    """
    height, width = depth.shape
    grid = pixels(height, width, depth.double())
    matrix = projection(cameras, world_to_cam, 1)
    rays, offset = matrix[:3, :3] @ grid, matrix[:3, 3:]
    depth = depth.reshape(-1).double()
    near = rays * depth + offset
    far = rays * (1.001 * depth) + offset
    start, other = near[:2] / near[2:], far[:2] / far[2:]
    direction = (other - start) / (other - start).norm(dim=0, keepdim=True)
    target = start + torch.where(direction[:1] < 0, -direction, direction)
    # rays d + offset = z (target, 1): two unknowns, d and z, and the two rows of x and of z.
    row = torch.where(direction[0].abs() > direction[1].abs(), 0, 1)
    along = rays.gather(0, row[None])[0], offset[row, 0], target.gather(0, row[None])[0]
    system = torch.stack(
        (torch.stack((along[0], -along[2]), -1), torch.stack((rays[2], -torch.ones_like(depth)), -1)), -2
    )
    right = torch.stack((-along[1], -offset[2].expand_as(depth)), -1)
    return (torch.inverse(system) @ right[..., None])[:, 0, 0] - depth


def _variance(features: Tensor, hypotheses: Tensor, cameras: Tensor, world_to_cam: Tensor) -> Tensor:
    """(1, c, d, h, w): of the reference and all warped sources, with the published aliasing of its sum."""
    channels, (planes, height, width) = features.shape[1], hypotheses.shape
    warped = []
    for view in range(1, len(features)):
        matrix = projection(cameras, world_to_cam, view).to(features.dtype)
        rays = matrix[:3, :3] @ pixels(height, width, features)
        points = rays[:, None] * hypotheses.reshape(1, planes, -1) + matrix[:3, 3, None, None]
        x, y = points[0] / points[2], points[1] / points[2]
        grid = torch.stack((x / ((width - 1) / 2) - 1, y / ((height - 1) / 2) - 1), dim=-1)
        sampled = F.grid_sample(features[view][None], grid[None], align_corners=False)
        warped.append(sampled.reshape(1, channels, planes, height, width))
    reference = features[0][None, :, None].expand(-1, -1, planes, -1, -1).contiguous()
    volumes = torch.stack(warped)
    total = reference**2 + volumes.sum(0)
    squares = reference**2 + (volumes**2).sum(0)
    return squares / len(features) - (total / len(features)) ** 2


def _confidence(probability: Tensor) -> Tensor:
    """Probability of the four hypotheses around the expected index."""
    planes = len(probability)
    index = (probability * torch.arange(planes, device=probability.device)[:, None, None]).sum(0).long()
    padded = F.pad(probability, (0, 0, 0, 0, 1, 2))
    return sum(padded.gather(0, (index + k).clamp(max=planes + 2)[None])[0] for k in range(4))
