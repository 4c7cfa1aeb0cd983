"""Poses of a whole scene are moved back by the images and a right surface."""

import pytest
import torch

from toolbox.datasets.synthetic import render_tabletop
from toolbox.geometry import project, rigid_motion, transform_points, unproject
from toolbox.models.reconstructors import PoseRefinementSettings, ScenePoseRefinement

VIEWS = 5
PARTNERS = [[j for j in range(VIEWS) if j != i] for i in range(VIEWS)]


@pytest.fixture(scope="module")
def scene() -> dict[str, torch.Tensor]:
    tabletop = render_tabletop(seed=4, views=VIEWS, size=(96, 128))
    return {
        "images": torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in tabletop.images]),
        "depth": torch.stack([torch.from_numpy(depth) for depth in tabletop.depths]).float(),
        "intrinsics": torch.stack([torch.as_tensor(k) for k in tabletop.intrinsics]).double(),
        "world_to_cam": torch.stack([torch.as_tensor(pose) for pose in tabletop.world_to_cam]).double(),
    }


def disturbed(world_to_cam: torch.Tensor) -> torch.Tensor:
    """Each view turned by 0.3 degrees and moved by 2 mm, about and along another axis."""
    motion = torch.zeros(VIEWS, 6, dtype=torch.float64)
    motion[torch.arange(VIEWS), torch.tensor([0, 1, 2, 1, 0])] = 0.3 * torch.pi / 180
    motion[torch.arange(VIEWS), torch.tensor([4, 5, 3, 3, 5])] = 2.0
    return rigid_motion(motion) @ world_to_cam


def displacement(scene: dict[str, torch.Tensor], poses: torch.Tensor) -> float:
    """Mean distance, in pixels of the other view, from where a view's surface falls to where it should."""
    distances = []
    for i, partners in enumerate(PARTNERS):
        points = unproject(scene["depth"][i].double(), scene["intrinsics"][i]).reshape(-1, 3)
        points = points[scene["depth"][i].flatten() > 0]
        for j in partners:
            pixels = [
                project(transform_points(p[j] @ torch.linalg.inv(p[i]), points), scene["intrinsics"][j])[0]
                for p in (scene["world_to_cam"], poses)
            ]
            distances.append((pixels[0] - pixels[1]).norm(dim=-1).mean())
    return float(torch.stack(distances).mean())


def refinement(scene: dict[str, torch.Tensor], poses: torch.Tensor, **settings: float) -> ScenePoseRefinement:
    options = PoseRefinementSettings(**{"steps": 60, **settings})
    return ScenePoseRefinement(scene["images"], scene["depth"], scene["intrinsics"], poses, PARTNERS, options)


def test_disturbed_poses_are_found_again(scene):
    wrong = disturbed(scene["world_to_cam"])
    found = refinement(scene, wrong)
    errors = [found.step() for _ in range(60)]
    before, after = displacement(scene, wrong), displacement(scene, found.poses())
    assert after < 0.2 * before and after < 0.2, (before, after)
    assert sum(errors[-10:]) < 0.75 * sum(errors[:10])
    turned, moved = found.moved_by()
    assert turned.shape == moved.shape == (VIEWS,) and 0.05 < turned.mean() < 0.6 and moved.max() < 5


def test_right_poses_stay(scene):
    found = refinement(scene, scene["world_to_cam"])
    for _ in range(60):
        found.step()
    assert displacement(scene, found.poses()) < 0.1


def test_an_interrupted_run_goes_on_as_it_would_have(scene):
    wrong = disturbed(scene["world_to_cam"])
    whole, first, second = (refinement(scene, wrong, steps=6) for _ in range(3))
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    second.load_state_dict(first.state_dict())
    first.step()  # what was saved does not change with it
    for _ in range(3):
        second.step()
    assert torch.equal(whole.poses(), second.poses())


def test_views_that_nothing_tells_about_stay(scene):
    wrong = disturbed(scene["world_to_cam"])
    depth = torch.zeros_like(scene["depth"])
    blind = ScenePoseRefinement(
        scene["images"], depth, scene["intrinsics"], wrong, PARTNERS, PoseRefinementSettings(steps=2)
    )
    assert blind.step() == 0.0 and torch.equal(blind.poses(), wrong)
    depth[0] = scene["depth"][0]
    partners = [[1], [], [], [], []]
    two = ScenePoseRefinement(
        scene["images"], depth, scene["intrinsics"], wrong, partners, PoseRefinementSettings(steps=2)
    )
    assert two.compared == [0] and two.step() > 0
    assert torch.equal(two.poses()[2:], wrong[2:]) and not torch.equal(two.poses()[:2], wrong[:2])
