"""The six detectors by name."""

from model.avdf import AVDF
from model.avdf_ensemble import AVDF_Ensemble
from model.avdf_multiclass import AVDF_Multiclass
from model.avdf_multilabel import AVDF_Multilabel
from model.model import Detector
from model.mrdf_ce import MRDF_CE
from model.mrdf_margin import MRDF_Margin

MODELS: dict[str, type[Detector]] = {
    "AVDF": AVDF,
    "AVDF_Ensemble": AVDF_Ensemble,
    "AVDF_Multilabel": AVDF_Multilabel,
    "AVDF_Multiclass": AVDF_Multiclass,
    "MRDF_Margin": MRDF_Margin,
    "MRDF_CE": MRDF_CE,
}
