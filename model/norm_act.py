"""BatchNorm, residual and PReLU in one pass over cache-sized blocks of frames: the trunk's fast path on a CPU.

PyTorch runs the three as separate sweeps over tensors of 50 MB and more, and sums channels_last statistics in one
float32 chain, which loses two digits. Here each sweep visits a block of frames while it is in the cache, sums are taken
frame by frame and added up in float64, and of the intermediate results only the convolution's output is kept for the
backward pass: less time, less memory, and the numbers of the authors' release. On a GPU the separate modules are used.

`sync_batch_norm` makes the statistics those of all processes' frames, here as on a GPU.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BLOCK = 2**17  # values in a block of frames, half a MB


def norm_act(x: Tensor, norm: nn.BatchNorm2d, prelu: nn.PReLU | None = None, residual: Tensor | None = None) -> Tensor:
    """prelu(norm(x) + residual), each frame a row of the batch.

    Parameters
    ----------
    x
        (N, C, H, W).
    norm
        In train mode its running statistics move, as its own forward would move them.
    prelu
        One slope a channel; None leaves the sum as it is.
    residual
        (N, C, H, W), or None.

    Returns
    -------
    Tensor
        (N, C, H, W).
    """
    slope = None if prelu is None else prelu.weight
    if is_fast(x) and norm.training:
        mean, inv_std = statistics(norm, [x.detach()])
        return _NormAct.apply(x, norm.weight, norm.bias, slope, residual, mean, inv_std, norm)
    if is_fast(x) and not has_graph(x, norm.weight, norm.bias, slope, residual):
        return affine_act(x, *scale_and_shift(norm, [x]), slope, residual)
    if norm.training and _gathers(norm):
        raise RuntimeError("sync_batch_norm was called for a CPU in full precision; give it the device_type in use")
    x = norm(x)
    if residual is not None:
        x = x + residual
    return x if slope is None else F.prelu(x, slope)


def sync_batch_norm(module: nn.Module, device_type: str | None = None) -> nn.Module:
    """Let every BatchNorm in `module` normalise by the whole batch over all processes of torch.distributed.

    Processes may hold different numbers of frames, each at least one, and a parameter's gradient stays that of each
    process's own frames, for DDP to average. Parameters and state-dict names stay. Call it before the optimiser is made
    and the module wrapped in DDP.

    Parameters
    ----------
    module
        A detector, or a part of one.
    device_type
        "cpu" or "cuda", where the module will run; by default where it is. On a GPU its BatchNorm layers become
        `torch.nn.SyncBatchNorm`; on a CPU, for which PyTorch has none, this file gathers their sums.

    Returns
    -------
    torch.nn.Module
        `module` itself, or its successor where it is a BatchNorm on a GPU.
    """
    if (device_type or next(module.parameters()).device.type) != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.over_processes = True
    return module


def is_fast(x: Tensor) -> bool:
    """Whether this file's own arithmetic serves: on a CPU, in full precision, not compiled."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def has_graph(*tensors: Tensor | None) -> bool:
    """Whether what is computed from these tensors will get a gradient."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


@torch.no_grad()
def statistics(norm: _BatchNorm, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation to normalise by, (C,) each.

    In train mode those of the batch, which comes as parts (n, C, H, W), and the running statistics move; in eval mode
    the running statistics.
    """
    if not norm.training:
        return norm.running_mean, (norm.running_var + norm.eps).rsqrt()
    sums = torch.zeros(2, norm.num_features, dtype=torch.float64)
    for part in parts:
        frames = _frames(part)
        for block in _blocks(frames):
            sums[0] += _sum(frames[block])
            sums[1] += _sum(frames[block].square())
    sums, count = _over_processes(norm, sums, sum(part.numel() for part in parts) // norm.num_features)
    mean = sums[0] / count
    var = (sums[1] / count - mean.square()).clamp(min=0)
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_((var * count / max(count - 1, 1)).to(norm.running_var.dtype), norm.momentum)
    return mean.to(norm.weight.dtype), (var + norm.eps).rsqrt().to(norm.weight.dtype)


def scale_and_shift(norm: _BatchNorm, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The affine map (C,), (C,) that `norm` is, once its `statistics` are known."""
    mean, inv_std = statistics(norm, parts)
    scale = norm.weight * inv_std
    return scale, norm.bias - mean * scale


def affine_act(
    x: Tensor, scale: Tensor, shift: Tensor, slope: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """prelu(scale · x + shift + residual), (N, C, H, W), without a graph."""
    frames = _frames(x)
    rests = None if residual is None else _frames(residual)
    out = torch.empty_like(frames)
    for block in _blocks(frames):
        y = torch.addcmul(shift, frames[block], scale, out=out[block])
        if rests is not None:
            y += rests[block]
        if slope is not None:
            y.copy_(F.prelu(y.flatten(0, 1), slope).view_as(y))
    return _images(out, x)


class _NormAct(torch.autograd.Function):
    """Normalise by the batch's own moments, add the residual, apply PReLU."""

    @staticmethod
    def forward(ctx, x, weight, bias, slope, residual, mean, inv_std, norm):  # noqa: ANN001
        ctx.norm = norm
        scale = weight * inv_std
        shift = bias - mean * scale
        ctx.save_for_backward(x, weight, slope, residual, mean, inv_std, scale, shift)
        return affine_act(x, scale, shift, slope, residual)

    @staticmethod
    def backward(ctx, grad):  # noqa: ANN001
        x, weight, slope, residual, mean, inv_std, scale, shift = ctx.saved_tensors
        frames, grads = _frames(x), _frames(grad)  # (N, P, C)
        rests = None if residual is None else _frames(residual)
        grad_sum = grads.new_empty(grads.shape)  # gradient of norm(x) + residual
        sums = x.new_zeros(3, x.shape[1], dtype=torch.float64)  # of grad_sum, grad_sum · x, gradient of the slope
        for block in _blocks(frames):
            g = grad_sum[block].copy_(grads[block])
            if slope is not None:
                z = torch.addcmul(shift, frames[block], scale)
                if rests is not None:
                    z += rests[block]
                sums[2] += _sum(z.clamp(max=0).mul_(g))
                positive = z.sign_().clamp_(min=0)  # 1 or 0: arithmetic, since torch.where is many times slower
                g *= torch.addcmul(slope, positive, 1 - slope)
            sums[0] += _sum(g)
            sums[1] += _sum(g * frames[block])
        # sums[1] is of grad · x; BatchNorm's gradients need grad · (x - mean) / std.
        sum_grad = sums[0]
        sum_grad_hat = (sums[1] - mean * sums[0]) * inv_std
        totals, count = _over_processes(ctx.norm, torch.stack([sum_grad, sum_grad_hat]), x.numel() // x.shape[1])
        # d/dx = scale · (grad - mean(grad) - x_hat · mean(grad · x_hat)) as scale · grad + along_x · x + offset.
        along_x = -scale * inv_std * totals[1] / count
        offset = (-scale * totals[0] / count - along_x * mean).to(x.dtype)
        along_x = along_x.to(x.dtype)
        grad_x = torch.empty_like(grad_sum) if residual is not None else grad_sum
        for block in _blocks(frames):
            torch.addcmul(offset, grad_sum[block], scale, out=grad_x[block])
            grad_x[block].addcmul_(frames[block], along_x)
        return (
            _images(grad_x, x),
            sum_grad_hat.to(weight.dtype),
            sum_grad.to(weight.dtype),
            None if slope is None else sums[2].to(weight.dtype),
            None if residual is None else _images(grad_sum, x),
            None,
            None,
            None,
        )


def _over_processes(norm: _BatchNorm, sums: Tensor, count: int) -> tuple[Tensor, int]:
    """Sums (k, C) over this process's `count` values, added up over all processes as `sync_batch_norm` asks."""
    if not _gathers(norm):
        return sums, count
    together = torch.cat([sums.flatten(), sums.new_tensor([count])])
    dist.all_reduce(together)
    return together[:-1].view_as(sums), int(together[-1])


def _gathers(norm: _BatchNorm) -> bool:
    return getattr(norm, "over_processes", False) and dist.is_available() and dist.is_initialized()


def _sum(frames: Tensor) -> Tensor:
    """Sum of each channel, (n, P, C) → (C,): each frame in its own precision, then the frames in float64."""
    return frames.sum(dim=1).double().sum(dim=0)


def _frames(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H W, C), without a copy if channels_last."""
    return x.permute(0, 2, 3, 1).contiguous().flatten(1, 2)


def _images(frames: Tensor, like: Tensor) -> Tensor:
    """(N, H W, C) → (N, C, H, W), channels_last."""
    return frames.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)


def _blocks(frames: Tensor) -> list[slice]:
    """Slices of whole frames, about `BLOCK` values each."""
    size = max(1, BLOCK // frames[0].numel())
    return [slice(start, start + size) for start in range(0, len(frames), size)]
