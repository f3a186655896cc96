"""Soft-edged drawing on float RGB images: what the portrait is made with."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

SIZE = 224  # pixels a side, as in FakeAVCeleb


def grid(top: int = 0, bottom: int = SIZE, left: int = 0, right: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """x (1, W) and y (H, 1) of the pixels of a part of the frame; the two broadcast to (H, W)."""
    return np.arange(left, right, dtype=np.float32)[None, :], np.arange(top, bottom, dtype=np.float32)[:, None]


def edge(distance: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """0 where `distance` (in pixels) is below -softness, 1 above softness, and smooth in between."""
    t = np.clip(distance / (2 * softness) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def blob(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
    """A Gaussian bump of height 1."""
    return np.exp(-(((x - centre[0]) / radius[0]) ** 2) - ((y - centre[1]) / radius[1]) ** 2)


def ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: tuple[float, float], softness: float = 1.0
) -> np.ndarray:
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
