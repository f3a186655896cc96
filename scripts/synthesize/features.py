"""Eyes and mouth, painted anew for every frame."""

from __future__ import annotations

import numpy as np

from scripts.synthesize.canvas import edge, ellipse, grid, paint
from scripts.synthesize.portrait import CENTRE, Portrait
from scripts.synthesize.subjects import Look

MAX_OPENING = 22.0  # pixels between the lips of a mouth wide open
JAW_DROP = 9.0  # pixels that the chin goes down meanwhile


def paint_eyes(head: np.ndarray, portrait: Portrait, look: Look, openness: float, gaze: tuple[float, float]) -> None:
    """Paint both eyes in place.

    Parameters
    ----------
    head
        The head (224, 224, 3), float32 RGB.
    portrait, look
        The subject's layers and looks.
    openness
        1 = open, 0 = shut.
    gaze
        Where the eyes look: pixels to the right and down.
    """
    for side in (-1, 1):
        cx, cy, r = CENTRE[0] + side * look.eye_gap, portrait.eyes_y, look.eye_size
        top, left = int(cy - 14), int(cx - 20)
        part = head[top : top + 26, left : left + 40]
        x, y = grid(top, top + 26, left, left + 40)
        u = (x - cx) / r
        almond = np.clip(1 - u**2, 0, 1)
        lower = cy + 0.30 * r * almond
        upper = lower - (0.30 + 0.48) * r * almond * openness
        white = edge(y - upper, 0.8) * edge(lower - y, 0.8) * edge((1 - np.abs(u)) * r, 0.8)
        ball = part.copy()
        paint(ball, (222, 216, 210), np.ones_like(white))
        ball -= 38 * edge(upper + 3 - y, 3)[..., None]  # the upper lid throws a shadow
        iris = (cx + gaze[0], cy - 1.2 + gaze[1])
        paint(ball, np.array(look.iris) * 0.55, ellipse(x, y, iris, (5.4, 5.4)))
        paint(ball, look.iris, ellipse(x, y, iris, (4.3, 4.3)))
        paint(ball, (14, 12, 12), ellipse(x, y, iris, (2.2, 2.2)))
        paint(ball, (250, 250, 250), 0.9 * ellipse(x, y, (iris[0] - 1.6, iris[1] - 1.8), (1.2, 1.2)))
        within = edge((1.1 - np.abs(u)) * r, 1.5)
        paint(part, part * 0.66, 0.6 * edge(1.0 - np.abs(y - upper + 5.5), 1.2) * within)  # crease
        paint(part, ball, white)
        paint(part, np.array(look.skin) * 0.16, 0.85 * edge(0.9 - np.abs(y - upper), 0.9) * within)  # lashes
        paint(part, part * 0.72, 0.5 * edge(0.6 - np.abs(y - lower), 0.9) * within)


def paint_mouth(head: np.ndarray, portrait: Portrait, look: Look, opening: float, spread: float) -> None:
    """Paint the mouth in place.

    Parameters
    ----------
    head
        The head (224, 224, 3), float32 RGB.
    portrait, look
        The subject's layers and looks.
    opening
        0 = lips closed, 1 = wide open.
    spread
        -1 = lips rounded, 1 = drawn wide.
    """
    cx, cy = CENTRE[0], portrait.mouth_y
    top, left = int(cy - 24), int(cx - 36)
    part = head[top : top + 54, left : left + 72]
    x, y = grid(top, top + 54, left, left + 72)
    half = look.mouth * (1 + 0.13 * spread - 0.10 * opening)
    u = (x - cx) / half
    arc = np.sqrt(np.clip(1 - u**2, 0, 1))
    gap = MAX_OPENING * opening
    smile = 1.5 * u**2
    roof, floor = cy - 0.32 * gap * arc - smile, cy + 0.68 * gap * arc - smile
    bow = 1 - 0.30 * np.exp(-((u / 0.16) ** 2)) + 0.10 * np.exp(-(((np.abs(u) - 0.28) / 0.2) ** 2))
    upper = roof - 0.72 * look.lip * arc * bow
    lower = floor + look.lip * arc**1.3
    within = edge((1 - np.abs(u)) * half, 1.2)

    lips = edge(y - upper, 1.0) * edge(lower - y, 1.0) * within
    paint(part, part * 0.74, 0.55 * np.exp(-(((y - lower - 3) / 2.6) ** 2)) * within)  # shadow under the lip
    grooves = 1 + 0.05 * np.sin(1.9 * x + 2 * np.sin(0.7 * x))
    lit = np.where(y < 0.5 * (roof + floor), 0.84, 1.0)  # the upper lip looks down
    colour = np.array(look.lips, dtype=np.float32) * (grooves * lit)[..., None]
    colour += 26 * np.exp(-(((y - floor - 0.45 * look.lip) / 1.6) ** 2) - (u / 0.5) ** 2)[..., None]  # wet shine
    paint(part, colour, 0.92 * lips)

    inside = edge(y - roof, 0.8) * edge(floor - y, 0.8) * edge((0.96 - np.abs(u)) * half, 1.2)
    cavity = np.full_like(part, 22.0)
    cavity[..., 0] += 22
    teeth = edge(roof + min(5.0, 0.42 * gap) - y, 0.8) * edge((0.72 - np.abs(u)) * half, 2)
    paint(cavity, (206, 200, 188), 0.85 * teeth)
    paint(cavity, (132, 58, 60), 0.8 * ellipse(x, y, (cx, cy + 0.68 * gap + 1), (0.6 * half, 0.3 * gap + 0.1), 1.5))
    paint(part, cavity, inside * min(1.0, gap / 2.0))
    paint(part, part * 0.45, 0.8 * edge(0.7 - np.abs(y - roof), 0.9) * within)  # the line between the lips
