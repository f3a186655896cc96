"""Any clip of a talking face to windows of FakeAVCeleb's kind: find the face, follow it, cut it out, in any length."""

from __future__ import annotations

from dataset.faces.detector import DETECTORS, FaceDetector, make_detector
from dataset.faces.fault import ClipFault
from dataset.faces.look import FRAMINGS, Survey, survey
from dataset.faces.stream import Window, windows

__all__ = [
    "DETECTORS", "FRAMINGS", "ClipFault", "FaceDetector", "Survey", "Window", "make_detector", "survey", "windows"
]  # fmt: skip
