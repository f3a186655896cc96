"""What happens to the pixels: crop and flip on uint8 frames, scaling and normalisation on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

CROP = 100
MEAN = 0.421  # of pixels scaled to [0, 1]; both from AV-HuBERT
STD = 0.165


def train_transform() -> v2.Compose:
    """Random 100x100 crop, and a flip every other time: one crop and one flip for all frames of a clip."""
    return v2.Compose([v2.RandomCrop(CROP), v2.RandomHorizontalFlip(0.5)])


def eval_transform() -> v2.CenterCrop:
    """Central 100x100 crop."""
    return v2.CenterCrop(CROP)


def normalise(video: Tensor) -> Tensor:
    """Scale uint8 pixels to [0, 1] and normalise them, on whichever device they are, in float32 of the same shape."""
    return video.to(torch.float32).mul_(1 / (255 * STD)).sub_(MEAN / STD)
