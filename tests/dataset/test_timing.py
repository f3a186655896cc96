"""Any frame rate to 25 a second, against FFmpeg's own filter."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dataset.media import read_video
from dataset.reader import Reader
from tests.media_files import count_frames, even_times, frame_numbers, remux, write_clip

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


def test_picture_that_lasts(tmp_path: Path) -> None:
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
        assert round(reader.rate, 3) == round(float(rate), 3)
        assert reader.is_even()
        assert reader.seconds == pytest.approx(60 / rate, abs=1e-4)
