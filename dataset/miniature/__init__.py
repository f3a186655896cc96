"""A synthetic miniature of FakeAVCeleb, for trying the software without the data set, which nobody may hand on."""

from dataset.miniature.corpus import MARKER, synthesize

__all__ = ["MARKER", "synthesize"]
