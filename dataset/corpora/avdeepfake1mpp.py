"""AV-Deepfake1M++: as AV-Deepfake1M, from three sources, with two tests."""

from pathlib import Path

import pandas as pd

from dataset.corpora.avdeepfake1m import read_splits
from dataset.corpora.table import Corpus

COUNTS = {"val": 77_326, "val A": 20_220, "val B": 18_938, "val C": 19_099, "val D": 19_069}


def read(root: Path) -> pd.DataFrame:
    """Read the metadata of AV-Deepfake1M++; see :func:`dataset.corpora.avdeepfake1m.read_splits`."""
    splits = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
    return read_splits(root, splits, COUNTS, default_video="")


CORPUS = Corpus(
    read,
    "people by their id in VoxCeleb2, talks of LRS3, or subjects of the silent videos; train and val share many",
    COUNTS,
)
