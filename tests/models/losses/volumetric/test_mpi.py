"""Terms of rendered views: published numbers, gradients, the right depth as a minimum."""

import pytest
import torch
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import invert_rigid
from toolbox.models.heads import render_pair
from toolbox.models.losses.volumetric import (
    edge_disparity_map,
    log_disparity_map,
    smooth_disparity_map,
    sobel_gradients,
    ssim_map,
)
from toolbox.registry import LOSSES
from toolbox.structures import FragmentBatch, RenderedPair, RenderedView, SparseTSDF, VolumetricPrediction

TERMS = {
    ("MPIColourLoss", "source"): "loss_rgb_src",
    ("MPIColourLoss", "target"): "loss_rgb_tgt",
    ("MPISSIMLoss", "source"): "loss_ssim_src",
    ("MPISSIMLoss", "target"): "loss_ssim_tgt",
    ("MPIDisparityLoss", "source"): "loss_depth_src",
    ("MPIDisparityLoss", "target"): "loss_depth_tgt",
    ("MPISmoothnessLoss", "source"): "loss_smooth_src_v2",
    ("MPISmoothnessLoss", "target"): "loss_smooth_tgt_v2",
    ("MPIEdgeLoss", "target"): "loss_smooth_tgt",
}


@pytest.fixture(scope="module")
def golden_mpi(shared) -> dict:
    return torch.load(shared / "golden/msr/mpi.pt", weights_only=True)


@pytest.fixture(scope="module")
def published_pair(golden_mpi) -> RenderedPair:
    """The source and the target of the golden, rendered."""
    golden = golden_mpi["mpi_loss"]
    views = [golden["src_idx"], golden["tgt_idx"]]
    points = [
        (torch.zeros(len(golden[f"{name}_xy"]), dtype=torch.int64), golden[f"{name}_xy"].round().long(), depth)
        for name, depth in (("src", golden["src_depth"]), ("tgt", golden["tgt_depth"]))
    ]
    return render_pair(
        golden["mpi"],
        golden["disparity"],
        golden["imgs"][:, views] / 255,
        golden["intrinsics"][:, views],
        invert_rigid(golden["extrinsics"][:, views]),
        points,
    )


def empty_volume() -> SparseTSDF:
    return SparseTSDF(torch.zeros(0, 4, dtype=torch.int32), torch.zeros(0), 0.04, torch.zeros(1, 3))


BATCH = FragmentBatch(
    torch.zeros(1, 2, 3, 4, 5),
    torch.eye(3).expand(1, 2, 3, 3),
    torch.eye(4).expand(1, 2, 4, 4),
    torch.zeros(1, 3),
    torch.eye(4).expand(1, 4, 4),
)


def predicted(pair: RenderedPair) -> VolumetricPrediction:
    return VolumetricPrediction([], empty_volume(), outputs={"mpi": pair})


def test_scale_is_the_published_one(golden_mpi, published_pair):
    torch.testing.assert_close(published_pair.scale, golden_mpi["mpi_loss"]["scale_factor"], rtol=1e-4, atol=0)


@pytest.mark.parametrize(("loss", "view"), TERMS)
def test_terms_are_the_published_ones(golden_mpi, published_pair, loss, view):
    value = LOSSES.build({"type": loss, "views": (view,)})(predicted(published_pair), BATCH)
    torch.testing.assert_close(value, golden_mpi["mpi_loss"]["loss_dict"][TERMS[loss, view]], rtol=1e-3, atol=0)


def test_default_weights_give_the_published_sum(golden_mpi, published_pair):
    names = {name for name, _ in TERMS}
    total = sum(LOSSES.build({"type": name})(predicted(published_pair), BATCH) for name in names)
    torch.testing.assert_close(total, golden_mpi["mpi_loss"]["loss_dict"]["loss"], rtol=1e-4, atol=0)


def test_maps_are_the_published_ones(golden_mpi):
    golden = golden_mpi["loss_terms"]
    similarity = 1 - ssim_map(golden["img1"], golden["img2"])
    torch.testing.assert_close(similarity.mean(dim=(1, 2)), golden["ssim_per_image"], rtol=1e-4, atol=0)
    disparity = golden["disp"][:, 0]
    smooth = smooth_disparity_map(disparity, golden["img1"]).mean()
    torch.testing.assert_close(smooth, golden["edge_aware_loss_v2"], rtol=1e-4, atol=0)
    edges = edge_disparity_map(disparity, golden["img1"]).mean()
    torch.testing.assert_close(edges, golden["edge_aware_loss"], rtol=1e-4, atol=0)
    gradients = sobel_gradients(golden["img1"]) / 8
    torch.testing.assert_close(gradients, golden["spatial_gradient_img"])
    torch.testing.assert_close(sobel_gradients(golden["disp"]), golden["spatial_gradient_disp_unnormalized"])


