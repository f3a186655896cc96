"""Learning rates over the steps of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, warmup_steps: int, total_steps: int, final: float = 0.0) -> LambdaLR:
    """Raise the rate along a line, then lower it along half a cosine.

    Parameters
    ----------
    optimizer
        Each of its groups keeps its own highest rate, the one that it has now.
    warmup_steps
        Optimiser steps before the highest rate, which step `warmup_steps` (from 0) has; the first of them already
        moves: it has 1 / (warmup_steps + 1) of it.
    total_steps
        Optimiser steps of the run, after which the rate stays at its lowest.
    final
        The lowest rate, as a share of the highest.

    Returns
    -------
    LambdaLR
        To be stepped once an optimiser step.

    Raises
    ------
    ValueError
        If there is no step, the warm-up is longer than the run, or `final` is no share.
    """
    if total_steps < 1 or not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"a warm-up of {warmup_steps} steps does not fit into a run of {total_steps}")
    if not 0 <= final <= 1:
        raise ValueError(f"final={final} is not a share from 0 to 1")

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, share)
