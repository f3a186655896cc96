"""A gradient made smaller on its way back, which changes no value on the way forth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Scaled(torch.autograd.Function):
    """The same values, and `factor` times the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x`, of which `factor` times the gradient reaches what it was computed from; with 1 it is `x` itself."""
    return x if factor == 1 else _Scaled.apply(x, factor)
