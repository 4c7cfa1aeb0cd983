"""Stand-ins for torchsparse 2.1 and spconv 2, as far as the backends call them, written after their documentation.

They do what the documents say, slowly and on a CPU, so that weights' layout, order of rows, coordinates and the
reuse of neighbours are tested. They say nothing of the libraries' own kernels.
"""

import itertools
import types
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Voxel = tuple[int, ...]


def gather_and_add(feats: Tensor, pairs: Iterable[tuple[int, int, Tensor]], num_out: int, channels: int) -> Tensor:
    """out[target] += feats[source] @ weight for every (source, target, weight)."""
    rows: list[list[Tensor]] = [[feats.new_zeros(channels)] for _ in range(num_out)]
    for source, target, weight in pairs:
        rows[target].append(feats[source] @ weight)
    return torch.stack([torch.stack(terms).sum(dim=0) for terms in rows])


def row_of(coords: Tensor) -> dict[Voxel, int]:
    return {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}


def find_pairs(coords: Tensor, out: Tensor, stride: int, offsets: list[Voxel]) -> list[tuple[int, int, int]]:
    """(input row, output row, weight) where input = output * stride + offset."""
    assert int(coords.min()) >= 0, "grids count from 0"
    rows, found = row_of(coords), []
    for target, (b, *place) in enumerate(out.tolist()):
        for k, offset in enumerate(offsets):
            source = rows.get((b, *(p * stride + o for p, o in zip(place, offset, strict=True))))
            if source is not None:
                found.append((source, target, k))
    return found


def coarse_voxels(coords: Tensor, stride: int) -> Tensor:
    coords = coords.clone()
    coords[:, 1:] //= stride
    return torch.unique(coords, dim=0)


# --- torchsparse ---


class TorchsparseTensor:
    def __init__(self, feats: Tensor, coords: Tensor, stride: int | Voxel = 1):
        self.feats, self.coords = feats, coords
        self.stride = (stride,) * 3 if isinstance(stride, int) else stride
        self._caches: dict = {}


