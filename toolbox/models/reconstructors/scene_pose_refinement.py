"""All poses of a scene moved until one surface explains its images: for poses that are only nearly right."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from toolbox.geometry import invert_rigid, rigid_motion

from .pose_refinement import POSE_ERRORS, pair_errors

# Pixels that are warped at a time, which bounds the memory.
_PIXELS_AT_ONCE = 1_200_000
# A pair that shares less of the image than this counts for less.
_LEAST_SHARED = 0.1


@dataclass(frozen=True)
class PoseRefinementSettings:
    """How far poses may move, and how they are found.

    Attributes:
        rotation: standard deviation of the prior on a view's motion, radians.
        translation: the same, in median depths of the scene.
        prior: its weight against the photometric error.
        errors: photometric errors by name, see ``toolbox.models.losses.photometric``.
        steps: of Adam.
        learning_rate: of the first half of the steps, in standard deviations; then it falls linearly.
    """

    rotation: float = 0.01
    translation: float = 0.005
    prior: float = 0.002
    errors: dict[str, float] = field(default_factory=lambda: dict(POSE_ERRORS))
    steps: int = 50
    learning_rate: float = 0.1


class ScenePoseRefinement:
    """Poses of all views at once, by the photometric error that the depth of a surface leaves between views.

    The depth of a surface averaged over many views is better than any pose that it was made with. Held fixed, it tells
    how each view has to move: every view is compared with one of its partners in each step, chosen at random, and six
    numbers per view are found by Adam. A prior keeps views near the given poses, and so the scale.

    The same idea as Zhou and Koltun: Color map optimization for 3D reconstruction with consumer depth cameras
    (SIGGRAPH 2014), between views instead of against colours of vertices.

    Args:
        images: of all views, on one grid.
        depth: of the surface from each view, 0 where there is none.
        intrinsics, world_to_cam: of the views, on that grid.
        partners: for each view the numbers of those that it is compared with.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "v 3 h w"],
        depth: Float[Tensor, "v h w"],
        intrinsics: Float[Tensor, "v 3 3"],
        world_to_cam: Float[Tensor, "v 4 4"],
        partners: Sequence[Sequence[int]],
        settings: PoseRefinementSettings,
    ):
        self.images, self.depth, self.intrinsics = images, depth.float(), intrinsics.double()
        self.given, self.settings = world_to_cam.double(), settings
        self.partners = [list(row) for row in partners]
        self.compared = [i for i, row in enumerate(self.partners) if row and bool((depth[i] > 0).any())]
        known = self.depth[self.depth > 0]
        scale = [settings.rotation] * 3 + [settings.translation * float(known.median()) if len(known) else 0.0] * 3
        self.scale = torch.tensor(scale, dtype=torch.float64, device=depth.device)
        self.motion = torch.zeros(len(images), 6, dtype=torch.float64, device=depth.device, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.motion], lr=settings.learning_rate, betas=(0.8, 0.95))
        self.steps_done = 0

    def step(self) -> float:
        """One step; returns the mean photometric error of the views compared (0 if there are none)."""
        rate = min(1.0, 2 * (1 - self.steps_done / self.settings.steps) + 0.02)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate
        # Of the step alone, so that a run that was interrupted goes on as it would have.
        generator = torch.Generator().manual_seed(self.steps_done)
        picked = torch.rand(len(self.compared), generator=generator).tolist()
        pairs = [
            (i, self.partners[i][int(p * len(self.partners[i]))]) for i, p in zip(self.compared, picked, strict=True)
        ]
        self.optimizer.zero_grad()
        at_once = max(1, _PIXELS_AT_ONCE // self.depth[0].numel())
        error = sum(self._accumulate(pairs[k : k + at_once]) for k in range(0, len(pairs), at_once))
        (self.settings.prior * self.motion.square().sum()).backward()
        self.optimizer.step()
        self.steps_done += 1
        return float(error) / max(len(pairs), 1)

    def _accumulate(self, pairs: list[tuple[int, int]]) -> float:
        """Adds the pairs' gradients to that of the motion; returns the sum of their errors."""
        references, sources = torch.tensor(pairs, device=self.depth.device).unbind(dim=1)
        moved = self._moved()
        error, shared = pair_errors(
            self.images[references].float() / 255,
            self.depth[references],
            self.intrinsics[references],
            self.images[sources].float() / 255,
            self.intrinsics[sources],
            moved[sources] @ invert_rigid(moved[references]),
            self.settings.errors,
        )
        total = (error / shared.clamp(min=_LEAST_SHARED * self.depth[0].numel())).sum()
        total.backward()
        return float(total.detach())

    def _moved(self) -> Float[Tensor, "v 4 4"]:
        return rigid_motion(self.motion * self.scale) @ self.given

    @torch.no_grad()
    def poses(self) -> Float[Tensor, "v 4 4"]:
        """world_to_cam of all views as far as they are found."""
        return self._moved()

    @torch.no_grad()
    def moved_by(self) -> tuple[Float[Tensor, " v"], Float[Tensor, " v"]]:
        """How far each view was turned (degrees) and moved (in the scene's unit)."""
        motion = self.motion * self.scale
        return motion[:, :3].norm(dim=1).rad2deg(), motion[:, 3:].norm(dim=1)

    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from."""
        return {
            "steps_done": self.steps_done,
            "motion": self.motion.detach().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self.steps_done = state["steps_done"]
        with torch.no_grad():
            self.motion.copy_(state["motion"])
        self.optimizer.load_state_dict(state["optimizer"])
