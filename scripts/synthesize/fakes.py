"""The lower face re-rendered as Wav2Lip does it.

K. R. Prajwal et al., "A lip sync expert is all you need for speech to lip generation in the wild", ACM MM 2020:
the network draws faces of 96 by 96 pixels, which are scaled up and pasted over the frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from scripts.synthesize.canvas import edge, grid
from scripts.synthesize.motion import Motion
from scripts.synthesize.portrait import CENTRE, draw_portrait
from scripts.synthesize.subjects import Look

_GENERATED = 96  # pixels a side of a generated face
_FOCUS = 1.5  # blur of a generated face, in its own pixels: an L1 loss averages what it cannot predict
_TINT = 6.0  # grey levels by which the pasted part is off at its edges


def rerender_lower_face(rng: np.random.Generator, frames: np.ndarray, look: Look, motion: Motion) -> np.ndarray:
    """Replace the lower half of the face by a softer one with a faint seam and the same mean colour.

    Parameters
    ----------
    rng
        Draws the tint of the pasted part.
    frames
        Video (T, 224, 224, 3), uint8 RGB.
    look, motion
        Whose face it is, and where it goes.

    Returns
    -------
    numpy.ndarray
        Video of the same shape and type.
    """
    portrait = draw_portrait(look)
    side = int(2.15 * look.half_width)
    middle_y = portrait.chin_y + 8 - side / 2
    ramp = _zero_mean_ramp(rng, side)
    fake = frames.copy()
    for index, frame in enumerate(frames):
        left = round(CENTRE[0] + motion.x[index] - side / 2)
        top = round(middle_y + motion.y[index] - side / 2)
        top = min(top, frame.shape[0] - side)
        box = frame[top : top + side, left : left + side].astype(np.float32)
        seam = _seam(side)
        generated = _generate(box) + ramp
        weight = seam / seam.sum()
        generated += ((box - generated) * weight).sum(axis=(0, 1))
        pasted = box + seam * (generated - box)
        fake[index, top : top + side, left : left + side] = np.clip(np.round(pasted), 0, 255)
    return fake


def _generate(box: np.ndarray) -> np.ndarray:
    """A face (side, side, 3) as it comes out of a network that draws 96 by 96 pixels."""
    small = cv2.resize(box, (_GENERATED, _GENERATED), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _FOCUS)
    return cv2.resize(small, box.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def _seam(side: int) -> np.ndarray:
    """Mask (side, side, 1) of the pasted part of a face box: its lower half, with narrow soft edges."""
    x, y = grid(0, side, 0, side)
    inset = 0.09 * side
    across = edge(0.5 * side - inset - np.abs(x - 0.5 * side), 1.5)
    down = edge(y - 0.48 * side, 1.5) * edge(side - 3 - y, 1.5)
    return (across * down)[..., None]


def _zero_mean_ramp(rng: np.random.Generator, side: int) -> np.ndarray:
    """Tint (side, side, 3) that rises from one edge of the pasted part to the other."""
    x, y = grid(0, side, 0, side)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * (x / side - 0.5) + np.sin(angle) * (y / side - 0.75)
    return (2 * _TINT * slope[..., None] * rng.uniform(0.7, 1.3, 3)).astype(np.float32)
