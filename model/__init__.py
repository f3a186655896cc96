"""The six detectors and the AV-HuBERT encoder that they share."""

from model.checkpoint import CheckpointError, detector_of, load_detector, read_checkpoint
from model.detectors import MODELS
from model.fast import for_inference
from model.model import Detector, Outputs, Verdict
from model.threshold import Threshold, threshold_of

__all__ = [
    "MODELS",
    "CheckpointError",
    "Detector",
    "Outputs",
    "Threshold",
    "Verdict",
    "detector_of",
    "for_inference",
    "load_detector",
    "read_checkpoint",
    "threshold_of",
]
