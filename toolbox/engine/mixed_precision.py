"""Mixed precision on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.registry import OPTIM_WRAPPERS

DTYPES = ("bfloat16", "float16")


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward passes under ``torch.autocast``, on a CPU as well as on a GPU.

    bfloat16 has float32's range and needs no loss scaling; float16 is scaled dynamically. (mmengine's own
    ``AmpOptimWrapper`` refuses to run without a GPU.)

    Args:
        dtype: 'bfloat16', 'float16', or 'auto': bfloat16 wherever the device computes in it.
        **kwargs: of mmengine's ``OptimWrapper`` (optimizer, clip_grad, accumulative_counts, ...).

    Raises:
        UserError: float16 is asked for on a CPU, or the dtype is unknown.
    """

    def __init__(self, dtype: str = "auto", **kwargs: object):
        super().__init__(**kwargs)
        self.device_type = get_device().split(":")[0]
        if dtype == "auto":
            dtype = "float16" if self.device_type == "cuda" and not torch.cuda.is_bf16_supported() else "bfloat16"
        if dtype not in DTYPES:
            raise UserError("mixed precision", f"'{dtype}' is none of auto, {', '.join(DTYPES)}", "Choose one of them")
        if dtype == "float16" and self.device_type == "cpu":
            raise UserError("mixed precision", "float16 is too slow and too narrow on a CPU", "Use bfloat16 there")
        self.dtype = getattr(torch, dtype)
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == "float16")

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        """Back-propagate the scaled loss."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: object) -> None:
        """Clip the true gradients where configured, and step unless they overflowed."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict:
        """That of the optimizer, with the scaler's under 'loss_scaler'."""
        return super().state_dict() | {"loss_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over both states; one written without mixed precision has no scaler's."""
        state = dict(state_dict)
        scaler = state.pop("loss_scaler", None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(state)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The forward pass: mixed precision, and no gradient exchange while accumulating."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.dtype):
            yield
