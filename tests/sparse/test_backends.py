"""Backends: choice, errors, and the adapters to libraries (with stand-ins: neither library runs on a CPU)."""

import sys

import pytest
import torch
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.sparse import AvgPool3d, Conv3d, ConvSpec, SparseTensor, conv3d, get_backend
from toolbox.sparse.backends.library import LibraryBackend
from toolbox.sparse.backends.torch_backend import TorchBackend

from . import library_doubles
from .library_doubles import DEFAULT_CONFIG, spconv_modules, torchsparse_modules

DOUBLES = {"torchsparse": torchsparse_modules, "spconv": spconv_modules}


@pytest.fixture(params=DOUBLES)
def library(request, monkeypatch) -> str:
    """The name of a library that seems to be installed, and to run on a CPU."""
    for name, module in DOUBLES[request.param]().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(LibraryBackend, "device_type", "cpu")
    return request.param


def test_torch_is_the_default(monkeypatch):
    monkeypatch.delenv("TOOLBOX_SPARSE_BACKEND", raising=False)
    assert isinstance(get_backend(), TorchBackend) and isinstance(Conv3d(2, 2).backend, TorchBackend)


def test_argument_and_environment_choose(library, monkeypatch):
    assert get_backend(library).name == library
    monkeypatch.setenv("TOOLBOX_SPARSE_BACKEND", library)
    assert Conv3d(2, 2).backend.name == library
    assert isinstance(Conv3d(2, 2, backend="torch").backend, TorchBackend)


@pytest.mark.parametrize("name", DOUBLES)
def test_a_library_that_is_not_installed_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"sparse backend '{name}': .*cannot be imported.*Install {name}"):
        get_backend(name)
    monkeypatch.setenv("TOOLBOX_SPARSE_BACKEND", name)
    with pytest.raises(UserError, match=f"TOOLBOX_SPARSE_BACKEND={name}"):
        Conv3d(2, 2)


def test_an_unknown_backend_is_named():
    with pytest.raises(
        UserError, match=r"'minkowski': there is no such backend. Use one of torch, torchsparse, spconv"
    ):
        get_backend("minkowski")


def test_the_old_torchsparse_is_refused(monkeypatch):
    for name, module in torchsparse_modules("1.4.0").items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(UserError, match=r"torchsparse 1\.4\.0 is installed"):
        get_backend("torchsparse")


def test_on_the_wrong_device(library, scattered, monkeypatch):
    monkeypatch.setattr(LibraryBackend, "device_type", "cuda")
    with pytest.raises(UserError, match=rf"'{library}': computes on 'cuda' alone, and the features are on 'cpu'"):
        conv3d(scattered(), torch.zeros(27, 3, 4, dtype=torch.float64), ConvSpec(3), backend=get_backend(library))


class UNet(nn.Module):
    """All kinds of convolution, and each map used more than once."""

    def __init__(self, backend: str):
        super().__init__()

        def conv(*args, **settings) -> Conv3d:
            return Conv3d(*args, backend=backend, **settings)

        self.stem = nn.Sequential(conv(3, 4), conv(4, 4, bias=True))
        self.down1, self.middle = conv(4, 5, 2, 2), nn.Sequential(conv(5, 5), conv(5, 5, 1), conv(5, 5))
        self.down2, self.bottom = conv(5, 4, 2, 2), conv(4, 4)
        self.up2, self.up1 = conv(4, 5, 2, 2, transposed=True), conv(5, 3, 2, 2, transposed=True)
        self.beside = conv(4, 5, 2, 2)

    def forward(self, x: SparseTensor) -> SparseTensor:
        x = self.stem(x)
        half = self.middle(self.down1(x)) + self.beside(x)
        return self.up1(self.up2(self.bottom(self.down2(half))) + half)


def run(network: nn.Module, x: SparseTensor) -> list[Tensor]:
    """Output and all gradients."""
    feats = x.feats.clone().requires_grad_()
    out = network(SparseTensor(x.coords, feats)).feats
    return [out, *torch.autograd.grad(out.square().sum(), [feats, *network.parameters()])]


def test_the_same_weights_give_the_same_results(library, scattered):
    ours, theirs = UNet("torch").double(), UNet(library).double()
    theirs.load_state_dict(ours.state_dict())
    for x in (scattered(), scattered(num=1)):
        for a, b in zip(run(ours, x), run(theirs, x), strict=True):
            torch.testing.assert_close(a, b)
    empty = scattered(num=0)
    assert all((gradient == 0).all() for gradient in run(theirs, empty)[1:])
    with torch.no_grad():
        torch.testing.assert_close(theirs(scattered()).feats, ours(scattered()).feats)


def test_neighbours_are_searched_once(library, scattered, monkeypatch):
    search, searches = library_doubles.find_pairs, []

    def counted(*args) -> list[tuple[int, int, int]]:
        searches.append(args)
        return search(*args)

    monkeypatch.setattr(library_doubles, "find_pairs", counted)
    x, weight = scattered(), torch.zeros(27, 3, 3, dtype=torch.float64)
    for _ in range(3):
        x = conv3d(x, weight, ConvSpec(3), backend=get_backend(library))
    assert len(searches) == 1


def test_back_to_voxels_that_pooling_came_from(library, scattered):
    weight = torch.randn(8, 3, 4, dtype=torch.float64)
    spec = ConvSpec(2, 2, transposed=True)
    results = [
        conv3d(AvgPool3d()(scattered()), weight, spec, backend=get_backend(name)).feats for name in ("torch", library)
    ]
    torch.testing.assert_close(*results)


def test_odd_strides_are_refused(library, scattered):
    x = conv3d(scattered(), torch.zeros(7**3, 3, 3, dtype=torch.float64), ConvSpec(7, 7), backend=get_backend("torch"))
    with pytest.raises(UserError, match="stride 14 does not divide"):
        conv3d(x, torch.zeros(8, 3, 3, dtype=torch.float64), ConvSpec(2, 2), backend=get_backend(library))


def test_settings_of_the_library_stay_as_they_are(library, scattered):
    before = dict(DEFAULT_CONFIG)
    conv3d(scattered(), torch.zeros(27, 3, 4, dtype=torch.float64), ConvSpec(3), backend=get_backend(library))
    assert before == DEFAULT_CONFIG


UNABLE = {
    "torchsparse": [ConvSpec(3, dilation=2), ConvSpec(3, 1, transposed=True)],
    "spconv": [
        ConvSpec(3, 2),
        ConvSpec(3, 3),
        ConvSpec(2, 1),
        ConvSpec(2, 2, dilation=3),
        ConvSpec(3, 1, transposed=True),
    ],
}
ABLE = {"torchsparse": [ConvSpec(3, 2), ConvSpec(5), ConvSpec(4)], "spconv": [ConvSpec(5), ConvSpec(3, dilation=2)]}


def test_what_a_library_cannot_do_is_refused(library, scattered):
    for spec in UNABLE[library]:
        weight = torch.zeros(spec.volume, 3, 4, dtype=torch.float64)
        with pytest.raises(UserError, match=f"sparse backend '{library}'.*'torch'"):
            conv3d(scattered(), weight, spec, backend=get_backend(library))


def test_what_a_library_can_do_equals_torch(library, scattered):
    for spec in ABLE[library]:
        weight = torch.randn(spec.volume, 3, 4, dtype=torch.float64)
        ours = conv3d(scattered(num=30), weight, spec)
        theirs = conv3d(scattered(num=30), weight, spec, backend=get_backend(library))
        torch.testing.assert_close(theirs.feats, ours.feats)
