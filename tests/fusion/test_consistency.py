import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from toolbox.fusion import average_consistent_depth, check_geometric_consistency, filter_confidence


def tensors(views):
    depths = [view.read_depth() for view in views]
    intrinsics = torch.tensor(np.stack([view.intrinsics for view in views]))
    return depths, intrinsics.float(), torch.tensor(np.stack([view.world_to_cam for view in views])).float()


def check(views, ref_depth=None, max_reprojection_px=0.5, max_relative_depth=0.01):
    """The first view against the others."""
    depths, intrinsics, cameras = tensors(views)
    ref_depth = depths[0] if ref_depth is None else ref_depth
    limits = (max_reprojection_px, max_relative_depth)
    sources = (torch.stack(depths[1:]), intrinsics[1:], cameras[1:])
    return check_geometric_consistency(ref_depth, intrinsics[0], cameras[0], *sources, *limits)


def forth_and_back(ref_depth, ref_k, ref_e, src_depth, src_k, src_e):
    """Projection into the source and back, step by step in float64: position in the source, pixel, depth."""
    height, width = ref_depth.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    point = np.linalg.inv(ref_k) @ (np.stack((x, y, np.ones_like(x))) * ref_depth.reshape(-1))
    point = (src_e @ np.linalg.inv(ref_e) @ np.vstack((point, np.ones_like(x))))[:3]
    pixel = src_k @ point
    u, v = pixel[:2] / pixel[2]
    rows, columns = src_depth.shape
    padded = np.zeros((rows + 2, columns + 2))
    padded[1:-1, 1:-1] = src_depth
    inside = (u > -1) & (u < columns) & (v > -1) & (v < rows)
    u0, v0 = np.where(inside, np.floor(u), 0).astype(int), np.where(inside, np.floor(v), 0).astype(int)
    a, b = u - u0, v - v0
    corners = [
        padded[v0 + 1 + j, u0 + 1 + i] * (a if i else 1 - a) * (b if j else 1 - b) for i in (0, 1) for j in (0, 1)
    ]
    depth = np.where(inside, sum(corners), 0)
    back = np.linalg.inv(src_k) @ (np.stack((u, v, np.ones_like(u))) * depth)
    back = (ref_e @ np.linalg.inv(src_e) @ np.vstack((back, np.ones_like(x))))[:3]
    pixel = ref_k @ back
    distance = np.hypot(pixel[0] / pixel[2] - x, pixel[1] / pixel[2] - y)
    return distance.reshape(ref_depth.shape), back[2].reshape(ref_depth.shape), (depth > 0).reshape(ref_depth.shape)


def test_golden_filter(shared):
    golden = np.load(shared / "golden" / "cvp" / "filter_depth.npz")
    t = {name: torch.from_numpy(golden[name]) for name in ("depths", "intrinsics", "extrinsics_w2c", "confidence")}
    max_px, max_relative, min_views, min_confidence = golden["thresholds"].tolist()
    for view, sources in enumerate(golden["pairs_src"]):
        cameras = (t["intrinsics"], t["extrinsics_w2c"])
        found = check_geometric_consistency(
            t["depths"][view],
            *(c[view] for c in cameras),
            t["depths"][sources],
            *(c[sources] for c in cameras),
            max_px,
            max_relative,
        )
        expected = golden["pair_mask"][view]
        assert (found.mask.numpy() == expected).mean() >= 0.999
        assert (found.count.numpy() == golden["geo_mask_sum"][view]).mean() >= 0.999
        difference = np.abs(found.reprojected_depth.numpy() - golden["depth_reprojected_raw"][view])
        assert difference[expected & found.mask.numpy()].max() < 0.03  # of 700
        averaged = average_consistent_depth(t["depths"][view], found.reprojected_depth, found.mask)
        assert np.abs(averaged.numpy() - golden["depth_averaged"][view]).max() < 0.01
        confident = filter_confidence(t["depths"][view], t["confidence"][view], min_confidence) > 0
        final = (confident & (found.count >= min_views)).numpy()
        assert (final == golden["final_mask"][view]).mean() >= 0.999


def test_closed_form_is_projection_forth_and_back(front):
    depths, _, _ = tensors(front)
    noisy = depths[0] * (1 + 0.02 * torch.randn(depths[0].shape))
    found = check(front, noisy, max_reprojection_px=0.7, max_relative_depth=0.015)
    for i, source in enumerate(front[1:]):
        distance, depth, seen = forth_and_back(
            noisy.double().numpy(),
            front[0].intrinsics,
            front[0].world_to_cam,
            depths[i + 1].double().numpy(),
            source.intrinsics,
            source.world_to_cam,
        )
        relative = np.abs(depth - noisy.numpy()) / noisy.numpy()
        np.testing.assert_allclose(found.reprojected_depth[i].numpy()[seen], depth[seen], rtol=2e-4, atol=2e-4)
        decided = (np.abs(distance - 0.7) > 1e-3) & (np.abs(relative - 0.015) > 1e-5)
        expected = seen & (distance < 0.7) & (relative < 0.015)
        assert 0.15 < expected.mean() < 0.95
        assert (found.mask[i].numpy() == expected)[decided].all()


