"""The cache of decoded clips: the same items bit by bit, and whatever is not what decoding would give is found."""

import errno
import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from torch.utils.data import DataLoader

from dataset import ClipDataset, read_corpus
from dataset import cache as cache_module
from dataset.cache import CachedClip, CacheReport, ClipCache
from dataset.clips import ClipSampler, collate_cut
from dataset.decoding import Reading, decode_clip, leading_silence
from dataset.features import audio_features
from tests.media_files import write_wav
from utils import files as files_module
from utils.errors import DataError

TRIMMED = Reading(trim_silence=True)


@pytest.fixture(scope="module")
def built(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of all clips."""
    folder = tmp_path_factory.mktemp("built")
    assert rebuild(ClipCache(folder), read_corpus(reference / "corpus" / "prepared")) == CacheReport(0, 12, [], [])
    return folder


@pytest.fixture
def clips(prepared_root: Path) -> pd.DataFrame:
    """The clips copied elsewhere, so that they were changed at another time."""
    return read_corpus(prepared_root)


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> ClipCache:
    """A writable copy of that cache, in a folder with an odd name."""
    return ClipCache(shutil.copytree(built, tmp_path / "Zwischen Speicher äöü (1)"))


def rebuild(cache: ClipCache, clips: pd.DataFrame, **options: Any) -> CacheReport:
    return cache.build(clips, progress=False, **options)


def found(cache: ClipCache, clips: pd.DataFrame, **options: Any) -> dict[str, CachedClip]:
    """What a new run finds in the cache."""
    return ClipCache(cache.folder).entries(clips, **options)


def path_in(cache: ClipCache, clips: pd.DataFrame, row: int) -> Path:
    return cache.path_of(clips["file"].iloc[row], Reading())


def flip_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def batches(dataset: ClipDataset, num_workers: int) -> list[dict[str, Any]]:
    sampler = ClipSampler(dataset)
    sampler.set_epoch(1)
    return list(DataLoader(dataset, 4, sampler=sampler, num_workers=num_workers, collate_fn=collate_cut))


@pytest.mark.parametrize("count", [1, 399, 401, 5_000, 25_635, 64_240])
def test_features_do_not_depend_on_how_much_was_read(count: int) -> None:
    samples = np.random.default_rng(count).integers(-9_000, 9_000, count, np.int16)
    frames = -(-count // 640) + 1
    everything = audio_features(samples, frames)
    for n_frames in range(1, frames):
        part = audio_features(samples[: n_frames * 640 + 240], n_frames)
        torch.testing.assert_close(part, everything[:n_frames], rtol=0, atol=1e-6)


@pytest.mark.parametrize("max_frames", [7, 500])
@pytest.mark.parametrize("train", [True, False])
def test_batches_are_those_of_decoding(clips: pd.DataFrame, cache: ClipCache, train: bool, max_frames: int) -> None:
    decoded = batches(ClipDataset(clips, train, max_frames=max_frames), 0)
    entries = found(cache, clips, max_frames=max_frames)
    assert set(entries) == set(clips["file"])
    for workers in (0, 2):
        dataset = ClipDataset(clips, train, max_frames=max_frames, cache=entries)
        for one, other in zip(decoded, batches(dataset, workers), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
                assert same, name
            assert other["padding_mask"].dtype is torch.bool
            assert other["mm_label"].dtype is torch.int64


def test_items_are_those_of_decoding(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = ClipDataset(clips, train=True)
    cached = pickle.loads(pickle.dumps(ClipDataset(clips, train=True, cache=found(cache, clips))))
    items = [decoded[index] for index in range(12)]
    monkeypatch.setattr("dataset.clips.decode_clip", None)  # nothing is decoded
    for index, item in enumerate(items):
        other = cached[index]
        assert list(item) == list(other)
        assert torch.equal(item["video"], other["video"])
        assert other["video"].is_contiguous()
        assert torch.equal(item["audio"], other["audio"])
        assert all(item[name] == other[name] for name in item if name not in ("video", "audio"))


def test_other_programs_read_the_files(clips: pd.DataFrame, cache: ClipCache) -> None:
    video, audio, _ = decode_clip(clips["path"].iloc[3])
    arrays = load_file(path_in(cache, clips, 3))
    assert_array_equal(arrays["video"], video)
    assert_array_equal(arrays["audio"], audio)


def test_only_what_is_left_is_decoded(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    path_in(cache, clips, 5).unlink()
    assert rebuild(cache, clips) == CacheReport(11, 1, [], [])
    monkeypatch.setattr(cache_module, "decode_clip", None)
    assert rebuild(cache, clips) == CacheReport(12, 0, [], [])


def test_no_cache(clips: pd.DataFrame, tmp_path: Path) -> None:
    assert found(ClipCache(tmp_path / "none"), clips) == {}
    assert not (tmp_path / "none").exists()


def test_a_clip_that_changed(clips: pd.DataFrame, cache: ClipCache, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(clips["path"].iloc[6])
    flip_bit(path, path.read_bytes().index(b"mdat") + 2000)  # of the same size
    file = clips["file"].iloc[6]
    assert set(found(cache, clips)) == set(clips["file"]) - {file}
    assert f"1 of 12 clips are not in the cache {cache.folder} as they are now" in caplog.text
    assert f"the first: {file} has changed since it was cached" in caplog.text
    assert "`main.py prepare --cache` brings it up to date" in caplog.text
    assert rebuild(cache, clips) == CacheReport(11, 1, [f"{file} has changed since it was cached"], [])
    assert_array_equal(found(cache, clips)[file].read()[0], decode_clip(path)[0])


def test_a_clip_of_the_same_size_and_time_is_not_read(
    clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(cache, clips)
    for file, clip in found(cache, clips).items():
        path = Path(clips["path"][clips["file"] == file].item())
        os.utime(path, ns=(0, clip.entry.mp4.modified))
        os.utime(path.with_suffix(".wav"), ns=(0, clip.entry.wav.modified))
    monkeypatch.setattr(cache_module, "file_digest", None)
    assert len(found(cache, clips)) == 12


def test_a_wav_that_appears_changes_or_goes(clips: pd.DataFrame, cache: ClipCache) -> None:
    path = Path(clips["path"].iloc[0]).with_suffix(".wav")
    for step in ("goes", "appears", "changes"):
        path.unlink(missing_ok=True)
        if step != "goes":
            write_wav(path, np.arange(9000) % (70 if step == "appears" else 90), 16_000)
        assert len(found(cache, clips)) == 11
        assert rebuild(cache, clips).built == 1
        dataset = ClipDataset(clips, train=False, cache=found(cache, clips))
        assert torch.equal(dataset[0]["audio"], ClipDataset(clips, train=False)[0]["audio"])


def test_another_version_of_the_decoding(
    clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "DECODING", cache_module.DECODING + 1)
    assert found(cache, clips) == {}
    report = rebuild(cache, clips)
    assert report.built == 12
    assert all(fault.endswith("was decoded by another version of this program") for fault in report.replaced)
    assert len(found(cache, clips)) == 12


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.3, 0.9999, 1.0001])
def test_files_of_another_size(clips: pd.DataFrame, cache: ClipCache, share: float) -> None:
    path = path_in(cache, clips, 0)
    data = path.read_bytes()
    path.write_bytes((data + data)[: int(share * len(data))])
    assert set(found(cache, clips)) == set(clips["file"].iloc[1:])
    assert rebuild(cache, clips).built == 1
    assert len(found(cache, clips)) == 12


def test_files_that_are_no_clip(clips: pd.DataFrame, cache: ClipCache) -> None:
    other = path_in(cache, clips, 1).read_bytes()
    path = path_in(cache, clips, 0)
    for data in (b"foreign" * 999, other, other[1:], b"x" + other, b"\xff" * 99, (2).to_bytes(8, "little") + b"{}"):
        path.write_bytes(data)
        assert set(found(cache, clips)) == set(clips["file"].iloc[1:])
    path.unlink()
    path.mkdir()
    assert set(found(cache, clips)) == set(clips["file"].iloc[1:])
    with pytest.raises(OSError, match=path.name):
        rebuild(cache, clips)


def test_flipped_bits_are_found_when_every_byte_is_read(clips: pd.DataFrame, cache: ClipCache) -> None:
    path = path_in(cache, clips, 4)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*rng.integers(0, len(whole), 12), *rng.integers(0, 900, 12)]:
        flip_bit(path, position)
        assert rebuild(cache, clips, every_byte=True).built <= 1
        arrays = found(cache, clips)[clips["file"].iloc[4]].read()
        for array, expected in zip(arrays, decode_clip(clips["path"].iloc[4])[:2], strict=True):
            assert_array_equal(array, expected)
    flip_bit(path, len(whole) - 99)
    report = rebuild(cache, clips, every_byte=True)
    assert report == CacheReport(11, 1, [f"{clips['file'].iloc[4]} is damaged"], [])


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_build_that_stops(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    cache = ClipCache(tmp_path / "cache")
    last = path_in(cache, clips, 11)
    replace = os.replace

    def fails_at_last(source: Path, target: Path) -> None:
        if target == last:
            raise error
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "replace", fails_at_last)
        with pytest.raises(type(error), match=last.name if isinstance(error, OSError) else None):
            rebuild(cache, clips, num_workers=1)
    assert not last.exists()
    (cache.folder / "00").mkdir(exist_ok=True)
    left = cache.folder / "00" / ".00ab.safetensors.4711.tmp"
    left.write_bytes(b"of a process that was killed")
    assert rebuild(cache, clips) == CacheReport(11, 1, [], [])
    assert not list(cache.folder.rglob("*.tmp"))


def test_a_folder_that_cannot_be_made(clips: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/cache"):
        rebuild(ClipCache(tmp_path / "file" / "cache"), clips)


def test_bad_clips(clips: pd.DataFrame, tmp_path: Path) -> None:
    missing, short, deaf = (Path(path) for path in clips["path"].iloc[[0, 1, 5]])
    missing.unlink()
    short.write_bytes(short.read_bytes()[:50_000])
    deaf.with_suffix(".wav").write_bytes(b"no wav at all" * 99)
    cache = ClipCache(tmp_path / "cache")
    report = rebuild(cache, clips)
    assert (report.kept, report.built, report.replaced) == (0, 9, [])
    assert [bad.file for bad in report.bad] == list(clips["file"].iloc[[0, 1, 5]])
    assert report.bad[0].reason == "no such file"
    assert report.bad[1].reason.startswith("truncated")
    assert report.bad[2].reason.startswith(f"{deaf.stem}.wav: ")
    with pytest.raises(DataError, match="no such file"):
        ClipDataset(clips, train=True, cache=found(cache, clips))[0]


def test_clips_longer_than_the_cache(clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {clip["file"]: ClipDataset(clips, train=False)[index]["audio"] for index, clip in clips.iterrows()}
    limit = sorted(map(len, lengths.values()))[6]
    monkeypatch.setattr(cache_module, "MAX_FRAMES", limit)
    cache = ClipCache(tmp_path / "cache")
    rebuild(cache, clips)
    assert len(found(cache, clips, max_frames=limit)) == 12
    entries = found(cache, clips, max_frames=limit + 1)
    assert set(entries) == {file for file, audio in lengths.items() if len(audio) < limit}
    assert all(len(entry.read(9)[1]) == len(entry.read(9)[0][0]) == 9 for entry in entries.values())


def test_a_file_that_is_replaced_or_goes_during_a_run(
    clips: pd.DataFrame, cache: ClipCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    dataset = ClipDataset(clips, train=False, cache=found(cache, clips))
    expected = ClipDataset(clips, train=False)
    path = path_in(cache, clips, 0)
    path.write_bytes(path.read_bytes())  # another file with the same clip, as another machine would rebuild it
    assert torch.equal(dataset[0]["video"], expected[0]["video"])
    assert not caplog.messages
    for row, damage in enumerate((Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:5000]))):
        damage(path_in(cache, clips, row))
        for _ in range(2):
            assert torch.equal(dataset[row]["video"], expected[row]["video"])
    assert [message.partition("; ")[2] for message in caplog.messages] == ["its clip is decoded instead"] * 2


def test_a_clip_is_looked_at_once_a_run(clips: pd.DataFrame, cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = cache.entries(clips)
    monkeypatch.setattr(cache_module, "_read", None)
    assert cache.entries(clips.iloc[3:]) == {file: entries[file] for file in clips["file"].iloc[3:]}


def silent_start(path: Path, samples: int, level: int = 16) -> None:
    """Give a clip a wav that is silent for so many samples."""
    audio = np.full(40_000, 3_000)
    audio[:samples] = level
    write_wav(path.with_suffix(".wav"), audio, 16_000)


@pytest.mark.parametrize(
    ("samples", "level", "frames"),
    [(0, 16, 0), (1, 16, 1), (639, 16, 1), (640, 16, 2), (6_400, 16, 11), (6_400, 17, 0), (40_000, 0, 0)],
)
def test_frames_of_leading_silence(clips: pd.DataFrame, samples: int, level: int, frames: int) -> None:
    path = Path(clips["path"].iloc[0])
    silent_start(path, samples, level)
    assert leading_silence(path) == frames


def test_silence_is_cut_off_both_streams(clips: pd.DataFrame, tmp_path: Path) -> None:
    path = Path(clips["path"].iloc[0])
    silent_start(path, 6_400)  # 11 frames
    video = decode_clip(path).video
    for limit in (500, 5):
        trimmed, audio, _ = decode_clip(path, limit, TRIMMED)
        assert_array_equal(trimmed, video[:, 11 : 11 + limit])
        samples = np.full(40_000 - 11 * 640, 3_000, np.int16)
        assert_array_equal(audio, audio_features(samples, trimmed.shape[1]).numpy())
    silent_start(path, 39_500)
    with pytest.raises(DataError, match="nothing is left of it without its leading silence"):
        decode_clip(path, reading=TRIMMED)


def test_trimmed_clips_lie_beside_the_others(clips: pd.DataFrame, cache: ClipCache) -> None:
    silent_start(Path(clips["path"].iloc[0]), 6_400)
    assert rebuild(cache, clips, reading=TRIMMED).built == 12
    trimmed = found(cache, clips, reading=TRIMMED)
    assert len(trimmed) == 12
    assert len(found(cache, clips)) == 11  # whose audio is not as it was
    expected = ClipDataset(clips, train=False, reading=TRIMMED)
    dataset = ClipDataset(clips, train=False, cache=trimmed, reading=TRIMMED)
    assert torch.equal(dataset[0]["video"], expected[0]["video"])
    assert torch.equal(dataset[0]["audio"], expected[0]["audio"])
