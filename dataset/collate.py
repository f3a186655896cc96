"""Items of :class:`dataset.clips.ClipDataset` made into a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from dataset.corpora.table import LABELS
from dataset.media import MAX_FRAMES

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


def collate_pad(items: Sequence[dict[str, Any]], max_frames: int = MAX_FRAMES) -> dict[str, Any]:
    """Pad the clips with zeros to the longest of them.

    Returns
    -------
    Batch as that of :func:`collate_cut`, whose ``padding_mask`` is True where a clip has ended.
    """
    lengths = [min(max_frames, len(item["audio"])) for item in items]
    labels, mask = _labels_and_mask(items, max(lengths))
    for row, length in zip(mask, lengths, strict=True):
        row[length:] = True
    return {
        "video": _stack_padded([item["video"][:, :length] for item, length in zip(items, lengths, strict=True)], dim=1),
        "audio": _stack_padded([item["audio"][:length].T for item, length in zip(items, lengths, strict=True)], dim=1),
        "padding_mask": mask,
        **dict(zip(INTEGERS, labels, strict=True)),
        **{name: [item[name] for item in items] for name in TEXTS},
    }


COLLATE: dict[str, Callable[..., dict[str, Any]]] = {"cut": collate_cut, "mask": collate_pad}


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
    with one_thread():
        return torch.stack(tensors, out=_empty(tensors[0], (len(tensors), *tensors[0].shape)))


def _stack_padded(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Stack tensors of different lengths along `dim`, each followed by zeros."""
    shape = list(tensors[0].shape)
    shape[dim] = max(tensor.shape[dim] for tensor in tensors)
    with one_thread():
        out = _empty(tensors[0], (len(tensors), *shape))
        for row, tensor in zip(out, tensors, strict=True):
            length = tensor.shape[dim]
            row.narrow(dim, 0, length).copy_(tensor)
            row.narrow(dim, length, shape[dim] - length).zero_()
        return out


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Room for a tensor of this shape; in a worker in memory that it shares with the main process."""
    if get_worker_info() is None:
        return like.new_empty(shape)
    storage = like.untyped_storage()._new_shared(math.prod(shape) * like.element_size(), device="cpu")
    return like.new_empty(0).set_(storage, 0, tuple(shape))
