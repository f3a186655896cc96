"""Clips of all kinds to windows: what is found, followed and cut, what windows hold, why a clip cannot be scored."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from dataset import ClipDataset, read_corpus
from dataset.faces import ClipFault, FaceDetector, Span, Survey, Window, crop_clip, make_detector, survey, windows
from dataset.faces.crop import DOWN, SCALE
from dataset.features import audio_features
from dataset.media import read_audio, read_video
from dataset.transforms import centre_crop
from tests.face_clips import Place, film, moving, portrait, scene, speech
from tests.media_files import even_times, remux, repeat, tone, write_clip, write_wav


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return make_detector()


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 30 a second with stereo audio, in which a face walks across the frame."""
    images = scene(moving(60, *WALK))
    return film(tmp_path_factory.mktemp("faces") / "walk.mp4", images, audio=speech(2))


THIRTY = "30 frames a second: brought to 25 by time stamps"
WALK = (20, 10, 200), (400, 100, 200)  # from where to where


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_crops_are_what_the_data_set_makes_of_them(original_root: Path, detector: FaceDetector, every: int) -> None:
    dataset = ClipDataset(read_corpus(original_root)[::every], train=False)
    for item, path in zip((dataset[index] for index in range(len(dataset))), dataset.clips["path"], strict=True):
        found = survey(path, detector)
        assert (found.is_crop, found.people, found.notes, found.face) == (True, 1, (), None)
        (window,) = windows(path, found, 500, 250)
        assert window.start == 0
        assert torch.equal(window.video, item["video"])
        assert torch.equal(window.audio, item["audio"])
        assert (window.video.dtype, window.audio.dtype) == (item["video"].dtype, item["audio"].dtype)
        assert found.frames == len(window.audio) == len(window.levels) == round(25 * found.seconds)


KINDS = [  # container, codec, side, frames a second, audio codec and its rate
    ("a.avi", "mpeg4", 512, 25, "mp3", 44_100),
    ("a.mp4", "libx264", 100, 30, "aac", 48_000),
    ("a.mkv", "libx264", 224, 24, "pcm_s16le", 16_000),
    ("a.webm", "libvpx", 360, 50, "libopus", 48_000),
    ("a.mov", "mpeg4", 224, 25, "aac", 22_050),
]


@pytest.mark.parametrize(("name", "codec", "side", "fps", "audio_codec", "rate"), KINDS)
def test_crops_of_any_size_and_codec(
    tmp_path: Path, detector: FaceDetector, name: str, codec: str, side: int, fps: int, audio_codec: str, rate: int
) -> None:
    images = (cv2.resize(image, (side, side)) for image in portrait())
    clip = film(tmp_path / name, images, fps=fps, codec=codec, audio=speech(1, rate), audio_codec=audio_codec)
    found = survey(clip, detector)
    assert found.is_crop
    (window,) = windows(clip, found, 500, 250)
    expected = torch.from_numpy(read_video(clip)).permute(3, 0, 1, 2)
    assert torch.equal(window.video, centre_crop(expected))
    assert torch.equal(window.audio, audio_features(read_audio(clip), len(window.audio)))


