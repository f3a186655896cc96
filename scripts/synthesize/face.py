"""A subject's face as a video."""

from __future__ import annotations

import cv2
import numpy as np

from scripts.synthesize.canvas import SIZE, grid
from scripts.synthesize.features import JAW_DROP, paint_eyes, paint_mouth
from scripts.synthesize.motion import Motion
from scripts.synthesize.portrait import CENTRE, Portrait, draw_portrait
from scripts.synthesize.subjects import Look

_NOISE = 2.2  # deviation of the sensor's noise, in grey levels


def render(rng: np.random.Generator, look: Look, motion: Motion) -> np.ndarray:
    """Film a subject.

    Parameters
    ----------
    rng
        Draws what differs between clips of a subject: the exposure, the gaze and the sensor's noise.
    look
        Who is filmed.
    motion
        How they move.

    Returns
    -------
    numpy.ndarray
        Frames (T, 224, 224, 3), uint8 RGB.
    """
    portrait = draw_portrait(look)
    exposure = (rng.uniform(0.95, 1.05) * rng.uniform(0.98, 1.02, 3)).astype(np.float32)
    gaze = tuple(rng.normal(0, 0.7, 2))
    frames = np.empty((len(motion.x), SIZE, SIZE, 3), dtype=np.uint8)
    for index in range(len(frames)):
        head = portrait.head.copy()
        paint_eyes(head, portrait, look, motion.blink[index], gaze)
        paint_mouth(head, portrait, look, motion.opening[index], motion.spread[index])
        picture = _place(head, portrait, motion, index)
        picture *= exposure
        picture += _NOISE * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
        np.clip(picture, 0, 255, out=picture)
        frames[index] = picture
    return frames


def _place(head: np.ndarray, portrait: Portrait, motion: Motion, index: int) -> np.ndarray:
    """Move the head to where it is in a frame, with the jaw dropped, and put it before the scene."""
    x, y = grid()
    lean, zoom = np.deg2rad(motion.angle[index]), motion.zoom[index]
    cos, sin = np.cos(lean) / zoom, np.sin(lean) / zoom
    dx, dy = x - CENTRE[0] - motion.x[index], y - CENTRE[1] - motion.y[index]
    from_x = (CENTRE[0] + cos * dx + sin * dy).astype(np.float32)
    from_y = (CENTRE[1] - sin * dx + cos * dy).astype(np.float32)
    from_y -= np.float32(JAW_DROP * motion.opening[index]) * portrait.jaw
    moved = cv2.remap(head, from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(portrait.alpha, from_x, from_y, cv2.INTER_LINEAR)[..., None]
    return portrait.scene + alpha * (moved - portrait.scene)
