"""Probes: what an audit takes away from a clip, and that it leaves the rest alone."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from dataset import read_corpus
from dataset.clips import ClipDataset
from dataset.features import audio_features
from dataset.transforms import centre_crop, normalise
from scripts.audit.changes import (
    CHANGES,
    LEVELS,
    ORIGINAL,
    Candidate,
    ClipFile,
    Context,
    alike_audio,
    alike_video,
    candidates_of,
    change_clip,
    loudness,
)
from scripts.audit.damage import mp3
from scripts.audit.scores import csv_path
from tests.audit_clips import FRAMES, changed, give_audio, named, speech, untouched
from tests.media_files import copy_clip
from utils.errors import DataError


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def test_names_say_what_is_done() -> None:
    assert len({change.name for change in CHANGES}) == len(CHANGES) == 16 + 8 * 5
    assert len({csv_path(Path(), change) for change in (*CHANGES, ORIGINAL)}) == len(CHANGES) + 1
    assert named("shift -40 ms") == ("shift", "-40 ms", "probe")
    assert named("shift -40 ms").amount == -40
    assert named("resize ×0.35").amount == 0.35
    assert named("H.264 CRF 35").amount == 35
    assert np.isnan(ORIGINAL.amount)
    assert all(len(levels) == 5 for levels in LEVELS["damage"].values())


def test_the_original_is_what_a_test_sees(original_root: Path) -> None:
    clips = read_corpus(original_root).iloc[::3]
    data = ClipDataset(clips, train=False, max_frames=33)
    for item, row in zip(data, clips.itertuples(), strict=True):
        media = change_clip(ORIGINAL, ClipFile(row.file, Path(row.path), 33), Context())
        video = torch.from_numpy(media.frames).permute(3, 0, 1, 2)
        assert torch.equal(centre_crop(video), item["video"])
        assert torch.equal(audio_features(media.samples, len(media.frames)), item["audio"])
        assert media.remark == ""


@pytest.mark.parametrize(("quiet", "cut"), [(80, 1), (480, 1), (640, 1), (641, 2), (4970, 8)])
def test_leading_silence_is_cut_from_both_streams(clip: Path, quiet: int, cut: int) -> None:
    samples = speech(26_000)
    samples[:quiet] = 32  # of 32,768: -60 dB
    samples[cut * 640] = 5000
    samples = give_audio(clip, samples)
    frames, _ = untouched(clip)
    media = changed("leading silence", clip)
    assert_array_equal(media.frames, frames[cut:])
    assert_array_equal(media.samples, samples[cut * 640 :])
    assert media.remark == ""
    # The streams stay together: a frame's audio is the same as before. What lies before it ends in the first window.
    before, after = audio_features(samples, FRAMES)[cut:], audio_features(media.samples, FRAMES - cut)
    assert torch.equal(before[1:], after[1:])
    # Of a long clip as much is left as if nothing had been cut.
    shorter = changed("leading silence", clip, max_frames=20)
    assert_array_equal(shorter.frames, frames[cut : cut + 20])
    assert torch.equal(audio_features(shorter.samples, 20), after[:20])


def test_silence_that_goes_on_after_a_click_is_cut_as_well(clip: Path) -> None:
    samples = speech(26_000)
    samples[:3000] = 0
    samples[600] = 900
    samples[3200] = 5000
    give_audio(clip, samples)
    assert_array_equal(changed("leading silence", clip).frames, untouched(clip)[0][5:])


@pytest.mark.parametrize("quiet", [0, 79])
def test_without_leading_silence_nothing_is_cut(clip: Path, quiet: int) -> None:
    samples = speech(26_000)
    samples[:quiet] = 0
    samples = give_audio(clip, samples)
    media = changed("leading silence", clip)
    assert_array_equal(media.frames, untouched(clip)[0])
    assert_array_equal(media.samples, samples)
    assert media.remark == "there was none"


def test_nothing_is_left_of_a_silent_clip(clip: Path) -> None:
    give_audio(clip, np.zeros(26_000))
    with pytest.raises(DataError, match="all of its audio is silent"):
        changed("leading silence", clip)
    give_audio(clip, np.r_[np.zeros(30 * 640), speech(9 * 640)])
    with pytest.raises(DataError, match="fewer than 10 frames are left"):
        changed("leading silence", clip)


@pytest.mark.parametrize(("seconds", "cut"), [(0.2, 5), (0.4, 10)])
def test_the_start_is_cut_from_both_streams(clip: Path, seconds: float, cut: int) -> None:
    frames, samples = untouched(clip)
    media = changed(f"start cut {seconds} s", clip)
    assert_array_equal(media.frames, frames[cut:])
    assert_array_equal(media.samples, samples[cut * 640 :])


@pytest.mark.parametrize(("by", "frames_by"), [(40, 1), (80, 2), (200, 5)])
def test_audio_and_video_are_shifted_by_whole_frames(clip: Path, by: int, frames_by: int) -> None:
    frames, samples = untouched(clip)
    later, earlier = changed(f"shift +{by} ms", clip), changed(f"shift -{by} ms", clip)
    # Later: a frame comes with the audio that belongs to one before it.
    assert_array_equal(later.frames, frames[frames_by:])
    assert_array_equal(earlier.frames[frames_by:], frames[:-frames_by])
    assert_array_equal(earlier.frames[:frames_by], frames[:1].repeat(frames_by, axis=0))
    # Nothing is added to the audio, and nothing taken away.
    assert_array_equal(later.samples, samples)
    assert_array_equal(earlier.samples, samples)
    # A clip that is longer than what is read stays as long.
    assert_array_equal(changed(f"shift +{by} ms", clip, max_frames=20).frames, frames[frames_by : frames_by + 20])


def test_a_missing_stream(clip: Path) -> None:
    frames, samples = untouched(clip)
    deaf, blind = changed("missing audio", clip), changed("missing video", clip)
    assert_array_equal(deaf.frames, frames)
    assert_array_equal(deaf.samples, np.zeros(len(samples)))
    assert not audio_features(deaf.samples, FRAMES).any()
    assert_array_equal(blind.samples, samples)
    assert blind.frames.shape == frames.shape
    assert_allclose(normalise(torch.from_numpy(blind.frames)), np.zeros(frames.shape), atol=0.02)


def test_equal_loudness(clip: Path) -> None:
    frames, samples = untouched(clip)
    media = changed("loudness", clip, Context(rms=1234.5))
    assert_array_equal(media.frames, frames)
    assert_allclose(loudness(media.samples), 1234.5)
    assert_allclose(media.samples * (loudness(samples) / 1234.5), samples, atol=1e-9)
    assert media.remark == "brought to -28.5 dB of full scale"
    give_audio(clip, np.zeros(26_000))
    with pytest.raises(DataError, match="all of its audio is silent"):
        changed("loudness", clip, Context(rms=1234.5))


@pytest.mark.parametrize(("shortest", "length"), [(30, 30), (4, 10)])
def test_equal_length(clip: Path, shortest: int, length: int) -> None:
    frames, samples = untouched(clip)
    media = changed("length equalised", clip, Context(frames=shortest))
    assert_array_equal(media.frames, frames[:length])
    assert_array_equal(media.samples, samples[: length * 640])
    assert media.remark == f"cut to {length} frames"
    with pytest.raises(DataError, match="fewer than 10 frames"):
        changed("length equalised", clip, Context(frames=shortest), max_frames=9)


@pytest.mark.parametrize(("count", "length"), [(30 * 640 + 639, 30), (45 * 640, FRAMES)])
def test_audio_and_video_of_one_length(clip: Path, count: int, length: int) -> None:
    samples = give_audio(clip, speech(count))
    media = changed("length difference removed", clip)
    assert_array_equal(media.frames, untouched(clip)[0][:length])
    assert_array_equal(media.samples, samples[: length * 640])


def _candidates(*listed: tuple[Path, bool]) -> Context:
    own = {"clip (2).mp4": tuple(Candidate(*one) for one in listed)}
    return Context(candidates={"audio": own, "video": own})


@pytest.fixture
def other(reference: Path, tmp_path: Path) -> Path:
    folder = reference / "corpus" / "original" / "RealVideo-RealAudio" / "African" / "men" / "id00076"
    source = next(path for path in folder.parents[2].rglob("*.mp4") if folder not in path.parents)
    return Path(shutil.copyfile(source, tmp_path / "other.mp4"))


def test_swapped_streams(clip: Path, other: Path) -> None:
    (frames, samples), (frames_2, samples_2) = untouched(clip), untouched(other)
    audio = changed("swap audio", clip, _candidates((other, True)))
    length = min(len(frames), len(samples_2) // 640)
    assert_array_equal(audio.frames, frames[:length])
    assert_array_equal(audio.samples, samples_2[: length * 640])
    video = changed("swap video", clip, _candidates((other, True)))
    length = min(len(frames_2), len(samples) // 640)
    assert_array_equal(video.frames, frames_2[:length])
    assert_array_equal(video.samples, samples[: length * 640])
    assert audio.remark == video.remark == ""


@pytest.mark.parametrize("stream", ["audio", "video"])
def test_the_same_recording_is_no_swap(clip: Path, other: Path, stream: str) -> None:
    twin = Path(shutil.copyfile(clip, clip.with_name("twin.mp4")))
    media = changed(f"swap {stream}", clip, _candidates((twin, True), (other, False)))
    assert media.remark == f"{stream} of another subject"
    given = media.samples if stream == "audio" else media.frames
    assert_array_equal(given, untouched(other)[stream == "audio"][: len(given)])
    (broken := clip.with_name("broken.mp4")).write_bytes(b"no clip")
    with pytest.raises(DataError, match=f"no other clip has {stream} of another recording"):
        changed(f"swap {stream}", clip, _candidates((twin, True), (broken, False)))


def test_one_recording_is_known_in_spite_of_its_codec(clip: Path, other: Path) -> None:
    (frames, samples), (frames_2, samples_2) = untouched(clip), untouched(other)
    recoded = mp3(samples, 32, np.random.default_rng(0))
    assert alike_audio(samples, recoded)
    assert alike_audio(samples, np.r_[np.zeros(700, np.int16), recoded // 4])
    assert not alike_audio(samples, samples_2)
    assert not alike_audio(samples, np.zeros_like(samples))
    assert alike_video(frames, changed("H.264 CRF 35", clip).frames[:-3])
    assert not alike_video(frames, frames_2)
    assert not alike_video(frames, frames[::-1])


def _table(rows: list[tuple[str, str, int, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["file", "subject", "a_label", "gender"])
    return table.assign(path=table["file"], v_label=1 - table["a_label"], race="African")


def test_candidates_keep_the_labels_and_prefer_the_subject() -> None:
    clips = _table([
        ("a", "s1", 1, "men"), ("b", "s1", 0, "men"), ("c", "s1", 1, "men"), ("d", "s2", 1, "women"),
        ("e", "s3", 1, "men"), ("f", "s4", 1, "women"), ("g", "s5", 1, "women"), ("h", "s6", 1, "women"),
    ])  # fmt: skip
    found = candidates_of(clips, clips, "audio", 42)
    assert found["a"][:2] == (Candidate(Path("c"), True), Candidate(Path("e"), False))
    assert len(found["a"]) == 4
    assert found["b"] == ()
    assert found == candidates_of(clips, clips.iloc[:], "audio", 42)
    assert [candidates_of(clips, clips, "audio", seed)["e"] for seed in range(5)] != [found["e"]] * 5
    assert candidates_of(clips, clips, "video", 42)["b"] == ()
