"""What a subject looks like, and the parts of the video that stand still in a clip: room, body, skin and hair."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

SIZE = 224  # pixels a side, as in FakeAVCeleb
RACES = ("African", "Asian (East)", "Asian (South)", "Caucasian (American)", "Caucasian (European)")
GENDERS = ("men", "women")
CENTRE = (112.0, 112.0)  # of the face

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
Pair = Sequence[float] | np.ndarray


def grid(top: int = 0, bottom: int = SIZE, left: int = 0, right: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """X (1, W) and y (H, 1) of the pixels of a part of the frame; the two broadcast to (H, W)."""
    return np.arange(left, right, dtype=np.float32)[None, :], np.arange(top, bottom, dtype=np.float32)[:, None]


X, Y = grid()


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


def draw_look(rng: np.random.Generator, race: str, gender: str) -> Look:
    woman = gender == "women"
    hairs, eyes = (_FAIR_HAIR, _FAIR_EYES) if race.startswith("Caucasian") else (_DARK_HAIR, _DARK_EYES)
    red = np.array((168, 62, 70) if woman else (150, 84, 78))
    skin = _shade(rng, _SKIN[race], 10)
    wall = _muted(rng, 60, 190)
    return Look(
        skin=skin,
        hair=_shade(rng, hairs[int(rng.integers(len(hairs)))], 6),
        iris=eyes[int(rng.integers(len(eyes)))],
        lips=_shade(rng, 0.55 * red + 0.45 * np.array(skin) * 0.85, 5),
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


def _shade(rng: np.random.Generator, colour: Colour | np.ndarray, spread: float) -> Colour:
    """`colour` a little lighter or darker, and a little warmer or cooler."""
    shaded = np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    red, green, blue = np.clip(shaded, 8, 247)
    return float(red), float(green), float(blue)


def _muted(rng: np.random.Generator, darkest: float, lightest: float) -> Colour:
    """A colour without much of it."""
    return _shade(rng, rng.uniform(darkest, lightest) + rng.uniform(-28, 28, 3), 0)


@dataclass(frozen=True)
class Portrait:
    """Layers of a subject's portrait, and where the features are, in pixels from the top."""

    scene: np.ndarray  # the room with the subject's body (224, 224, 3), float32 RGB
    head: np.ndarray  # the head without eyes and mouth (224, 224, 3), float32 RGB
    alpha: np.ndarray  # where the head covers the scene (224, 224), 0 to 1
    jaw: np.ndarray  # how far each pixel of the head follows the jaw (224, 224), 0 to 1
    eyes_y: float
    mouth_y: float
    chin_y: float


@lru_cache(maxsize=4)
def draw_portrait(look: Look) -> Portrait:
    """Draw all that stays still of a subject."""
    rng = np.random.default_rng(look.seed)
    cy, h = CENTRE[1], look.half_height
    eyes_y, mouth_y, chin_y = cy - 0.10 * h, cy + 0.50 * h, cy + h
    scene = _draw_scene(rng, look, chin_y)
    skull = _skull(look)
    head = _draw_skin(rng, look, skull, eyes_y, mouth_y)
    _draw_nose(head, look, eyes_y, mouth_y)
    _draw_brows(rng, head, look, eyes_y)
    cap, opening = _hair_shape(rng, look)
    paint(head, _hair_colour(rng, look), 1 - opening)
    alpha = np.maximum(skull, cap * (1 - opening))
    if not look.long_hair:
        for side in (-1, 1):
            alpha = np.maximum(alpha, ellipse(X, Y, (CENTRE[0] + side * (look.half_width + 1), eyes_y + 12), (7, 15)))
    jaw = edge(Y - (mouth_y + 0.5 * (chin_y - mouth_y)), 0.6 * (chin_y - mouth_y)) * skull
    return Portrait(scene, head, alpha, jaw, eyes_y, mouth_y, chin_y)


def _skull(look: Look) -> np.ndarray:
    """Mask of the face: an egg with the narrow end down."""
    down = (Y - CENTRE[1]) / look.half_height
    width = look.half_width * (1 - look.jaw * np.clip(down, 0, 1) ** 2)
    r = np.sqrt(((X - CENTRE[0]) / width) ** 2 + np.abs(down) ** 2.3)
    return edge((1 - r) * look.half_width, 1.2)


