"""The visual stream: a Conv3d front end over five frames, then a ResNet-18 trunk frame by frame."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.norm_act import affine_act, has_graph, is_fast, norm_act, scale_and_shift
from model.recompute import recomputed


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a residual, each followed by a PReLU with one slope a channel.

    Parameters
    ----------
    in_channels, channels
        Width before and after.
    stride
        Stride of the first convolution; where it or the width changes, a 1×1 convolution matches the residual.
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
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, channels, H / stride, W / stride)."""
        residual = x
        if self.downsample is not None:
            conv, norm = self.downsample
            residual = norm_act(conv(x), norm)
        x = norm_act(_convolve(self.conv1, x), self.bn1, self.relu1)
        return norm_act(_convolve(self.conv2, x), self.bn2, self.relu2, residual)


class Trunk(nn.Module):
    """ResNet-18 without its stem: 64-128-256-512 channels, two blocks each, average pooling to 512.

    Parameters
    ----------
    checkpoint_activations
        Keep each block's input only, and compute the rest again in the backward pass.
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

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) → (N, 512)."""
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            x = recomputed(block, x, norms=block) if self.checkpoint_activations else block(x)
        return x.mean(dim=(2, 3))  # of (N, 512, H / 8, W / 8)


class FramePool(nn.MaxPool3d):
    """Max pooling of each frame, 3×3 by steps of 2, that can be trained under `torch.use_deterministic_algorithms`.

    The gradient of PyTorch's own adds up in no fixed order on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C, T, H / 2, W / 2), both rounded up."""
        if not (torch.are_deterministic_algorithms_enabled() and has_graph(x)):
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
        self.trunk = Trunk(checkpoint_activations).to(memory_format=torch.channels_last)

    def forward(self, video: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Embed each frame.

        Parameters
        ----------
        video
            (B, in_channels, T, H, W), normalised.
        padding_mask
            (B, T), True = padding: zeros to the real frames beside it, left out of BatchNorm's statistics and of the
            trunk, whatever it contains.

        Returns
        -------
        Tensor
            (B, T, 512), zeros where the video is padding.
        """
        B, _, T, _, _ = video.shape
        with torch.set_grad_enabled(self.train_frontend and torch.is_grad_enabled()):
            if self.checkpoint_activations:
                x = recomputed(self._frontend, video, padding_mask, norms=self.frontend3D)
            else:
                x = self._frontend(video, padding_mask)  # (N, 64, H / 4, W / 4)
        x = self.trunk(x)  # (N, 512)
        if padding_mask is None:
            return x.view(B, T, -1)
        embedded = x.new_zeros(B, T, x.shape[-1])
        embedded[~padding_mask] = x
        return embedded

    def _frontend(self, video: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """`frontend3D` with each real frame a row of the batch, (B, C, T, H, W) → (N, 64, H / 4, W / 4)."""
        conv, norm, prelu, pool = self.frontend3D
        graph = has_graph(video, *self.frontend3D.parameters())
        if not is_fast(video) or (graph and not norm.training):
            if padding_mask is None:
                return self.frontend3D(video).transpose(1, 2).flatten(0, 1)
            x = conv(video.masked_fill(padding_mask[:, None, :, None, None], 0))
            x = x.transpose(1, 2)[~padding_mask]  # (N, 64, H / 2, W / 2)
            return self.frontend3D[1:](x[:, :, None])[:, :, 0]
        # On a CPU clip by clip, so that what is allocated fits what the allocator keeps.
        clips = _convolve_clips(conv, video, padding_mask)
        pooling = pool.kernel_size[1:], pool.stride[1:], pool.padding[1:]
        if graph:
            return F.max_pool2d(norm_act(torch.cat(clips), norm, prelu), *pooling)
        scale, shift = scale_and_shift(norm, clips)
        return torch.cat([F.max_pool2d(affine_act(clip, scale, shift, prelu.weight), *pooling) for clip in clips])


def _convolve_clips(conv: nn.Conv3d, video: Tensor, padding_mask: Tensor | None) -> list[Tensor]:
    """`_convolve_time` of each clip, its real frames only."""
    if padding_mask is None:
        return [_convolve_time(conv, clip) for clip in video]
    clips = []
    for clip, padding in zip(video, padding_mask, strict=True):
        length = int((~padding).nonzero().max()) + 1
        clip, gaps = clip[:, :length], padding[:length]
        if gaps.any():
            clips.append(_convolve_time(conv, clip.masked_fill(gaps[:, None, None], 0))[~gaps])
        else:
            clips.append(_convolve_time(conv, clip))
    return clips


def _convolve_time(conv: nn.Conv3d, clip: Tensor) -> Tensor:
    """Conv3d on a clip (C, T, H, W) as a Conv2d over the frames under its kernel, stacked as channels.

    The same sums, (T, 64, H / 2, W / 2). PyTorch's 3-D convolution and pooling have no fast channels_last path there.
    """
    T, depth, pad = clip.shape[1], conv.kernel_size[0], conv.padding[0]
    frames = F.pad(clip.permute(1, 2, 3, 0), (0, 0, 0, 0, 0, 0, pad, pad))  # (T + 4, H, W, C)
    stacked = torch.cat([frames[k : k + T] for k in range(depth)], dim=-1).permute(0, 3, 1, 2)  # (T, 5 C, H, W)
    kernel = conv.weight.transpose(1, 2).flatten(1, 2)  # (64, 5 C, 7, 7)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return F.conv2d(stacked, kernel, stride=conv.stride[1:], padding=conv.padding[1:])


def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv(x)`, on a CPU not channels_last where maps are small and deep: oneDNN is a third faster there."""
    if is_fast(x) and conv.in_channels >= 512:
        return F.conv2d(x.contiguous(), conv.weight.contiguous(), None, conv.stride, conv.padding)
    return conv(x)
