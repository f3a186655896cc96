"""Items of :class:`dataset.clips.ClipDataset` made into a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

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
    labels, mask = _labels_and_mask(items, length)
    return {
        "video": _stack([item["video"][:, :length] for item in items]),
        "audio": _stack([item["audio"][:length].T for item in items]),
        "padding_mask": mask,
        **dict(zip(INTEGERS, labels, strict=True)),
        **{name: [item[name] for item in items] for name in TEXTS},
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: on arrays this small, waking the others takes longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _labels_and_mask(items: Sequence[dict[str, Any]], length: int) -> tuple[Tensor, Tensor]:
    """Integers (6, B) int64 and a mask (B, T) without padding, in one piece of memory.

    Each piece that a worker sends keeps it from its work for up to half a millisecond.
    """
    values = torch.tensor([[item[name] for item in items] for name in INTEGERS])
    memory = torch.zeros(values.nbytes + len(items) * length, dtype=torch.uint8)
    labels = memory[: values.nbytes].view(torch.int64).view(values.shape)
    return labels.copy_(values), memory[values.nbytes :].view(torch.bool).view(len(items), length)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """``torch.stack``; in a worker straight into the memory that it shares, as PyTorch's own collation does."""
    if get_worker_info() is None:
        with one_thread():
            return torch.stack(tensors)
    first = tensors[0]
    storage = first.untyped_storage()._new_shared(len(tensors) * first.nbytes, device="cpu")
    out = first.new_empty(0).set_(storage, 0, (len(tensors), *first.shape))
    return torch.stack(tensors, out=out)
