"""Any clip of a talking face to windows of FakeAVCeleb's kind: find the face, follow it, cut it out, in any length."""

from dataset.faces.detector import FaceDetector, make_detector
from dataset.faces.survey import FRAMINGS, ClipFault, Survey, survey
from dataset.faces.tracks import Span
from dataset.faces.windows import Window, crop_clip, windows

__all__ = [
    "FRAMINGS", "ClipFault", "FaceDetector", "Span", "Survey", "Window", "crop_clip", "make_detector",
    "survey", "windows",
]  # fmt: skip