def _draw_scene(rng: np.random.Generator, look: Look, chin_y: float) -> np.ndarray:
    one, two = (np.array(colour, dtype=np.float32) for colour in look.wall)
    blend = 0.5 + 0.35 * np.sin((X * rng.uniform(-1, 1) + Y * rng.uniform(-1, 1)) / 60 + rng.uniform(0, 6))
    blend = blend + 0.12 * texture(rng, 18)
    scene = one + (two - one) * blend[..., None] + 1.5 * texture(rng, 1.0)[..., None]
    for _ in range(4):  # things that hang on the wall, out of focus
        (left, top), (width, height) = rng.uniform(0, SIZE, 2), rng.uniform(14, 40, 2)
        paint(scene, np.clip(one + rng.normal(0, 30, 3), 0, 255), 0.5 * ellipse(X, Y, (left, top), (width, height), 8))
    if look.long_hair:
        back = ellipse(X, Y, (CENTRE[0], CENTRE[1] + 22), (look.half_width + 17, look.half_height + 22), 2)
        paint(scene, _hair_colour(rng, look) * 0.8, back)
    neck = edge(0.52 * look.half_width - np.abs(X - CENTRE[0]), 2) * edge(Y - CENTRE[1], 2)
    shadow = 0.62 + 0.2 * edge(Y - chin_y - 14, 14)
    paint(scene, np.array(look.skin) * shadow[..., None], neck)
    shoulders = ellipse(X, Y, (CENTRE[0], SIZE + 34), (100, 54), 2) * (
        1 - ellipse(X, Y, (CENTRE[0], SIZE - 26), (0.5 * look.half_width, 12), 2)
    )
    folds = 1 + 0.06 * texture(rng, 3, 14) + 0.03 * texture(rng, 1.0)
    paint(scene, np.array(look.shirt, dtype=np.float32) * folds[..., None], shoulders)
    return np.clip(scene, 0, 255).astype(np.float32)


def _draw_skin(rng: np.random.Generator, look: Look, skull: np.ndarray, eyes_y: float, mouth_y: float) -> np.ndarray:
    """The bare face: a lit egg with hollows and highlights, and skin that is coarse at several scales."""
    cx, w, h = CENTRE[0], look.half_width, look.half_height
    nx, ny = (X - cx) / (1.08 * w), (Y - CENTRE[1]) / (1.12 * h)
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0.02, 1))
    shade = 0.58 + 0.46 * np.clip(0.55 * look.light * nx - 0.30 * ny + 0.85 * nz, 0, 1)
    for side in (-1, 1):
        shade = shade - 0.16 * blob((cx + side * look.eye_gap, eyes_y - 1), (17, 11))
        shade = shade - 0.07 * blob((cx + side * look.eye_gap, eyes_y + 13), (14, 5))
        shade = shade + 0.07 * blob((cx + side * 0.55 * w, eyes_y + 26), (16, 12))
        fold = np.abs(X - cx - side * (look.nose + 4 + 0.35 * (Y - mouth_y + 24)))
        shade = shade - 0.10 * edge(2.2 - fold, 2) * blob((cx + side * 22, mouth_y - 13), (40, 14))
    shade = shade + 0.06 * blob((cx, eyes_y - 34), (30, 14)) + 0.05 * blob((cx, mouth_y + 25), (14, 8))
    shade = shade - 0.08 * blob((cx, mouth_y + 13), (18, 4)) - 0.04 * blob((cx, mouth_y - 13), (4, 7))
    head = np.array(look.skin, dtype=np.float32) * shade[..., None]
    for side in (-1, 1):
        blush = 0.22 * blob((cx + side * 0.58 * w, eyes_y + 34), (20, 15))
        paint(head, head * np.array([1.05, 0.86, 0.86]), blush)
    beard = look.stubble * edge(Y - mouth_y + 22, 14) * np.clip(0.5 + 0.5 * np.abs(X - cx) / w + 0.2, 0, 1)
    paint(head, np.array(look.hair) + 24, 0.28 * beard * skull)
    pores = look.grain * (texture(rng, 0.9) + 0.4 * texture(rng, 1.6)) * (1 + 0.4 * beard)
    rough = 1 + 0.01 * (pores + 1.5 * texture(rng, 6))
    return head * rough[..., None]


