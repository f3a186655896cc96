"""Padding in batches of clips of different lengths: how long each clip is, and means over the real frames alone."""

from __future__ import annotations

import torch
from torch import Tensor

from utils.errors import DataError


def lengths_of(padding_mask: Tensor) -> tuple[int, ...]:
    """Real frames of each clip, from the mask (B, T), True = padding. Where that lies on a GPU, this waits for it.

    Raises
    ------
    DataError
        If a clip has no real frame, or padding is not at its end alone.
    """
    lengths = (~padding_mask).sum(dim=1)  # (B,)
    expected = torch.arange(padding_mask.shape[1], device=padding_mask.device) >= lengths[:, None]
    right = (padding_mask == expected).all(dim=1) & (lengths > 0)
    told = torch.stack([lengths, right], dim=1).tolist()
    for clip, (_, fits) in enumerate(told):
        if not fits:
            raise DataError(f"padding_mask of clip {clip} of the batch: padding follows at least one real frame")
    return tuple(length for length, _ in told)


def mean_over_time(x: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Mean of each clip's real frames, (B, T, D) → (B, D)."""
    if padding_mask is None:
        return x.mean(dim=1)
    real = (~padding_mask).sum(dim=1, keepdim=True)  # (B, 1)
    return x.masked_fill(padding_mask[..., None], 0).sum(dim=1) / real
