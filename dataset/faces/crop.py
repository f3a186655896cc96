"""The square around a face that FakeAVCeleb's clips show.

FakeAVCeleb took its clips from VoxCeleb2, whose authors cut a square of 1.4 times the longer side of a face
detector's box (SyncNet's pipeline, crop_scale 0.4). Measured with the detectors of this package, the longer side of
the box is 0.65 of the side in clips of the miniature and 0.73 in those of the reference corpus; 1 / 1.4 = 0.71 lies
between. In both, the middle of the box is halfway across and 0.53 of the way down.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dataset.faces.tracks import Track

SCALE = 1.4  # side of the square to the longer side of the box
DOWN = 0.53  # where the middle of the box lies, in sides from the top
# What counts as such a crop already: real heads turn, lean and differ.
SQUARE = 0.05  # by which the sides of a frame may differ
OFF_CENTRE = 0.2  # sides by which the middle of the box may be off
SIZES = (0.42, 1.1)  # longer side of the box to that of the frame
OFTEN = 0.8  # of the frames in which the face is found
FOUND = 0.25  # of the frames in which it is looked for
# Mean confidence: drawn faces of the reference corpus have 0.42 and more, what is found in test patterns 0.29 at most.
UNSURE = 0.35


def is_square(height: int, width: int) -> bool:
    """Whether frames of that size may be crops."""
    return abs(height - width) <= SQUARE * min(height, width)


def looks_like_crop(tracks: Sequence[Track], height: int, width: int, samples: int) -> bool:
    """Whether a face lies in frames of that size as in FakeAVCeleb's, so that they are to be taken as they are.

    `tracks` are of the face, the most visible one first (those in other shots may be another's), which was looked for
    in so many `samples`.
    """
    if not is_square(height, width) or not tracks:
        return False
    alone = [track for index, track in enumerate(tracks) if all(track.is_apart(other) for other in tracks[:index])]
    found = np.concatenate([track.boxes for track in alone])
    if len(found) < FOUND * samples or found[:, 4].mean() < UNSURE:
        return False
    boxes = found[:, :4] / (width, height, width, height)
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    off = np.abs(middle - (0.5, DOWN)).max(1)
    size = boxes[:, 2:].max(1)
    fits = (off <= OFF_CENTRE) & (size >= SIZES[0]) & (size <= SIZES[1])
    return bool(fits.mean() >= OFTEN)


def side_of(size: float) -> int:
    """Side of the square around a box whose longer side is `size`, in pixels."""
    return max(1, round(SCALE * size))


def cut_square(frame: np.ndarray, x: float, y: float, size: float) -> np.ndarray:
    """Cut the square (S, S, 3), S = ``side_of(size)``, around a face out of a frame (H, W, 3).

    The middle of the box lies at x, y, its longer side is `size`, all in pixels. What lies outside of the frame repeats
    its edge; a view where nothing does.
    """
    height, width = frame.shape[:2]
    side = side_of(size)
    # At least one column and one row of the frame are in it.
    left = min(max(round(x - side / 2), 1 - side), width - 1)
    top = min(max(round(y - DOWN * side), 1 - side), height - 1)
    right, bottom = left + side, top + side
    inside = frame[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    return cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE) if any(beyond) else inside
