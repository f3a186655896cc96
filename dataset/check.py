"""What a clip is, and whether training can read it; clips that are missing or broken are found before training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataset.audio import AudioTrack
from dataset.media import FRAME_RATE, MAX_FRAMES, SAMPLE_RATE, framing_notes, open_wav, read_clip, wav_beside
from dataset.reader import Reader
from dataset.video import VideoTrack
from utils.errors import DataError
from utils.parallel import in_threads

SILENCE = 32  # of 32,768: -60 dB of full scale
FEW_FRAMES = 12  # less than half a second

Stamp = tuple[int, ...]


@dataclass(frozen=True)
class ClipFacts:
    """What is known of one clip; None where it is not."""

    state: str  # "ok", "missing" or "broken"
    reason: str  # why training cannot read it, in the words of the DataError, without the path; "" if it can
    frames: int | None = None  # as stored
    fps: float | None = None  # by their time stamps
    constant_rate: bool | None = None
    width: int | None = None  # of the frames as they are shown
    height: int | None = None
    video_codec: str | None = None
    video_seconds: float | None = None  # from the start of the first frame to the end of the last
    audio: str | None = None  # "wav" for the one beside the clip, else the clip's own extension; "" if there is none
    sample_rate: int | None = None  # of the audio as stored
    channels: int | None = None
    audio_codec: str | None = None
    audio_seconds: float | None = None
    # Seconds before the first sample (mono, 16 kHz) above -60 dB of full scale; all of them if none is.
    leading_silence: float | None = None
    frames_25: int | None = None  # frames at 25 a second, however many of them are used
    video_bytes: int | None = None  # of the packets of the track inside the clip
    audio_bytes: int | None = None
    bytes: int | None = None  # of the clip, without the wav
    notes: tuple[str, ...] = ()  # short sentences on what is unusual about it

    @classmethod
    def missing(cls) -> ClipFacts:
        """The facts of a clip that is not there."""
        return cls("missing", "no such file")


def inspect_clip(path: str | Path) -> ClipFacts:
    """Decode a clip from its first to its last frame and sample, as training does, and say what it is.

    What :func:`dataset.media.read_clip` refuses is broken, and so is a clip that is damaged only behind the frames
    that training uses. Bad media never raise.
    """
    path = Path(path)
    if not path.exists():
        return ClipFacts.missing()
    facts: dict[str, Any] = {"bytes": path.stat().st_size}
    notes: tuple[str, ...] = ()
    wav, reason = wav_beside(path), ""
    has_wav = os.path.isfile(wav)
    silence = _LeadingSilence()
    try:
        with Reader(path, audio=not has_wav) as reader:
            try:
                for _ in reader.frames():
                    silence.hear(reader.heard())
            finally:
                facts |= _video_facts(reader.video)
            with open_wav(wav) if has_wav else nullcontext(reader) as source:
                facts["audio"] = "wav" if has_wav else path.suffix[1:].lower() if source.audio else ""
                silence.hear(source.chunks())
                facts |= _audio_facts(source.audio) | {"leading_silence": silence.samples / SAMPLE_RATE}
            facts["video_bytes"] = reader.sizes[reader.video.stream.index]
            if reader.audios:
                facts["audio_bytes"] = reader.sizes[(reader.audio.stream if reader.audio else reader.audios[0]).index]
            notes = (*reader.notes(facts["audio_seconds"]), *_training_notes(facts))
    except DataError as error:
        reason = _reason(error, path)
        if wav.name in str(error):
            facts["audio"] = "wav"
    return ClipFacts("broken" if reason else "ok", reason, **facts, notes=notes)


class _LeadingSilence:
    """Counts the samples before the first loud one."""

    def __init__(self) -> None:
        self.samples, self._is_over = 0, False

    def hear(self, chunks: Iterable[np.ndarray]) -> None:
        for chunk in chunks:
            if not self._is_over:
                loud = np.flatnonzero((chunk > SILENCE) | (chunk < -SILENCE))
                self._is_over = len(loud) > 0
                self.samples += int(loud[0]) if self._is_over else len(chunk)


def _video_facts(video: VideoTrack | None) -> dict[str, Any]:
    if video is None or not video.count:
        return {}
    return {
        "frames": video.count,
        "fps": None if video.rate is None else round(video.rate, 3),
        "constant_rate": None if video.rate is None else video.is_even(),
        "width": video.size[0],
        "height": video.size[1],
        "video_codec": video.stream.codec_context.codec.canonical_name,
        "video_seconds": video.seconds,
        "frames_25": video.length,
    }


def _audio_facts(audio: AudioTrack) -> dict[str, Any]:
    return {
        "sample_rate": audio.rate,
        "channels": audio.channels,
        "audio_codec": audio.stream.codec_context.codec.canonical_name,
        "audio_seconds": audio.samples / audio.rate,
    }


def _training_notes(facts: dict[str, Any]) -> Iterator[str]:
    """Sentences on a clip that is used as it is."""
    yield from framing_notes(facts["width"], facts["height"])
    if facts["frames"] < FEW_FRAMES:
        yield f"only {facts['frames']} frame{'s' if facts['frames'] > 1 else ''}"
    if facts["frames_25"] > MAX_FRAMES:
        yield f"longer than {MAX_FRAMES // FRAME_RATE} s: the first {MAX_FRAMES} frames are used"


def _reason(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{wav_beside(path)}: ")


class BadClip(NamedTuple):
    """A clip that cannot be used, and why."""

    file: str
    reason: str


def stamp(path: str) -> Stamp | None:
    """Sizes and times of the files that a clip is read from, which change when they do; None if there is no clip."""
    wav = str(wav_beside(path))
    try:
        stats = [os.stat(file) for file in (path, wav) if file == path or os.path.isfile(file)]
    except OSError:
        return None
    return tuple(number for stat in stats for number in (stat.st_size, stat.st_mtime_ns))


class ClipChecker:
    """Read clips exactly as training will, so that what passes here cannot fail later, and remember the result."""

    def __init__(self, progress: bool = True) -> None:
        self.progress = progress
        self._known: dict[tuple[str, Stamp], tuple[str, tuple[str, ...]]] = {}

    def learn(self, clips: pd.DataFrame, findings: Mapping[str, tuple[Stamp, dict[str, Any]]]) -> None:
        """Take over what main.py prepare found: file → stamp, and the fields of `ClipFacts`."""
        for file, path in zip(clips["file"], clips["path"], strict=True):
            if file in findings:
                seen, facts = findings[file]
                self._known[path, seen] = facts["reason"], tuple(facts["notes"])

    def __call__(self, clips: pd.DataFrame) -> list[BadClip]:
        """Return the bad ones among `clips`, in their order."""
        looks = in_threads(self._look, list(clips["path"]), "Checking clips", progress=self.progress)
        return [BadClip(file, reason) for file, (reason, _) in zip(clips["file"], looks, strict=True) if reason]

    def notes(self, clips: pd.DataFrame) -> dict[str, tuple[str, ...]]:
        """What is unusual about those of `clips` that were checked: file → notes."""
        of_each = {file: self._look(path)[1] for file, path in zip(clips["file"], clips["path"], strict=True)}
        return {file: notes for file, notes in of_each.items() if notes}

    def _look(self, path: str) -> tuple[str, tuple[str, ...]]:
        seen = stamp(path)
        if seen is None:
            return "no such file", ()
        if (path, seen) not in self._known:
            try:
                self._known[path, seen] = "", read_clip(path).notes
            except DataError as error:
                self._known[path, seen] = _reason(error, Path(path)), ()
        return self._known[path, seen]
