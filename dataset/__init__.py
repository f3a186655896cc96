"""FakeAVCeleb v1.2 and other published corpora, from the folder their owner receives to normalised batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dataset.corpora import read_corpus
from dataset.folds import FOLD_NAMES
from utils.errors import DataError

if TYPE_CHECKING:
    from dataset.clips import ClipDataset
    from dataset.datamodule import FakeAVCelebDataModule

__all__ = ["FOLD_NAMES", "ClipDataset", "DataError", "FakeAVCelebDataModule", "read_corpus"]

LATER = {"ClipDataset": "dataset.clips", "FakeAVCelebDataModule": "dataset.datamodule"}


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch or Lightning when it is asked for: preparing a corpus needs little of either."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LATER[name]), name)
