"""Memory for the activations of a training step, from the shapes alone: which batch fits a GPU."""

from __future__ import annotations

from typing import NamedTuple

D, FFN = 768, 3072  # widths of the encoder and of its feed-forward networks
PIXELS = 3 * 100 * 100
STEM = 64 * 50 * 50  # the front end before its pooling
MAPS = (64 * 25 * 25, 128 * 13 * 13, 256 * 7 * 7, 512 * 4 * 4)  # the trunk's layers, two blocks each
INDEX, FLOAT32, BOOL = 8, 4, 1  # bytes


class _Part(NamedTuple):
    """Bytes a frame of one part that is recomputed as a whole."""

    entry: float  # its input
    inside: float  # what it keeps besides
    gradients: float  # gradients that exist together while all of that does


def activation_bytes(
    batch: int,
    frames: int,
    encoder_layers: int = 0,
    checkpointed: bool = False,
    train_frontend: bool = False,
    bytes_per_value: int = 2,
) -> int:
    """Activations of MRDF_CE at the highest point of a training step with PyTorch's own modules, as on a GPU.

    All grow with `batch` × `frames`; attention is fused and keeps nothing of frames². Values a frame, b bytes each
    unless said otherwise (under autocast LayerNorm keeps float32), with D = 768, F = 3,072 and m = 40,000, 21,632,
    12,544 and 8,192, the sizes of the maps of the trunk's four layers:

    - trained front end: three maps of 160,000 (before BatchNorm, PReLU and pooling), 30,000 pixels and 40,000 indices
      of 8 bytes; a fixed one keeps nothing (while it runs it needs 320,000, before the trunk keeps anything);
    - block of the trunk: its input and 5 m (before and after bn1, after relu1, before bn2 and before relu2), 6 m where
      a 1×1 convolution matches the residual: 1,062,592 for all eight;
    - streams, fusion and positional convolution: 616 + 4 D + 7 D in float32 + 3 D of one byte (dropout);
    - transformer layer: 6 D + 2 F (input, query, key, value, attention, input of the feed-forward network, both sides
      of its GELU) + 2 D in float32 (before LayerNorm) + 2 D of one byte (dropout).

    Without checkpointing the highest point is the sum, where the backward pass begins. With it, each block, the front
    end and each layer keep their inputs alone (a layer in float32), and the highest point is that of the part whose
    backward pass needs most: inputs up to it, its own values, and its gradients: 3 m in a block (of its output, its
    last sum, and PReLU's slopes before they are summed), in the front end 2 maps in place of the last one, or the
    gradients about the pooling, and 2 F in a layer.

    Not counted: the batch itself (150 kB a frame as bytes and in float32); parameters, their gradients and Adam's
    moments (16 bytes a parameter, 18 under autocast, which keeps copies); what PyTorch and cuDNN work with.

    Parameters
    ----------
    batch, frames
        Clips of a step on one device, and frames of the longest.
    encoder_layers, train_frontend
        As in `model.Detector`.
    checkpointed
        Its `checkpoint_activations`.
    bytes_per_value
        2 in half precision, 4 in float32.
    """
    b = bytes_per_value
    streams = _Part(0, (616 + 4 * D) * b + 7 * D * FLOAT32 + 3 * D * BOOL, 0)
    parts = [_front_end(b)] if train_frontend else []
    parts += [*_blocks(b), streams, *[_layer(b, checkpointed)] * encoder_layers]
    if not checkpointed:
        return round(batch * frames * sum(part.entry + part.inside for part in parts))
    kept = highest = 0.0
    for part in parts:
        kept += part.entry
        highest = max(highest, kept + part.inside + part.gradients)
        if part is streams:
            kept += part.inside
    return round(batch * frames * highest)


def _front_end(b: int) -> _Part:
    indices = MAPS[0] * INDEX
    pooling = STEM * b + MAPS[0] * b  # gradients on both sides of the pooling, while its indices are there
    prelu = 2 * STEM * b - indices  # three gradients, once the pooling has let go of its input and its indices
    return _Part(0, (PIXELS + 3 * STEM) * b + indices, max(pooling, prelu))


def _blocks(b: int) -> list[_Part]:
    parts, entry = [], MAPS[0]
    for size in MAPS:
        for _ in range(2):
            matched = entry != size
            parts.append(_Part(entry * b, (5 + matched) * size * b, 3 * size * b))
            entry = size
    return parts


def _layer(b: int, checkpointed: bool) -> _Part:
    inside = (6 * D + 2 * FFN) * b + 2 * D * FLOAT32 + 2 * D * BOOL
    gradients = 2 * FFN * b
    if not checkpointed:
        return _Part(0, inside, gradients)
    # Its input comes in float32, and in full precision it is what the projections keep.
    shared = D * b if b == FLOAT32 else 0
    return _Part(D * FLOAT32, inside - shared, gradients)
