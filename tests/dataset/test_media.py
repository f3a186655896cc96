"""What is read of a clip: its frames at 25 a second, whatever their rate, and its audio; where reading stops."""

import io
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from python_speech_features import logfbank

from dataset.audio import SAMPLE_RATE, encode_mp3
from dataset.features import audio_features, fit_length, log_filterbank, stack_frames
from dataset.media import read_audio, read_clip, read_video
from dataset.reader import Reader
from tests.media_files import copy_clip, count_frames, even_times, frame_numbers, remux, tone, write_clip, write_wav
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
    assert len(frames) == 8  # whether another belongs to the seventh image is known when it has come


def test_audio_for_max_frames_gives_the_same_features(clip: Path) -> None:
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
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, 40:280] = 200
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # without loss
        stream.width, stream.height, stream.pix_fmt = 320, 240, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
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
def test_audio_track_of_any_kind(tmp_path: Path, name: str, codec: str, rate: int, channels: int) -> None:
    audio = (tone(1, rate, channels), rate)
    samples = read_audio(write_clip(tmp_path / name, even_times(25, 25), audio=audio, audio_codec=codec))
    assert samples.dtype == np.int16
    if codec == "aac":  # which has delay and loss
        assert 16_000 <= len(samples) <= 16_000 + 4 * 1024 * 16_000 / rate
        assert_allclose(np.sqrt(np.mean(samples[6000:12_000] ** 2.0)), 8000 / np.sqrt(2), rtol=0.02)
    else:
        expected = tone(1, 16_000)[:, 0]
        assert abs(len(samples) - 16_000) <= 1
        assert_allclose(samples[500:-500], expected[500 : len(samples) - 500], rtol=0, atol=80)  # 1 %


def test_audio_is_read_no_further_than_needed(tmp_path: Path) -> None:
    audio = (tone(20, 44_100, 2), 44_100)
    clip = write_clip(tmp_path / "a.mp4", even_times(25, 25), audio=audio)
    with Reader(clip) as reader:
        next(reader.chunks())
        assert reader.audio.samples < 44_100
    assert_array_equal(read_audio(clip, max_frames=2), read_audio(clip)[: 2 * 640 + 240])


def test_wav_with_six_channels(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), tone(1, 16_000, 6), 16_000)
    assert_allclose(read_audio(clip), tone(1, 16_000)[:, 0], rtol=0, atol=2)


def test_audio_that_changes_its_channels_on_the_way(tmp_path: Path) -> None:
    parts = []
    for channels in (1, 2):
        audio = (tone(1, 44_100, channels), 44_100)
        clip = write_clip(tmp_path / f"{channels}.mp4", even_times(3, 25), audio=audio)
        parts.append(remux(clip, f"{channels}.aac", kinds=("audio",)))
    joined = tmp_path / "joined.aac"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert abs(len(read_audio(joined)) - sum(len(read_audio(part)) for part in parts)) <= 1024
    middle = read_audio(joined)[20_000:28_000]
    assert_allclose(np.sqrt(np.mean(middle**2.0)), 8000 / np.sqrt(2), rtol=0.02)


def test_audio_of_an_unknown_codec(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", even_times(3, 25), audio=(tone(1, 16_000), 16_000))
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


def test_no_audio(clip: Path) -> None:
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


NTSC = Fraction(30_000, 1001)


def fps_filter(path: Path) -> list[int]:
    """Which frames FFmpeg's fps filter shows at 25 a second, counted from the first one."""
    graph, shown = av.filter.Graph(), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        source = graph.add_buffer(template=stream)
        fps, sink = graph.add("fps", "fps=25:round=near"), graph.add("buffersink")
        source.link_to(fps)
        fps.link_to(sink)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            if frame is not None:
                frame.pts -= round(container.start_time / 1_000_000 / stream.time_base)
            graph.push(frame)
            while True:
                try:
                    shown.append(graph.pull().to_ndarray(format="rgb24"))
                except (BlockingIOError, EOFError):
                    break
    return frame_numbers(np.array(shown))


def read_clip_notes(path: Path) -> tuple[str, ...]:
    """What is said of the frames of a clip without audio."""
    with Reader(path) as reader:
        list(reader.frames())
        return reader.notes()


def varied_times(seed: int, count: int = 40) -> np.ndarray:
    """Steps between a sixth of a tick and two ticks."""
    return np.cumsum(np.r_[0, np.random.default_rng(seed).uniform(0.007, 0.08, count - 1)])


@pytest.mark.parametrize("rate", [30, NTSC, 24, Fraction(24_000, 1001), 50, 60, 15, 26])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_constant_rate(tmp_path: Path, rate: Fraction, b_frames: int) -> None:
    times = even_times(60, rate)
    clip = write_clip(tmp_path / "a.mp4", times, last=1 / Fraction(rate), b_frames=b_frames)
    shown = frame_numbers(read_video(clip))
    assert len(shown) == int(Fraction(60) / rate * 25 + Fraction(1, 2))
    ticks = [int(time * 25 + Fraction(1, 2)) for time in times]
    assert shown == [max(i for i in range(60) if ticks[i] <= n) for n in range(len(shown))]
    assert shown == fps_filter(clip)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("start", [0, 0.3, 1.017])
def test_variable_rate_and_start(tmp_path: Path, name: str, start: float) -> None:
    clip = write_clip(tmp_path / name, varied_times(seed=3) + start)
    assert frame_numbers(read_video(clip)) == fps_filter(clip)


@pytest.mark.parametrize("seed", range(8))
def test_variable_rate_with_short_last_frame(tmp_path: Path, seed: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", varied_times(seed, count=12 + seed), last=0.011, b_frames=seed % 3)
    assert frame_numbers(read_video(clip)) == fps_filter(clip)


@pytest.mark.parametrize("rate", [30, 24, 50])
@pytest.mark.parametrize("count", [2, 3, 4, 12, 13])
def test_few_frames_of_another_rate(tmp_path: Path, rate: int, count: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(count, rate), last=Fraction(1, rate))
    assert frame_numbers(read_video(clip)) == fps_filter(clip)


@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.018])  # of a tick of 0.04 s, half of which is 0.02
def test_jitter(tmp_path: Path, jitter: float) -> None:
    shifts = np.random.default_rng(0).uniform(-jitter, jitter, 50)
    shifts[0] = 0
    clip = write_clip(tmp_path / "a.mp4", np.array(even_times(50, 25), float) + shifts)
    assert frame_numbers(read_video(clip)) == list(range(50)) == fps_filter(clip)


