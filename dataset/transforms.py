"""What happens to the pixels: crop and flip of uint8 frames, scaling and normalisation on the device."""

import torch
from torch import Tensor
from torchvision.transforms import v2

CROP = 100
MEAN = 0.421  # of pixels scaled to [0, 1]; both from AV-HuBERT
STD = 0.165

RANDOM = v2.Compose([v2.RandomCrop(CROP), v2.RandomHorizontalFlip(0.5)])
CENTRE = v2.CenterCrop(CROP)


def random_crop(video: Tensor, seed: int) -> Tensor:
    """Crop 100x100 from frames (..., H, W) at random and flip every other time, all frames of a clip alike.

    Crop and flip depend on the seed alone; the random state of the process is left as it was. A view of `video` if the
    frames are not flipped.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would set a GPU's state too
        return RANDOM(video)


def centre_crop(video: Tensor) -> Tensor:
    """Cut the central 100x100 from frames (..., H, W), at an offset of (H - 100) / 2 rounded; a view."""
    return CENTRE(video)


def normalise(video: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale uint8 pixels of clips (B, 3, T, H, W) to [0, 1] and normalise them, on whichever device they are.

    Another `dtype` is rounded from float32 clip by clip, so that a batch exists in one precision only.
    """
    if dtype is not torch.float32:
        rounded = torch.empty(video.shape, dtype=dtype, device=video.device)
        for row, clip in zip(rounded, video, strict=True):
            row.copy_(normalise(clip))
        return rounded
    return video.to(torch.float32).mul_(1 / (255 * STD)).sub_(MEAN / STD)
