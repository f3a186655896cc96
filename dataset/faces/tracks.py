"""From boxes in some frames to one face that is followed through the clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from dataset.media import FRAME_RATE

STEP = 5  # ticks (1/25 s) between the frames in which faces are looked for
PATIENCE = FRAME_RATE  # ticks for which a face may be lost and still be the same when it comes back
OVERLAP = 0.3  # intersection over union of a face's boxes in two such frames
# Confidence in a quarter of the frames. Faces from the front had 0.72 and more from 25 pixels of height on, as the
# detector is shown them, and 0.9 from 40 on; a motorcycle's lamp that stayed where it was had 0.60.
SURE = 0.65
QUARTER = 0.75  # quantile
SEEN_TOGETHER = 3  # frames looked at, 0.6 s
SMALL = 0.25  # of the main face's size, below which another one is of no account
SIMILAR = 0.5  # of the main face's size, from which on a face may go on where the main one has been lost
SMOOTH = 10  # ticks on either side of a moment whose boxes are averaged: 1 s in all
CURVED = 5  # boxes from which on their movement may be curved there
LOOK = 8  # side of the thumbnails by which faces are compared
# Levels of 255 by which two thumbnails of one person differ at most where they are most alike. Drawn people: one and
# the same 3, any two others 20 at least. It is the colours that count, so that two people alike may pass for one.
ALIKE = 14.0


class Track(NamedTuple):
    """One face while it is followed."""

    ticks: np.ndarray  # when it was found (n,), in 1/25 s; a frame of another rate may lie between two ticks
    # Where (n, 5), float64: x, y, width, height in pixels, and confidence; what it looks like may follow (n, 5 + k).
    boxes: np.ndarray

    def is_like(self, other: Track) -> bool:
        """Whether the two may be one person: two of their thumbnails are alike."""
        mine, theirs = self.boxes[:, 5:], other.boxes[:, 5:]
        return not mine.shape[1] or any(np.abs(theirs - look).mean(1).min() <= ALIKE for look in mine)

    def is_apart(self, other: Track) -> bool:
        """Whether one of the two ends before the other begins."""
        return bool(self.ticks[0] > other.ticks[-1] or self.ticks[-1] < other.ticks[0])

    @property
    def size(self) -> float:
        """Longer side of the box, in pixels; the median."""
        return float(np.median(self.boxes[:, 2:4].max(1)))

    @property
    def confidence(self) -> float:
        """Which it has in a quarter of the frames at least."""
        return float(np.quantile(self.boxes[:, 4], QUARTER))

    @property
    def visibility(self) -> float:
        """Area by time."""
        return float(np.prod(self.boxes[:, 2:4], axis=1).sum())


class Span(NamedTuple):
    """Ticks, from `start` to before `end`, that show one person's face."""

    start: int
    end: int


class Part(NamedTuple):
    """One track of the face that is followed, smoothed."""

    ticks: np.ndarray  # when it was found (n,)
    places: np.ndarray  # middle and longer side of its box then (n, 3), in pixels
    person: int  # whose it is: 0 for the first person, and so on
    shot: tuple[float, float]  # in which it lies: first tick, and that of the next shot

    def distance(self, tick: float) -> tuple[bool, float]:
        """How far away it is: another shot is further than any time."""
        return not self.shot[0] <= tick < self.shot[1], max(self.ticks[0] - tick, tick - self.ticks[-1], 0)


class FacePath(NamedTuple):
    """Where the face is at any time: one or more tracks one after the other."""

    parts: tuple[Part, ...]

    def at(self, tick: float) -> tuple[float, float, float]:
        """Middle and longer side of the box; between two finds interpolated, beyond the last one held."""
        part = min(self.parts, key=lambda part: part.distance(tick))
        x, y, size = (float(np.interp(tick, part.ticks, values)) for values in part.places.T)
        return x, y, size

    def spans(self, length: int) -> list[Span]:
        """When a clip of so many ticks shows the face; a span ends where another person follows."""
        around = STEP - 1  # it was not looked for in between
        spans: list[Span] = []
        before = None
        for part in self.parts:
            start = round(max(part.shot[0], part.ticks[0] - around))
            end = round(min(part.shot[1], length, part.ticks[-1] + around + 1))
            if spans and start < spans[-1].end + PATIENCE and part.person == before:
                spans[-1] = Span(spans[-1].start, max(end, spans[-1].end))
            else:
                spans.append(Span(start, end))
            before = part.person
        return spans