def test_more_jitter_is_a_variable_rate(tmp_path: Path) -> None:
    shifts = np.random.default_rng(0).uniform(-0.03, 0.03, 50)
    clip = write_clip(tmp_path / "a.mp4", np.sort(np.array(even_times(50, 25), float) + shifts))
    assert frame_numbers(read_video(clip)) == fps_filter(clip)


def test_limit_counts_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(60, 50), last=Fraction(1, 50))
    everything = frame_numbers(read_video(clip))
    assert everything[:4] == [0, 2, 4, 6]
    frames = count_frames(monkeypatch)
    for limit in (1, 2, 7, 29):
        frames.clear()
        assert frame_numbers(read_video(clip, limit)) == everything[:limit]
        assert len(frames) == 2 * limit  # frames up to the first that is shown too late


def test_image_that_lasts(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0], last=2)
    assert frame_numbers(read_video(clip)) == [0] * 50
    assert len(read_video(clip, max_frames=7)) == 7
    assert len(read_video(write_clip(tmp_path / "b.mp4", [0], last=0.001))) == 1


def test_frame_that_lasts(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0, 0.04, 0.08, 1.0, 1.04])
    assert frame_numbers(read_video(clip)) == [0, 1, *[2] * 23, 3, 4]
    assert frame_numbers(read_video(clip, max_frames=10)) == [0, 1, *[2] * 8]


def test_frames_hidden_by_an_edit_list(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.mp4", even_times(20, 25, start=Fraction(-3, 25)), options={"avoid_negative_ts": "disabled"}
    )
    assert frame_numbers(read_video(clip)) == list(range(3, 20))


def test_without_time_stamps(tmp_path: Path) -> None:
    clip = remux(write_clip(tmp_path / "a.mp4", even_times(20, 25), b_frames=0), "bare.h264", kinds=("video",))
    assert frame_numbers(read_video(clip)) == list(range(20))
    assert read_clip_notes(clip) == ("no usable time stamps: its frames are taken as evenly spaced",)


def test_time_stamps_that_are_all_the_same(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(20, 25), b_frames=0)
    with av.open(str(clip)) as old, av.open(str(tmp_path / "b.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.pts, packet.dts = stream, 0, 0
                new.mux(packet)
    assert read_clip_notes(tmp_path / "b.mkv") == ("no usable time stamps: its frames are taken as evenly spaced",)
    assert frame_numbers(read_video(tmp_path / "b.mkv")) == list(range(20))


@pytest.mark.parametrize("rate", [30, NTSC, 25, 24])
def test_average_rate(tmp_path: Path, rate: Fraction) -> None:
    with Reader(write_clip(tmp_path / "a.mp4", even_times(60, rate), last=1 / Fraction(rate))) as reader:
        assert len(list(reader.frames())) == 60
        assert round(reader.video.rate, 3) == round(float(rate), 3)
        assert reader.video.is_even()
        assert reader.video.seconds == pytest.approx(60 / rate, abs=1e-4)


def test_an_encoded_mp3_begins_with_the_first_sample() -> None:
    samples = tone(1.0, SAMPLE_RATE)[:, 0].astype(np.int16)
    encoded = encode_mp3(samples, 64)
    assert len(encoded) == pytest.approx(64_000 / 8, rel=0.15)  # a second at a constant bit rate
    with av.open(io.BytesIO(encoded)) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        parts = [part for frame in (*container.decode(audio=0), None) for part in resampler.resample(frame)]
    heard = np.concatenate([part.to_ndarray()[0] for part in parts])[: len(samples)]
    assert np.corrcoef(heard, samples)[0, 1] > 0.99  # a delay of a quarter of the tone's period would give 0
