import pytest
import torch
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.models.cost_volumes import GroupCorrelation, Variance, WithReference

REFERENCE = torch.randn(2, 8, 4, 5)
WARPED = [(torch.randn(2, 8, 6, 4, 5), torch.rand(2, 6, 4, 5) > 0.3) for _ in range(3)]


def stacked() -> torch.Tensor:
    return torch.stack([REFERENCE[:, :, None].expand(-1, -1, 6, -1, -1), *(volume for volume, _ in WARPED)])


def test_variance_is_a_variance():
    """Fails with the published quirk, whose cost is negative in many voxels."""
    volume = Variance()(REFERENCE, iter(WARPED))
    torch.testing.assert_close(volume, stacked().var(dim=0, unbiased=False))
    assert volume.min() >= -1e-6
    published = Variance(published_aliasing=True)(REFERENCE, iter(WARPED))
    assert (published < -1e-3).float().mean() > 0.02


def test_published_aliasing_formula():
    square, total = REFERENCE[:, :, None].square(), sum(volume for volume, _ in WARPED)
    squares = sum(volume.square() for volume, _ in WARPED)
    expected = (square + squares) / 4 - ((square + total) / 4).square()
    torch.testing.assert_close(Variance(published_aliasing=True)(REFERENCE, iter(WARPED)), expected)


def test_variance_over_valid_views():
    masks = torch.stack([torch.ones(2, 6, 4, 5, dtype=torch.bool), *(valid for _, valid in WARPED)])[:, :, None]
    views = stacked().masked_fill(~masks, torch.nan)
    mean = views.nanmean(dim=0)
    expected = (views - mean).square().nanmean(dim=0)
    torch.testing.assert_close(Variance(valid_only=True)(REFERENCE, iter(WARPED)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("aliasing", [False, True])
@pytest.mark.parametrize("valid_only", [False, True])
def test_gradient_of_the_variance(valid_only, aliasing):
    variance = Variance(valid_only, aliasing)
    reference = torch.rand(1, 2, 2, 3).double().requires_grad_()
    sources = [torch.rand(1, 2, 2, 2, 3).double().requires_grad_() for _ in range(3)]
    masks = torch.rand(3, 1, 2, 2, 3) > 0.4

    def volume(reference, *sources):
        return variance(reference, zip(sources, masks, strict=True))

    assert gradcheck(volume, (reference, *sources))
    with torch.no_grad():
        alone = volume(reference, *sources)
    assert torch.equal(alone, volume(reference, *sources))


def test_learned_variance_takes_gradients_of_any_layout():
    sources = [volume.clone().requires_grad_() for volume, _ in WARPED]
    gradient = torch.randn(2, 8, 6, 4, 5)
    plain, channels_last = (
        torch.autograd.grad(Variance()(REFERENCE, [(source, None) for source in sources]), sources, grad)
        for grad in (gradient, gradient.contiguous(memory_format=torch.channels_last_3d))
    )
    for one, other in zip(plain, channels_last, strict=True):
        assert torch.equal(one, other) and one.is_contiguous() and other.is_contiguous()


def test_group_correlation():
    volume = GroupCorrelation(4)(REFERENCE, iter(WARPED))
    assert volume.shape == (2, 4, 6, 4, 5)
    total, count = torch.zeros_like(volume), torch.zeros(2, 1, 6, 4, 5)
    for source, valid in WARPED:
        for group in range(4):
            product = REFERENCE[:, 2 * group : 2 * group + 2, None] * source[:, 2 * group : 2 * group + 2]
            total[:, group] += product.mean(dim=1) * valid
        count += valid[:, None]
    torch.testing.assert_close(volume, total / count.clamp(min=1))


def test_reference_beside_another_volume():
    aggregator = WithReference({"type": "GroupCorrelation", "groups": 4})
    volume = aggregator(REFERENCE, iter(WARPED))
    assert aggregator.out_channels(8) == volume.shape[1] == 12
    torch.testing.assert_close(volume[:, :4], GroupCorrelation(4)(REFERENCE, iter(WARPED)))
    assert (volume[:, 4:] == REFERENCE[:, :, None]).all()


def test_groups_must_divide_the_channels():
    with pytest.raises(UserError, match="divide"):
        GroupCorrelation(3).out_channels(8)


@pytest.mark.parametrize("aggregator", [Variance(), Variance(valid_only=True), GroupCorrelation(4)])
def test_needs_a_source(aggregator):
    if isinstance(aggregator, Variance) and aggregator.valid_only:
        assert aggregator(REFERENCE, iter(WARPED[:1])).shape == (2, 8, 6, 4, 5)
    with pytest.raises(ValueError, match="source"):
        aggregator(REFERENCE, iter([]))
