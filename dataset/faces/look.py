"""The first look at a clip: how long it is, whether it can be scored, and where its face is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av

from dataset.faces.crop import is_square, looks_like_crop, side_of
from dataset.faces.detector import FaceDetector
from dataset.faces.fault import NO_FACE, NO_SOUND, TOO_SHORT, ClipFault, unreadable
from dataset.faces.reader import Reader, sound_start
from dataset.faces.tracks import STEP, FacePath, Track, count_people, follow, link, sure_faces
from dataset.media import SAMPLE_RATE, SIDE, Sound, wav_beside
from dataset.timing import FRAME_RATE, FrameClock
from utils.errors import DataError

FRAMINGS = ("auto", "crop", "find")
SHORTEST = 10  # ticks (1/25 s): 0.4 s, some two syllables
# Sound and picture of FakeAVCeleb's clips are taken from their first sample and frame, whatever their time stamps;
# up to a frame apart, so are those of all clips.
APART = 1 / FRAME_RATE
WORTH_A_NOTE = 0.5  # seconds


class Survey(NamedTuple):
    """What the first look at a clip found.

    Attributes
    ----------
    seconds
        Length of the picture.
    frames
        The same at 25 a second.
    is_crop
        Frames are taken as they are, without following a face.
    people
        Faces that are to be seen at once for a noticeable time; 0 if none was looked for.
    notes
        Short sentences on what is unusual.
    sound_shift
        Samples at 16 kHz of silence to put before the sound, or, if negative, of sound to leave out.
    face
        Where the face is; None if `is_crop`.
    has_repeats
        Some packets are empty and show the frame before again, which OpenCV does not understand.
    """

    seconds: float
    frames: int
    is_crop: bool
    people: int
    notes: tuple[str, ...] = ()
    sound_shift: int = 0
    face: FacePath | None = None
    has_repeats: bool = False


class _Picture(NamedTuple):
    """What decoding the picture once has shown."""

    frames: int
    height: int
    width: int
    ticks: list[float]  # of the pictures in which faces were looked for
    tracks: list[Track]
    start: float  # seconds on the container's clock
    end: float
    sound_end: float
    has_repeats: bool
    damaged: int  # frames
    sound_tracks: int


def survey(path: str | Path, detector: FaceDetector | None, framing: str = "auto") -> Survey:
    """Decode all of a clip's picture once, and look for faces five times a second.

    What is kept is a few numbers a second: memory does not grow with the clip's length.

    Parameters
    ----------
    path
        Any clip that PyAV reads; the wav beside it comes before its own sound.
    detector
        Finds faces: see :func:`dataset.faces.make_detector`. None will do for the framing "crop".
    framing
        "find" follows a face and cuts a square around it, "crop" takes the frames (their central square) as they are,
        and "auto" does so where they already show one face as FakeAVCeleb's clips do.

    Raises
    ------
    ClipFault
        If the clip cannot be scored, with the reason.
    ValueError
        If there is no such framing, or the detector is missing.
    """
    if framing not in FRAMINGS:
        raise ValueError(f"framing {framing}: must be one of {', '.join(FRAMINGS)}")
    if detector is None and framing != "crop":
        raise ValueError(f"framing {framing} needs a face detector")
    picture = _look(path, None if framing == "crop" else detector)
    if picture.frames < SHORTEST:
        least = SHORTEST / FRAME_RATE
        raise ClipFault(TOO_SHORT, f"{path}: lasts {picture.frames / FRAME_RATE:.2f} s, give at least {least:g} s")
    shift, sound_notes = _listen(path, picture)
    faces = sure_faces(picture.tracks, len(picture.ticks))
    is_crop = framing == "crop" or (framing == "auto" and _is_crop(picture, faces))
    if not is_crop and not faces:
        raise ClipFault(NO_FACE, _no_face(path, picture))
    face = None if is_crop else follow(faces)
    people = count_people(faces, picture.ticks) if faces else int(framing != "crop")
    notes = (*_picture_notes(picture, faces, face, people), *sound_notes)
    frames = picture.frames
    return Survey(frames / FRAME_RATE, frames, is_crop, people, notes, shift, face, picture.has_repeats)


def _look(path: str | Path, detector: FaceDetector | None) -> _Picture:
    """Decode the whole picture, and look for faces five times a second and at its end if there is a detector."""
    clock, samples, due = FrameClock(path), [], 0
    with Reader(path) as reader:
        for tick in clock.decode(reader):
            if detector is not None and tick >= due:
                samples.append((reader.ticks, detector(reader.retrieve()[1])))
                due = tick + STEP
        reader.check_complete()
        frame = reader.retrieve()[1]
        if detector is not None and reader.ticks > samples[-1][0]:
            samples.append((reader.ticks, detector(frame)))
    ticks = [tick for tick, _ in samples]
    times = reader.start, reader.picture_end, reader.sound_end
    odd = reader.has_repeats, reader.damaged, reader.sound_tracks
    return _Picture(clock.end, *frame.shape[:2], ticks, link(samples), *times, *odd)


def _listen(path: str | Path, picture: _Picture) -> tuple[int, list[str]]:
    """Make sure that there is sound; how far to shift it, and notes on it."""
    try:
        next(iter(Sound(path)))
        start = None if wav_beside(path).is_file() else sound_start(path)
    except (DataError, av.FFmpegError) as error:
        message = str(error).removeprefix(f"{path}: ")
        if message in ("has no sound", "its sound is empty"):
            raise ClipFault(NO_SOUND, f"{path}: {message}. Give a clip with sound, or a wav beside it") from error
        raise unreadable(path, message) from error
    if start is None:
        return 0, []
    notes = [f"{picture.sound_tracks} sound tracks: the first one is used"] * (picture.sound_tracks > 1)
    apart, missing = start - picture.start, picture.end - picture.sound_end
    if abs(apart) >= WORTH_A_NOTE:
        notes.append(f"sound begins {abs(apart):.1f} s {'after' if apart > 0 else 'before'} the picture")
    if missing >= WORTH_A_NOTE:
        notes.append(f"sound ends {missing:.1f} s before the picture")
    return (round(apart * SAMPLE_RATE) if abs(apart) > APART else 0), notes


def _is_crop(picture: _Picture, faces: list[Track]) -> bool:
    """Whether the most visible face lies as in FakeAVCeleb; there, a face that is not sure is one all the same."""
    if not is_square(picture.height, picture.width):
        return False
    candidates = faces or sorted(picture.tracks, key=lambda track: track.visibility, reverse=True)
    return bool(candidates) and looks_like_crop(candidates[0], picture.height, picture.width, len(picture.ticks))


def _no_face(path: str | Path, picture: _Picture) -> str:
    advice = "Show one from the front, 20 pixels high or more"
    if is_square(picture.height, picture.width):
        advice += '; if these frames are crops of a face, choose the framing "crop"'
    return f"{path}: no face is found in it. {advice}"


def _picture_notes(picture: _Picture, faces: list[Track], face: FacePath | None, people: int) -> Iterator[str]:
    if picture.damaged:
        yield f"damaged in {picture.damaged} frame{'s' * (picture.damaged > 1)} or more"
    if people > 1:
        yield f"{people} faces: the most visible one is used"
    if face is None:
        side = min(picture.height, picture.width)
        if side < SIDE:
            yield f"the picture is small: its square of {side} pixels is enlarged to {SIDE}"
        return
    absent = (picture.frames - face.seen(0, picture.frames)) / FRAME_RATE
    if absent >= WORTH_A_NOTE:
        yield f"no face for {absent:.1f} s"
    if len(face.ticks) > 1:
        yield f"the face is found anew {len(face.ticks) - 1} time{'s' if len(face.ticks) > 2 else ''}"
    side = side_of(faces[0].size)
    if side < SIDE:
        yield f"the face is small: its square of {side} pixels is enlarged to {SIDE}"
