"""Figures of a run, one file a figure; `utils.figure` has them all."""
