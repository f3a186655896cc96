"""What a clip is, and whether training can read it: all of it decoded once, nothing of it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset.media import (
    FRAME_RATE,
    MAX_FRAMES,
    SAMPLE_RATE,
    SIDE,
    Sound,
    check_complete,
    open_video,
    probe,
    wav_beside,
)
from dataset.timing import FrameClock, read_timeline
from utils.errors import DataError

SILENCE = 32  # of 32,768: -60 dB of full scale
FEW_FRAMES = 12  # less than half a second
SECONDS_APART = 0.1  # of sound and picture, from which on it is worth a note


@dataclass(frozen=True)
class ClipFacts:
    """What is known of one clip; None where it is not.

    Attributes
    ----------
    state
        "ok", "missing" or "broken".
    reason
        Why training cannot read it, in the words of the DataError, without the path; "" if it can.
    frames, fps, constant_rate
        Frames as stored, how many a second by their time stamps, and whether at a constant rate.
    width, height
        Of the frames as they come out of the decoder.
    video_codec, video_seconds
        Of the picture, from the start of its first frame to the end of its last.
    sound
        Where it comes from: "wav" for the one beside the clip, otherwise the clip's own extension; "" if there is none.
    sample_rate, channels, audio_codec, audio_seconds
        Of the sound as stored.
    leading_silence
        Seconds before the first sample (mono, 16 kHz) above -60 dB of full scale; all of them if none is.
    frames_25
        Frames at 25 a second, however many of them are used.
    bytes
        Size of the clip, without the wav.
    notes
        Short sentences on what is unusual about it.
    """

    state: str
    reason: str
    frames: int | None = None
    fps: float | None = None
    constant_rate: bool | None = None
    width: int | None = None
    height: int | None = None
    video_codec: str | None = None
    video_seconds: float | None = None
    sound: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    audio_codec: str | None = None
    audio_seconds: float | None = None
    leading_silence: float | None = None
    frames_25: int | None = None
    bytes: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def missing(cls) -> ClipFacts:
        """The facts of a clip that is not there."""
        return cls("missing", "no such file")


def inspect_clip(path: str | Path) -> ClipFacts:
    """Decode a clip from its first to its last frame and sample, as training does, and say what it is.

    What :func:`dataset.media.probe`, `read_video` or `read_audio` refuse is broken, and so is a clip that is damaged
    only behind the frames that training uses. Bad media never raise.

    Parameters
    ----------
    path
        The mp4.
    """
    path = Path(path)
    if not path.is_file():
        return ClipFacts.missing()
    facts: dict[str, Any] = {"bytes": path.stat().st_size}
    reasons = [_refused(look, path, facts) for look in (_probe, _see, _hear)]
    reason = next(filter(None, reasons), "")
    if reason:
        return ClipFacts("broken", reason, **facts)
    found = ClipFacts("ok", "", **facts)
    return replace(found, notes=(*_picture_notes(found), *_sound_notes(found)))


def _refused(look: Callable[[Path, dict[str, Any]], None], path: Path, facts: dict[str, Any]) -> str:
    """Let `look` add its facts, and return why it could not; "" if it could."""
    try:
        look(path, facts)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{wav_beside(path)}: ")
    return ""


def _probe(path: Path, facts: dict[str, Any]) -> None:
    del facts  # which need more than a look
    probe(path)


def _see(path: Path, facts: dict[str, Any]) -> None:
    clock = FrameClock(path)
    capture = open_video(path)
    try:
        for _ in clock.decode(capture):
            if clock.count == 1:
                facts["height"], facts["width"] = capture.retrieve()[1].shape[:2]
        facts["frames"] = clock.count
        check_complete(path, capture, clock)
    finally:
        capture.release()
    timeline = read_timeline(path)
    facts |= {"video_codec": timeline.codec, "video_seconds": timeline.seconds, "frames_25": clock.end}
    if timeline.stamped:
        facts["fps"] = round(timeline.rate, 3)
        facts["constant_rate"] = timeline.is_at_25() or timeline.is_constant(timeline.rate)


def _hear(path: Path, facts: dict[str, Any]) -> None:
    sound = Sound(path)
    quiet, is_loud = 0, False
    try:
        for chunk in sound:
            if not is_loud:
                loud = np.flatnonzero((chunk > SILENCE) | (chunk < -SILENCE))
                is_loud = len(loud) > 0
                quiet += int(loud[0]) if is_loud else len(chunk)
    finally:
        inside = path.suffix[1:].lower() if sound.rate else ""
        facts["sound"] = inside if sound.source == path else "wav"
        facts |= {"sample_rate": sound.rate, "channels": sound.channels, "audio_codec": sound.codec}
    facts |= {"audio_seconds": sound.samples / sound.rate, "leading_silence": quiet / SAMPLE_RATE}


def _picture_notes(facts: ClipFacts) -> Iterator[str]:
    if facts.fps is None:
        yield "no usable time stamps: its frames are taken as evenly spaced"
    elif not facts.constant_rate:
        yield f"variable frame rate: brought to {FRAME_RATE} by time stamps"
    elif facts.frames_25 != facts.frames or abs(facts.fps - FRAME_RATE) > 1:
        yield f"{round(facts.fps, 2):g} frames a second: brought to {FRAME_RATE} by time stamps"
    if facts.width != facts.height:
        yield f"{facts.width}x{facts.height}: its central square is used"
    if min(facts.width, facts.height) < SIDE:
        yield f"{facts.width}x{facts.height}: enlarged to {SIDE}x{SIDE}"
    if facts.frames < FEW_FRAMES:
        yield f"only {facts.frames} frame{'s' if facts.frames > 1 else ''}"
    if facts.frames_25 > MAX_FRAMES:
        yield f"longer than {MAX_FRAMES // FRAME_RATE} s: the first {MAX_FRAMES} frames are used"


def _sound_notes(facts: ClipFacts) -> Iterator[str]:
    if (facts.sample_rate, facts.channels) != (SAMPLE_RATE, 1):
        channels = f"{facts.channels} channel{'s' if facts.channels > 1 else ''}"
        yield f"{facts.sample_rate} Hz, {channels}: brought to 16 kHz mono"
    apart = facts.audio_seconds - facts.video_seconds
    if abs(apart) > SECONDS_APART:
        yield f"sound is {abs(apart):.2f} s {'longer' if apart > 0 else 'shorter'} than the picture"
