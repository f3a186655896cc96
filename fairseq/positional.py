"""Relative positions from a wide grouped convolution over time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _WeightNormConv1d(nn.Module):
    """Grouped Conv1d whose kernel is weight-normed over dim 2, kept as fairseq's `weight_g` and `weight_v`."""

    def __init__(self, channels: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.kernel_size = kernel_size
        std = math.sqrt(4 / (kernel_size * channels))
        weight = torch.randn(channels, channels // groups, kernel_size) * std
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))  # (1, 1, K)
        self.weight_v = nn.Parameter(weight)  # (C, C / groups, K)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        x = F.conv1d(x, weight, self.bias, padding=self.kernel_size // 2, groups=self.groups)
        # An even kernel gives one frame more than came in.
        return x[..., :-1] if self.kernel_size % 2 == 0 else x


class PositionalConvolution(nn.Sequential):
    """GELU(conv(x)) over time, (B, C, T) → (B, C, T).

    Parameters
    ----------
    channels
        Width C of the embeddings.
    kernel_size
        Frames under the kernel (128 in AV-HuBERT base).
    groups
        Groups of channels (16 in AV-HuBERT base).
    """

    def __init__(self, channels: int, kernel_size: int, groups: int) -> None:
        super().__init__(_WeightNormConv1d(channels, kernel_size, groups), nn.GELU())