def view_of(synthesis: Tensor, image: Tensor, disparity: Tensor, depth: Tensor) -> RenderedView:
    pixels = torch.tensor([[1, 2], [4, 0], [0, 3]])
    at_points = depth[pixels[:, 1], pixels[:, 0]]
    seen = torch.ones_like(disparity, dtype=torch.bool)
    return RenderedView(image, synthesis, disparity, seen, torch.zeros(3, dtype=torch.int64), pixels, at_points)


def test_minima():
    """The real image, and the true depth at the right scale; flat disparity but at edges of the image."""
    image = torch.rand(1, 3, 14, 18).double()
    depth = 1 + torch.rand(14, 18).double()
    scale = torch.tensor([1.6]).double()
    right = view_of(image, image, 1.6 / depth[None], depth)
    wrong = view_of(image.roll(1, dims=-1), image, 1.6 / depth[None].roll(1, dims=-1), depth)
    for name in ("MPIColourLoss", "MPISSIMLoss", "MPIDisparityLoss"):
        loss = LOSSES.build({"type": name})
        best = loss(predicted(RenderedPair(right, right, scale)), BATCH)
        assert best < 1e-6 and loss(predicted(RenderedPair(wrong, wrong, scale)), BATCH) > 0.1
    flat, edge = torch.zeros(1, 3, 14, 18).double(), torch.zeros(1, 3, 14, 18).double()
    edge[..., 9:] = 1
    step = torch.where(torch.arange(18) < 9, 0.5, 1.0).double().expand(1, 14, 18)
    for errors in (smooth_disparity_map, edge_disparity_map):
        assert errors(torch.ones(1, 14, 18).double(), flat).max() < 1e-9
        assert errors(step, edge).mean() < 0.6 * errors(step, flat).mean()


def test_the_right_plane_explains_the_other_view():
    """A wall at depth 1.25: the planes that are opaque there render the target best."""
    intrinsics = torch.tensor([[24.0, 0, 15.2], [0, 22.0, 11.3], [0, 0, 1]]).double().expand(1, 2, 3, 3)
    poses = torch.eye(4).double().repeat(1, 2, 1, 1)
    poses[0, 1, 0, 3] = -0.2
    columns, rows = torch.meshgrid(torch.arange(32).double(), torch.arange(24).double(), indexing="xy")

    def shown(shift: float) -> Tensor:
        x, y = (columns - 15.2) / 24 * 1.25 + shift, (rows - 11.3) / 22 * 1.25
        return torch.stack([(torch.sin(9 * x + 4 * y + k) + 1) / 2 for k in range(3)])

    images = torch.stack((shown(0.0), shown(0.2)))[None]
    disparities = torch.tensor([[1.6, 1.2, 0.8, 0.6, 0.4]]).double()
    nothing = [(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0).double())] * 2
    loss = LOSSES.build({"type": "MPIColourLoss", "views": "target"})
    errors = []
    for opaque in range(5):
        planes = torch.full((1, 5, 4, 24, 32), 1e-4).double()
        planes[:, opaque, 3] = 1e3
        pair = render_pair(planes, disparities, images, intrinsics, poses, nothing)
        errors.append(float(loss(predicted(pair), BATCH)))
        torch.testing.assert_close(pair.source.synthesis, images[:, 0], rtol=0, atol=1e-2)
    assert errors.index(min(errors)) == 2 and errors[2] < 0.3 * min(errors[1], errors[3])
    assert errors == sorted(errors[:3], reverse=True) + sorted(errors[3:])


def test_gradients():
    image, other = torch.rand(2, 2, 3, 12, 13).double()
    disparity = (torch.rand(2, 12, 13).double() + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ssim_map(x, other), image.requires_grad_(), atol=1e-4, fast_mode=True)
    assert torch.autograd.gradcheck(lambda d: smooth_disparity_map(d, other), disparity)
    assert torch.autograd.gradcheck(lambda d: edge_disparity_map(d, other, 0.3), disparity, atol=1e-4)
    small = disparity[:1].detach().requires_grad_()
    depth = torch.rand(3).double().add(1).requires_grad_()
    scale = torch.tensor([1.3]).double().requires_grad_()

    def at_points(disparities, depths, scales):
        view = view_of(image[:1], image[:1], disparities, torch.ones(12, 13).double())
        view.point_depth = depths
        return log_disparity_map(view, scales)

    assert torch.autograd.gradcheck(at_points, (small, depth, scale))


def test_mistakes_are_named():
    with pytest.raises(UserError, match="are no views"):
        LOSSES.build({"type": "MPISSIMLoss", "views": ("middle",)})
    with pytest.raises(UserError, match=r"no head of that name.*MPIHead"):
        LOSSES.build({"type": "MPISSIMLoss"})(VolumetricPrediction([], empty_volume()), BATCH)
