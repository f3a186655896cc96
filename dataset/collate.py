"""Items of :class:`dataset.clips.ClipDataset` made into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dataset.media import MAX_FRAMES
from dataset.metadata import LABELS

INTEGERS = (*LABELS, "id")
TEXTS = ("file", "subject", "category", "method")


def collate_cut(items: Sequence[dict[str, Any]], max_frames: int = MAX_FRAMES) -> dict[str, Any]:
    """Cut the clips from their start to the shortest of them, as the authors' release does.

    Returns
    -------
    Batch with ``video`` (B, 3, T, 100, 100) uint8, ``audio`` (B, 104, T) float32, ``padding_mask`` (B, T) bool
    (nothing is padding, so all False), ``v_label``, ``a_label``, ``c_label``, ``m_label``, ``mm_label`` and ``id``
    (B,) int64, and ``file``, ``subject``, ``category``, ``method`` as lists of str.
    """
    length = min(max_frames, *(len(item["audio"]) for item in items))
    return {
        "video": torch.stack([item["video"][:, :length] for item in items]),
        "audio": torch.stack([item["audio"][:length].T for item in items]),
        "padding_mask": torch.zeros(len(items), length, dtype=torch.bool),
        **_describe(items),
    }


def _describe(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Everything of a batch that has no time axis."""
    integers = {name: torch.tensor([item[name] for item in items]) for name in INTEGERS}
    return integers | {name: [item[name] for item in items] for name in TEXTS}
