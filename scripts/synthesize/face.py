"""A subject's face as a video: the head sways, the eyes blink, the lips follow a voice."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from scripts.synthesize.portrait import CENTRE, SIZE, Look, Portrait, draw_portrait, edge, ellipse, grid, paint
from scripts.synthesize.voice import SAMPLES_PER_FRAME, Utterance

MAX_OPENING = 22.0  # pixels between the lips of a mouth wide open
JAW_DROP = 9.0  # pixels that the chin goes down meanwhile
_NOISE = 2.2  # deviation of the sensor's noise, in grey levels


class Motion(NamedTuple):
    """One value a frame, each of shape (T,)."""

    x: np.ndarray  # where the head is, in pixels from its usual place
    y: np.ndarray
    angle: np.ndarray  # how far the head leans, in degrees
    zoom: np.ndarray  # how near the head is, 1 = as usual
    blink: np.ndarray  # 1 = eyes open, 0 = eyes shut
    opening: np.ndarray  # of the lips, 0 = closed, 1 = wide open
    spread: np.ndarray  # of the lips, -1 = rounded, 1 = drawn wide

    def resampled(self, frames: int) -> Motion:
        """The same movement in another number of frames."""
        at = np.linspace(0, len(self.x) - 1, frames)
        return Motion(*(np.interp(at, np.arange(len(track)), track) for track in self))


def draw_motion(rng: np.random.Generator, utterance: Utterance) -> Motion:
    """Let a head move at random and its lips follow `utterance`, at 25 frames a second."""
    frames = len(utterance.audio) // SAMPLES_PER_FRAME
    opening, spread = follow_lips(utterance)
    return Motion(
        x=rng.uniform(-2, 2) + _sway(rng, frames, 2.2),
        y=rng.uniform(-2, 2) + _sway(rng, frames, 1.6),
        angle=rng.uniform(-1, 1) + _sway(rng, frames, 1.0),
        zoom=rng.uniform(0.985, 1.015) + _sway(rng, frames, 0.008),
        blink=_blink(rng, frames),
        opening=opening,
        spread=spread,
    )


def follow_lips(utterance: Utterance) -> tuple[np.ndarray, np.ndarray]:
    """Opening and spread of the lips (T,) that go with audio: louder is wider open, and open vowels a bit more."""
    energy = frame_energy(utterance.audio)
    level = np.clip(1 + (energy - energy.max()) / 32.0, 0, 1)  # 0 at 32 dB below the loudest frame
    middle = (np.arange(len(level)) + 0.5) * SAMPLES_PER_FRAME
    at = np.arange(len(utterance.openness)) * (len(utterance.audio) / len(utterance.openness))
    openness = np.interp(middle, at, utterance.openness)
    opening = gaussian_filter1d(level * (0.65 + 0.35 * openness), 0.5)
    return np.clip(opening, 0, 1), gaussian_filter1d(np.interp(middle, at, utterance.spread), 0.7)


def frame_energy(audio: np.ndarray) -> np.ndarray:
    """Energy of 16 kHz audio in each frame of 40 ms, in dB (T,)."""
    frames = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
    return 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-10)


def _sway(rng: np.random.Generator, frames: int, reach: float) -> np.ndarray:
    """A slow random movement (T,) of standard deviation `reach` or so."""
    slow = gaussian_filter1d(rng.standard_normal(frames + 80), 12)[40 : 40 + frames]
    return reach * 6.5 * slow  # smoothing over 12 frames leaves 1 / 6.5 of the deviation


def _blink(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Open eyes (T,), with a blink of about a fifth of a second every three seconds or so."""
    openness = np.full(frames, 1.0)
    time = np.arange(frames)
    for middle in np.flatnonzero(rng.random(frames) < 1 / 75):
        openness = np.minimum(openness, np.clip(np.abs(time - middle) / 2.5 - 0.3, 0, 1))
    return openness


def render(rng: np.random.Generator, look: Look, motion: Motion) -> np.ndarray:
    """Film a subject: frames (T, 224, 224, 3), uint8 RGB; exposure, gaze and noise differ from clip to clip."""
    portrait = draw_portrait(look)
    exposure = (rng.uniform(0.95, 1.05) * rng.uniform(0.98, 1.02, 3)).astype(np.float32)
    gaze = tuple(rng.normal(0, 0.7, 2))
    frames = np.empty((len(motion.x), SIZE, SIZE, 3), dtype=np.uint8)
    for index in range(len(frames)):
        head = portrait.head.copy()
        paint_eyes(head, portrait, look, motion.blink[index], gaze)
        paint_mouth(head, portrait, look, motion.opening[index], motion.spread[index])
        frame = _place(head, portrait, motion, index)
        frame *= exposure
        frame += _NOISE * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
        frames[index] = np.clip(frame, 0, 255)
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


def paint_eyes(head: np.ndarray, portrait: Portrait, look: Look, openness: float, gaze: tuple[float, float]) -> None:
    """Paint both eyes into a head (224, 224, 3), float32 RGB; they look so many pixels to the right and down."""
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
    """Paint the mouth into a head (224, 224, 3), float32 RGB; `Motion` says what opening and spread are."""
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
