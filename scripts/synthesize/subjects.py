"""The cast of the miniature: every subject has a look and a voice of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RACES = ("African", "Asian (East)", "Asian (South)", "Caucasian (American)", "Caucasian (European)")
GENDERS = ("men", "women")

_SKIN = {
    "African": (112, 76, 58),
    "Asian (East)": (214, 172, 142),
    "Asian (South)": (158, 112, 82),
    "Caucasian (American)": (214, 168, 146),
    "Caucasian (European)": (224, 182, 164),
}
_DARK_HAIR = ((28, 22, 20), (44, 32, 26), (20, 18, 20))
_FAIR_HAIR = ((62, 42, 28), (104, 72, 44), (156, 122, 76), (92, 50, 30), (120, 116, 112))
_DARK_EYES = ((58, 36, 22), (42, 28, 20))
_FAIR_EYES = ((86, 62, 38), (84, 116, 140), (92, 112, 82), (70, 88, 112))

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """What a subject looks like: colours are RGB in [0, 255], lengths are pixels of the 224 by 224 frame."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    shirt: Colour
    wall: tuple[Colour, Colour]
    half_width: float
    half_height: float
    jaw: float  # how much narrower the chin is than the cheekbones, 0 to 1
    eye_gap: float  # from the middle of the face to the middle of an eye
    eye_size: float
    brow: float  # thickness
    nose: float  # half width
    mouth: float  # half width at rest
    lip: float  # height of the lower lip
    hairline: float  # from the top of the head, as a part of its half height
    hair_volume: float  # thickness
    long_hair: bool
    stubble: float  # 0 to 1
    grain: float  # strength of the skin's fine texture, in percent of its brightness
    light: float  # direction that the light comes from: -1 left, 1 right
    seed: int  # of every texture


@dataclass(frozen=True)
class Voice:
    """What a subject sounds like."""

    pitch: float  # Hz
    pitch_range: float  # semitones
    formant_scale: float  # shorter vocal tracts have higher formants
    rate: float  # syllables a second
    breath: float  # level of aspiration beside the voice


@dataclass(frozen=True)
class Subject:
    """One person of the miniature."""

    id: str
    race: str
    gender: str
    look: Look
    voice: Voice


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
        look, voice = _draw_look(rng, race, gender), _draw_voice(rng, gender)
        cast.append(Subject(f"id{ids[index]:05d}", race, gender, look, voice))
    return cast


def _draw_look(rng: np.random.Generator, race: str, gender: str) -> Look:
    woman = gender == "women"
    fair = race.startswith("Caucasian")
    skin = _shade(rng, _SKIN[race], 10)
    wall = _muted(rng, 60, 190)
    return Look(
        skin=skin,
        hair=_shade(rng, _pick(rng, _FAIR_HAIR if fair else _DARK_HAIR), 6),
        iris=_pick(rng, _FAIR_EYES if fair else _DARK_EYES),
        lips=_lip_colour(rng, skin, woman),
        shirt=_muted(rng, 30, 210),
        wall=(wall, _shade(rng, wall, 22)),
        half_width=rng.uniform(56, 62) if woman else rng.uniform(59, 66),
        half_height=rng.uniform(76, 83) if woman else rng.uniform(79, 87),
        jaw=rng.uniform(0.30, 0.42) if woman else rng.uniform(0.20, 0.34),
        eye_gap=rng.uniform(25, 29),
        eye_size=rng.uniform(11.5, 13.5) if woman else rng.uniform(10.5, 12.5),
        brow=rng.uniform(1.5, 2.3) if woman else rng.uniform(2.4, 3.6),
        nose=rng.uniform(9, 12) if woman else rng.uniform(10, 14),
        mouth=rng.uniform(20, 25),
        lip=rng.uniform(5.5, 7.5) if woman else rng.uniform(4.5, 6.5),
        hairline=rng.uniform(0.30, 0.42),
        hair_volume=rng.uniform(0, 14 if race == "African" else 6),
        long_hair=woman and rng.random() < 0.8,
        stubble=0.0 if woman else rng.uniform(0, 1),
        grain=rng.uniform(3.0, 4.2),
        light=rng.uniform(-0.6, 0.6),
        seed=int(rng.integers(2**31)),
    )


def _draw_voice(rng: np.random.Generator, gender: str) -> Voice:
    woman = gender == "women"
    return Voice(
        pitch=rng.uniform(175, 230) if woman else rng.uniform(95, 140),
        pitch_range=rng.uniform(3.5, 6),
        formant_scale=rng.uniform(1.10, 1.20) if woman else rng.uniform(0.95, 1.05),
        rate=rng.uniform(4.2, 5.6),
        breath=rng.uniform(0.6, 1.4),
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _shade(rng: np.random.Generator, colour: Colour | np.ndarray, spread: float) -> Colour:
    """`colour` a little lighter or darker, and a little warmer or cooler."""
    shaded = np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    red, green, blue = np.clip(shaded, 8, 247)
    return float(red), float(green), float(blue)


def _muted(rng: np.random.Generator, darkest: float, lightest: float) -> Colour:
    """A colour without much of it."""
    return _shade(rng, rng.uniform(darkest, lightest) + rng.uniform(-28, 28, 3), 0)


def _lip_colour(rng: np.random.Generator, skin: Colour, woman: bool) -> Colour:
    red = np.array((168, 62, 70) if woman else (150, 84, 78))
    return _shade(rng, 0.55 * red + 0.45 * np.array(skin) * 0.85, 5)
