"""The decoder of multiplane images: published numbers, shapes, configuration."""

import pytest
import torch

from toolbox.engine.volumetric_names import mpi_decoder_names
from toolbox.errors import UserError
from toolbox.models.heads import MPIDecoder, embed_position


@pytest.fixture(scope="module")
def published_decoder(golden_mpi) -> MPIDecoder:
    decoder = MPIDecoder((64, 64, 128), output_levels=(0, 1))
    names = mpi_decoder_names()
    decoder.load_state_dict({names[name]: value for name, value in golden_mpi["decoder"]["state_dict"].items()})
    return decoder.eval()


def test_planes_are_the_published_ones(golden_mpi, published_decoder):
    golden = golden_mpi["decoder"]
    with torch.no_grad():
        outputs = published_decoder(golden["feats"], golden["disparity"])
    for level in (0, 1):
        torch.testing.assert_close(outputs[level], golden[f"out_disp{level}"], rtol=1e-3, atol=1e-5)


def test_embedding_is_the_published_one(golden_mpi):
    golden = golden_mpi["embedder"]
    torch.testing.assert_close(embed_position(golden["x"][:, 0]), golden["y"])
    embedded = embed_position(golden_mpi["decoder"]["disparity"].flatten())
    torch.testing.assert_close(embedded, golden_mpi["decoder"]["embed_out"])


def test_any_number_of_levels_and_odd_sizes():
    decoder = MPIDecoder((5, 6), channels=(8, 9), context_channels=(12, 11, 10, 7), frequencies=2)
    features = [torch.randn(2, 5, 11, 14), torch.randn(2, 6, 6, 7)]
    outputs = decoder(features, torch.tensor([[2.0, 1.0, 0.5], [1.9, 1.1, 0.4]]))
    assert list(outputs) == [0] and outputs[0].shape == (2, 3, 4, 22, 28)
    colours, density = outputs[0][:, :, :3], outputs[0][:, :, 3]
    assert colours.min() > 0 and colours.max() < 1 and density.min() >= 1e-4
    outputs[0].sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in decoder.parameters())


def test_checkpointing_changes_neither_planes_nor_gradients_nor_statistics():
    settings = {"channels": (8, 9), "context_channels": (12, 11, 10, 7), "output_levels": (0, 1)}
    plain = MPIDecoder((5, 6), **settings).double()
    again = MPIDecoder((5, 6), **settings, checkpoint_levels=True).double()
    again.load_state_dict(plain.state_dict())
    inputs = [torch.randn(2, 5, 12, 16).double(), torch.randn(2, 6, 6, 8).double()]
    found = []
    for decoder in (plain, again):
        features = [level.clone().requires_grad_() for level in inputs]
        outputs = decoder(features, torch.tensor([[2.0, 1.0], [1.0, 0.4]]).double())
        sum(values.square().sum() for values in outputs.values()).backward()
        gradients = [values.grad for values in (*features, *decoder.parameters())]
        found.append([*outputs.values(), *gradients, *decoder.buffers()])
    assert all(torch.isfinite(values).all() for values in found[0])
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(before, after)


def test_planes_depend_on_their_disparity_alone():
    """Each plane has the features of its own sample."""
    decoder = MPIDecoder((5, 6), channels=(8, 9), context_channels=(12, 11, 10, 7), frequencies=2).eval()
    features = [torch.randn(2, 5, 12, 16), torch.randn(2, 6, 6, 8)]
    disparities = torch.tensor([[2.0, 1.0], [1.0, 0.4]])
    both = decoder(features, disparities)[0]
    alone = decoder([level[1:] for level in features], torch.tensor([[0.4, 1.0]]))[0]
    torch.testing.assert_close(both[1:], alone.flip(1), rtol=1e-4, atol=1e-6)


def test_mixed_precision_keeps_the_embedding():
    """Rounded to bfloat16, neighbouring disparities' waves would be any other."""
    decoder = MPIDecoder((5, 6), channels=(8, 9), context_channels=(12, 11, 10, 7)).eval()
    features = [torch.randn(1, 5, 12, 16), torch.randn(1, 6, 6, 8)]
    disparities = torch.linspace(2.0, 1.9, 5)[None]
    with torch.no_grad():
        full = decoder(features, disparities)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = decoder([level.bfloat16() for level in features], disparities)[0].float()
    between_planes = full.std(dim=1).mean()
    assert (half - full).abs().mean() < 0.2 * between_planes


@pytest.mark.parametrize("options", [{"channels": (8,)}, {"output_levels": (2,)}, {"output_levels": ()}])
def test_what_does_not_fit_is_named(options):
    with pytest.raises(UserError, match="an encoder of 2 levels"):
        MPIDecoder((5, 6), **{"channels": (8, 9), **options})


def test_levels_finer_than_the_finest_output_are_not_there():
    settings = {"channels": (8, 9), "context_channels": (12, 11, 10, 7), "frequencies": 2}
    both, coarse = (MPIDecoder((5, 6), **settings, output_levels=levels).eval() for levels in ((0, 1), (1,)))
    kept = {name: value for name, value in both.state_dict().items() if name in coarse.state_dict()}
    coarse.load_state_dict(kept)
    assert not [name for name in kept if name.startswith(("before.0", "after.0", "outputs.0"))]
    features, disparities = [torch.randn(1, 5, 12, 16), torch.randn(1, 6, 6, 8)], torch.tensor([[2.0, 0.7]])
    outputs = coarse(features, disparities)
    assert list(outputs) == [1]
    torch.testing.assert_close(outputs[1], both(features, disparities)[1])
