"""The visual stream: a Conv3d front end over five frames, then a ResNet-18 trunk frame by frame."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a residual, each followed by a PReLU with one slope a channel.

    Where the first has a stride or the width changes, a 1×1 convolution matches the residual.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.PReLU(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            match = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(match, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, channels, H / stride, W / stride)."""
        residual = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(x)).add_(residual))


class Trunk(nn.Module):
    """ResNet-18 without its stem: 64-128-256-512 channels, two blocks each, average pooling to 512; in channels_last.

    With `checkpoint_activations` each block's input alone is kept, and the rest computed again in the backward pass.
    """

    def __init__(self, checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.checkpoint_activations = checkpoint_activations
        self.layer1 = nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, stride=2), BasicBlock(128, 128))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, stride=2), BasicBlock(256, 256))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, stride=2), BasicBlock(512, 512))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))
                module.weight = nn.Parameter(module.weight.detach().contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) → (N, 512)."""
        x = x.contiguous(memory_format=torch.channels_last)
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            x = _recomputed(block, x, norms=block) if self.checkpoint_activations else block(x)
        return x.mean(dim=(2, 3))  # of (N, 512, H / 8, W / 8)


class FramePool(nn.MaxPool3d):
    """Max pooling of each frame, 3×3 by steps of 2, that can be trained under `torch.use_deterministic_algorithms`.

    The gradient of PyTorch's own adds up in no fixed order on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C, T, H / 2, W / 2), both rounded up."""
        if not (torch.are_deterministic_algorithms_enabled() and torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        x = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
        for dim in (-1, -2):
            left, middle, right = x.unfold(dim, 3, 2).unbind(-1)
            x = torch.maximum(torch.maximum(left, middle), right)
        return x


class ImageEncoder(nn.Module):
    """Front end and trunk, called `resnet` in AV-HuBERT's state dict.

    Parameters
    ----------
    in_channels
        1 for grey mouth crops, 3 for RGB faces.
    train_frontend
        False: the front end runs without a graph and stays at its start, as in the authors' release (its running
        statistics still move in train mode).
    checkpoint_activations
        Compute what is inside the trunk's blocks and the trained front end again in the backward pass, not keeping it.
    """

    def __init__(self, in_channels: int = 1, train_frontend: bool = True, checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.train_frontend = train_frontend
        self.checkpoint_activations = checkpoint_activations
        self.frontend3D = nn.Sequential(
            nn.Conv3d(in_channels, 64, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False),
            nn.BatchNorm3d(64),
            nn.PReLU(64),
            FramePool((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        ).requires_grad_(train_frontend)
        self.trunk = Trunk(checkpoint_activations)

    def forward(self, video: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Embed each frame of normalised video, (B, in_channels, T, H, W) → (B, T, 512).

        `lengths` are the real frames of each clip, from 1 to T; without them all are real. What follows them is never
        looked at: it is left out of BatchNorm's statistics and of the trunk, counts as zeros beside real frames, and
        its embedding is zeros.
        """
        B, _, T, _, _ = video.shape
        with torch.set_grad_enabled(self.train_frontend and torch.is_grad_enabled()):
            if self.checkpoint_activations:
                x = _recomputed(self._frontend, video, lengths, norms=self.frontend3D)
            else:
                x = self._frontend(video, lengths)  # (N, 64, H / 4, W / 4)
        x = self.trunk(x)  # (N, 512)
        if lengths is None:
            return x.view(B, T, -1)
        x = pad_sequence(x.split(list(lengths)), batch_first=True)  # (B, the longest, 512)
        return F.pad(x, (0, 0, 0, T - x.shape[1]))

    def _frontend(self, video: Tensor, lengths: Sequence[int] | None) -> Tensor:
        """`frontend3D` with each real frame a row of the batch, (B, C, T, H, W) → (N, 64, H / 4, W / 4)."""
        if lengths is None:
            return self.frontend3D(video).transpose(1, 2).flatten(0, 1)
        # Clip by clip, so that neither the video nor its maps exist a second time with their padding.
        conv, *norm_act_pool = self.frontend3D
        clips = [conv(clip[None, :, :length]) for clip, length in zip(video, lengths, strict=True)]
        x = torch.cat(clips, dim=2)  # (1, 64, N, H / 2, W / 2)
        del clips
        for module in norm_act_pool:
            x = module(x)
        return x[0].transpose(0, 1)


def _recomputed(function: Callable[..., Tensor], *args: Any, norms: nn.Module) -> Tensor:
    """`function(*args)`, computed again in the backward pass; the statistics of `norms` move the first time alone."""
    return checkpoint(
        function, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _still_statistics(norms))
    )


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Let what moves running statistics in `module` move copies of them."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    kept = [{name: getattr(norm, name) for name in STATISTICS} for norm in norms]
    for norm, statistics in zip(norms, kept, strict=True):
        for name, value in statistics.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, statistics in zip(norms, kept, strict=True):
            for name, value in statistics.items():
                setattr(norm, name, value)
