"""One clip of the miniature: what its category asks for, and how it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.synthesize.face import render
from scripts.synthesize.fakes import rerender_lower_face
from scripts.synthesize.motion import draw_motion
from scripts.synthesize.subjects import Subject
from scripts.synthesize.vocoder import revoice
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE, Utterance, speak


@dataclass(frozen=True)
class Category:
    """One of FakeAVCeleb's four kinds of clip."""

    letter: str
    type: str
    method: str
    fake_video: bool
    fake_audio: bool


CATEGORIES = (
    Category("A", "RealVideo-RealAudio", "real", fake_video=False, fake_audio=False),
    Category("B", "RealVideo-FakeAudio", "rtvc", fake_video=False, fake_audio=True),
    Category("C", "FakeVideo-RealAudio", "wav2lip", fake_video=True, fake_audio=False),
    Category("D", "FakeVideo-FakeAudio", "wav2lip", fake_video=True, fake_audio=True),
)


@dataclass(frozen=True)
class Sound:
    """The sound of a clip.

    Attributes
    ----------
    samples
        Sound (N,) at 16 kHz, N = 640 T, in [-1, 1].
    utterance
        What is heard.
    lips
        What the lips say: the same, or another utterance in a fake video.
    """

    samples: np.ndarray
    utterance: Utterance
    lips: Utterance


@dataclass(frozen=True)
class Clip:
    """A clip before it is encoded.

    Attributes
    ----------
    frames
        Video (T, 224, 224, 3), uint8 RGB.
    sound
        Sound (N,) at 16 kHz, N = 640 T, in [-1, 1].
    opening
        How far the lips are open in each frame (T,), 0 to 1.
    """

    frames: np.ndarray
    sound: np.ndarray
    opening: np.ndarray


def make_clip(subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence) -> Clip:
    """Film a clip. Whatever the category does not change is drawn in the same way for all four.

    Parameters
    ----------
    subject
        Who speaks.
    category
        What is fake about it.
    seconds
        Length; the clip's own differs from it by up to a tenth.
    seed
        Makes this clip unlike any other.
    """
    for_sound, for_picture = seed.spawn(2)
    sound = make_sound(subject, category, seconds, for_sound)
    rng = np.random.default_rng(for_picture)
    motion = draw_motion(rng, sound.lips)
    frames = render(rng, subject.look, motion)
    if category.fake_video:
        frames = rerender_lower_face(rng, frames, subject.look, motion)
    return Clip(frames, sound.samples, motion.opening)


def make_sound(subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence) -> Sound:
    """Record the sound of a clip, whose length also fixes the video's; the parameters are those of `make_clip`."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * FRAME_RATE * rng.uniform(0.9, 1.1))
    utterance = speak(rng, subject.voice, frames)
    other = speak(rng, subject.voice, frames)
    recorded = _record(rng, utterance.sound)
    if category.fake_audio:
        recorded = revoice(rng, recorded, utterance.pitch)
    loudness = 10 ** (rng.uniform(-26, -20) / 20)
    samples = recorded * loudness / np.sqrt(np.mean(recorded**2))
    return Sound(samples, utterance, other if category.fake_video else utterance)


def delayed(sound: np.ndarray, seconds: float) -> np.ndarray:
    """Put silence before a sound (N,), whose end is cut by as much."""
    silence = round(seconds * SAMPLE_RATE)
    return np.concatenate([np.zeros(silence), sound])[: len(sound)]


def _record(rng: np.random.Generator, speech: np.ndarray) -> np.ndarray:
    """Add the faint noise of a room to speech (N,)."""
    hiss = rng.standard_normal(len(speech))
    hiss += np.convolve(hiss, np.full(12, 0.5), mode="same")  # a room is louder below than above
    return speech + speech.std() * 10 ** (rng.uniform(-52, -44) / 20) * hiss / hiss.std()
