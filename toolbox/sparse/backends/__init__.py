"""Who computes sparse convolutions: the toolbox itself, or a library with kernels of its own.

A backend gets features, weights in the toolbox's layout and the geometry, and gives features in the toolbox's order
of rows. All else (normalisation, pooling, exchange with points) is plain PyTorch for every backend.
"""

import importlib
import os
from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.sparse.kernel_map import ConvSpec
from toolbox.sparse.tensor import SparseTensor

VARIABLE = "TOOLBOX_SPARSE_BACKEND"
_MODULES = {name: f"toolbox.sparse.backends.{name}_backend" for name in ("torch", "torchsparse", "spconv")}


class Backend(ABC):
    """What a backend has to do."""

    @abstractmethod
    def convolve(
        self, x: SparseTensor, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec
    ) -> Float[Tensor, "m c_out"]:
        """Features of the output voxels, in the order of the family's set of the output's stride.

        Args:
            weight: in the order of ``spec.offsets()``.

        Raises:
            UserError: the backend cannot do this geometry, or not on this device.
        """


def get_backend(name: str | None = None) -> Backend:
    """The backend of that name; by default what ``TOOLBOX_SPARSE_BACKEND`` names, or else 'torch'.

    Raises:
        UserError: there is no such backend, or its library cannot be imported.
    """
    where = f"sparse backend '{name}'" if name else f"{VARIABLE}={os.environ.get(VARIABLE)}"
    name = name or os.environ.get(VARIABLE) or "torch"
    if name not in _MODULES:
        raise UserError(where, "there is no such backend", f"Use one of {', '.join(_MODULES)}")
    module = importlib.import_module(_MODULES[name])
    try:
        return module.build()
    except (ImportError, OSError) as error:
        raise UserError(
            where, f"its library cannot be imported ({error})", f"Install {name}, or use the backend 'torch'"
        ) from error
