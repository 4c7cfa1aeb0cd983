"""Batch normalisation over the batches of all processes, on any device; PyTorch's own, and DDP with it, refuse CPUs."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of all processes' batches together, dense or rows of sparse features.

    Processes may have different numbers of values, or none. Together fewer than two per channel have no variance: they
    are normalised with the running statistics, which stay as they are. Every process has to call each layer, in the
    same order.

    With losses averaged over processes (as DDP averages their gradients), a step equals that of one process that has
    all batches, where the mean of the processes' losses is the loss of the joint batch.
    """

    def forward(self, input: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """Normalised as ``nn.BatchNorm``; computed in float32 at least."""
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        count, mean, variance = _joint_moments(input)
        if count < 2:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        self._track(mean, variance * (count / (count - 1)))
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        return _Normalise.apply(input, weight, bias, mean, torch.rsqrt(variance + self.eps), count)

    def _check_input_dim(self, input: Tensor) -> None:
        """Rows, images and volumes are all right."""

    @torch.no_grad()
    def _track(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"]) -> None:
        """Move the running statistics."""
        self.num_batches_tracked.add_(1)
        step = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)


def synchronise_batch_norms(model: nn.Module) -> nn.Module:
    """Let every batch normalisation of a model become ``SyncBatchNorm``, in place; returns the model.

    Parameters, buffers and their names stay. Those without running statistics stay, too: they normalise each batch by
    itself, in evaluation as well.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.__class__ = SyncBatchNorm
    return model


@torch.no_grad()
def _joint_moments(values: Float[Tensor, "n c *size"]) -> tuple[int, Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Number of values per channel, their mean and (biased) variance, of all processes together."""
    values = values.to(_precision(values))
    count = values.numel() // values.shape[1]
    sums = values.new_zeros(2 * values.shape[1] + 1, dtype=torch.float64)
    if count:
        variance, mean = torch.var_mean(values, dim=_other_axes(values), correction=0)
        mean = mean.double()
        sums = torch.cat((count * mean, count * (variance + mean.square()), mean.new_tensor([count])))
    dist.all_reduce(sums)
    total = int(sums[-1])
    mean, square = (sums[:-1] / max(total, 1)).chunk(2)
    return total, mean.to(values.dtype), (square - mean.square()).clamp(min=0).to(values.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) / std * weight + bias, where mean and std are functions of the x of all processes."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, inverse_std, count) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse_std)
        ctx.count = count
        scale = weight.to(mean) * inverse_std
        shaped = [_along_channels(values, x) for values in (mean, scale, bias.to(mean))]
        return torch.addcmul(shaped[2], x.to(mean.dtype) - shaped[0], shaped[1]).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad) -> tuple:
        x, weight, mean, inverse_std = ctx.saved_tensors
        grad, axes = grad.to(mean.dtype), _other_axes(x)
        normal = (x.to(mean.dtype) - _along_channels(mean, x)) * _along_channels(inverse_std, x)
        own = torch.stack((grad.sum(axes), (grad * normal).sum(axes)))
        joint = own.to(torch.float64, copy=True)
        dist.all_reduce(joint)
        of_grad, of_product = (_along_channels(part, x) for part in (joint / ctx.count).to(mean.dtype))
        scale = _along_channels(weight.to(mean) * inverse_std, x)
        grad_x = (grad - of_grad - normal * of_product) * scale
        return grad_x.to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None, None, None


def _precision(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _other_axes(values: Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]


def _along_channels(values: Float[Tensor, " c"], like: Tensor) -> Tensor:
    """One value per channel, shaped to meet (n, c, ...)."""
    return values.reshape(1, -1, *[1] * (like.dim() - 2))
