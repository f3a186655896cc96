"""From boxes in some pictures to one face that is followed through the clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dataset.timing import FRAME_RATE

STEP = 5  # ticks (1/25 s) between the pictures in which faces are looked for
PATIENCE = FRAME_RATE  # ticks for which a face may be lost and still be the same when it comes back
OVERLAP = 0.3  # intersection over union of a face's boxes in two such pictures
# Confidence in a quarter of the pictures. Faces from the front had 0.72 and more from 25 pixels of height on, as the
# detector is shown them, and 0.9 from 40 on; a motorcycle's lamp that stayed where it was had 0.60.
SURE = 0.65
QUARTER = 0.75  # quantile
SEEN_TOGETHER = 3  # pictures, 0.6 s
SMALL = 0.25  # of the main face's size, below which another one is of no account
SIMILAR = 0.5  # of the main face's size, from which on a face may go on where the main one has been lost
SMOOTH = 10  # ticks on either side of a moment whose boxes are averaged: 1 s in all
CURVED = 5  # boxes from which on their movement may be curved there


class Track(NamedTuple):
    """One face while it is followed.

    Attributes
    ----------
    ticks
        When it was found (n,), in 1/25 s; a frame of another rate may lie between two ticks.
    boxes
        Where (n, 5), float64: x, y, width, height in pixels, and confidence.
    """

    ticks: np.ndarray
    boxes: np.ndarray

    @property
    def size(self) -> float:
        """Longer side of the box, in pixels; the median."""
        return float(np.median(self.boxes[:, 2:4].max(1)))

    @property
    def confidence(self) -> float:
        """Which it has in a quarter of the pictures at least."""
        return float(np.quantile(self.boxes[:, 4], QUARTER))

    @property
    def visibility(self) -> float:
        """Area by time."""
        return float(np.prod(self.boxes[:, 2:4], axis=1).sum())


class FacePath(NamedTuple):
    """Where the face is at any time: one or more tracks one after the other, smoothed.

    Attributes
    ----------
    ticks, centre_x, centre_y, size
        Of each track, when it was found, and the middle and the longer side of its box then, in pixels.
    """

    ticks: tuple[np.ndarray, ...]
    centre_x: tuple[np.ndarray, ...]
    centre_y: tuple[np.ndarray, ...]
    size: tuple[np.ndarray, ...]

    def at(self, tick: float) -> tuple[float, float, float]:
        """Middle and longer side of the box; between two finds interpolated, beyond the last one held."""
        distances = [max(ticks[0] - tick, tick - ticks[-1], 0) for ticks in self.ticks]
        part = int(np.argmin(distances))
        knots = (self.centre_x[part], self.centre_y[part], self.size[part])
        x, y, size = (float(np.interp(tick, self.ticks[part], values)) for values in knots)
        return x, y, size

    def seen(self, start: int, end: int) -> int:
        """How many of the ticks from `start` to `end` (not included) show the face."""
        around = STEP - 1  # it was not looked for in between
        found = [(round(ticks[0]), round(ticks[-1])) for ticks in self.ticks]
        spans = [(max(first - around, start), min(last + around + 1, end)) for first, last in found]
        seen = 0
        for first, last in sorted(spans):
            seen += max(0, last - max(first, start))
            start = max(start, last)
        return seen


def link(samples: Iterable[tuple[float, np.ndarray]]) -> list[Track]:
    """Link boxes of one face by their overlap.

    Parameters
    ----------
    samples
        Tick and boxes (N, 5) of each picture in which faces were looked for, in order.
    """
    tracks: list[tuple[list[float], list[np.ndarray]]] = []
    active = tracks
    for tick, boxes in samples:
        active = [track for track in active if tick - track[0][-1] <= PATIENCE]
        overlaps = _overlaps(np.array([track[1][-1] for track in active]).reshape(-1, 5), boxes)  # (tracks, N)
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
    faces = [track for track in tracks if len(track.ticks) >= enough and track.confidence >= SURE]
    faces.sort(key=lambda track: track.visibility, reverse=True)
    return [face for face in faces if face.size >= SMALL * faces[0].size]


def count_people(faces: Sequence[Track], ticks: Sequence[float]) -> int:
    """How many faces are to be seen at once for a noticeable time, in pictures at these `ticks`."""
    at_once = sorted((sum(face.ticks[0] <= tick <= face.ticks[-1] for face in faces) for tick in ticks), reverse=True)
    return max(1, int(at_once[min(SEEN_TOGETHER, -(-len(ticks) // 2)) - 1]))


def follow(faces: Sequence[Track]) -> FacePath:
    """Follow the most visible face; where it is lost, go on with the most visible of similar size.

    After a cut the same person is elsewhere in the picture, and another track.

    Parameters
    ----------
    faces
        The most visible one first.
    """
    chosen: list[Track] = []
    for face in faces:
        apart = all(face.ticks[0] > other.ticks[-1] or face.ticks[-1] < other.ticks[0] for other in chosen)
        if apart and face.size >= SIMILAR * faces[0].size:
            chosen.append(face)
    chosen.sort(key=lambda face: face.ticks[0])
    middles = [face.boxes[:, :2] + face.boxes[:, 2:4] / 2 for face in chosen]  # (n, 2)
    return FacePath(
        ticks=tuple(face.ticks for face in chosen),
        centre_x=tuple(_smooth(face.ticks, middle[:, 0], 2) for face, middle in zip(chosen, middles, strict=True)),
        centre_y=tuple(_smooth(face.ticks, middle[:, 1], 2) for face, middle in zip(chosen, middles, strict=True)),
        size=tuple(_smooth(face.ticks, face.boxes[:, 2:4].max(1), 0) for face in chosen),
    )


def _overlaps(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (M, 5) and (N, 5): (M, N)."""
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
