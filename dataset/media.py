"""Picture and sound of one clip, whatever its file holds: 112x112 at 25 frames a second, 16 kHz mono."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from dataset.resample import CHUNK, SAMPLE_RATE, to_mono
from dataset.timing import FRAME_RATE, FrameClock, codec_name, read_timeline
from utils.errors import DataError

DECODING = 1  # goes up whenever the same file would give other frames or other audio
MAX_FRAMES = 500
SIDE = 112  # of a picture as it is read
HALVED = 224  # side of FakeAVCeleb's own frames
# The last of 500 frames needs four filterbank windows, whose ends reach 240 samples past the frame's own.
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
WINDOW_OVERHANG = 240
MISSING = 0.5  # seconds at the end of a clip from which on it counts as cut short
# Files open twice as fast if no picture is decoded for it; FFmpeg learns nothing from it that is needed here.
NO_PICTURE = {"skip_frame": "all"}


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
    if size == 0:
        raise DataError(f"{path}: truncated, the file is empty")
    try:
        with av.open(str(path), options=NO_PICTURE, metadata_errors="ignore") as container:
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
    """Decode the first frames of a clip as pictures of 112x112, 25 a second.

    Frames of 224x224 are halved as in the release, bilinear; of any other size the central square is scaled. Clips
    that are not at 25 frames a second already are brought to it by their time stamps, as FFmpeg's fps filter does:
    each tick shows the last frame whose time, rounded to ticks, has come.

    OpenCV decodes on one thread: it is as fast as PyAV, gives the bytes that the authors' release sees, and leaves
    the other cores to the other workers. A second thread would decode no clip of 224x224 faster.

    Parameters
    ----------
    path
        The mp4.
    max_frames
        How many pictures at most; decoding stops with the frame that comes after them.

    Returns
    -------
    RGB pictures (T, 112, 112, 3), uint8.

    Raises
    ------
    DataError
        If the file is absent or truncated, has no video stream or no frame, or lacks frames that it promises.
    """
    capture = open_video(path)
    try:
        clock = FrameClock(path)
        frames = _pictures(capture, clock, max_frames)
        if len(frames) < max_frames:
            check_complete(path, capture, clock)
    finally:
        capture.release()
    return frames


def open_video(path: str | Path) -> cv2.VideoCapture:
    """Open a clip for decoding on one thread; nothing decodes if it is broken, see :func:`check_complete`.

    Raises
    ------
    DataError
        If its name is not Unicode, which would end the process in OpenCV.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise DataError(f"{path}: its name is not UTF-8, rename it")
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def check_complete(path: str | Path, capture: cv2.VideoCapture, clock: FrameClock) -> None:
    """Refuse a clip of which less decoded than it promises, once `clock` has gone through all of it.

    Raises
    ------
    DataError
        With the reason.
    """
    if 0 < clock.count >= int(capture.get(cv2.CAP_PROP_FRAME_COUNT)):
        return
    promised = probe(path)  # which knows better, and may find the reason
    if clock.count == 0:
        raise DataError(f"{path}: has no frame that decodes")
    if clock.count < promised:
        raise DataError(f"{path}: only {clock.count} of its {promised} frames decode")
    if clock.count > promised and clock.seconds < (there := read_timeline(path).last) - MISSING:
        raise DataError(  # of a container that has no index of all its frames
            f"{path}: only {clock.seconds:.1f} of its {there:.1f} s decode. Where it plays to its end, save it as mp4"
        )


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
    limit = max_frames * SAMPLES_PER_FRAME + WINDOW_OVERHANG
    chunks, count = [], 0
    for chunk in Sound(path):
        chunks.append(chunk)
        count += len(chunk)
        if count >= limit:
            break
    return np.concatenate(chunks)[:limit]


def wav_beside(path: str | Path) -> Path:
    """Where a clip's sound lies if it has a wav of its own, which then comes before the sound inside the clip."""
    return Path(path).with_suffix(".wav")