def test_exact_depths_agree_where_both_see_the_surface(front):
    depths, _, _ = tensors(front)
    found = check(front)
    for i, source in enumerate(front[1:]):
        _, seen_depth, _ = forth_and_back(
            depths[0].numpy(),
            front[0].intrinsics,
            front[0].world_to_cam,
            depths[i + 1].numpy(),
            source.intrinsics,
            source.world_to_cam,
        )
        visible = np.abs(seen_depth / depths[0].numpy() - 1) < 2e-3
        assert visible.mean() > 0.4
        assert found.mask[i].numpy()[visible].mean() > 0.999


def test_perturbed_depths_are_refused(front):
    depths, _, _ = tensors(front)
    right, wrong = check(front), check(front, depths[0] * 1.03)
    assert right.count.float().mean() > 2
    on_plane = (depths[0] > 3).numpy()  # across the sphere's rim a wrong depth can meet the other surface
    assert wrong.mask.numpy()[:, on_plane].mean() < 0.01


def test_hidden_surface_is_refused(front):
    depths, intrinsics, cameras = tensors(front)
    # The last view against the first: the plane beside the sphere is hidden in one of them.
    found = check([front[4], front[0]])
    y, x = np.mgrid[: depths[4].shape[0], : depths[4].shape[1]]
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(front[4].intrinsics).T
    camera = rays * depths[4].numpy()[..., None]
    relative = cameras[0].double().numpy() @ np.linalg.inv(cameras[4].double().numpy())
    point = camera @ relative[:3, :3].T + relative[:3, 3]
    pixel = np.rint((point @ intrinsics[0].double().numpy().T)[..., :2] / point[..., 2:]).astype(int)
    inside = ((pixel >= 0) & (pixel < np.array(depths[0].shape[::-1]))).all(-1)
    # The farthest depth around: on the rim a mixture of both surfaces can have any depth.
    around = maximum_filter(depths[0].numpy(), size=3)
    there = around[np.where(inside, pixel[..., 1], 0), np.where(inside, pixel[..., 0], 0)]
    hidden = inside & (there < 0.9 * point[..., 2])
    assert hidden.sum() > 50
    assert not found.mask[0].numpy()[hidden].any()


def flat(ref_depth, src_depth, baseline, limits):
    """A camera of focal length 4 and its copy moved along x, both before constant depths; the mask's central pixel."""
    intrinsics = torch.tensor([[4.0, 0, 10.0], [0, 4.0, 3.0], [0, 0, 1]])
    moved = torch.eye(4)
    moved[0, 3] = -baseline
    depths = (torch.full((7, 21), ref_depth), torch.full((1, 7, 21), src_depth))
    found = check_geometric_consistency(
        depths[0], intrinsics, torch.eye(4), depths[1], intrinsics[None], moved[None], *limits
    )
    return bool(found.mask[0, 3, 10])


@pytest.mark.parametrize("limit, kept", [(0.25, False), (0.25001, True)])
def test_relative_depth_limit_is_strict(limit, kept):
    assert flat(1.0, 1.25, 0.0, (1.0, limit)) is kept


@pytest.mark.parametrize("limit, kept", [(4.0, False), (4.001, True)])
def test_reprojection_limit_is_strict(limit, kept):
    # Half the depth, seen across a baseline of one: 4 pixels of displacement.
    assert flat(1.0, 0.5, 1.0, (limit, 0.75)) is kept


def test_unknown_depth_and_points_behind_the_source_are_never_consistent(front):
    depths, intrinsics, cameras = tensors(front[:2])
    holes = depths[0].clone()
    holes[10:20] = 0
    turned = cameras[1].clone()
    turned[:3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0])) @ turned[:3]
    sources = torch.stack((depths[1], depths[1], torch.zeros_like(depths[1])))
    found = check_geometric_consistency(
        holes,
        intrinsics[0],
        cameras[0],
        sources,
        intrinsics[1].expand(3, 3, 3),
        torch.stack((cameras[1], turned, cameras[1])),
        1.0,
        0.01,
    )
    assert found.mask[0, 30:].any()
    assert not found.mask[0, 10:20].any()
    assert not found.mask[1:].any()
    averaged = average_consistent_depth(holes, found.reprojected_depth, found.mask)
    assert torch.isfinite(averaged).all()
    assert (averaged[10:20] == 0).all()


def test_beyond_a_map_is_as_zeros(front):
    depths, intrinsics, cameras = tensors(front[:2])
    cut = depths[1][:50, :60]
    padded = torch.zeros_like(depths[1])[None]
    padded[:, :50, :60] = cut
    results = [
        check_geometric_consistency(
            depths[0], intrinsics[0], cameras[0], source, intrinsics[1:], cameras[1:], 0.5, 0.01
        )
        for source in (cut[None], padded)
    ]
    assert torch.equal(results[0].mask, results[1].mask)
    assert results[0].mask.any()


def test_confidence_limit_is_strict():
    depth = torch.full((1, 3), 2.0)
    assert filter_confidence(depth, torch.tensor([[0.25, 0.5, 0.75]]), 0.5).tolist() == [[0.0, 0.0, 2.0]]
