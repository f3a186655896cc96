"""How fakes are made.

The lower face re-rendered as Wav2Lip does it (K. R. Prajwal et al., "A lip sync expert is all you need for speech to
lip generation in the wild", ACM MM 2020: the network draws faces of 96 by 96 pixels, which are scaled up and pasted
over the frame), and speech re-synthesised as a real-time voice cloner leaves it: flat pitch, new phase, no high band.
The second make has others: a whole face pasted over the subject's, and speech rebuilt from the bands of a spectrogram.
"""

from dataclasses import replace

import cv2
import numpy as np
from torchaudio.functional import melscale_fbanks

from scripts.synthesize.face import Motion, render
from scripts.synthesize.portrait import CENTRE, GENDERS, RACES, Look, draw_look, draw_portrait, edge, ellipse, grid
from scripts.synthesize.voice import SAMPLE_RATE, STFT, pulses

_GENERATED = 96  # pixels a side of a generated face
_FOCUS = 1.5  # blur of a generated face, in its own pixels: an L1 loss averages what it cannot predict
_TINT = 6.0  # grey levels by which the pasted part is off at its edges
_BANDS = 40
_ITERATIONS = 8  # of Griffin and Lim
_MONOTONE = 0.15  # how much of the pitch's movement is left


def rerender_lower_face(rng: np.random.Generator, frames: np.ndarray, look: Look, motion: Motion) -> np.ndarray:
    """Replace the lower half of the face in frames (T, 224, 224, 3) by a softer one with a faint, tinted seam."""
    portrait = draw_portrait(look)
    side = int(2.15 * look.half_width)
    middle_y = portrait.chin_y + 8 - side / 2
    ramp = _zero_mean_ramp(rng, side)
    fake = frames.copy()
    seam = _seam(side)
    for index, frame in enumerate(frames):
        left = round(CENTRE[0] + motion.x[index] - side / 2)
        top = min(round(middle_y + motion.y[index] - side / 2), len(frame) - side)
        box = slice(top, top + side), slice(left, left + side)
        real = frame[box].astype(np.float32)
        generated = _generate(real) + ramp
        generated += ((real - generated) * (seam / seam.sum())).sum(axis=(0, 1))  # the mean colour stays
        fake[index][box] = np.clip(np.round(real + seam * (generated - real)), 0, 255)
    return fake


def swap_face(rng: np.random.Generator, frames: np.ndarray, look: Look, motion: Motion) -> np.ndarray:
    """Paste another person's face over the subject's: it moves and speaks alike, but is softer and has a soft edge."""
    other = draw_look(rng, str(rng.choice(RACES)), str(rng.choice(GENDERS)))
    kept = ("skin", "hair", "shirt", "wall", "light", "half_width", "half_height")
    donor = render(rng, replace(other, **{name: getattr(look, name) for name in kept}), motion)
    side = int(2 * look.half_height)
    x, y = grid(0, side, 0, side)
    mask = ellipse(x, y, (side / 2, side / 2), (0.82 * look.half_width, 0.80 * look.half_height), 4)[..., None]
    fake = frames.copy()
    for index, frame in enumerate(frames):
        left, top = round(CENTRE[0] + motion.x[index] - side / 2), round(CENTRE[1] + 4 + motion.y[index] - side / 2)
        box = slice(top, top + side), slice(left, left + side)
        generated, real = _generate(donor[index][box].astype(np.float32)), frame[box].astype(np.float32)
        generated += ((real - generated) * mask).sum(axis=(0, 1)) / mask.sum()  # the mean colour stays
        fake[index][box] = np.clip(np.round(real + mask * (generated - real)), 0, 255)
    return fake


def _generate(face: np.ndarray) -> np.ndarray:
    """A face (side, side, 3) as it comes out of a network that draws 96 by 96 pixels."""
    small = cv2.resize(face, (_GENERATED, _GENERATED), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _FOCUS)
    return cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)


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


def revoice(rng: np.random.Generator, audio: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Speak a recording (N,) again with its pitch (C,) flat, a new phase and no high band, as a vocoder does."""
    smooth = _smoother(rng.uniform(4200, 5000))
    envelope = np.sqrt(smooth @ np.abs(STFT.stft(audio)) ** 2)  # (F, S)
    excitation = STFT.stft(_excite(rng, pitch, len(audio)))
    level = np.sqrt(smooth @ np.abs(excitation) ** 2) + 1e-9
    return STFT.istft(envelope / level * excitation, k1=len(audio))


def rebuild(rng: np.random.Generator, audio: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Speak a recording again from its mel bands alone, as through a tube, with the phase that Griffin and Lim find."""
    magnitude = np.sqrt(_smoother(7600.0) @ np.abs(STFT.stft(audio)) ** 2)  # (F, S)
    phase = rng.uniform(-np.pi, np.pi, magnitude.shape)
    for _ in range(_ITERATIONS):
        guess = STFT.istft(magnitude * np.exp(1j * phase), k1=len(audio))
        phase = np.angle(STFT.stft(guess))
    return STFT.istft(magnitude * np.exp(1j * phase), k1=len(audio))


def _smoother(limit: float) -> np.ndarray:
    """Matrix (F, F) that averages power within mel bands and drops all above `limit` Hz."""
    banks = melscale_fbanks(len(STFT.f), 0.0, limit, _BANDS, SAMPLE_RATE).numpy().T  # (bands, F)
    into = banks / np.maximum(banks.sum(axis=1, keepdims=True), 1e-9)
    back = banks / np.maximum(banks.sum(axis=0, keepdims=True), 1e-9)
    return back.T @ into


def _excite(rng: np.random.Generator, pitch: np.ndarray, length: int) -> np.ndarray:
    """Pulses at a nearly level pitch where there was voice, noise elsewhere (N,)."""
    voiced = pitch > 0
    usual = pitch[voiced].mean()
    flat = np.where(voiced, usual + _MONOTONE * (pitch - usual), usual)
    gate = np.interp(np.linspace(0, len(pitch), length, endpoint=False), np.arange(len(pitch)), voiced.astype(float))
    return gate * pulses(flat, length) + (1.05 - gate) * 0.3 * rng.standard_normal(length)