class Sound:
    """The sound of a clip as a stream of chunks, mono at 16 kHz, int16 (n,).

    Any sound track that FFmpeg knows is averaged to mono and resampled; where its time stamps leave a gap, there is
    silence.

    Parameters
    ----------
    path
        The mp4; the wav beside it comes first.

    Attributes
    ----------
    source
        The file that has the sound.
    rate, channels, codec
        What is stored there; None until the first chunk is asked for.
    samples
        How many samples of each channel have been decoded so far, at the source's rate.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        wav = wav_beside(self.path)
        self.source = wav if wav.is_file() else self.path
        self.rate: int | None = None
        self.channels: int | None = None
        self.codec: str | None = None
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Read the sound from its start.

        Raises
        ------
        DataError
            If there is none, or it does not decode.
        """
        empty = True
        for chunk in self._chunks():
            empty = empty and len(chunk) == 0
            yield chunk
        if empty:
            raise DataError(f"{self.source}: its sound is empty")

    def _chunks(self) -> Iterator[np.ndarray]:
        try:
            if _is_plain_wav(self.source):
                yield from self._read()
                return
            with av.open(str(self.source), options=NO_PICTURE, metadata_errors="ignore") as container:
                yield from self._decode(container)
        except FileNotFoundError as error:
            raise DataError(f"{self.source}: no such file") from error
        except av.FFmpegError as error:
            if self.source == self.path:
                probe(self.path)  # which may find the reason
            raise DataError(f"{self.source}: its sound does not decode ({error.strerror})") from error

    def _read(self) -> Iterator[np.ndarray]:
        self.rate, self.channels, self.codec = SAMPLE_RATE, 1, "pcm_s16le"
        with wave.open(str(self.source)) as sound:
            while data := sound.readframes(CHUNK):
                chunk = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
                self.samples += len(chunk)
                yield chunk

    def _decode(self, container: av.container.InputContainer) -> Iterator[np.ndarray]:
        if not container.streams.audio:
            raise DataError(f"{self.source}: has no sound")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise DataError(f"{self.source}: its sound does not decode (FFmpeg does not know its codec)")
        self.rate, self.channels, self.codec = stream.rate, stream.channels, codec_name(stream)
        yield from to_mono(self._counted(container.decode(stream)))

    def _counted(self, frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        for frame in frames:
            self.samples += frame.samples
            yield frame


def _is_plain_wav(path: Path) -> bool:
    """Whether this is a 16 kHz mono 16-bit wav, which reads a hundred times faster than through PyAV."""
    try:
        with wave.open(str(path)) as sound:
            return (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (SAMPLE_RATE, 1, 2)
    except (wave.Error, EOFError, OSError):
        return False


def _pictures(capture: cv2.VideoCapture, clock: FrameClock, max_frames: int) -> np.ndarray:
    """Read up to `max_frames` pictures as RGB (T, 112, 112, 3); none if nothing decodes."""
    # Pages of this array that no picture reaches are never touched, so that its size costs nothing.
    frames = np.empty((max_frames, SIDE, SIDE, 3), np.uint8)
    known = 0
    for tick in clock.decode(capture):
        if tick > known:  # until then, the frame before is shown
            frames[known:tick] = frames[known - 1]
        if tick >= max_frames:
            return frames
        draw_picture(capture.retrieve()[1], frames[tick])
        known = tick + 1
    if clock.end > known:
        frames[known : clock.end] = frames[known - 1]
    return frames[: clock.end]


def draw_picture(frame: np.ndarray, picture: np.ndarray) -> None:
    """Scale the central square of a BGR frame (H, W, 3) to an RGB picture (112, 112, 3)."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frame[top : top + side, left : left + side]
    # FakeAVCeleb's frames are scaled as in the release. Bilinear scaling of larger ones would alias.
    method = cv2.INTER_AREA if side > SIDE and (height, width) != (HALVED, HALVED) else cv2.INTER_LINEAR
    small = cv2.resize(square, (SIDE, SIDE), interpolation=method)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=picture)
