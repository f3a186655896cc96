"""The loss terms of all detectors, in float32; those of MRDF (arXiv 2401.05746) are one matrix product each.

A label of -1 is unknown: its clip is left out of the mean, and a term without any known label is 0 with a gradient of
0. No term waits for a GPU.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from utils.metrics import UNKNOWN


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Scalar: mean cross entropy of logits (B, classes) with labels (B,)."""
    total = F.cross_entropy(logits.float(), label, ignore_index=UNKNOWN, reduction="sum")
    return total / (label != UNKNOWN).sum().clamp(min=1)


def binary_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Scalar: mean binary cross entropy of logits with labels 0 and 1 of the same shape."""
    values = F.binary_cross_entropy_with_logits(logits.float(), label.clamp(min=0).float(), reduction="none")
    return _mean(values, label != UNKNOWN)


def cross_modality_loss(video: Tensor, audio: Tensor, c_label: Tensor, margin: float = 0.0) -> Tensor:
    """Scalar that pulls the two streams of a real clip together, and pushes those of any other clip apart.

    The mean over clips of known label of 1 - cos where c_label is 1 (both streams are real), else max(cos - margin, 0),
    with the cosine similarity cos of video and audio, (B, D) each; labels are (B,).
    """
    with torch.autocast(video.device.type, enabled=False):
        similarity = F.cosine_similarity(video.float(), audio.float(), dim=-1)  # (B,)
    return _mean(_cosine_embedding(similarity, c_label == 1, margin), c_label != UNKNOWN)


def within_modality_loss(embeddings: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """Scalar that pulls clips of the same label together within one modality, and pushes the others apart.

    The mean over all ordered pairs of clips of known label, each clip with itself included, of 1 - cos where the labels
    agree, else max(cos - margin, 0), with the cosine similarity cos of embeddings, (B, D); labels, 1 where this
    modality is real, are (B,).
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = F.normalize(embeddings.float(), dim=-1, eps=1e-8)  # (B, D)
        similarity = unit @ unit.T  # (B, B)
    known = labels != UNKNOWN
    return _mean(_cosine_embedding(similarity, labels[:, None] == labels, margin), known[:, None] & known)


def of_all_processes(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Clips of this process's batch and of all others', for a loss over pairs in training with DDP.

    Such a loss is the same number in every process, and after DDP's mean over processes its gradients are those of one
    process with the whole batch: those of this process's own embeddings are returned times the number of processes,
    and nothing is sent in the backward pass.

    Embeddings (B, D) and labels (B,), with the same B in every one of P processes, as a DistributedSampler sees to,
    become (P B, D) in float32 and (P B,), process by process; without torch.distributed or with P = 1 they stay.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return embeddings, labels
    return _Gathered.apply(embeddings.float()), _gather(labels)


class _Gathered(torch.autograd.Function):
    """`_gather` for what every process does the same with."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _gather(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Every process has the whole gradient, so the sum over processes is a multiple of the own part.
        processes = dist.get_world_size()
        return grad.chunk(processes)[dist.get_rank()] * processes


def _gather(own: Tensor) -> Tensor:
    """(B, …) → (P B, …)."""
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of the values that are known; 0 without any."""
    return torch.where(known, values, 0).sum() / known.sum().clamp(min=1)


def _cosine_embedding(similarity: Tensor, same: Tensor, margin: float) -> Tensor:
    return torch.where(same, 1 - similarity, (similarity - margin).clamp(min=0))
