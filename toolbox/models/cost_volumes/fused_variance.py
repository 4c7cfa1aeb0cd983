"""Variance over swept sources by Triton: sampled features go into the sums and nowhere else."""

import importlib
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from toolbox.errors import UserError

from .warper import SweptSources

# Features of a program: 62 registers a thread on sm_90 in the backward pass; not tuned.
_BLOCK_ELEMENTS = 512


def fused_variance(
    reference: Float[Tensor, "b c h w"], swept: SweptSources, valid_only: bool = False, aliasing: bool = False
) -> Float[Tensor, "b c d h w"]:
    """What ``Variance`` computes, in one kernel: the volume is written once, and nothing of its size besides.

    Sums are float32 whatever the reference's precision, which is the volume's. Gradients flow into the reference and
    the sources; there features are sampled again, and sources' gradients are added up in no fixed order.

    Args:
        swept: sources of one size.
        valid_only, aliasing: see ``Variance``.

    Raises:
        UserError: Triton is not installed, or the features are where Triton does not compute.
        ValueError: there is no source, sources differ in size, or something is float64.
    """
    sweeps = swept.sweeps
    if not sweeps:
        raise ValueError("a cost volume needs at least one source view")
    if not swept.alike:
        raise ValueError("sources of a fused cost volume need to be sampled alike and be of one size")
    if torch.float64 in (reference.dtype, swept.depth.dtype):
        raise ValueError("the fused cost volume is computed in float32; use kernel='torch' in float64")
    _kernels(reference.device)
    settings = {
        "corner": swept.corner,
        "VALID_ONLY": valid_only,
        "KEEP_BEHIND": sweeps[0].keep_behind,
        "ALIASING": aliasing,
    }
    sources = (_aligned(sweep.source.float().contiguous(memory_format=torch.channels_last)) for sweep in sweeps)
    return _FusedVariance.apply(settings, swept.depth.detach(), swept.cameras(), reference, *sources)


def _aligned(source: Tensor) -> Tensor:
    return source if source.data_ptr() % 16 == 0 else source.clone()


class _FusedVariance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, settings: dict[str, Any], depth: Tensor, cameras: Tensor, reference: Tensor, *sources: Tensor
    ) -> Tensor:
        ctx.settings = settings
        ctx.save_for_backward(depth, cameras, reference, *sources)
        batch, channels, height, width = reference.shape
        planes = depth.shape[1]
        volume = reference.new_empty((batch, planes, height, width, channels)).permute(0, 4, 1, 2, 3)
        arguments = _arguments(settings, depth, cameras, reference, sources)
        grid = _blocks(height * width, arguments), planes, batch
        with torch.cuda.device_of(reference):  # Triton starts kernels on the current device
            _kernels(reference.device).variance_forward[grid](volume=volume, **arguments)
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_volume: Tensor) -> tuple[Tensor | None, ...]:
        depth, cameras, reference, *sources = ctx.saved_tensors
        batch, channels, height, width = reference.shape
        grad_sources = [torch.zeros_like(source, memory_format=torch.channels_last) for source in sources]
        grad_reference = reference.new_empty((batch, height, width, channels), dtype=torch.float32)
        arguments = _arguments(ctx.settings, depth, cameras, reference, sources)
        grid = _blocks(height * width, arguments), batch
        with torch.cuda.device_of(reference):
            _kernels(reference.device).variance_backward[grid](
                grad_reference=grad_reference,
                gradients=_pointers(grad_sources),
                grad_volume=grad_volume.permute(0, 2, 3, 4, 1).contiguous(),
                **arguments,
            )
        return None, None, None, grad_reference.permute(0, 3, 1, 2).to(reference.dtype), *grad_sources


def _arguments(
    settings: dict[str, Any], depth: Tensor, cameras: Tensor, reference: Tensor, sources: tuple[Tensor, ...]
) -> dict[str, Any]:
    """What both kernels are called with."""
    batch, channels, rows, columns = reference.shape
    flags = {name: value for name, value in settings.items() if name != "corner"}
    block_c = 1 << (channels - 1).bit_length()
    return {
        "reference": reference,
        "depth": depth,
        "sources": _pointers(sources),
        "cameras": cameras,
        "views": len(sources),
        "batch": batch,
        "planes": depth.shape[1],
        "rows": rows,
        "columns": columns,
        **dict(zip(("top", "left"), settings["corner"], strict=True)),
        **dict(zip(("height", "width"), sources[0].shape[-2:], strict=True)),
        **dict(zip(("ref_b", "ref_c", "ref_h", "ref_w"), reference.stride(), strict=True)),
        **dict(zip(("depth_b", "depth_d", "depth_h", "depth_w"), depth.stride(), strict=True)),
        **flags,
        "CHANNELS": channels,
        "BLOCK_P": max(_BLOCK_ELEMENTS // block_c, 4),
        "BLOCK_C": block_c,
    }


def _blocks(pixels: int, arguments: dict[str, Any]) -> int:
    return -(-pixels // arguments["BLOCK_P"])


def _pointers(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    return torch.tensor([tensor.data_ptr() for tensor in tensors], dtype=torch.int64, device=tensors[0].device)


def _kernels(device: torch.device) -> ModuleType:
    """The kernels, if they run on ``device``: Triton's interpreter on a CPU, what it compiles elsewhere."""
    try:
        kernels = importlib.import_module(".variance_kernels", __package__)
    except ImportError as error:
        raise UserError(
            "kernel='triton'",
            f"Triton cannot be imported ({error})",
            "Run pip install triton (PyTorch's builds for GPUs bring it), or use kernel='torch'",
        ) from error
    compiled = isinstance(kernels.variance_forward, kernels.triton.runtime.JITFunction)
    if compiled == (device.type == "cpu"):
        raise UserError(
            "kernel='triton'",
            f"the features are on the {device.type}, where it does not run",
            "Compiled kernels need a GPU, Triton's interpreter (TRITON_INTERPRET=1) a CPU; or use kernel='torch'",
        )
    return kernels