def link(samples: Iterable[tuple[float, np.ndarray]]) -> list[Track]:
    """Link boxes of one face by their overlap, from tick and boxes (N, 5) of each frame looked at, in order."""
    tracks: list[tuple[list[float], list[np.ndarray]]] = []
    active = tracks
    for tick, boxes in samples:
        active = [track for track in active if tick - track[0][-1] <= PATIENCE]
        overlaps = _overlaps([track[1][-1] for track in active], boxes)  # (tracks, N)
        free = set(range(len(boxes)))
        while overlaps.size and overlaps.max() >= OVERLAP:
            which, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
            active[which][0].append(tick)
            active[which][1].append(boxes[box])
            free.discard(int(box))
            overlaps[which], overlaps[:, box] = 0, 0
        new = [([tick], [boxes[box]]) for box in sorted(free)]
        tracks += new
        active = active + new
    return [Track(np.array(ticks), np.array(boxes)) for ticks, boxes in tracks]


def sure_faces(tracks: Sequence[Track], samples: int) -> list[Track]:
    """Tracks that are faces beyond doubt, the most visible one first, of a clip with so many `samples`."""
    enough = min(SEEN_TOGETHER, -(-samples // 2))
    sure = [track for track in tracks if len(track.ticks) >= enough and track.confidence >= SURE]
    faces = most_visible_first(sure)
    return [face for face in faces if face.size >= SMALL * faces[0].size]


def most_visible_first(tracks: Iterable[Track]) -> list[Track]:
    """Tracks in the order in which they are chosen."""
    return sorted(tracks, key=lambda track: -track.visibility)


def count_people(faces: Sequence[Track], ticks: Sequence[float]) -> int:
    """How many faces are to be seen at once for a noticeable time, in frames at these `ticks`."""
    at_once = sorted((sum(face.ticks[0] <= tick <= face.ticks[-1] for face in faces) for tick in ticks), reverse=True)
    return max(1, int(at_once[min(SEEN_TOGETHER, -(-len(ticks) // 2)) - 1]))


def follow(shots: Sequence[Sequence[Track]], starts: Sequence[float] = (0.0,)) -> FacePath:
    """Follow the most visible face of each shot; where it is lost, go on with the most visible of similar size.

    Of each shot come its faces, the most visible one first (not all are empty), and its first tick.
    """
    parts: list[Part] = []
    people: list[list[Track]] = []  # tracks of each person
    for faces, shot in zip(shots, pairwise([*starts, math.inf]), strict=True):
        if not faces:
            continue
        chosen: list[Track] = []
        for face in faces:
            if face.size >= SIMILAR * faces[0].size and all(face.is_apart(other) for other in chosen):
                chosen.append(face)
        like = (who for who, tracks in enumerate(people) if any(faces[0].is_like(track) for track in tracks))
        person = next(like, len(people))
        if person == len(people):
            people.append([])
        people[person].append(faces[0])
        chosen.sort(key=lambda face: face.ticks[0])
        parts += [Part(face.ticks, _smoothed(face), person, shot) for face in chosen]
    return FacePath(tuple(parts))


def _smoothed(face: Track) -> np.ndarray:
    """Middle and longer side of its box (n, 3)."""
    middle = face.boxes[:, :2] + face.boxes[:, 2:4] / 2  # (n, 2)
    x, y = (_smooth(face.ticks, values, 2) for values in middle.T)
    return np.stack([x, y, _smooth(face.ticks, face.boxes[:, 2:4].max(1), 0)], axis=1)


def looks(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What faces (N, 5) look like, in rows (N, k), for :meth:`Track.is_like`."""
    height, width = frame.shape[:2]
    pixels = np.zeros((len(boxes), 3 * LOOK**2))
    for row, (x, y, w, h) in zip(pixels, boxes[:, :4].round().astype(int), strict=True):
        part = frame[max(y, 0) : min(y + h, height), max(x, 0) : min(x + w, width)]
        if part.size:
            row[:] = cv2.resize(part, (LOOK, LOOK), interpolation=cv2.INTER_AREA).ravel()
    return pixels


def _overlaps(before: Sequence[np.ndarray], new: np.ndarray) -> np.ndarray:
    """Intersection over union of M boxes and boxes (N, 5): (M, N)."""
    old = np.array(before).reshape(len(before), -1) if before else np.empty((0, 4))
    upper = np.maximum(old[:, None, :2], new[None, :, :2])
    lower = np.minimum(old[:, None, :2] + old[:, None, 2:4], new[None, :, :2] + new[None, :, 2:4])
    common = np.clip(lower - upper, 0, None).prod(-1)
    return common / (old[:, 2:4].prod(-1)[:, None] + new[:, 2:4].prod(-1)[None] - common)


def _smooth(ticks: np.ndarray, values: np.ndarray, order: int) -> np.ndarray:
    """Fit a polynomial of that order to 1 s around each value (n,).

    One of order 1 or 2 lags behind no even movement, at its ends neither; one of order 0 has the least noise.
    """
    smoothed = np.empty(len(values))
    for index, tick in enumerate(ticks):
        first, last = np.searchsorted(ticks, (tick - SMOOTH, tick + SMOOTH + 1))
        allowed = order if last - first >= CURVED else min(order, 1, last - first - 1)
        smoothed[index] = np.polyfit(ticks[first:last] - tick, values[first:last], allowed)[-1]
    return smoothed
