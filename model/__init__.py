"""The six detectors and the AV-HuBERT encoder that they share."""

from model.checkpoint import CheckpointError, detector_of, load_detector, read_checkpoint
from model.detectors import MODELS
from model.model import Detector, Outputs, Verdict

__all__ = [
    "MODELS",
    "CheckpointError",
    "Detector",
    "Outputs",
    "Verdict",
    "detector_of",
    "load_detector",
    "read_checkpoint",
]
