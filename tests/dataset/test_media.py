"""Decoding: what is read, where it stops, and every way in which a clip can be broken."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from python_speech_features import logfbank

from dataset.features import audio_features, fit_length, log_filterbank, stack_frames
from dataset.media import read_audio, read_clip, read_video
from dataset.reader import Reader
from tests.media_files import copy_clip, count_frames, even_times, remux, tone, write_clip, write_wav
from utils.errors import DataError

FRAMES = 39


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def test_frames_are_those_of_a_plain_loop(clip: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    plain = []
    while (read := capture.read())[0]:
        plain.append(cv2.resize(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), (112, 112)))
    assert len(plain) == FRAMES
    assert_array_equal(read_video(clip), np.stack(plain))


def test_decoding_stops_at_max_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = read_video(clip)
    frames = count_frames(monkeypatch)
    assert_array_equal(read_video(clip, max_frames=7), everything[:7])
    assert len(frames) == 8  # whether another belongs to the seventh picture is known when it has come


def test_sound_for_max_frames_gives_the_same_features(clip: Path) -> None:
    everything = read_audio(clip)
    for n_frames in (1, 7, FRAMES):
        samples = read_audio(clip, max_frames=n_frames)
        assert len(samples) == min(len(everything), n_frames * 640 + 240)
        assert_allclose(audio_features(samples, n_frames), audio_features(everything, n_frames), rtol=0, atol=1e-6)


SIZES = [(640, 360), (640, 480), (480, 640), (161, 121), (225, 225), (224, 200), (1920, 1080), (64, 48), (16, 18)]


@pytest.mark.parametrize("size", SIZES)
def test_central_square_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(3, 25), size=size)
    width, height = size
    side = min(size)
    capture, expected = cv2.VideoCapture(str(clip)), []
    while (read := capture.read())[0]:
        top, left = (height - side) // 2, (width - side) // 2
        square = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)[top : top + side, left : left + side]
        how = cv2.INTER_AREA if side > 112 else cv2.INTER_LINEAR
        expected.append(cv2.resize(square, (112, 112), interpolation=how))
    assert_array_equal(read_video(clip), expected)


def test_nothing_beside_the_central_square_is_seen(tmp_path: Path) -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, 40:280] = 200
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # without loss
        stream.width, stream.height, stream.pix_fmt = 320, 240, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert_array_equal(read_video(tmp_path / "a.mkv"), np.full((1, 112, 112, 3), 200))


def test_three_frames(tmp_path: Path) -> None:
    assert len(read_video(write_clip(tmp_path / "a.mp4", even_times(3, 25)))) == 3


def test_wav_beside_the_mp4_comes_first(clip: Path) -> None:
    samples = np.arange(-2000, 2000, dtype=np.int16)
    write_wav(clip.with_suffix(".wav"), samples, 16_000)
    assert_array_equal(read_audio(clip), samples)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 2), (48_000, 1), (44_100, 2), (8_000, 1)])
def test_wav_of_another_rate_or_with_two_channels(clip: Path, rate: int, channels: int) -> None:
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)  # one second
    write_wav(clip.with_suffix(".wav"), np.stack([tone] * channels, axis=1), rate)
    samples = read_audio(clip)
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert abs(len(samples) - 16_000) <= 1
    assert_allclose(samples[500:-500], expected[500 : len(samples) - 500], rtol=0, atol=80)  # 1 %


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 6), (8_000, 1), (22_050, 2), (16_000, 1)])
@pytest.mark.parametrize(("name", "codec"), [("a.mov", "pcm_s16le"), ("a.mp4", "aac")])
def test_sound_track_of_any_kind(tmp_path: Path, name: str, codec: str, rate: int, channels: int) -> None:
    sound = (tone(1, rate, channels), rate)
    samples = read_audio(write_clip(tmp_path / name, even_times(25, 25), sound=sound, audio_codec=codec))
    assert samples.dtype == np.int16
    if codec == "aac":  # which has delay and loss
        assert 16_000 <= len(samples) <= 16_000 + 4 * 1024 * 16_000 / rate
        assert_allclose(np.sqrt(np.mean(samples[6000:12_000] ** 2.0)), 8000 / np.sqrt(2), rtol=0.02)
    else:
        expected = tone(1, 16_000)[:, 0]
        assert abs(len(samples) - 16_000) <= 1
        assert_allclose(samples[500:-500], expected[500 : len(samples) - 500], rtol=0, atol=80)  # 1 %


def test_sound_is_read_no_further_than_needed(tmp_path: Path) -> None:
    sound = (tone(20, 44_100, 2), 44_100)
    clip = write_clip(tmp_path / "a.mp4", even_times(25, 25), sound=sound)
    with Reader(clip) as reader:
        next(reader.chunks())
        assert reader.sound.samples < 44_100
    assert_array_equal(read_audio(clip, max_frames=2), read_audio(clip)[: 2 * 640 + 240])


def test_wav_with_six_channels(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), tone(1, 16_000, 6), 16_000)
    assert_allclose(read_audio(clip), tone(1, 16_000)[:, 0], rtol=0, atol=2)


def test_sound_that_changes_its_channels_on_the_way(tmp_path: Path) -> None:
    parts = []
    for channels in (1, 2):
        sound = (tone(1, 44_100, channels), 44_100)
        clip = write_clip(tmp_path / f"{channels}.mp4", even_times(3, 25), sound=sound)
        parts.append(remux(clip, f"{channels}.aac", kinds=("audio",)))
    joined = tmp_path / "joined.aac"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert abs(len(read_audio(joined)) - sum(len(read_audio(part)) for part in parts)) <= 1024
    middle = read_audio(joined)[20_000:28_000]
    assert_allclose(np.sqrt(np.mean(middle**2.0)), 8000 / np.sqrt(2), rtol=0.02)


def test_sound_of_an_unknown_codec(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", even_times(3, 25), sound=(tone(1, 16_000), 16_000))
    clip.write_bytes(clip.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    assert len(read_video(clip)) == 3
    with pytest.raises(DataError, match=r"a\.mkv: its audio does not decode \(FFmpeg does not know its codec\)"):
        read_audio(clip)


def test_two_channels_are_averaged(clip: Path) -> None:
    left = np.arange(0, 8000, 2)
    write_wav(clip.with_suffix(".wav"), np.stack([left, np.zeros_like(left)], axis=1), 16_000)
    assert_allclose(read_audio(clip), left / 2, rtol=0, atol=1)


@pytest.mark.parametrize("data", [b"", b"no wav at all" * 99])
def test_broken_wav_is_named(clip: Path, data: bytes) -> None:
    clip.with_suffix(".wav").write_bytes(data)
    with pytest.raises(DataError, match=r"clip \(2\)\.wav: its audio does not decode"):
        read_audio(clip)


def test_wav_without_a_sample(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), np.empty(0), 16_000)
    with pytest.raises(DataError, match=r"\.wav: its audio is empty"):
        read_audio(clip)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.8])
@pytest.mark.parametrize("index_first", [False, True])
def test_truncated(clip: Path, share: float, index_first: bool) -> None:
    whole = remux(clip, "whole.mp4", **({"movflags": "faststart"} if index_first else {})).read_bytes()
    assert (whole.find(b"moov") < whole.find(b"mdat")) == index_first
    clip.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"clip \(2\)\.mp4: truncated"):
        read_clip(clip)


def test_clip_that_is_not_there(clip: Path) -> None:
    for read in (read_clip, read_video, read_audio):
        with pytest.raises(DataError, match=r"other\.mp4: no such file"):
            read(clip.with_name("other.mp4"))


def test_no_sound(clip: Path) -> None:
    silent = remux(clip, "silent.mp4", kinds=("video",))
    assert len(read_video(silent)) == FRAMES
    with pytest.raises(DataError, match=r"silent\.mp4: has no audio"):
        read_audio(silent)


def test_no_video_stream(clip: Path) -> None:
    blind = remux(clip, "blind.mp4", kinds=("audio",))
    with pytest.raises(DataError, match=r"blind\.mp4: has no video stream"):
        read_video(blind)


def test_frames_that_do_not_decode(clip: Path) -> None:
    whole = bytearray(clip.read_bytes())
    whole[60_000:90_000] = bytes(30_000)
    clip.write_bytes(whole)
    with pytest.raises(DataError, match=r"only \d+ of its 39 frames decode"):
        read_video(clip)
    whole[48:159_000] = bytes(158_952)
    clip.write_bytes(whole)
    with pytest.raises(DataError, match="has no frame that decodes"):
        read_video(clip)


@pytest.mark.parametrize("count", [1, 399, 400, 401, 560, 561, 16_000, 25_635])
def test_filterbank_is_that_of_python_speech_features(count: int) -> None:
    samples = np.random.default_rng(count).integers(-32_768, 32_767, count, np.int16)
    assert_allclose(log_filterbank(samples), logfbank(samples), rtol=0, atol=1e-5)


def test_filterbank_of_silence() -> None:
    samples = np.zeros(1000, np.int16)
    assert_allclose(log_filterbank(samples), logfbank(samples), rtol=0, atol=1e-5)


def test_features_are_stacked_padded_and_normalised() -> None:
    bank = np.arange(6 * 26, dtype=np.float32).reshape(6, 26)
    stacked = stack_frames(bank)
    assert_array_equal(stacked[0], bank[:4].ravel())
    assert_array_equal(stacked[1], np.r_[bank[4], bank[5], np.zeros(52)])
    assert_array_equal(fit_length(stacked, 1), stacked[:1])
    assert_array_equal(fit_length(stacked, 3), np.r_[stacked, np.zeros((1, 104))])

    features = audio_features(np.random.default_rng(0).integers(-999, 999, 16_000, np.int16), 30)
    assert_allclose(features[:25].mean(1), np.zeros(25), atol=1e-5)
    assert_allclose(features[:25].std(1, correction=0), np.ones(25), atol=1e-3)
    assert not features[25:].any()
