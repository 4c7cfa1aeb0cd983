import pytest
import torch
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.models.losses import DepthSmoothnessLoss, normalised_inverse_depth, smoothness_map


@pytest.mark.parametrize("order", [1, 2])
def test_gradient(order):
    image, values = torch.rand(1, 3, 6, 7).double(), torch.rand(1, 6, 7).double().requires_grad_()
    assert gradcheck(lambda v: smoothness_map(v, image, order, edge_sharpness=3.0)[0], (values,))
    assert gradcheck(normalised_inverse_depth, ((values.detach() + 1).requires_grad_(),))


def test_by_hand():
    values = torch.tensor([[0.0, 1, 3, 3], [0, 1, 3, 7], [2, 1, 5, 7]]).double()[None]
    image = torch.zeros(1, 3, 3, 4).double()
    image[..., 2:] = 0.5
    edge = torch.exp(torch.tensor(-2.0 * 0.5)).item()
    first, valid = smoothness_map(values, image, order=1, edge_sharpness=2.0)
    expected = torch.tensor([[1, 2 * edge, 0], [1 + 2, 2 * edge, 4 + 2]]).double()
    torch.testing.assert_close(first[0, :2, :3], expected)
    assert valid[0, :2, :3].all() and valid.sum() == 6
    second, valid = smoothness_map(values, image, order=2, edge_sharpness=2.0)
    torch.testing.assert_close(second[0, 1, 1:3], torch.tensor([edge, 2 * edge + 2]).double())
    assert valid[0, 1, 1:3].all() and valid.sum() == 2


def test_true_depth_of_a_plane_is_the_minimum_of_second_order(plane):
    """Inverse depth of a plane is linear in the image, so bumps cost and the plane does not; nor does its distance."""
    flat, bumpy, far = plane.problem(levels=2), plane.problem(levels=2), plane.problem(levels=2, scale=1.3)
    bumpy[0].depths = [d + 0.02 * torch.sin(torch.arange(d.shape[-1]) * 0.7).double() for d in bumpy[0].depths]
    loss = DepthSmoothnessLoss(order=2)
    assert loss(*flat).item() == pytest.approx(0, abs=1e-12) == loss(*far).item()
    assert loss(*bumpy) > 1e-3
    assert DepthSmoothnessLoss(order=1)(*flat) > 1e-3


def test_depth_may_jump_where_the_image_does(plane):
    prediction, batch = plane.problem()
    step = torch.where(torch.arange(64) < 30, 2.0, 3.0).double().expand(1, 48, 64)
    prediction.depths = [step]
    batch.images = torch.full_like(batch.images, 0.3)
    blind = DepthSmoothnessLoss(edge_sharpness=8.0)(prediction, batch)
    batch.images[..., 30:] = 0.9
    torch.testing.assert_close(
        DepthSmoothnessLoss(edge_sharpness=8.0)(prediction, batch), blind * 2.718281828 ** (-4.8)
    )
    batch.images[..., 30:], batch.images[..., 20:] = 0.3, 0.9
    torch.testing.assert_close(DepthSmoothnessLoss(edge_sharpness=8.0)(prediction, batch), blind)


@pytest.mark.parametrize("planes", [None, 64])
def test_no_unit_matters(plane, planes):
    prediction, batch = plane.problem(levels=2)
    loss = DepthSmoothnessLoss(planes=planes)
    in_metres = loss(prediction, batch)
    prediction.depths = [1000 * d for d in prediction.depths]
    batch.depth_range = 1000 * batch.depth_range
    torch.testing.assert_close(loss(prediction, batch), in_metres)


def test_planes_measure_in_steps_of_the_range(plane):
    prediction, batch = plane.problem()
    prediction.depths = [(2 + 0.1 * torch.arange(64.0).double()).expand(1, 48, 64)]
    step = (4.0 - 1.5) / 50
    loss = DepthSmoothnessLoss(planes=50, edge_sharpness=0.0)(prediction, batch)
    assert loss.item() == pytest.approx(0.1 / step)


def test_too_small_an_image_gives_zero_and_finite_gradients():
    values = torch.rand(1, 1, 5).double().requires_grad_()
    total, valid = smoothness_map(values, torch.rand(1, 3, 1, 5).double(), order=1)
    (total * valid).sum().backward()
    assert not valid.any() and torch.isfinite(values.grad).all()


def test_a_third_order_is_refused():
    with pytest.raises(UserError, match="1 or 2"):
        DepthSmoothnessLoss(order=3)