class AttributeDict(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


DEFAULT_CONFIG = AttributeDict([("kmap_mode", "hashmap_on_the_fly"), ("downsample_mode", "spconv")])


def torchsparse_fapply(tensor: TorchsparseTensor, function: Callable[[Tensor], Tensor]) -> TorchsparseTensor:
    out = TorchsparseTensor(function(tensor.feats), tensor.coords, tensor.stride)
    out._caches = tensor._caches
    return out


def torchsparse_conv3d(
    tensor: TorchsparseTensor,
    weight: Tensor,
    kernel_size: int,
    bias: None = None,
    stride: int = 1,
    config: dict | None = None,
    transposed: bool = False,
    training: bool = False,
) -> TorchsparseTensor:
    assert (config["kmap_mode"], config["downsample_mode"]) == ("hashmap", "minkowski")
    first = -kernel_size // 2 + 1
    cells = range(first, first + kernel_size)
    offsets = [(x, y, z) for x, y, z in itertools.product(cells, repeat=3)]
    if kernel_size % 2:
        offsets = [(x, y, z) for z, y, x in offsets]
    if transposed:
        step = tuple(s // stride for s in tensor.stride)
        coords, pairs = tensor._caches[step, kernel_size, stride]
        pairs = [(target, source, k) for source, target, k in pairs]
    else:
        step = tuple(s * stride for s in tensor.stride)
        coords = tensor.coords if stride == 1 else coarse_voxels(tensor.coords, stride)
        key = (tensor.stride, kernel_size, stride)
        if key not in tensor._caches:
            tensor._caches[key] = tensor.coords, find_pairs(tensor.coords, coords, stride, offsets)
        pairs = tensor._caches[key][1]
    terms = [(source, target, weight[k]) for source, target, k in pairs]
    out = TorchsparseTensor(gather_and_add(tensor.feats, terms, len(coords), weight.shape[2]), coords, step)
    out._caches = tensor._caches
    return out


def torchsparse_modules(version: str = "2.1.0") -> dict[str, types.ModuleType]:
    """Name -> module, for ``sys.modules``."""
    library, nested = types.ModuleType("torchsparse"), types.ModuleType("torchsparse.nn")
    functional, utils = types.ModuleType("torchsparse.nn.functional"), types.ModuleType("torchsparse.nn.utils")
    library.__version__, library.SparseTensor, library.nn = version, TorchsparseTensor, nested
    nested.functional, nested.utils = functional, utils
    functional.conv3d, utils.fapply = torchsparse_conv3d, torchsparse_fapply
    functional.conv_config = types.SimpleNamespace(get_default_conv_config=lambda training: DEFAULT_CONFIG)
    return {module.__name__: module for module in (library, nested, functional, utils)}


# --- spconv ---


class SpconvTensor:
    def __init__(self, features: Tensor, indices: Tensor, spatial_shape: list[int], batch_size: int):
        assert indices.dtype == torch.int32 and int(indices[:, 0].max()) < batch_size
        assert all(int(indices[:, 1 + axis].max()) < size for axis, size in enumerate(spatial_shape))
        self.features, self.indices, self.spatial_shape, self.batch_size = features, indices, spatial_shape, batch_size
        self.indice_dict: dict = {}

    def replace_feature(self, feats: Tensor) -> "SpconvTensor":
        out = SpconvTensor(feats, self.indices, self.spatial_shape, self.batch_size)
        out.indice_dict = self.indice_dict
        return out


class _SpconvLayer(nn.Module):
    def __init__(
        self,
        incoming: int,
        outgoing: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
    ):
        super().__init__()
        assert not bias and indice_key
        self.size, self.stride, self.dilation, self.key = kernel_size, stride, dilation, indice_key
        self.weight = nn.Parameter(torch.zeros(outgoing, *(kernel_size,) * 3, incoming))

    def out(
        self, x: SpconvTensor, indices: Tensor, pairs: list[tuple[int, int, int]], shape: list[int]
    ) -> SpconvTensor:
        by_cell = self.weight.reshape(self.weight.shape[0], -1, self.weight.shape[-1])
        terms = [(source, target, by_cell[:, k].T) for source, target, k in pairs]
        feats = gather_and_add(x.features, terms, len(indices), self.weight.shape[0])
        out = SpconvTensor(feats, indices, shape, x.batch_size)
        out.indice_dict = dict(x.indice_dict)
        return out


class SubMConv3d(_SpconvLayer):
    def forward(self, x: SpconvTensor) -> SpconvTensor:
        cells = [self.dilation * (i - self.size // 2) for i in range(self.size)]
        pairs = x.indice_dict.get(self.key)
        if pairs is None:
            pairs = find_pairs(x.indices, x.indices, 1, list(itertools.product(cells, repeat=3)))
        out = self.out(x, x.indices, pairs, x.spatial_shape)
        out.indice_dict[self.key] = pairs
        return out


class SparseConv3d(_SpconvLayer):
    def forward(self, x: SpconvTensor) -> SpconvTensor:
        assert self.key not in x.indice_dict, "your indice key already exists"
        shape = [(size - self.size) // self.stride + 1 for size in x.spatial_shape]
        indices = coarse_voxels(x.indices, self.stride)
        indices = indices[torch.randperm(len(indices))]  # the library promises no order
        pairs = find_pairs(x.indices, indices, self.stride, list(itertools.product(range(self.size), repeat=3)))
        out = self.out(x, indices, pairs, shape)
        out.indice_dict[self.key] = x.indices, pairs, x.spatial_shape
        return out


class SparseInverseConv3d(_SpconvLayer):
    def forward(self, x: SpconvTensor) -> SpconvTensor:
        indices, pairs, shape = x.indice_dict[self.key]
        return self.out(x, indices, [(target, source, k) for source, target, k in pairs], shape)


def spconv_modules() -> dict[str, types.ModuleType]:
    """Name -> module, for ``sys.modules``."""
    library, torch_part = types.ModuleType("spconv"), types.ModuleType("spconv.pytorch")
    library.pytorch = torch_part
    torch_part.SparseConvTensor = SpconvTensor
    for layer in (SubMConv3d, SparseConv3d, SparseInverseConv3d):
        setattr(torch_part, layer.__name__, layer)
    return {"spconv": library, "spconv.pytorch": torch_part}
