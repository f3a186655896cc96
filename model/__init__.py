"""The six detectors and the AV-HuBERT encoder that they share."""

from model.avdf import AVDF
from model.avdf_ensemble import AVDF_Ensemble
from model.avdf_multiclass import AVDF_Multiclass
from model.avdf_multilabel import AVDF_Multilabel
from model.checkpoint import CheckpointError, detector_of, load_detector, read_checkpoint, weights_file
from model.fast import for_inference
from model.model import Detector, Outputs, Verdict
from model.mrdf_ce import MRDF_CE
from model.mrdf_margin import MRDF_Margin
from model.threshold import Threshold, threshold_of

MODELS: dict[str, type[Detector]] = {
    kind.__name__: kind for kind in (AVDF, AVDF_Ensemble, AVDF_Multilabel, AVDF_Multiclass, MRDF_Margin, MRDF_CE)
}

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
    "weights_file",
]
