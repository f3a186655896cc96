"""The parts of fairseq that AV-HuBERT needs, written for this project.

A small stand-in and not a copy: parameter names follow fairseq, so that its checkpoints load. Meta's own package is
archived and does not install on a current Python.
"""

from fairseq.checkpoint import CheckpointError, read_checkpoint
from fairseq.encoder import MultiheadAttention, TransformerEncoder, TransformerEncoderLayer

__all__ = ["CheckpointError", "MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer", "read_checkpoint"]
