"""Whatever is not what decoding would give is found: damage, other sources, other settings."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from dataset import ClipDataset, features, read_corpus, shard
from dataset import cache as cache_module
from dataset.cache import CacheReport, ClipCache
from dataset.shard import CachedClip
from tests.cache_tools import SHARDS, build_small, contents, flip_bit, rebuild, verified
from utils.errors import DataError


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve clips in shards of five, five and two."""
    monkeypatch.setattr(cache_module, "CLIPS_PER_SHARD", 5)


@pytest.fixture(scope="module")
def built(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of all clips."""
    return build_small(reference, tmp_path_factory.mktemp("built"))


@pytest.fixture
def clips(prepared_root: Path) -> pd.DataFrame:
    return read_corpus(prepared_root)


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> ClipCache:
    """A writable copy of that cache, in a folder with an odd name: the clips lie elsewhere too by now."""
    return ClipCache(shutil.copytree(built, tmp_path / "Zwischen Speicher äöü (1)"))


def all_right(clips: pd.DataFrame, found: Mapping[str, CachedClip], whole: Mapping[str, np.ndarray]) -> bool:
    """Whether what was found is what decoding gave."""
    return all(np.array_equal(entry.read()[0], whole[file]) for file, entry in found.items())


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(samples.astype("<i2").tobytes())


def test_flipped_bits(clips: pd.DataFrame, cache: ClipCache) -> None:
    path = cache.folder / SHARDS[1]
    expected = contents(cache)
    whole = {file: entry.read()[0].copy() for file, entry in verified(cache, clips).items()}
    rng = np.random.default_rng(0)
    size = path.stat().st_size
    positions = [*rng.integers(0, size, 25), *rng.integers(size - 2500, size, 15), *range(size - 48, size, 4)]
    for position in positions:
        flip_bit(path, position, bit=int(rng.integers(8)))
        found = verified(cache, clips, repair=False)
        assert len(found) < 12, position
        assert all_right(clips, found, whole), position
        path.write_bytes(expected[SHARDS[1]])
    flip_bit(path, positions[0])
    report = rebuild(cache, clips)
    assert (report.kept, report.built, len(report.damaged)) == (7, 5, 1)
    assert report.damaged[0].startswith("shard-0001.bin: ")
    assert report.damaged[0].endswith(" is damaged")
    assert contents(cache) == expected


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.3, 0.9999, 1.0001])
def test_shards_of_another_size(
    clips: pd.DataFrame, cache: ClipCache, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache.folder / SHARDS[0]
    expected = contents(cache)
    data = expected[SHARDS[0]]
    path.write_bytes((data + data)[: int(share * len(data))])
    assert set(verified(cache, clips)) == set(clips["file"].iloc[5:])
    assert caplog.messages[0].startswith(
        "5 clips are decoded from their mp4, as they are stale or damaged in the cache"
    )
    assert "shard-0000.bin: is truncated or no shard" in caplog.text
    assert "`main.py prepare --cache` rebuilds them" in caplog.text
    assert rebuild(cache, clips).built == 5
    assert contents(cache) == expected


def test_files_that_are_no_shard(clips: pd.DataFrame, cache: ClipCache) -> None:
    expected = contents(cache)
    path = cache.folder / SHARDS[1]
    for data in (b"foreign" * 999, expected[SHARDS[0]], expected[SHARDS[1]][1:], b"x" + expected[SHARDS[1]]):
        path.write_bytes(data)
        assert set(verified(cache, clips)) == {*clips["file"].iloc[:5], *clips["file"].iloc[10:]}
    assert "shard-0001.bin: " in rebuild(cache, clips).damaged[0]
    path.unlink()
    path.mkdir()
    assert len(verified(cache, clips)) == 7
    with pytest.raises(OSError, match=r"shard-0001\.bin"):
        rebuild(cache, clips)


def test_a_format_to_come(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shard, "FORMAT", 2)
        assert verified(cache, clips) == {}
        assert rebuild(cache, clips).damaged == [f"{name}: is of another format than 2" for name in SHARDS]
    assert rebuild(cache, clips).built == 12


def test_a_clip_that_changed(clips: pd.DataFrame, cache: ClipCache) -> None:
    assert len(verified(cache, clips)) == 12  # this object does not read them again unless they change
    path = Path(clips["path"].iloc[6])
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 2000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    file = clips["file"].iloc[6]
    assert set(verified(ClipCache(cache.folder), clips, repair=False)) == set(clips["file"]) - {file}
    assert set(verified(cache, clips, repair=False)) == set(clips["file"]) - {file}
    assert rebuild(cache, clips) == CacheReport(7, 5, [f"shard-0001.bin: {file} was changed since"], [])
    assert_array_equal(verified(cache, clips)[file].read()[0], cache_module.decode_clip(path, 500)[0])


def test_a_wav_that_appears_changes_or_goes(clips: pd.DataFrame, cache: ClipCache) -> None:
    path = Path(clips["path"].iloc[0]).with_suffix(".wav")
    expected = contents(cache)
    sound = path.read_bytes()
    for step in ("goes", "appears", "changes"):
        path.unlink(missing_ok=True)
        if step != "goes":
            write_wav(path, np.arange(9000) % (70 if step == "appears" else 90))
        before = contents(cache)
        assert len(verified(cache, clips, repair=False)) == 11
        assert len(verified(cache, clips)) == 12
        assert [name for name in SHARDS if contents(cache)[name] != before[name]] == SHARDS[:1]
        dataset = ClipDataset(clips, train=False, cache=verified(cache, clips))
        assert torch.equal(dataset[0]["audio"], ClipDataset(clips, train=False)[0]["audio"])
    path.write_bytes(sound)
    assert rebuild(cache, clips).built == 5
    assert contents(cache) == expected


def test_other_settings(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(cache)
    with monkeypatch.context() as patch:
        patch.setattr(features, "PREEMPHASIS", 0.9)
        assert verified(cache, clips, repair=False) == {}
        assert rebuild(cache, clips).damaged == [f"{name}: was decoded with other settings" for name in SHARDS]
        assert len(verified(cache, clips)) == 12
    assert len(verified(cache, clips)) == 12  # repaired
    assert contents(cache) == expected


def test_repair_keeps_what_it_cannot_decode(clips: pd.DataFrame, cache: ClipCache) -> None:
    expected = contents(cache)
    asked = clips.iloc[[0, 1, 11]]
    entries = shard.read_index(cache.folder / SHARDS[0]).entries
    for number in (1, 3):  # asked for, and not
        flip_bit(cache.folder / SHARDS[0], entries[number].offset + 99)
    assert set(verified(cache, asked)) == set(asked["file"])
    assert set(verified(cache, clips, repair=False)) == set(clips["file"]) - {entries[3].file}
    assert verified(cache, clips.iloc[[4]])[clips["file"].iloc[4]].whole
    assert set(verified(cache, clips)) == set(clips["file"])
    assert contents(cache) == expected


def test_a_folder_that_cannot_be_written_to(
    clips: pd.DataFrame, cache: ClipCache, caplog: pytest.LogCaptureFixture
) -> None:
    flip_bit(cache.folder / SHARDS[0], 99)
    (cache.folder / ".lock").unlink(missing_ok=True)
    (cache.folder / ".lock").mkdir()  # holds for an administrator too
    assert set(verified(cache, clips)) == set(clips["file"].iloc[1:])
    assert caplog.messages[0].startswith("the cache cannot be repaired (")
    assert caplog.messages[1].startswith("1 clips are decoded from their mp4")
    assert len(caplog.messages) == 2


def test_a_shard_that_changes_later(clips: pd.DataFrame, cache: ClipCache, caplog: pytest.LogCaptureFixture) -> None:
    found = verified(cache, clips)
    expected = ClipDataset(clips, train=False)[0]["video"]
    dataset = ClipDataset(clips, train=False, cache=found)
    rebuild(cache, clips.iloc[::-1])
    for _ in range(2):
        assert torch.equal(dataset[0]["video"], expected)
    assert [message.partition("; ")[2] for message in caplog.messages] == ["its clip is decoded instead"]
    for damage in (lambda path: path.write_bytes(b""), Path.unlink):
        damage(cache.folder / SHARDS[0])
        with pytest.raises(DataError, match=r"shard-0000\.bin: cannot be read"):
            found[clips["file"].iloc[0]].read()
