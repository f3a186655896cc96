"""One clip of the miniature: who speaks, what is fake about it, and how it is made and written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.synthesize.face import draw_motion, render
from scripts.synthesize.fakes import rebuild, rerender_lower_face, revoice, swap_face
from scripts.synthesize.portrait import GENDERS, RACES, SIZE, Look, draw_look
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE, Utterance, Voice, draw_voice, speak


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
    fake_video: bool
    fake_audio: bool


CATEGORIES = (
    Category("A", "RealVideo-RealAudio", fake_video=False, fake_audio=False),
    Category("B", "RealVideo-FakeAudio", fake_video=False, fake_audio=True),
    Category("C", "FakeVideo-RealAudio", fake_video=True, fake_audio=False),
    Category("D", "FakeVideo-FakeAudio", fake_video=True, fake_audio=True),
)


@dataclass(frozen=True)
class Make:
    """How the clips of a corpus are made and stored.

    Attributes
    ----------
    methods
        Name of the method for each category's letter.
    fake_video, fake_audio
        Make a video and a sound fake.
    other_lips
        Whether the lips of a fake video say something else than the sound.
    voice
        Factors by which voices differ from those of the first make.
    cast
        Added to the seed for the subjects, so that another make shows other people.
    size, rate
        Pixels a side, and frames a second.
    video_codec, video_options, audio_codec
        As FFmpeg names them.
    """

    methods: dict[str, str]
    fake_video: Callable[..., np.ndarray]
    fake_audio: Callable[..., np.ndarray]
    other_lips: bool
    voice: dict[str, float] = field(default_factory=dict)
    cast: int = 0
    size: int = SIZE
    rate: int = FRAME_RATE
    video_codec: str = "libx264"
    video_options: dict[str, str] = field(default_factory=dict)
    audio_codec: str = "aac"


FIRST = Make(
    {"A": "real", "B": "rtvc", "C": "wav2lip", "D": "wav2lip"}, rerender_lower_face, revoice, other_lips=True,
    # The macroblock tree is off since x264 gives other bytes from run to run with it, even in one thread.
    video_options={"crf": "20", "preset": "fast", "x264-params": "mbtree=0"},
)  # fmt: skip
SECOND = Make(
    {"A": "real", "B": "griffin-lim", "C": "faceswap", "D": "faceswap"}, swap_face, rebuild, other_lips=False,
    voice={"pitch": 0.9, "formant_scale": 1.04, "rate": 0.85, "breath": 2.0}, cast=1_000_003, size=256, rate=30,
    video_codec="mpeg4", video_options={"qmin": "3", "qmax": "3"}, audio_codec="libmp3lame",
)  # fmt: skip
MAKES = {"first": FIRST, "second": SECOND}


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
        Video (T, H, W, 3), uint8 RGB, of the make's size and rate.
    sound
        Sound (N,) at 16 kHz, N = 640 T, in [-1, 1].
    opening
        How far the lips are open in each frame (T,), 0 to 1.
    """

    frames: np.ndarray
    sound: np.ndarray
    opening: np.ndarray


def make_clip(
    subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence, make: Make = FIRST
) -> Clip:
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
    make
        How clips of this corpus are made.
    """
    for_sound, for_video = seed.spawn(2)
    sound = make_sound(subject, category, seconds, for_sound, make)
    rng = np.random.default_rng(for_video)
    motion = draw_motion(rng, sound.lips)
    if make.rate != FRAME_RATE:
        motion = motion.resampled(round(len(motion.x) * make.rate / FRAME_RATE))
    frames = render(rng, subject.look, motion)
    if category.fake_video:
        frames = make.fake_video(rng, frames, subject.look, motion)
    if make.size != SIZE:
        size = make.size, make.size
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])
    return Clip(frames, sound.samples, motion.opening)


def make_sound(
    subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence, make: Make = FIRST
) -> Sound:
    """Record the sound of a clip, whose length also fixes the video's; the parameters are those of `make_clip`."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * FRAME_RATE * rng.uniform(0.9, 1.1))
    utterance = speak(rng, subject.voice, frames)
    other = speak(rng, subject.voice, frames)
    recorded = _record(rng, utterance.sound)
    if category.fake_audio:
        recorded = make.fake_audio(rng, recorded, utterance.pitch)
    loudness = 10 ** (rng.uniform(-26, -20) / 20)
    samples = recorded * loudness / np.sqrt(np.mean(recorded**2))
    return Sound(samples, utterance, other if category.fake_video and make.other_lips else utterance)


def delayed(sound: np.ndarray, seconds: float) -> np.ndarray:
    """Put silence before a sound (N,), whose end is cut by as much."""
    silence = round(seconds * SAMPLE_RATE)
    return np.concatenate([np.zeros(silence), sound])[: len(sound)]


def _record(rng: np.random.Generator, speech: np.ndarray) -> np.ndarray:
    """Add the faint noise of a room to speech (N,)."""
    hiss = rng.standard_normal(len(speech))
    hiss += np.convolve(hiss, np.full(12, 0.5), mode="same")  # a room is louder below than above
    return speech + speech.std() * 10 ** (rng.uniform(-52, -44) / 20) * hiss / hiss.std()


def make_cast(number: int, seed: int, make: Make = FIRST) -> list[Subject]:
    """Invent subjects, spread evenly over FakeAVCeleb's five ethnic groups and two genders.

    Parameters
    ----------
    number
        How many subjects.
    seed
        Seed of the corpus. The first subjects stay the same when `number` grows.
    make
        Other makes have other people, with other voices.
    """
    seed += make.cast
    ids = np.random.default_rng(seed).permutation(100_000)[:number]
    groups = [(race, gender) for gender in GENDERS for race in RACES]
    cast = []
    for index in range(number):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        race, gender = groups[index % len(groups)]
        look, voice = draw_look(rng, race, gender), draw_voice(rng, gender)
        voice = replace(voice, **{name: factor * getattr(voice, name) for name, factor in make.voice.items()})
        cast.append(Subject(f"id{ids[index]:05d}", race, gender, look, voice))
    return cast


def write_clip(path: Path, frames: np.ndarray, sound: np.ndarray, make: Make = FIRST) -> None:
    """Write a clip in one stroke: the file appears when it is complete.

    Parameters
    ----------
    path
        The mp4 file; its folder is made.
    frames
        Video (T, H, W, 3), uint8 RGB.
    sound
        Sound (N,) at 16 kHz, float in [-1, 1].
    make
        Says how to encode them; the first make's clips are H.264 and AAC at 25 frames a second, as FakeAVCeleb's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with av.open(str(partial), "w", format="mp4") as container:
        video = container.add_stream(make.video_codec, rate=make.rate, options=dict(make.video_options))
        audio = container.add_stream(make.audio_codec, rate=SAMPLE_RATE, layout="mono")
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # more threads may give other bytes
        audio.bit_rate = 64_000
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, make.rate)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)[None, :]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate = SAMPLE_RATE
        block.pts, block.time_base = 0, Fraction(1, SAMPLE_RATE)  # or the encoder's delay goes unmarked
        container.mux(audio.encode(block))
        container.mux(audio.encode())
    os.replace(partial, path)
