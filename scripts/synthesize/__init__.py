"""A synthetic miniature of FakeAVCeleb, for trying the software without the data set, which nobody may hand on."""

from scripts.synthesize.corpus import synthesize

__all__ = ["synthesize"]
