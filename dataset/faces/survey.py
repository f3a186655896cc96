"""The first look at a clip: how long it is, whether it can be scored, and where its face is."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dataset.faces.crop import is_square, looks_like_crop, side_of
from dataset.faces.detector import FaceDetector
from dataset.faces.tracks import (
    PATIENCE,
    STEP,
    FacePath,
    Span,
    Track,
    count_people,
    follow,
    link,
    looks,
    most_visible_first,
    sure_faces,
)
from dataset.media import FRAME_RATE, SIDE, NoAudio, framing_notes, open_wav, wav_beside
from dataset.reader import Reader
from utils.errors import DataError

FRAMINGS = ("auto", "crop", "find")
SHORTEST = 10  # ticks (1/25 s): 0.4 s, some two syllables
WORTH_A_NOTE = 0.5  # seconds
# A cut: by how many of 255 levels a frame differs from the one before on average, and how many times as much as usual.
CUT, SUDDEN = 12.0, 4.0
SMALL = (32, 18)  # size of the frames in which cuts are looked for
ALWAYS = 0.8  # of the other frames of a crop in which a face is found, if a span without any is to be believed


class ClipFault(DataError):
    """A clip that no detector can score: why in a word or two, and a sentence that says what to do."""

    NO_FACE, NO_AUDIO, TOO_SHORT, UNREADABLE = "no face", "no audio", "too short", "unreadable"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # all that unpickling in another process needs
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class Survey(NamedTuple):
    """What the first look at a clip found."""

    seconds: float  # of the video
    frames: int  # the same at 25 a second
    is_crop: bool  # frames are taken as they are, without following a face
    people: int  # faces to be seen, at once for a noticeable time or one after the other; 0 if none was looked for
    notes: tuple[str, ...] = ()  # short sentences on what is unusual
    spans: tuple[Span, ...] = ()  # ticks in which one person's face is to be seen; only these are scored
    face: FacePath | None = None  # where the face is; None if `is_crop`

    @property
    def no_face(self) -> tuple[tuple[float, float], ...]:
        """When no face is to be seen: starts and ends in seconds."""
        edges = [0, *(edge for span in self.spans for edge in span), self.frames]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return tuple((start / FRAME_RATE, end / FRAME_RATE) for start, end in gaps if end > start)


class _Look(NamedTuple):
    """What decoding a clip once has shown."""

    frames: int
    size: tuple[int, int]
    samples: list[list[tuple[float, np.ndarray]]]  # of each shot: ticks of the frames looked at, and faces found
    notes: tuple[str, ...]

    @property
    def starts(self) -> list[float]:
        """First tick of each shot."""
        return [shot[0][0] if shot else 0.0 for shot in self.samples]

    @property
    def ticks(self) -> list[float]:
        return [tick for shot in self.samples for tick, _ in shot]


def survey(path: str | Path, detector: FaceDetector | None, framing: str = "auto") -> Survey:
    """Decode all of a clip once, and look for faces five times a second and after each cut.

    Framing "find" follows a face and cuts a square around it, "crop" takes the frames (their central square) as they
    are and needs no `detector`, and "auto" does so where they already show one face as FakeAVCeleb's clips do. What is
    kept is a few numbers a second: memory does not grow with the clip's length.

    A ClipFault, with the reason, if the clip cannot be scored.
    """
    if framing not in FRAMINGS:
        raise DataError(f"framing {framing}: must be one of {', '.join(FRAMINGS)}")
    if detector is None and framing != "crop":
        raise DataError(f"framing {framing} needs a face detector")
    try:
        look = _look(path, None if framing == "crop" else detector)
    except NoAudio as error:
        advice = "Give a clip with audio, or a wav beside it"
        raise ClipFault(ClipFault.NO_AUDIO, f"{error}. {advice}") from error
    except DataError as error:
        raise unreadable(path, error) from error
    if look.frames < SHORTEST:
        why = f"lasts {look.frames / FRAME_RATE:.2f} s, give at least {SHORTEST / FRAME_RATE:g} s"
        raise ClipFault(ClipFault.TOO_SHORT, f"{path}: {why}")
    shots = [most_visible_first(link(shot)) for shot in look.samples]
    tracks = [track for shot in shots for track in shot]
    faces = sure_faces(tracks, len(look.ticks))
    width, height = look.size
    # In a crop, a face that is not sure is one all the same.
    candidates = faces or most_visible_first(tracks)
    fits = framing == "auto" and looks_like_crop(candidates, height, width, len(look.ticks))
    is_crop = framing == "crop" or fits
    if not is_crop and not faces:
        advice = "Show one from the front, 20 pixels high or more"
        if is_square(height, width):
            advice += '; if these frames are crops of a face, choose the framing "crop"'
        raise ClipFault(ClipFault.NO_FACE, f"{path}: no face is found in it. {advice}")
    face, spans, in_turn = None, [Span(0, look.frames)], 0
    at_once = int(framing != "crop")
    if faces:
        sure = [[track for track in shot if any(track is face for face in faces)] for shot in shots]
        face = follow(sure, look.starts)
        spans = _crop_spans(look, face) if is_crop else face.spans(look.frames)
        in_turn = len({part.person for part in face.parts})
        at_once = count_people(faces, look.ticks)
    found = Survey(
        seconds=look.frames / FRAME_RATE,
        frames=look.frames,
        is_crop=is_crop,
        people=max(at_once, in_turn),
        spans=tuple(spans),
        face=None if is_crop else face,
    )
    return found._replace(notes=(*look.notes, *_notes(look, found, faces, at_once, in_turn)))


def unreadable(path: str | Path, error: Exception) -> ClipFault:
    """The fault of a file that is broken, or no clip at all."""
    why = str(error).removeprefix(f"{path}: ")
    advice = ". Check that it plays to its end, or export it again" if os.path.isfile(path) else ""
    return ClipFault(ClipFault.UNREADABLE, f"{path}: {why}{advice}")


def _look(path: str | Path, detector: FaceDetector | None) -> _Look:
    """Decode a whole clip, and look for faces if there is a detector."""
    shots: list[list[tuple[float, np.ndarray]]] = [[]]
    cuts, due, last = _Cuts(), 0, None

    def look(frame: av.VideoFrame, time: float) -> None:
        rgb = reader.video.rgb(frame)
        boxes = detector(rgb)
        shots[-1].append((time, np.hstack([boxes, looks(rgb, boxes)])))

    wav = wav_beside(path)
    has_wav = os.path.isfile(wav)
    with Reader(path, audio=not has_wav) as reader:
        for tick, time, frame in reader.frames():
            reader.heard()
            if detector is not None:
                if cuts.is_cut(frame):
                    shots.append([])
                    due = tick
                if tick >= due:
                    look(frame, time)
                    due = tick + STEP
                last = frame, time
        if last is not None and last[1] > shots[-1][-1][0]:
            look(*last)
        with open_wav(wav) if has_wav else nullcontext(reader) as source:
            for _ in source.chunks():
                pass
            return _Look(reader.video.length, reader.video.size, shots, reader.notes(source.audio.seconds))


class _Cuts:
    """Finds where a frame shows another scene than the one before."""

    def __init__(self) -> None:
        self._small = VideoReformatter()
        self._before: np.ndarray | None = None
        self._usual = CUT / SUDDEN

    def is_cut(self, frame: av.VideoFrame) -> bool:
        """Whether the next frame begins a shot."""
        width, height = SMALL
        small = self._small.reformat(frame, width, height, "gray", interpolation="AREA", threads=1)
        levels = small.to_ndarray().astype(np.float32)
        before, self._before = self._before, levels
        if before is None:
            return False
        change = float(np.abs(levels - before).mean())
        is_cut = change > CUT and change > SUDDEN * self._usual
        if not is_cut:
            self._usual += (change - self._usual) / 10
        return is_cut


def _crop_spans(look: _Look, face: FacePath) -> list[Span]:
    """When a crop shows one person's face. The detector misses many a face that fills a frame."""
    starts = [round(start) for start in look.starts]
    people: list[int] = []  # whose face each shot shows
    for start, end in zip(starts, [*starts[1:], look.frames], strict=True):
        parts = [part.person for part in face.parts if start <= part.ticks[0] < end]
        people.append(parts[0] if parts else (people[-1] if people else face.parts[0].person))
    edges = [0, *(at for at, who, before in zip(starts[1:], people[1:], people, strict=False) if who != before)]
    spans = [Span(start, end) for start, end in zip(edges, [*edges[1:], look.frames], strict=True)]
    seen = [(tick, len(boxes) > 0) for shot in look.samples for tick, boxes in shot]
    there = [tick for tick, is_seen in seen if is_seen]
    for before, after in pairwise([-float(STEP), *there, float(look.frames)]):
        outside = [is_seen for tick, is_seen in seen if not before < tick < after]
        if after - before > PATIENCE + STEP and outside and np.mean(outside) >= ALWAYS:
            gap = Span(max(0, round(before) + STEP), round(after))
            spans = [part for span in spans for part in (Span(span.start, min(span.end, gap.start)),
                                                         Span(max(span.start, gap.end), span.end))]  # fmt: skip
            spans = [span for span in spans if span.start < span.end]
    return spans


def _notes(look: _Look, found: Survey, faces: list[Track], at_once: int, in_turn: int) -> Iterator[str]:
    if at_once > 1:
        yield f"{at_once} faces: the most visible one is used"
    if in_turn > 1:
        yield f"several people: {in_turn} one after the other, scored apart"
    if found.is_crop:
        yield from framing_notes(*look.size)
    absent = sum(end - start for start, end in found.no_face)
    if absent >= WORTH_A_NOTE:
        yield f"no face for {absent:.1f} s: not scored"
    if found.is_crop:
        return
    anew = len(found.face.parts) - 1
    if anew:
        yield f"the face is found anew {anew} time{'s' * (anew > 1)}"
    side = side_of(faces[0].size)
    if side < SIDE:
        yield f"the face is small: its square of {side} pixels is enlarged to {SIDE}"
