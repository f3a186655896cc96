"""The cache of decoded clips: the same items bit by bit, the same bytes always, and no damage goes unseen."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from dataset import ClipDataset, read_corpus, shard, verify
from dataset import cache as cache_module
from dataset.cache import CacheReport, ClipCache
from dataset.clips import ClipSampler
from dataset.collate import collate_cut
from dataset.features import audio_features
from dataset.transforms import centre_crop, random_crop
from tests.cache_tools import SHARDS, build_small, contents, rebuild, verified
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


def batches(dataset: ClipDataset, num_workers: int) -> list[dict[str, Any]]:
    sampler = ClipSampler(dataset, 1, 0, seed=42)
    sampler.set_epoch(1)
    return list(DataLoader(dataset, 4, sampler=sampler, num_workers=num_workers, collate_fn=collate_cut))


@pytest.mark.parametrize("count", [1, 399, 401, 5_000, 25_635, 64_240])
def test_features_do_not_depend_on_how_much_was_read(count: int) -> None:
    samples = np.random.default_rng(count).integers(-9_000, 9_000, count, np.int16)
    frames = -(-count // 640) + 1
    everything = audio_features(samples, frames)
    for n_frames in range(1, frames):
        assert torch.equal(audio_features(samples[: n_frames * 640 + 240], n_frames), everything[:n_frames])


@pytest.mark.parametrize("size", [(112, 112), (100, 112), (112, 100), (100, 100), (131, 160)])
def test_crops_are_those_of_torchvision(size: tuple[int, int]) -> None:
    transform = v2.Compose([v2.RandomCrop(100), v2.RandomHorizontalFlip(0.5)])
    video = torch.randint(0, 255, (3, 2, *size), dtype=torch.uint8)
    state = torch.get_rng_state()
    cropped = [random_crop(video, seed) for seed in range(60)]
    assert torch.equal(state, torch.get_rng_state())
    for seed, crop in enumerate(cropped):
        torch.manual_seed(seed)
        assert torch.equal(crop, transform(video))
    assert torch.equal(centre_crop(video), v2.CenterCrop(100)(video))
    with pytest.raises(ValueError, match="a side of 99 pixels"):
        random_crop(video[..., :99, :], 0)
    with pytest.raises(ValueError, match="a side of 99 pixels"):
        centre_crop(video[..., :99])


@pytest.mark.parametrize("max_frames", [7, 500])
@pytest.mark.parametrize("train", [True, False])
def test_batches_are_those_of_decoding(clips: pd.DataFrame, cache: ClipCache, train: bool, max_frames: int) -> None:
    decoded = batches(ClipDataset(clips, train, max_frames=max_frames), 0)
    found = verified(cache, clips, max_frames=max_frames)
    assert set(found) == set(clips["file"])
    for workers in (0, 2):
        dataset = ClipDataset(clips, train, max_frames=max_frames, cache=found)
        for one, other in zip(decoded, batches(dataset, workers), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
                assert same, name
            assert other["padding_mask"].dtype is torch.bool
            assert other["mm_label"].dtype is torch.int64


def test_items_are_those_of_decoding(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = ClipDataset(clips, train=True)
    cached = pickle.loads(pickle.dumps(ClipDataset(clips, train=True, cache=verified(cache, clips))))
    items = [decoded[index] for index in range(12)]
    monkeypatch.setattr("dataset.clips.read_video", None)  # nothing is decoded
    for index, item in enumerate(items):
        other = cached[index]
        assert list(item) == list(other)
        assert torch.equal(item["video"], other["video"])
        assert other["video"].is_contiguous()
        assert torch.equal(item["audio"], other["audio"])
        assert all(item[name] == other[name] for name in item if name not in ("video", "audio"))


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what is mapped")
def test_no_clip_stays_mapped(clips: pd.DataFrame, cache: ClipCache) -> None:
    dataset = ClipDataset(clips, train=True, cache=verified(cache, clips))
    held = [*batches(dataset, 0), *batches(dataset, 0)]
    assert "shard-" not in Path("/proc/self/maps").read_text()
    assert len(held) == 6
    held.append(next(iter(verified(cache, clips).values())).read()[0])
    assert "shard-0000.bin" in Path("/proc/self/maps").read_text()


def test_bytes_depend_on_the_clips_alone(clips: pd.DataFrame, cache: ClipCache, tmp_path: Path) -> None:
    expected = contents(cache)
    assert list(expected) == SHARDS
    moved = Path(
        shutil.copytree(clips["path"].str.split("/RealVideo|/FakeVideo").str[0].iloc[0], tmp_path / "elsewhere")
    )
    for workers in (1, 3):
        other = ClipCache(tmp_path / f"with {workers}")
        other.build(read_corpus(moved), num_workers=workers, progress=False)
        assert contents(other) == expected


def test_a_second_build_writes_nothing(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "write_shard", None)
    assert rebuild(cache, clips) == CacheReport(12, 0, [], [])


def test_clips_shared_by_folds_are_verified_once(
    clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(verify, "is_intact", lambda _, entry: read.append(entry.file) or True)
    for fold in (clips.iloc[:8], clips.iloc[4:], clips):
        assert set(verified(cache, fold)) == set(fold["file"])
    assert sorted(read) == sorted(clips["file"])


def test_other_clips_rebuild_what_they_touch(clips: pd.DataFrame, cache: ClipCache) -> None:
    before = contents(cache)
    (cache.folder / "shard-of-wood.bin").write_text("not ours")
    report = rebuild(cache, clips.iloc[:9])
    assert report == CacheReport(5, 4, ["shard-0001.bin: it held other clips"], [])
    assert sorted(contents(cache)) == [*SHARDS[:2], "shard-of-wood.bin"]
    assert contents(cache)[SHARDS[0]] == before[SHARDS[0]]
    assert set(verified(cache, clips)) == set(clips["file"].iloc[:9])


def test_needed_bytes(clips: pd.DataFrame, cache: ClipCache) -> None:
    frames = [entry.frames for entry in verified(cache, clips).values()]
    size = sum(map(len, contents(cache).values()))
    assert size <= ClipCache.needed_bytes(frames) < 1.01 * size
    assert ClipCache.needed_bytes([500]) == ClipCache.needed_bytes([30_000])


def test_a_folder_without_shards(clips: pd.DataFrame, tmp_path: Path) -> None:
    assert verified(ClipCache(tmp_path / "none"), clips) == {}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_build_that_stops(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write = shard._write_entry

    def fails_at_last(file: BinaryIO, entry: shard.Entry, arrays: list[np.ndarray]) -> shard.Entry:
        if entry.file == clips["file"].iloc[11]:
            file.write(b"half a frame")
            raise error
        return write(file, entry, arrays)

    cache = ClipCache(tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(shard, "_write_entry", fails_at_last)
        with pytest.raises(type(error), match="shard-0002" if isinstance(error, OSError) else None):
            cache.build(clips, num_workers=1, progress=False)
    assert list(contents(cache)) == SHARDS[:2]  # and nothing half written
    (cache.folder / ".shard-0002.bin.4711.tmp").write_bytes(b"of a process that was killed")
    assert rebuild(cache, clips) == CacheReport(10, 2, [], [])
    assert list(contents(cache)) == SHARDS


def test_a_folder_that_cannot_be_made(clips: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/cache"):
        ClipCache(tmp_path / "file" / "cache").build(clips, progress=False)


def test_bad_clips(clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, short, deaf = (Path(path) for path in clips["path"].iloc[[0, 1, 5]])
    missing.unlink()
    whole = short.read_bytes()
    short.write_bytes(whole[:50_000])
    deaf.with_suffix(".wav").write_bytes(b"no wav at all" * 99)
    cache = ClipCache(tmp_path / "cache")
    report = rebuild(cache, clips)
    assert (report.kept, report.built, report.damaged) == (0, 12, [])
    assert [bad.file for bad in report.bad] == list(clips["file"].iloc[[0, 1, 5]])
    assert report.bad[0].reason == "no such file"
    assert report.bad[1].reason.startswith("truncated")
    assert report.bad[2].reason.startswith(f"{deaf.stem}.wav: ")
    assert str(tmp_path).encode() not in b"".join(contents(cache).values())
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "decode_clip", None)  # no bad clip is tried again
        assert rebuild(cache, clips) == CacheReport(12, 0, [], report.bad)
        assert set(verified(cache, clips)) == set(clips["file"]) - {bad.file for bad in report.bad}
    short.write_bytes(whole)
    assert len(rebuild(cache, clips).bad) == 2
    with pytest.raises(DataError, match="no such file"):
        ClipDataset(clips, train=True, cache=verified(cache, clips))[0]


def test_clips_longer_than_the_cache(clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {clip["file"]: ClipDataset(clips, train=False)[index]["audio"] for index, clip in clips.iterrows()}
    limit = sorted(map(len, lengths.values()))[6]
    monkeypatch.setattr(cache_module, "MAX_FRAMES", limit)
    cache = ClipCache(tmp_path / "cache")
    rebuild(cache, clips)
    assert len(verified(cache, clips, max_frames=limit)) == 12
    found = verified(cache, clips, max_frames=limit + 1)
    assert set(found) == {file for file, audio in lengths.items() if len(audio) < limit}
    assert all(len(entry.read(9)[1]) == len(entry.read(9)[0][0]) == 9 for entry in found.values())


def test_two_builds_at_once(clips: pd.DataFrame, cache: ClipCache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    reports = context.SimpleQueue()

    def build() -> None:
        cv2.setNumThreads(0)  # OpenCV's own threads do not survive the fork
        reports.put(ClipCache(tmp_path / "shared").build(clips, progress=False))

    processes = [context.Process(target=build) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(reports.get() for _ in processes) == [CacheReport(0, 12, [], []), CacheReport(12, 0, [], [])]
    assert contents(ClipCache(tmp_path / "shared")) == contents(cache)


def test_waiting_is_logged(clips: pd.DataFrame, cache: ClipCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    other = FileLock(cache.folder / ".lock")
    acquire = FileLock.acquire

    def released_meanwhile(lock: FileLock, timeout: float | None = None) -> Any:
        if timeout is None:
            other.release(force=True)
        return acquire(lock, timeout)

    with pytest.MonkeyPatch.context() as patch:
        acquire(other)
        patch.setattr(FileLock, "acquire", released_meanwhile)
        assert rebuild(cache, clips).kept == 12
    assert [message for message in caplog.messages if "waiting for another process" in message] == [
        f"waiting for another process that writes to {cache.folder}"
    ]