def squares(places: list[list[Place]], size: tuple[int, int], fps: int, box: tuple[float, float, float]) -> np.ndarray:
    """What should be seen at 25 a second of a face whose box is `box` (x, y, longer side) of its portrait's side."""
    shown = []
    images = list(scene(places, size))
    for tick in range(len(places) * 25 // fps):
        index = max(i for i in range(len(places)) if int(i / fps * 25 + 0.5) <= tick)
        x, y, side = places[index][0]
        square = SCALE * box[2] * side
        left, top = x + box[0] * side - square / 2, y + box[1] * side - DOWN * square
        matrix = np.float32([[square / 112, 0, left], [0, square / 112, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown.append(cv2.warpAffine(images[index], matrix, (112, 112), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    return np.array(shown)[:, 6:106, 6:106]


def displacement(video: torch.Tensor, expected: np.ndarray) -> np.ndarray:
    """How far frames (3, T, 100, 100) are from those expected (T, 100, 100, 3), in pixels (T, 2); their likeness."""
    results = []
    for got, want in zip(video.permute(1, 2, 3, 0).numpy(), expected, strict=True):
        scores = cv2.matchTemplate(got, np.ascontiguousarray(want[10:-10, 10:-10]), cv2.TM_CCOEFF_NORMED)
        y, x = np.unravel_index(scores.argmax(), scores.shape)
        results.append((x - 10, y - 10, scores.max()))
    return np.array(results)


def alike(first: torch.Tensor, second: torch.Tensor) -> float:
    """Correlation of two videos."""
    return float(np.corrcoef(first.flatten(), second.flatten())[0, 1])


def test_face_is_followed_across_the_frame(walk: Path, detector: FaceDetector) -> None:
    found = survey(walk, detector)
    assert (found.is_crop, found.people, found.frames, found.seconds, found.notes) == (False, 1, 50, 2.0, (THIRTY,))
    (window,) = windows(walk, found, 500, 250)
    assert window.video.shape == (3, 50, 100, 100)
    error = displacement(window.video, squares(moving(60, *WALK), (640, 360), 30, (0.5, 0.52, 0.65)))
    assert np.abs(error[:, :2]).max() <= 2  # of 100 pixels, while it moves by 190 a second and the head sways
    assert np.abs(np.diff(error[:, :2], axis=0)).max() <= 1  # and it does not shake
    assert error[:, 2].min() > 0.9


def test_audio_of_a_clip_at_30_frames_a_second(walk: Path, detector: FaceDetector) -> None:
    (window,) = windows(walk, survey(walk, detector), 500, 250)
    assert torch.equal(window.audio, audio_features(read_audio(walk), 50))
    assert window.levels.dtype == torch.float32
    on = np.arange(50) % 5 < 2  # switched at every 2.5 frames
    assert_allclose(window.levels[on], 8000 / 32_768, rtol=0.1)
    assert window.levels[4::5].max() < 0.02


def test_the_same_face_in_any_container(walk: Path, detector: FaceDetector, tmp_path: Path) -> None:
    here = tmp_path / walk.name
    here.write_bytes(walk.read_bytes())
    (expected,) = windows(walk, survey(walk, detector), 500, 250)
    for name in ("a.mkv", "a.ts"):
        clip = remux(here, name)
        found = survey(clip, detector)
        (window,) = windows(clip, found, 500, 250)
        assert abs(found.frames - 50) <= 1
        common = min(found.frames, 50) - 1
        # The file's clock begins with its audio here, a fraction of a tick earlier, which rounds other frames to ticks.
        assert alike(window.video[:, :common], expected.video[:, :common]) > 0.97


def test_vertical_video_and_one_that_lies_on_its_side(tmp_path: Path, detector: FaceDetector) -> None:
    places = moving(25, (60, 200, 200), (100, 300, 200))
    upright = film(tmp_path / "a.mp4", scene(places, (360, 640)), fps=25, audio=speech(1))
    lying = (np.rot90(image, -1).copy() for image in scene(places, (360, 640)))
    turned = film(tmp_path / "b.mp4", lying, fps=25, audio=speech(1), rotation=90)
    capture = cv2.VideoCapture(str(turned))
    assert capture.read()[1].shape == (640, 360, 3)
    (first,), (second,) = (windows(clip, survey(clip, detector), 500, 250) for clip in (upright, turned))
    assert alike(first.video, second.video) > 0.97


def test_the_most_visible_of_two_faces_is_used(tmp_path: Path, detector: FaceDetector) -> None:
    places = [[(40, 60, 220), (430, 80, 130)]] * 25
    clip = film(tmp_path / "a.mp4", scene(places), fps=25, audio=speech(1))
    found = survey(clip, detector)
    assert (found.people, found.notes) == (2, ("2 faces: the most visible one is used",))
    x, y, _ = found.face.at(10)
    assert (x, y) == pytest.approx((40 + 110, 60 + 0.52 * 220), abs=8)


def test_face_that_leaves(tmp_path: Path, detector: FaceDetector) -> None:
    places = [[(200, 60, 200)]] * 60 + [[None]] * 60
    clip = film(tmp_path / "a.mp4", scene(places), fps=25, audio=speech(4.8))
    found = survey(clip, detector)
    assert found.notes == ("no face for 2.4 s: not scored",)
    shown = [window.start for window in windows(clip, found, 25, 25)]
    assert shown == [0.0, 1.0, 1.4]  # as long as it is there
    assert found.no_face == ((2.4, 4.8),)
    (whole,) = windows(clip, found, 500, 250)  # of which nothing without the face is scored
    assert (whole.start, whole.video.shape) == (0.0, (3, 60, 100, 100))
    with pytest.raises(ClipFault, match=r"a face is seen for 0\.2 of 4\.8 s at most") as caught:
        list(windows(clip, found._replace(spans=(Span(0, 5), Span(50, 55))), 500, 250))
    assert caught.value.reason == "no face"


def test_face_is_followed_anew_after_a_cut_to_another_person(tmp_path: Path, detector: FaceDetector) -> None:
    places = [[(200, 60, 200), None]] * 38 + [[None, (300, 80, 220)]] * 42
    clip = film(tmp_path / "a.mp4", scene(places), fps=25, audio=speech(3.2))
    found = survey(clip, detector)
    assert (found.people, found.spans, found.no_face) == (2, (Span(0, 38), Span(38, 80)), ())
    assert "several people: 2 one after the other, scored apart" in found.notes
    assert [(window.start, window.video.shape[1]) for window in windows(clip, found, 500, 250)] == [(0, 38), (1.52, 42)]
    for tick, x in ((37, 300), (38, 410)):  # to the very frame
        assert found.face.at(tick)[0] == pytest.approx(x, abs=12)


def test_cut_from_crop_to_crop(tmp_path: Path, detector: FaceDetector) -> None:
    images = np.concatenate([portrait(0)[:25], portrait(1)[:25]])
    found = survey(film(tmp_path / "a.mp4", images, fps=25, audio=speech(2)), detector)
    assert (found.is_crop, found.people, found.spans) == (True, 2, (Span(0, 25), Span(25, 50)))


def test_cut_that_stays_with_the_person(tmp_path: Path, detector: FaceDetector) -> None:
    places = [[(200, 60, 200)]] * 30 + [[(300, 80, 260)]] * 30
    clip = film(tmp_path / "a.mp4", scene(places), fps=25, audio=speech(2.4))
    found = survey(clip, detector)
    assert (found.people, found.spans) == (1, (Span(0, 60),))
    assert found.notes == ("the face is found anew 1 time",)


def test_clip_is_cropped_for_training_as_it_is_scored(walk: Path, detector: FaceDetector) -> None:
    clip, found = crop_clip(walk, max_frames=30)
    (window,) = windows(walk, survey(walk, detector), 500, 250)
    assert torch.equal(centre_crop(torch.from_numpy(clip.frames).permute(3, 0, 1, 2)), window.video[:, :30])
    assert_array_equal(clip.samples, read_audio(walk, max_frames=30))
    assert (found.people, found.is_crop, found.no_face, clip.notes) == (1, False, (), (THIRTY,))


def test_square_frames_with_a_small_face_are_no_crop(tmp_path: Path, detector: FaceDetector) -> None:
    clip = film(tmp_path / "a.mp4", scene([[(300, 200, 200)]] * 12, (640, 640)), fps=25, audio=speech(0.48))
    found = survey(clip, detector)
    assert not found.is_crop
    taken = survey(clip, None, framing="crop")
    assert (taken.is_crop, taken.people, taken.face) == (True, 0, None)
    (window,) = windows(clip, taken, 500, 250)
    assert_array_equal(window.video, centre_crop(torch.from_numpy(read_video(clip)).permute(3, 0, 1, 2)))


def test_crop_in_which_the_face_is_to_be_found_all_the_same(original_root: Path, detector: FaceDetector) -> None:
    clip = film(original_root / "a.mp4", portrait(), fps=25, audio=speech(1))
    found = survey(clip, detector, framing="find")
    assert not found.is_crop
    assert found.face.at(5)[2] / 224 == pytest.approx(0.65, abs=0.05)


def test_small_face_is_noted(tmp_path: Path, detector: FaceDetector) -> None:
    clip = film(tmp_path / "a.mp4", scene([[(300, 100, 90)]] * 12), fps=25, audio=speech(0.48))
    (note,) = survey(clip, detector).notes
    assert note.startswith("the face is small: its square of ")


def test_unknown_framing_and_no_detector(walk: Path) -> None:
    with pytest.raises(ValueError, match="framing wide: must be one of auto, crop, find"):
        survey(walk, None, framing="wide")
    with pytest.raises(ValueError, match="needs a face detector"):
        survey(walk, None)


def reason(path: Path, detector: FaceDetector) -> tuple[str, str]:
    with pytest.raises(ClipFault) as caught:
        survey(path, detector)
    fault = pickle.loads(pickle.dumps(caught.value))  # as worker processes send it
    assert str(fault) == str(caught.value)
    assert str(path) in str(fault)
    return fault.reason, str(fault).removeprefix(f"{path}: ")


def test_clips_without_audio_or_face_or_length(walk: Path, tmp_path: Path, detector: FaceDetector) -> None:
    here = tmp_path / walk.name
    here.write_bytes(walk.read_bytes())
    why, message = reason(remux(here, "silent.mp4", kinds=("video",)), detector)
    assert (why, message) == ("no audio", "has no audio. Give a clip with audio, or a wav beside it")
    why, message = reason(film(tmp_path / "a.mp4", scene([[None]] * 12), fps=25, audio=speech(1)), detector)
    assert (why, message.split(". ")[0]) == ("no face", "no face is found in it")
    square = film(tmp_path / "b.mp4", scene([[None]] * 12, (224, 224)), fps=25, audio=speech(1))
    assert reason(square, detector)[1].endswith('choose the framing "crop"')
    assert survey(square, None, framing="crop").frames == 12
    for count in (1, 9):
        short = film(tmp_path / "c.mp4", scene([[(100, 50, 200)]] * count), fps=25, audio=speech(1))
        assert reason(short, detector) == ("too short", f"lasts {count / 25:.2f} s, give at least 0.4 s")


def test_unreadable_files(walk: Path, tmp_path: Path, detector: FaceDetector) -> None:
    for name, data in (("a.mp4", b"no clip at all" * 99), ("b.mp4", b""), ("c.mkv", b"\x1a\x45\xdf\xa3" * 99)):
        (tmp_path / name).write_bytes(data)
        assert reason(tmp_path / name, detector)[0] == "unreadable"
    assert reason(tmp_path / "none.mp4", detector) == ("unreadable", "no such file")
    here = tmp_path / walk.name
    here.write_bytes(walk.read_bytes())
    assert reason(remux(here, "sound.mp4", kinds=("audio",)), detector)[0] == "unreadable"


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
def test_clip_that_breaks_off(walk: Path, tmp_path: Path, detector: FaceDetector, name: str) -> None:
    here = tmp_path / walk.name
    here.write_bytes(walk.read_bytes())
    if name == "a.avi":
        clip = film(here.with_name(name), scene(moving(60, *WALK)), codec="mpeg4", audio=speech(2), audio_codec="mp3")
    else:
        clip = remux(here, name, **({"movflags": "faststart"} if name == "a.mp4" else {}))
    assert survey(clip, None, framing="crop").frames >= 49
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    why, message = reason(clip, detector)
    assert why == "unreadable"
    assert "truncated" in message or re.search(r"only 2\d of its 61 frames decode", message)


def test_image_on_a_song_is_no_video(tmp_path: Path, detector: FaceDetector) -> None:
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        audio = container.add_stream("mp3", rate=44_100, layout="stereo")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 88_200), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 44_100
        cut = av.AudioResampler(audio.codec_context.format.name, "stereo", 44_100, frame_size=1152)
        for part in (*cut.resample(frame), *cut.resample(None), None):
            container.mux(audio.encode(part))
    assert reason(tmp_path / "a.mp3", detector)[0] == "unreadable"


def test_what_comes_out_is_as_promised() -> None:
    assert Survey._fields[:5] == ("seconds", "frames", "is_crop", "people", "notes")
    assert Window._fields == ("start", "video", "audio", "levels")


SMALL = "64x64: enlarged to 112x112"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Frames of 64x64 that say which they are, 72 at 25 a second, and 48 kHz audio."""
    return write_clip(tmp_path / "a.mp4", even_times(72, 25), audio=speech(2.88, 48_000))


STARTS = [
    (72, 30, [0]),
    (100, 1, [0]),
    (71, 30, [0, 1]),
    (30, 15, [0, 15, 30, 42]),
    (12, 15, [0, 15, 30, 45, 60]),
    (10, 40, [0, 40, 62]),
    (1, 35, [0, 35, 70, 71]),
]


@pytest.mark.parametrize(("length", "hop", "starts"), STARTS)
def test_windows_are_parts_of_the_clip(clip: Path, length: int, hop: int, starts: list[int]) -> None:
    found = survey(clip, None, framing="crop")
    parts = list(windows(clip, found, length, hop))
    assert [round(25 * part.start) for part in parts] == starts
    video = centre_crop(torch.from_numpy(read_video(clip)).permute(3, 0, 1, 2))
    audio = read_audio(clip)
    for start, part in zip(starts, parts, strict=True):
        end = min(start + length, 72)
        assert torch.equal(part.video, video[:, start:end])
        assert part.video.is_contiguous()
        assert torch.equal(part.audio, audio_features(audio[start * 640 : end * 640 + 240], end - start))
        loudest = np.abs(audio[start * 640 : end * 640].astype(int)).reshape(-1, 640).max(1)
        assert_allclose(part.levels[: len(loudest)], loudest / 32_768)


def test_windows_of_no_length(clip: Path) -> None:
    found = survey(clip, None, framing="crop")
    with pytest.raises(ValueError, match="windows of 0 frames every 5: both must be at least 1"):
        next(windows(clip, found, 0, 5))


def test_audio_that_ends_before_the_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(72, 25), audio=(tone(1, 16_000), 16_000))
    found = survey(clip, None, framing="crop")
    assert found.notes == ("audio ends 1.79 s before the video", SMALL)
    first, second = windows(clip, found, 36, 36)
    assert torch.equal(first.audio, audio_features(read_audio(clip), 36))
    assert not second.audio.any()
    assert not second.levels.any()
    assert second.audio.shape == (36, 104)


@pytest.mark.parametrize("late", [0.03, 0.2, 1.0])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_audio_that_begins_later_is_put_where_it_is_heard(tmp_path: Path, late: float, name: str) -> None:
    images = list(scene([[None]] * 50, (64, 64)))
    audio = tone(1.5, 48_000), 48_000
    clip = film(tmp_path / name, images, fps=25, audio=audio, audio_at=late, audio_codec="aac")
    found = survey(clip, None, framing="crop")
    (window,) = windows(clip, found, 500, 250)
    samples = read_audio(clip)
    assert torch.equal(window.audio, audio_features(samples, 50))
    assert abs(np.flatnonzero(np.abs(samples) > 4000)[0] / 16_000 - late) < 0.015
    assert any("after the video: silence before it" in note for note in found.notes) == (late >= 0.1)


def test_wav_beside_a_clip_has_no_time_stamps(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), tone(2, 16_000)[:, 0], 16_000)
    found = survey(clip, None, framing="crop")
    assert found.notes == ("audio ends 0.88 s before the video", SMALL)
    (window,) = windows(clip, found, 500, 250)
    assert torch.equal(window.audio, audio_features(read_audio(clip), 72))


def test_audio_that_breaks_on_the_way(clip: Path) -> None:
    found = survey(clip, None, framing="crop")
    clip.with_suffix(".wav").write_bytes(b"no wav at all" * 99)
    with pytest.raises(ClipFault, match="its audio does not decode") as caught:
        list(windows(clip, found, 30, 15))
    assert caught.value.reason == "unreadable"


MEASURE = """
import sys
import numpy as np
from dataset.faces import survey, windows
for clip in sys.argv[1:]:
    found = survey(clip, lambda frame: np.array([[30, 30, 60, 60, 0.9]]), framing="find")
    count = sum(1 for window in windows(clip, found, 50, 25))
    # Of this program alone: ru_maxrss begins with what the process that started it had.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    sys.stdout.write(f"{found.frames} {count} {peak}\\n")
"""


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path: Path) -> None:
    images = [np.ascontiguousarray(image[::2, ::2]) for image in portrait()[:25]]
    short = film(tmp_path / "a.mp4", images, fps=25, codec="mpeg4", audio=(tone(1, 44_100, 2), 44_100))
    few, many = (str(repeat(short, f"{times}.mp4", times)) for times in (8, 40))
    command = [sys.executable, "-c", MEASURE, few, few, many]  # the first warms the libraries up
    _, *lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    (frames, count, before), (more_frames, more, after) = (map(int, line.split()) for line in lines)
    assert (frames, more_frames, count, more) == (200, 1000, 7, 39)
    # The frames of 32 s more are 30 MB, and their audio is 1.
    assert after - before < 6 * 1024  # KiB
