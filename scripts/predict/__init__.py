"""Clips of any kind scored by a checkpoint, none of which stops the others: `main.py predict`, and `predict_clip`.

A score is always the probability that a clip is real: 1 = real, 0 = fake.
"""

from scripts.predict.command import predict_clip
from scripts.predict.prediction import Prediction

__all__ = ["Prediction", "predict_clip"]
