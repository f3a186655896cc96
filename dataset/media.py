"""Frames and sound of one clip, straight from its mp4."""

from __future__ import annotations

import wave
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np

from dataset.metadata import DataError

SAMPLE_RATE = 16_000
FRAME_RATE = 25
MAX_FRAMES = 500
SCALE = 0.5  # 224 → 112
MIN_SIDE = 100  # what is cropped from a scaled frame
# The last of 500 frames needs four filterbank windows, whose ends reach 240 samples past the frame's own.
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
WINDOW_OVERHANG = 240


def probe(path: str | Path) -> int:
    """Look at a clip's container without decoding anything.

    Returns
    -------
    The number of video frames that the container promises.

    Raises
    ------
    DataError
        If the file is absent, cut short, or holds no video stream.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    size = path.stat().st_size
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: has no video stream")
            ends = [entry.pos + entry.size for stream in container.streams for entry in stream.index_entries]
            # An edit list may hide frames, which are then in the index but never come out of the decoder.
            frames = sum(not entry.is_discard for entry in container.streams.video[0].index_entries)
    except av.FFmpegError as error:
        raise DataError(f"{path}: truncated, or not an mp4 ({error.strerror})") from error
    if max(ends, default=0) > size:
        raise DataError(f"{path}: truncated, only {size} of {max(ends)} bytes are there")
    return frames


def read_video(path: str | Path, max_frames: int = MAX_FRAMES) -> np.ndarray:
    """Decode the first frames of a clip at half their size.

    OpenCV decodes on one thread: it is as fast as PyAV, gives the bytes that the authors' release sees, and leaves
    the other cores to the other workers. Each side is halved, whatever it is, as in the release.

    Parameters
    ----------
    path
        The mp4.
    max_frames
        Where decoding stops.

    Returns
    -------
    RGB frames (T, H/2, W/2, 3), uint8; (T, 112, 112, 3) for the 224x224 clips of FakeAVCeleb.

    Raises
    ------
    DataError
        If the file is absent or truncated, has no video stream or no frame, lacks frames that it promises, or is
        smaller than 200x200 (the crop is 100x100).
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        frames = _scaled_frames(capture, path, max_frames)
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    if len(frames) == 0 or len(frames) < min(promised, max_frames):
        promised = probe(path)  # which knows better, and may find the reason
        if len(frames) == 0:
            raise DataError(f"{path}: has no frame that decodes")
        if len(frames) < min(promised, max_frames):
            raise DataError(f"{path}: only {len(frames)} of its {promised} frames decode")
    return frames


def read_audio(path: str | Path, max_frames: int = MAX_FRAMES) -> np.ndarray:
    """Read the sound of a clip: the wav beside the mp4 if there is one, the mp4's own sound track if not.

    Parameters
    ----------
    path
        The mp4.
    max_frames
        How many video frames the sound has to last for; features of these do not depend on what comes later.

    Returns
    -------
    Mono samples at 16 kHz (N,), int16.

    Raises
    ------
    DataError
        If there is no sound, or it does not decode.
    """
    path = Path(path)
    wav = path.with_suffix(".wav")
    source = wav if wav.is_file() else path
    limit = max_frames * SAMPLES_PER_FRAME + WINDOW_OVERHANG
    samples = _read_plain_wav(source, limit)
    if samples is None:
        samples = _decode_sound(source, limit)
    if len(samples) == 0:
        raise DataError(f"{source}: its sound is empty")
    return samples


def _scaled_frames(capture: cv2.VideoCapture, path: str | Path, max_frames: int) -> np.ndarray:
    """Read up to `max_frames` frames as RGB of half the size; none if nothing decodes."""
    frames = np.empty((0, 0, 0, 3), np.uint8)
    count = 0
    while count < max_frames:
        decoded, frame = capture.read()
        if not decoded:
            break
        small = cv2.resize(frame, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
        if count == 0:
            if min(small.shape[:2]) < MIN_SIDE:
                height, width = frame.shape[:2]
                raise DataError(f"{path}: its frames are {width}x{height} pixels; they must be at least 200x200")
            # Pages of this array that no frame reaches are never touched, so that its size costs nothing.
            frames = np.empty((max_frames, *small.shape), np.uint8)
        frames[count] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        count += 1
    return frames[:count]


def _read_plain_wav(path: Path, limit: int) -> np.ndarray | None:
    """Samples of a 16 kHz mono 16-bit wav, a hundred times faster than through PyAV; None for any other file."""
    try:
        with wave.open(str(path)) as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (SAMPLE_RATE, 1, 2):
                return None
            data = sound.readframes(limit)
    except (wave.Error, EOFError, OSError):
        return None
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2")


def _decode_sound(path: Path, limit: int) -> np.ndarray:
    """Samples of any sound track that FFmpeg knows, averaged to mono and resampled to 16 kHz."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    chunks = [np.empty(0, np.int16)]
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise DataError(f"{path}: has no sound")
            for frame in chain(container.decode(container.streams.audio[0]), [None]):  # None: what is held back
                for part in resampler.resample(frame):
                    chunks.append(part.to_ndarray()[0])
                    count += part.samples
                if count >= limit:
                    break
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except av.FFmpegError as error:
        raise DataError(f"{path}: its sound does not decode ({error.strerror})") from error
    return np.concatenate(chunks)[:limit]
