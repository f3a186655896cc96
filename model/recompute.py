"""Gradient checkpointing: what is inside a module is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def recomputed(function: Callable[..., Tensor], *args: Any, norms: nn.Module) -> Tensor:
    """`function(*args)`, of which only the arguments are kept for the backward pass.

    Parameters
    ----------
    function, args
        What to call, now and again in the backward pass, there with the same random numbers.
    norms
        Module whose BatchNorm layers `function` uses: their running statistics move in the first call alone.
    """
    return checkpoint(
        function, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _still_statistics(norms))
    )


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Let what moves running statistics in `module` move copies of them."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    kept = [{name: getattr(norm, name) for name in STATISTICS} for norm in norms]
    for norm, statistics in zip(norms, kept, strict=True):
        for name, value in statistics.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, statistics in zip(norms, kept, strict=True):
            for name, value in statistics.items():
                setattr(norm, name, value)
