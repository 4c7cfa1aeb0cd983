"""Source poses moved until the reference's depth explains the images: for poses that are only nearly right."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.geometry import invert_rigid, rigid_motion, warp_to_reference
from toolbox.models.losses.photometric import weighted_error
from toolbox.registry import MODELS

POSE_ERRORS = {"l1": 0.15, "gradient": 0.5, "ssim": 0.85}
"""What poses are told by, unless a config says otherwise."""


@MODELS.register_module()
class PhotometricPoseRefiner(nn.Module):
    """Refines each source's pose relative to the reference, by the photometric error that the estimated depth leaves.

    Depth and poses take turns: the network estimates depth on a coarse grid, the poses are moved a little (six degrees
    of freedom per source, L-BFGS), and again. A rotation shifts the whole image and a wrong depth does not, which is
    what tells them apart. The scale is held by a prior on the motion. The reference stays where it is.

    Args:
        rounds: how often depth and poses take turns before the final depth is estimated.
        max_size: the longer side of the grid on which they do, at most; one level of the pyramid.
        rotation: standard deviation of the prior, radians.
        translation: standard deviation of the prior, in median depths of the reference.
        prior: its weight against the photometric error.
        errors: photometric errors by name, see ``toolbox.models.losses.photometric``.
        iterations: of L-BFGS in each round.
    """

    def __init__(
        self,
        rounds: int = 2,
        max_size: int = 160,
        rotation: float = 0.01,
        translation: float = 0.005,
        prior: float = 0.002,
        errors: dict[str, float] | None = None,
        iterations: int = 15,
    ):
        super().__init__()
        self.rounds, self.max_size, self.iterations = rounds, max_size, iterations
        self.rotation, self.translation, self.prior = rotation, translation, prior
        self.errors = dict(errors or POSE_ERRORS)

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        depth: Float[Tensor, "b h w"],
        intrinsics: Float[Tensor, "b v 3 3"],
        world_to_cam: Float[Tensor, "b v 4 4"],
    ) -> Float[Tensor, "b v 4 4"]:
        """The poses, those of the sources refined.

        Args:
            images, intrinsics: on the grid of the depth map, view 0 the reference.
            depth: of the reference.
        """
        samples = zip(images.float(), depth.float(), intrinsics.float(), world_to_cam, strict=True)
        # One sample at a time: a sample's result must not depend on what else is in its batch.
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            return torch.stack([self._refine(*sample) for sample in samples])

    def _refine(
        self,
        images: Float[Tensor, "v 3 h w"],
        depth: Float[Tensor, "h w"],
        intrinsics: Float[Tensor, "v 3 3"],
        world_to_cam: Float[Tensor, "v 4 4"],
    ) -> Float[Tensor, "v 4 4"]:
        sources = len(images) - 1
        reference = images[:1].expand(sources, -1, -1, -1)
        ref_to_source = (world_to_cam[1:] @ invert_rigid(world_to_cam[:1])).float()
        known = depth[depth > 0]
        if not len(known):
            return world_to_cam
        scale = depth.new_tensor([self.rotation] * 3 + [self.translation] * 3)
        scale[3:] *= known.median()
        # In standard deviations of the prior.
        motion = torch.zeros(sources, 6, device=depth.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([motion], max_iter=self.iterations, line_search_fn="strong_wolfe")

        def cost() -> Tensor:
            optimizer.zero_grad()
            error, shared = pair_errors(
                reference,
                depth.expand(sources, -1, -1),
                intrinsics[:1].expand(sources, -1, -1),
                images[1:],
                intrinsics[1:],
                rigid_motion(motion * scale) @ ref_to_source,
                self.errors,
            )
            total = (error / shared.clamp(min=1)).sum() + self.prior * motion.square().sum()
            total.backward()
            return total

        optimizer.step(cost)
        moved = rigid_motion(motion.detach() * scale).to(world_to_cam) @ world_to_cam[1:]
        return torch.cat((world_to_cam[:1], moved))


def pair_errors(
    references: Float[Tensor, "n 3 h w"],
    depth: Float[Tensor, "n h w"],
    ref_intrinsics: Float[Tensor, "n 3 3"],
    sources: Float[Tensor, "n 3 h w"],
    src_intrinsics: Float[Tensor, "n 3 3"],
    ref_to_source: Float[Tensor, "n 4 4"],
    errors: dict[str, float],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Photometric error that the references' depth leaves in each pair of views, with gradients to ``ref_to_source``.

    Args:
        references, sources: colours in [0, 1].
        depth: of the references, 0 where unknown.
        errors: by name, see ``toolbox.models.losses.photometric``.

    Returns:
        Sum of the errors over the pixels that both views see, and the number of these.
    """
    eye = torch.eye(4, dtype=ref_to_source.dtype, device=depth.device).expand(len(depth), 4, 4)
    warped, valid = warp_to_reference(sources, depth[:, None], ref_intrinsics, eye, src_intrinsics, ref_to_source)
    error, seen = weighted_error(warped[:, :, 0], references, valid[:, 0], errors)
    seen = seen & (depth > 0)
    total = torch.where(seen, error, torch.zeros_like(error)).sum(dim=(1, 2))
    return total, seen.sum(dim=(1, 2)).to(total.dtype)
