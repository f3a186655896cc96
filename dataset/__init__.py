"""FakeAVCeleb v1.2, from the folder its owner receives to normalised batches."""

from dataset.clips import ClipDataset
from dataset.datamodule import FakeAVCelebDataModule
from dataset.folds import FOLD_NAMES
from dataset.metadata import DataError, read_metadata

__all__ = ["FOLD_NAMES", "ClipDataset", "DataError", "FakeAVCelebDataModule", "read_metadata"]
