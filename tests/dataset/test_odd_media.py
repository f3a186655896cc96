"""Odd media files, each made here: what is read of them is what a player shows and plays, and it is said of them."""

import os
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from dataset.check import ClipChecker, inspect_clip
from dataset.faces import survey, windows
from dataset.media import audio_chunks, full_frames, read_audio, read_clip, read_video
from dataset.reader import Reader
from tests.face_clips import film, portrait, speech
from tests.media_files import copy_clip, even_times, frame_numbers, remux, tone, write_clip
from utils.errors import DataError

BEEPS = (0.5, 1.0, 1.5)  # seconds
COUNT = 50  # frames of most clips here: 2 s


def beeping(rate: int = 48_000, seconds: float = 2.0) -> tuple[np.ndarray, int]:
    """Silence with beeps of 40 ms."""
    samples = np.zeros((round(seconds * rate), 1))
    for start in BEEPS:
        at = round(start * rate)
        samples[at : at + rate // 25, 0] = 12_000 * np.sin(2 * np.pi * 1000 * np.arange(rate // 25) / rate)
    return samples, rate


def heard(path: Path) -> list[float]:
    """When beeps begin, in seconds on the video's clock."""
    loud = np.flatnonzero(np.abs(read_audio(path).astype(int)) > 4000) / 16_000
    return [float(time) for time in loud[np.diff(loud, prepend=-1) > 0.2]]


def notes(path: Path) -> tuple[str, ...]:
    """What is said of a clip, in training and in the report alike."""
    found = read_clip(path).notes
    assert set(found) <= set(inspect_clip(path).notes)
    return found


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Two seconds whose frames say which they are, with beeps."""
    return write_clip(tmp_path / "base.mp4", even_times(COUNT, 25), audio=beeping(), b_frames=0)


def copied(
    source: Path,
    target: Path,
    shift: dict[str, float] | None = None,
    keep: Callable[[av.Packet, int], bool] = lambda packet, number: True,
    **options: str,
) -> Path:
    """Copy a clip without coding it again: tracks shifted by seconds, packets left out by their number in a track."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        numbers = dict.fromkeys(streams, -1)
        for packet in old.demux():
            if packet.dts is None:
                continue
            numbers[packet.stream.index] += 1
            if keep(packet, numbers[packet.stream.index]):
                move = round((shift or {}).get(packet.stream.type, 0) / packet.time_base)
                packet.pts, packet.dts, packet.stream = (
                    packet.pts + move,
                    packet.dts + move,
                    streams[packet.stream.index],
                )
                new.mux(packet)
    return target


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(("kind", "late"), [("audio", 0.6), ("video", 0.3)])
def test_tracks_that_begin_apart(base: Path, name: str, kind: str, late: float) -> None:
    clip = copied(base, base.with_name(name), shift={kind: late})
    apart = late if kind == "audio" else -late
    assert frame_numbers(read_video(clip)) == list(range(COUNT))
    assert np.abs(np.array(heard(clip)) - [beep + apart for beep in BEEPS]).max() < 0.03
    assert any("audio begins" in note for note in notes(clip))


@pytest.mark.parametrize("leap", [0, 1000, 30_000])
def test_clock_that_begins_anew_or_leaps(base: Path, leap: float) -> None:
    first = copied(base, base.with_name("1.ts"))
    second = copied(base, base.with_name("2.ts"), shift={"video": leap, "audio": leap})
    joined = base.with_name("joined.ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert frame_numbers(read_video(joined)) == [*range(COUNT), *range(COUNT)]
    times = [*BEEPS, *(2 + beep for beep in BEEPS)]
    assert np.abs(np.array(heard(joined)) - times).max() < 0.05
    assert len(read_audio(joined)) == pytest.approx(4 * 16_000, abs=1600)
    assert "its clock leaps once: played on without a break" in notes(joined)


def test_lost_packets_of_audio_are_silence(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mkv", even_times(COUNT, 25), audio=beeping(), audio_codec="libopus", b_frames=0)
    lost = copied(whole, tmp_path / "b.mkv", keep=lambda p, number: p.stream.type != "audio" or number % 10 != 3)
    assert np.abs(np.array(heard(lost)) - BEEPS).max() < 0.02
    assert len(read_audio(lost)) == pytest.approx(len(read_audio(whole)), abs=400)
    assert any("filled with silence" in note for note in notes(lost))


def test_fragments_with_b_frames(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+delay_moov"}
    clip = write_clip(tmp_path / "a.mp4", even_times(COUNT, 25), audio=beeping(), b_frames=3, options=options)
    assert frame_numbers(read_video(clip)) == list(range(COUNT))
    assert np.abs(np.array(heard(clip)) - BEEPS).max() < 0.03
    assert notes(clip) == ("64x64: enlarged to 112x112",) or not notes(clip)


# Display matrices (a, b, c, d), and what they make of a stored picture.
MATRICES = {
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, -1, 1, 0): np.rot90,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: image[::-1, ::-1].swapaxes(0, 1),
}


def lossless(path: Path, images: list[np.ndarray], pix_fmt: str = "bgr0", codec: str = "ffv1", **tags: object) -> Path:
    """Write RGB images at 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_display_matrix(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    clip = lossless(tmp_path / "a.mov", [image] * 3, codec="png", pix_fmt="rgb24")
    data = bytearray(clip.read_bytes())
    place = data.index(b"tkhd") + 4 + 20 + 20
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    clip.write_bytes(data)
    assert_array_equal(next(full_frames(clip)), MATRICES[matrix](image))


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    image = np.zeros((64, 46, 3), np.uint8)
    image[:, 23:] = 200
    clip = lossless(tmp_path / "a.mp4", [image] * 3, "yuv420p", codec="libx264", sample_aspect_ratio=Fraction(64, 46))
    frame = next(full_frames(clip))
    assert frame.shape == (64, 64, 3)
    assert frame[:, :28].max() < 20
    assert frame[:, 36:].min() > 180


def test_interlaced_frames_are_deinterlaced(tmp_path: Path) -> None:
    images = []
    for index in range(20):  # a bar that moves by 4 pixels from field to field
        fields = np.zeros((2, 112, 224, 3), np.uint8)
        for parity in range(2):
            start = 8 * index + 4 * parity
            fields[parity, :, start : start + 40] = 220
        images.append(fields.swapaxes(0, 1).reshape(224, 224, 3))
    options = {"flags": "+ildct+ilme", "b": "8000000"}
    clip = tmp_path / "a.mpg"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.height = stream.width = 224
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    frames = np.stack(list(full_frames(clip)))
    assert len(frames) == 20
    combed, smooth = (np.abs(np.diff(shown[10][..., 0].astype(int), axis=0)).mean() for shown in (images, frames))
    assert combed > 5 > 4 * smooth


def test_hdr_is_shown_alike_and_said(tmp_path: Path) -> None:
    clip = lossless(
        tmp_path / "a.mkv",
        [np.full((224, 224, 3), 90, np.uint8)] * 3,
        pix_fmt="yuv420p10le",
        color_trc=16,
        colorspace=9,
    )
    assert abs(int(next(full_frames(clip))[50, 50, 0]) - int(read_video(clip)[0, 50, 50, 0])) <= 1
    assert "HDR (PQ): shown without tone mapping" in inspect_notes_of_video(clip)


def inspect_notes_of_video(path: Path) -> tuple[str, ...]:
    with Reader(path) as reader:
        list(reader.frames())
        return reader.notes()


def test_frames_that_change_their_size(tmp_path: Path) -> None:
    parts = [
        write_clip(tmp_path / f"{side}.ts", even_times(25, 25), size=(side, side), b_frames=0) for side in (224, 112)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(full_frames(joined))
    assert {frame.shape for frame in frames} == {(224, 224, 3)}
    assert frame_numbers(np.stack(frames)) == [*range(25), *range(25)]
    assert "its frames change from 224x224 to 112x112: shown as the first" in inspect_notes_of_video(joined)


def with_tracks(base: Path, name: str, tracks: list[str], default: int, empty: int | None = None) -> Path:
    """A file whose tracks are copies of the base's; those named "red" and "quiet" are of another clip."""
    other = base.with_name("other.mp4")
    if not other.exists():
        write_clip(other, even_times(COUNT, 25), size=(128, 96), audio=(tone(2, 48_000) / 99, 48_000), b_frames=0)
    target = base.with_name(name)
    with av.open(str(target), "w") as new:
        sources = []
        for index, track in enumerate(tracks):
            old = av.open(str(other if track in ("red", "quiet") else base))
            stream = old.streams.video[0] if track in ("red", "video") else old.streams.audio[0]
            made = new.add_stream_from_template(stream)
            made.disposition = av.stream.Disposition.default if index == default else av.stream.Disposition(0)
            sources.append((old, stream, made))
        packets = []
        for index, (old, stream, made) in enumerate(sources):
            for packet in old.demux(stream):
                if packet.dts is not None and index != empty:
                    packets.append((float(packet.dts * packet.time_base), index, packet, made))
        for _, _, packet, made in sorted(packets, key=lambda entry: entry[:2]):
            packet.stream = made
            new.mux(packet)
        for old, _, _ in sources:
            old.close()
    return target


def test_default_of_several_tracks(base: Path) -> None:
    clip = with_tracks(base, "a.mkv", ["red", "video", "audio"], default=1)
    assert frame_numbers(read_video(clip)) == list(range(COUNT))
    assert "2 video tracks: the default one is used (number 2)" in notes(clip)
    clip = with_tracks(base, "b.mkv", ["video", "quiet", "audio"], default=2)
    assert np.abs(np.array(heard(clip)) - BEEPS).max() < 0.03
    assert "2 audio tracks: the default one is used (number 2)" in notes(clip)


def test_empty_first_track_falls_through(base: Path) -> None:
    clip = with_tracks(base, "a.mkv", ["video", "quiet", "audio"], default=1, empty=1)
    assert np.abs(np.array(heard(clip)) - BEEPS).max() < 0.03
    assert "2 audio tracks: the first one that is not empty is used (number 2)" in notes(clip)


@pytest.mark.parametrize("first", [True, False])
def test_cover_is_no_video(base: Path, first: bool) -> None:
    clip = base.with_name("a.mp4")
    with av.open(str(base)) as old, av.open(str(clip), "w") as new:
        cover = None

        def add_cover() -> av.VideoStream:
            made = new.add_stream("mjpeg", rate=25)
            made.width, made.height, made.pix_fmt = 320, 240, "yuvj420p"
            made.disposition = av.stream.Disposition.attached_pic
            return made

        cover = add_cover() if first else None
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        cover = cover or add_cover()
        new.mux(cover.encode(av.VideoFrame(320, 240, "yuvj420p")))
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    assert frame_numbers(read_video(clip)) == list(range(COUNT))


def test_nine_tenths_of_the_frames_are_enough(base: Path) -> None:
    for lost, is_enough in ((2, True), (15, False)):
        clip = remux(base, f"{lost}.mkv", instead=dict.fromkeys(range(COUNT - lost, COUNT), b"\xff" * 50))
        if is_enough:
            assert len(read_video(clip)) == COUNT - lost
            assert f"{lost} of {COUNT} frames do not decode; the rest is used" in notes(clip)
            continue
        with pytest.raises(DataError, match=rf"only {COUNT - lost} of its {COUNT} frames decode"):
            read_clip(clip)


def test_avi_whose_audio_begins_late_is_whole(tmp_path: Path) -> None:
    images = [np.full((64, 64, 3), 20 + 3 * index, np.uint8) for index in range(COUNT)]
    audio = tone(1, 44_100), 44_100
    late = film(tmp_path / "a.avi", images, fps=25, codec="mpeg4", audio=audio, audio_at=0.9, audio_codec="mp3")
    assert len(read_video(late)) == COUNT
    assert inspect_clip(late).state == "ok"


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: is a fifo, not a file"):
        read_clip(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_clip(tmp_path)
    with pytest.raises(DataError, match="is a device, not a file"):
        read_clip("/dev/null")


def test_checker_remembers_notes(base: Path) -> None:
    late = copied(base, base.with_name("late.mp4"), shift={"audio": 0.6})
    clips = pd.DataFrame({"file": ["a", "b"], "path": [str(late), str(base.with_name("none.mp4"))]})
    checker = ClipChecker(progress=False)
    assert [clip.file for clip in checker(clips)] == ["b"]
    (note, *_) = checker.notes(clips)["a"]
    assert note.startswith("audio begins 0.")


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def test_empty_packets_show_the_frame_before_again(tmp_path: Path) -> None:
    still = [portrait()[max(index - 2, 0)] for index in range(25)]
    clip = film(tmp_path / "a.nut", still, fps=25, codec="ffvhuff", audio=speech(1), audio_codec="mp3")
    sparse = remux(clip, "b.nut", instead={1: b"", 2: b""})  # as Theora stores a frame that does not change
    parts = [next(windows(path, survey(path, None, framing="crop"), 500, 250)) for path in (clip, sparse)]
    assert parts[1].video.shape == (3, 25, 100, 100)
    assert torch.equal(parts[1].video[:, 1], parts[1].video[:, 0])
    assert not torch.equal(parts[1].video[:, 20], parts[1].video[:, 0])
    assert torch.equal(parts[0].video, parts[1].video)


def test_damaged_frames(clip: Path) -> None:
    assert notes(clip) == ()
    data = bytearray(clip.read_bytes())
    data[60_000:60_400] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    clip.write_bytes(data)
    (note,) = notes(clip)
    assert note.startswith("damaged in ")
    assert note.endswith(" or more")


def test_second_audio_track(clip: Path) -> None:
    target = clip.with_name("two.mkv")
    with av.open(str(clip)) as old, av.open(str(target), "w") as new:
        video, audio = old.streams.video[0], old.streams.audio[0]
        targets = {video.index: [new.add_stream_from_template(video)]}
        targets[audio.index] = [new.add_stream_from_template(audio) for _ in range(2)]
        for packet in old.demux():
            if packet.dts is not None:
                for stream in targets[packet.stream.index]:
                    packet.stream = stream
                    new.mux(packet)
    assert notes(target) == ("2 audio tracks: the best one is used (number 1)",)


def test_name_that_is_not_unicode(clip: Path) -> None:
    odd = clip.with_name("odd\udcff.mp4")
    shutil.copyfile(clip, odd)
    assert_array_equal(read_video(odd), read_video(clip))
    (first,), (second,) = ([*windows(path, survey(path, None, framing="crop"), 500, 250)] for path in (clip, odd))
    assert torch.equal(first.audio, second.audio)
    assert torch.equal(first.video, second.video)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "flac"), ("a.mp4", "aac"), ("a.webm", "libopus")])
def test_gap_in_the_audio_is_silence(tmp_path: Path, name: str, codec: str) -> None:
    rate = 48_000
    beeps = np.zeros((4 * rate, 1), np.int16)
    for second in (0.5, 1.5, 2.5, 3.0):
        at = round(second * rate)
        beeps[at : at + 960, 0] = 20_000 * np.sin(np.arange(960) / rate * 2 * np.pi * 800)
    images = [np.full((64, 64, 3), 90, np.uint8)] * 100
    video = "libvpx" if name.endswith("webm") else "libx264"
    whole = film(tmp_path / name, images, fps=25, codec=video, audio=(beeps, rate), audio_codec=codec)
    holed = remux(whole, f"holed_{name}", gap=(1, 2))
    for path, expected in ((whole, [0.5, 1.5, 2.5, 3.0]), (holed, [0.5, 2.5, 3.0])):
        samples = np.concatenate(list(audio_chunks(path)))
        loud = np.flatnonzero(np.abs(samples) > 5_000) / 16_000
        starts = loud[np.diff(loud, prepend=-1) > 0.1]
        assert np.abs(starts - expected).max() < 0.03
        assert abs(len(samples) / 16_000 - 4) < 0.1