def _draw_nose(head: np.ndarray, look: Look, eyes_y: float, mouth_y: float) -> None:
    cx, tip = CENTRE[0], eyes_y + 0.62 * (mouth_y - eyes_y)
    side = -1 if look.light > 0 else 1  # the flank away from the light
    head += 16 * (blob((cx, tip - 16), (3.2, 20)) + 0.8 * blob((cx, tip - 1), (5, 4)))[..., None]
    head -= 20 * (blob((cx + side * 7, tip - 12), (4, 18)))[..., None]
    paint(head, head * 0.62, 0.75 * blob((cx, tip + 7), (look.nose, 2.6)))
    for wing in (-1, 1):
        paint(head, head * 0.70, 0.6 * blob((cx + wing * look.nose, tip + 1), (2.2, 5.5)))
        paint(head, head * 0.28, 0.9 * ellipse(X, Y, (cx + wing * 0.5 * look.nose, tip + 6), (3.2, 1.7)))


def _draw_brows(rng: np.random.Generator, head: np.ndarray, look: Look, eyes_y: float) -> None:
    hairs = np.clip(0.8 + 0.25 * texture(rng, 0.8, 2), 0, 1)
    tilt = rng.uniform(-0.1, 0.16)
    for side in (-1, 1):
        u = side * (X - CENTRE[0] - side * (look.eye_gap + 1)) / 17  # -1 at the nose, 1 at the temple
        arch = eyes_y - 16 - 4.5 * (1 - u**2) - tilt * 17 * u
        thickness = look.brow * np.clip(1.15 - 0.45 * u, 0, 2)
        brow = edge(thickness - np.abs(Y - arch), 1.3) * edge((1 - np.abs(u)) * 17, 3)
        paint(head, np.array(look.hair) * 0.9 + 6, 0.85 * brow * hairs)


def _hair_shape(rng: np.random.Generator, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the cap of hair on the head and of its opening for the face, both soft."""
    cx, cy, w, h = *CENTRE, look.half_width, look.half_height
    cap = ellipse(X, Y, (cx, cy - 4), (w + 5 + look.hair_volume, h + 3 + look.hair_volume), 1.8)
    top, bottom = cy - h + look.hairline * h, cy + 0.9 * h
    across, down = (X - cx) / ((0.88 if look.long_hair else 0.93) * w), (Y - 0.5 * (top + bottom)) * 2 / (bottom - top)
    ragged = 0.8 * texture(rng, 6, 12) + 0.5 * texture(rng, 1.5, 6)
    opening = edge((1 - (np.abs(across) ** 2.8 + np.abs(down) ** 2.8) ** (1 / 2.8)) * w + ragged, 2.5)
    end = cy + 0.75 * h if look.long_hair else cy - 0.05 * h
    return cap, np.maximum(opening, edge(Y - end, 10))


def _hair_colour(rng: np.random.Generator, look: Look) -> np.ndarray:
    strands = 1 + 0.16 * texture(rng, 1.0, 9) + 0.10 * texture(rng, 5, 9)
    shine = 22 * blob((CENTRE[0] + 30 * look.light, CENTRE[1] - 0.85 * look.half_height), (34, 9))
    return np.array(look.hair, dtype=np.float32) * strands[..., None] + shine[..., None]


def edge(distance: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """0 where `distance` (in pixels) is below -softness, 1 above softness, and smooth in between."""
    t = np.clip(distance / (2 * softness) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def blob(centre: Pair, radius: Pair) -> np.ndarray:
    """A Gaussian bump of height 1 in the frame."""
    return np.exp(-(((X - centre[0]) / radius[0]) ** 2) - ((Y - centre[1]) / radius[1]) ** 2)


def ellipse(x: np.ndarray, y: np.ndarray, centre: Pair, radius: Pair, softness: float = 1.0) -> np.ndarray:
    """A filled ellipse with soft edges."""
    r = np.sqrt(((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2)
    return edge((1 - r) * min(radius), softness)


def paint(image: np.ndarray, colour: ArrayLike, mask: np.ndarray) -> None:
    """Blend `colour` (one, or one a pixel) into `image` (H, W, 3) where `mask` (H, W) is set; works in place."""
    image += mask[..., None] * (np.asarray(colour, dtype=np.float32) - image)


def texture(rng: np.random.Generator, *sigma: float, size: int = SIZE) -> np.ndarray:
    """Noise (size, size) of unit deviation, blurred by `sigma` pixels: one for both ways, or across and down."""
    across, down = sigma if len(sigma) > 1 else sigma * 2
    noise = cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), across, sigmaY=down)
    return noise / noise.std()
