import pytest
import torch
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.geometry import scale_intrinsics
from toolbox.models.losses import SupervisedDepthLoss, depth_error_map
from toolbox.structures import DepthPrediction, MultiViewBatch

INTRINSICS = torch.tensor([[50.0, 0, 9.5], [0, 52.0, 7.5], [0, 0, 1]]).double()[None, None]


def make(target: torch.Tensor, depths: list[torch.Tensor]) -> tuple[DepthPrediction, MultiViewBatch]:
    levels = [scale_intrinsics(INTRINSICS, 0.5**k, 0.5**k) for k in range(len(depths))]
    batch = MultiViewBatch(
        torch.rand(1, 1, 3, *target.shape[-2:]).double(),
        INTRINSICS,
        torch.eye(4).double()[None, None],
        torch.tensor([[1.0, 5.0]]).double(),
        target,
    )
    return DepthPrediction(depths, levels, torch.ones(1, *target.shape[-2:])), batch


def test_true_depth_is_the_minimum():
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    target = (2 + 0.03 * columns + 0.02 * rows).double()[None]
    coarse = target.reshape(1, 8, 2, 10, 2).mean(dim=(2, 4))
    loss = SupervisedDepthLoss()
    assert loss(*make(target, [target, coarse])).item() == pytest.approx(0, abs=1e-12)
    for shift in (-0.1, 0.1):
        assert loss(*make(target, [target + shift, coarse + shift])) > 0.001


def test_unknown_pixels_do_not_count():
    """The published pyramid mixes the zeros of holes into the coarser target; ours does not."""
    target = torch.full((1, 16, 20), 3.0).double()
    target[:, 3:8, 4:9] = 0
    depths = [torch.full((1, 16, 20), 3.0).double(), torch.full((1, 8, 10), 3.0).double()]
    assert SupervisedDepthLoss()(*make(target, depths)).item() == pytest.approx(0, abs=1e-20)
    assert SupervisedDepthLoss(published_pyramid=True)(*make(target, depths)).item() > 0.01


def test_no_known_pixel_gives_zero_and_finite_gradients():
    depth = torch.full((1, 16, 20), 3.0).double().requires_grad_()
    loss = SupervisedDepthLoss()(*make(torch.zeros(1, 16, 20).double(), [depth]))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(depth.grad).all()


def test_planes_make_the_loss_independent_of_the_unit():
    target = (torch.rand(1, 16, 20) * 4 + 1).double()
    prediction, batch = make(target, [target + 0.1])
    in_metres = SupervisedDepthLoss(planes=64)(prediction, batch)
    prediction.depths = [d * 1000 for d in prediction.depths]
    batch.depth, batch.depth_range = batch.depth * 1000, batch.depth_range * 1000
    torch.testing.assert_close(SupervisedDepthLoss(planes=64)(prediction, batch), in_metres)


def test_gradient():
    target = (torch.rand(1, 4, 6) + 1).double()
    depth = (torch.rand(1, 4, 6) * 4).double().requires_grad_()
    assert gradcheck(lambda d: depth_error_map(d, target, beta=0.7)[0], (depth,))


def test_a_batch_without_depth_is_an_error():
    prediction, batch = make(torch.ones(1, 4, 6).double(), [torch.ones(1, 4, 6).double()])
    batch.depth = None
    with pytest.raises(UserError, match="no depth"):
        SupervisedDepthLoss()(prediction, batch)
