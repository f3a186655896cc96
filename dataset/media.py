"""Video and audio of one clip, whatever its file holds: 112x112 at 25 frames a second, 16 kHz mono."""

import os
import wave
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dataset.audio import CHUNK, SAMPLE_RATE
from dataset.reader import NoAudio, Reader
from dataset.video import FRAME_RATE, by, resize
from utils.errors import DataError

DECODING = 2  # goes up whenever the same file gives other frames, samples or features; part of the cache's key
MAX_FRAMES = 500
SIDE = 112  # of a frame as it is read
HALVED = 224  # side of FakeAVCeleb's own frames
# The last of 500 frames needs four filterbank windows, whose ends reach 240 samples past the frame's own.
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
WINDOW_OVERHANG = 240


class Clip(NamedTuple):
    """What is read of a clip."""

    frames: np.ndarray  # RGB (T, 112, 112, 3), uint8, 25 a second
    samples: np.ndarray  # mono at 16 kHz (N,), int16; sample 0 goes with the first frame
    notes: tuple[str, ...]  # short sentences on what is unusual about it


def read_clip(path: str | Path, max_frames: int = MAX_FRAMES) -> Clip:
    """Read frames and audio of a clip, as training does, in one pass, which ends soon after `max_frames`.

    Frames are shown upright and with square pixels. Those of 224x224 are halved as in the release, bilinear; of any
    other size the central square is scaled. Of any other rate than 25, each 1/25 s shows the last frame whose time has
    come, as FFmpeg's fps filter does. A wav beside the clip comes before its own audio.

    A DataError if there is no video or no audio, or more than a tenth of the frames do not decode.
    """
    has_wav = os.path.isfile(wav_beside(path))
    with Reader(path, audio=not has_wav) as reader:
        frames = _frames(reader, max_frames)
        if has_wav:
            samples = read_audio(path, max_frames)
            return Clip(frames, samples, reader.notes(len(samples) / SAMPLE_RATE))
        reader.skip_video()
        samples = _samples(reader.chunks(), max_frames)
        return Clip(frames, samples, reader.notes())


def read_video(path: str | Path, max_frames: int = MAX_FRAMES) -> np.ndarray:
    """Read the frames (T, 112, 112, 3) of a clip only; see :func:`read_clip`."""
    with Reader(path, audio=False) as reader:
        return _frames(reader, max_frames)


def read_audio(path: str | Path, max_frames: int = MAX_FRAMES) -> np.ndarray:
    """Read the samples (N,) of a clip only, as long as `max_frames` need them; see :func:`read_clip`."""
    return _samples(audio_chunks(path), max_frames)


def audio_chunks(path: str | Path) -> Iterator[np.ndarray]:
    """The whole audio of a clip in chunks (n,) of int16, mono at 16 kHz: that of the wav beside it, else its own.

    A wav of its own begins with the first frame, whatever the clip's time stamps say. A DataError if there is no audio,
    or it does not decode.
    """
    wav = wav_beside(path)
    if not os.path.isfile(wav):
        with Reader(path, video=False) as reader:
            yield from reader.chunks()
    elif _is_plain(wav):  # reads a hundred times faster than through FFmpeg
        with wave.open(str(wav)) as file:
            if not file.getnframes():
                raise NoAudio(f"{wav}: its audio is empty")
            while data := file.readframes(CHUNK):
                yield np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    else:
        with open_wav(wav) as reader:
            yield from reader.chunks()


def open_wav(path: Path) -> Reader:
    """Open a wav of any kind; a DataError if it is none."""
    try:
        return Reader(path, video=False)
    except DataError as error:
        raise DataError(f"{path}: its audio does not decode") from error


def full_frames(path: str | Path, max_frames: int = MAX_FRAMES) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) of a clip as they are shown, RGB uint8, 25 a second; :func:`draw_frame` scales them."""
    with Reader(path, audio=False) as reader:
        yield from islice(reader.shown(lambda frame, _: frame), max_frames)


def wav_beside(path: str | Path) -> Path:
    """Where a clip's audio lies if it has a wav of its own, which then comes before the audio inside the clip."""
    return Path(path).with_suffix(".wav")


def _is_plain(path: Path) -> bool:
    """Whether this is a 16 kHz mono 16-bit wav."""
    try:
        with wave.open(str(path)) as file:
            return (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
    except (wave.Error, EOFError, OSError):
        return False


def draw_frame(frame: np.ndarray) -> np.ndarray:
    """Scale the central square of RGB (H, W, 3) to (112, 112, 3)."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frame[top : top + side, left : left + side]
    if (height, width) == (HALVED, HALVED):  # FakeAVCeleb's frames, as in the release; larger ones would alias
        return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return resize(square, (SIDE, SIDE))


def framing_notes(width: int, height: int) -> Iterator[str]:
    """Sentences on frames of a size that are taken without following a face."""
    if width != height:
        yield f"{by(width, height)}: its central square is used"
    if min(width, height) < SIDE:
        yield f"{by(width, height)}: enlarged to {by(SIDE, SIDE)}"


def _frames(reader: Reader, max_frames: int) -> np.ndarray:
    # Pages of this array that no frame reaches are never touched, so that its size costs nothing.
    frames = np.empty((max_frames, SIDE, SIDE, 3), np.uint8)
    count = 0
    for frame in islice(reader.shown(lambda frame, _: draw_frame(frame)), max_frames):
        frames[count] = frame
        count += 1
    return frames[:count]


def _samples(chunks: Iterator[np.ndarray], max_frames: int) -> np.ndarray:
    limit = max_frames * SAMPLES_PER_FRAME + WINDOW_OVERHANG
    parts, count = [], 0
    for chunk in chunks:
        parts.append(chunk)
        count += len(chunk)
        if count >= limit:
            break
    return np.concatenate(parts)[:limit]
