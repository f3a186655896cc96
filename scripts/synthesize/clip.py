"""One clip of the miniature: who speaks, what is fake about it, and how it is made and written."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from scripts.synthesize.face import draw_motion, render
from scripts.synthesize.fakes import rebuild, rerender_lower_face, revoice, swap_face
from scripts.synthesize.portrait import GENDERS, RACES, SIZE, Look, draw_look
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE, Utterance, Voice, draw_voice, speak
from utils.files import replacing


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
    """How the clips of a corpus are made and stored."""

    methods: dict[str, str]  # name of the method for each category's letter
    fake_video: Callable[..., np.ndarray]
    fake_audio: Callable[..., np.ndarray]
    other_lips: bool  # whether the lips of a fake video say something else than the audio
    voice: dict[str, float] = field(default_factory=dict)  # factors by which voices differ from those of the first make
    cast: int = 0  # added to the seed for the subjects, so that another make shows other people
    size: int = SIZE  # pixels a side
    rate: int = FRAME_RATE
    video_codec: str = "libx264"  # as FFmpeg names it
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


class Audio(NamedTuple):
    """The audio of a clip, and what the lips say to it."""

    samples: np.ndarray  # (N,) at 16 kHz, N = 640 T, in [-1, 1]
    lips: Utterance  # what is heard, or something else in a fake video


class Clip(NamedTuple):
    """A clip before it is encoded."""

    frames: np.ndarray  # (T, H, W, 3), uint8 RGB, of the make's size and rate
    audio: np.ndarray  # (N,) at 16 kHz, N = 640 T, in [-1, 1]


def make_clip(
    subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence, make: Make = FIRST
) -> Clip:
    """Film a clip of about so many seconds. What the category does not change is drawn in the same way for all four."""
    for_audio, for_video = seed.spawn(2)
    audio = make_audio(subject, category, seconds, for_audio, make)
    rng = np.random.default_rng(for_video)
    motion = draw_motion(rng, audio.lips)
    if make.rate != FRAME_RATE:
        motion = motion.resampled(round(len(motion.x) * make.rate / FRAME_RATE))
    frames = render(rng, subject.look, motion)
    if category.fake_video:
        frames = make.fake_video(rng, frames, subject.look, motion)
    if make.size != SIZE:
        size = make.size, make.size
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])
    return Clip(frames, audio.samples)


def make_audio(
    subject: Subject, category: Category, seconds: float, seed: np.random.SeedSequence, make: Make = FIRST
) -> Audio:
    """Record the audio of a clip, whose length also fixes the video's."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * FRAME_RATE * rng.uniform(0.9, 1.1))
    utterance = speak(rng, subject.voice, frames)
    other = speak(rng, subject.voice, frames)
    # The faint noise of a room, which is louder below than above
    hiss = rng.standard_normal(len(utterance.audio))
    hiss += np.convolve(hiss, np.full(12, 0.5), mode="same")
    recorded = utterance.audio + utterance.audio.std() * 10 ** (rng.uniform(-52, -44) / 20) * hiss / hiss.std()
    if category.fake_audio:
        recorded = make.fake_audio(rng, recorded, utterance.pitch)
    loudness = 10 ** (rng.uniform(-26, -20) / 20)
    samples = recorded * loudness / np.sqrt(np.mean(recorded**2))
    return Audio(samples, other if category.fake_video and make.other_lips else utterance)


def make_cast(number: int, seed: int, make: Make = FIRST) -> list[Subject]:
    """Invent subjects, spread evenly over ethnic groups and genders; the first stay when their number grows."""
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


def write_clip(path: Path, frames: np.ndarray, audio: np.ndarray, make: Make = FIRST) -> None:
    """Write frames (T, H, W, 3), uint8 RGB, and audio (N,), 16 kHz in [-1, 1], as an mp4, whole or not at all."""
    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        video_stream = container.add_stream(make.video_codec, rate=make.rate, options=dict(make.video_options))
        audio_stream = container.add_stream(make.audio_codec, rate=SAMPLE_RATE, layout="mono")
        video_stream.height, video_stream.width = frames.shape[1:3]
        video_stream.pix_fmt = "yuv420p"
        video_stream.codec_context.thread_count = 1  # more threads may give other bytes
        audio_stream.bit_rate = 64_000
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, make.rate)
            container.mux(video_stream.encode(frame))
        container.mux(video_stream.encode())
        samples = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)[None, :]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate = SAMPLE_RATE
        block.pts, block.time_base = 0, Fraction(1, SAMPLE_RATE)  # or the encoder's delay goes unmarked
        container.mux(audio_stream.encode(block))
        container.mux(audio_stream.encode())
