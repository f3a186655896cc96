"""One clip of the miniature: who speaks, what is fake about it, and how it is made and written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from scripts.synthesize.face import draw_motion, render
from scripts.synthesize.fakes import rerender_lower_face, revoice
from scripts.synthesize.portrait import Look, draw_look
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE, Utterance, Voice, draw_voice, speak

RACES = ("African", "Asian (East)", "Asian (South)", "Caucasian (American)", "Caucasian (European)")
GENDERS = ("men", "women")
# The macroblock tree is off since x264 gives other bytes from run to run with it, even in one thread.
_QUALITY = {"crf": "20", "preset": "fast", "x264-params": "mbtree=0"}


@dataclass(frozen=True)
class Subject:
    """One person of the miniature."""

    id: str
    race: str
    gender: str
    look: Look
    voice: Voice


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


def make_cast(number: int, seed: int) -> list[Subject]:
    """Invent subjects, spread evenly over FakeAVCeleb's five ethnic groups and two genders.

    Parameters
    ----------
    number
        How many subjects.
    seed
        Seed of the corpus. The first subjects stay the same when `number` grows.
    """
    ids = np.random.default_rng(seed).permutation(100_000)[:number]
    groups = [(race, gender) for gender in GENDERS for race in RACES]
    cast = []
    for index in range(number):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        race, gender = groups[index % len(groups)]
        look, voice = draw_look(rng, race, gender), draw_voice(rng, gender)
        cast.append(Subject(f"id{ids[index]:05d}", race, gender, look, voice))
    return cast


def write_clip(path: Path, frames: np.ndarray, sound: np.ndarray) -> None:
    """Write a clip in one stroke: the file appears when it is complete.

    Parameters
    ----------
    path
        The mp4 file; its folder is made.
    frames
        Video (T, H, W, 3), uint8 RGB.
    sound
        Sound (N,) at 16 kHz, float in [-1, 1].
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with av.open(str(partial), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=_QUALITY)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # more threads may give other bytes
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64_000
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)[None, :]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate = SAMPLE_RATE
        block.pts, block.time_base = 0, Fraction(1, SAMPLE_RATE)  # or the encoder's delay goes unmarked
        container.mux(audio.encode(block))
        container.mux(audio.encode())
    os.replace(partial, path)
