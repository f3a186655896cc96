"""What the tests of the cache share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dataset import cache as cache_module
from dataset import read_corpus
from dataset.cache import CacheReport, ClipCache
from dataset.shard import CachedClip

SHARDS = ["shard-0000.bin", "shard-0001.bin", "shard-0002.bin"]  # of five, five and two clips


def build_small(reference: Path, folder: Path) -> Path:
    """Cache the twelve reference clips, five to a shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "CLIPS_PER_SHARD", 5)
        report = ClipCache(folder).build(read_corpus(reference / "corpus" / "prepared"), progress=False)
    assert report == CacheReport(0, 12, [], [])
    return folder


def contents(cache: ClipCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cache.folder.iterdir()) if path.name != ".lock"}


def verified(cache: ClipCache, clips: pd.DataFrame, **options: Any) -> dict[str, CachedClip]:
    return cache.entries(clips, progress=False, **options)


def rebuild(cache: ClipCache, clips: pd.DataFrame) -> CacheReport:
    return cache.build(clips, progress=False)


def flip_bit(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        value = file.read(1)[0]
        file.seek(position)
        file.write(bytes([value ^ 1 << bit]))
