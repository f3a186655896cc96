"""What happens to the pixels: crop and flip on uint8 frames, scaling and normalisation on the device."""

from __future__ import annotations

import torch
from torch import Tensor

CROP = 100
MEAN = 0.421  # of pixels scaled to [0, 1]; both from AV-HuBERT
STD = 0.165


def random_crop(video: Tensor, seed: int) -> Tensor:
    """Crop 100x100 at random, and flip every other time: one crop and one flip for all frames of a clip.

    Draws the numbers that torchvision's ``RandomCrop(100)`` and then ``RandomHorizontalFlip(0.5)`` draw after
    ``torch.manual_seed(seed)``, without touching the global random state.

    Parameters
    ----------
    video
        Frames (..., H, W) of any type.
    seed
        What crop and flip depend on.

    Returns
    -------
    Frames (..., 100, 100); a view of `video` if they are not flipped.

    Raises
    ------
    ValueError
        If a side is shorter than 100.
    """
    generator = torch.Generator().manual_seed(seed)
    top, left = (_draw(extent, generator) for extent in video.shape[-2:])
    cropped = video[..., top : top + CROP, left : left + CROP]
    return cropped.flip(-1) if torch.rand(1, generator=generator) < 0.5 else cropped


def centre_crop(video: Tensor) -> Tensor:
    """Cut the central 100x100 from (..., H, W), as torchvision's ``CenterCrop(100)``; a view."""
    top, left = (round((_checked(extent) - CROP) / 2) for extent in video.shape[-2:])
    return video[..., top : top + CROP, left : left + CROP]


def normalise(video: Tensor) -> Tensor:
    """Scale uint8 pixels to [0, 1] and normalise them, on whichever device they are, in float32 of the same shape."""
    return video.to(torch.float32).mul_(1 / (255 * STD)).sub_(MEAN / STD)


def _draw(extent: int, generator: torch.Generator) -> int:
    """Where a crop starts; a side that is just long enough costs no draw."""
    if _checked(extent) == CROP:
        return 0
    return int(torch.randint(0, extent - CROP + 1, (), generator=generator))


def _checked(extent: int) -> int:
    if extent < CROP:
        raise ValueError(f"frames with a side of {extent} pixels are too small for a crop of {CROP}")
    return extent
