"""Padding in batches of clips of different lengths: whether there is any, and means over the real frames alone."""

from __future__ import annotations

from torch import Tensor


def used_mask(padding_mask: Tensor | None) -> Tensor | None:
    """The mask (B, T), True = padding, or None where no frame is padding and nothing need be masked.

    Raises
    ------
    ValueError
        If it masks the first frame of a clip, from which the detectors read the whole clip.
    """
    if padding_mask is None or not padding_mask.any():
        return None
    if padding_mask[:, 0].any():
        clip = int(padding_mask[:, 0].nonzero()[0])
        raise ValueError(f"padding_mask masks the first frame of clip {clip} of the batch; padding follows real frames")
    return padding_mask


def mean_over_time(x: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Mean of each clip's real frames, (B, T, D) → (B, D)."""
    if padding_mask is None:
        return x.mean(dim=1)
    real = (~padding_mask).sum(dim=1, keepdim=True)  # (B, 1)
    return x.masked_fill(padding_mask[..., None], 0).sum(dim=1) / real
