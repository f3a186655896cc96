"""The fast norm, residual and activation against PyTorch's separate modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model import norm_act as fast
from model.image_encoder import FramePool, ImageEncoder
from model.norm_act import norm_act


def modules(channels: int, dtype: torch.dtype = torch.float64) -> tuple[nn.BatchNorm2d, nn.PReLU]:
    torch.manual_seed(0)
    norm, prelu = nn.BatchNorm2d(channels).to(dtype), nn.PReLU(channels).to(dtype)
    with torch.no_grad():
        for parameter in (norm.weight, norm.bias, prelu.weight):
            parameter.copy_(torch.randn(channels))
        prelu.weight[0] = 0.0
    return norm, prelu


def separate(x: Tensor, norm: nn.BatchNorm2d, prelu: nn.PReLU | None, residual: Tensor | None) -> Tensor:
    x = norm(x)
    x = x if residual is None else x + residual
    return x if prelu is None else prelu(x)


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("with_prelu", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_gradients_and_running_statistics(
    with_residual: bool, with_prelu: bool, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "BLOCK", 90)  # several blocks, the last one shorter
    results = []
    for function in (norm_act, separate):
        norm, prelu = modules(4)
        torch.manual_seed(1)
        x = torch.randn(7, 4, 3, 5, dtype=torch.float64)
        x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        x.requires_grad_()
        residual = torch.randn(7, 4, 3, 5, dtype=torch.float64, requires_grad=True) if with_residual else None
        y = function(x, norm, prelu if with_prelu else None, residual)
        (y * torch.randn(y.shape, dtype=y.dtype)).sum().backward()
        gradients = [x.grad, norm.weight.grad, norm.bias.grad]
        gradients += [prelu.weight.grad] if with_prelu else []
        gradients += [residual.grad] if with_residual else []
        results.append([y, norm.running_mean, norm.running_var, norm.num_batches_tracked, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_without_a_graph_in_eval_mode() -> None:
    norm, prelu = modules(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.eval()
    x = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(norm_act(x, norm, prelu, x), separate(x, norm, prelu, x), rtol=1e-10, atol=1e-10)


def test_statistics_are_as_exact_as_float32_allows() -> None:
    torch.manual_seed(0)
    x = 3 + torch.randn(64, 8, 25, 25)
    norm, _ = modules(8, torch.float32)
    exact, _ = modules(8, torch.float64)
    x = x.contiguous(memory_format=torch.channels_last)
    error = (norm_act(x, norm).double() - exact(x.double())).abs().max()
    assert error < 2e-6


@pytest.mark.parametrize("train", [False, True])
def test_front_end_is_conv3d_norm_prelu_and_pool(train: bool) -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(3, train_frontend=False).double().train(train)
    video = torch.randn(2, 3, 6, 20, 24, dtype=torch.float64)
    # Without a graph the front end has its own path.
    with torch.no_grad():
        ours = encoder._frontend(video)
        ours_mean = encoder.frontend3D[1].running_mean.clone()
        encoder.frontend3D[1].reset_running_stats()
        theirs = encoder.frontend3D(video)  # (B, 64, T, H / 4, W / 4)
    torch.testing.assert_close(ours, theirs.transpose(1, 2).flatten(0, 1))
    torch.testing.assert_close(ours_mean, encoder.frontend3D[1].running_mean)


@pytest.mark.parametrize("train", [False, True])
def test_trained_front_end_has_the_gradients_of_its_modules(train: bool) -> None:
    results = []
    for through_modules in (False, True):
        torch.manual_seed(0)
        encoder = ImageEncoder(3).double().train(train)
        with torch.no_grad():
            for parameter in encoder.frontend3D.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        video = torch.randn(3, 3, 6, 20, 24, dtype=torch.float64, requires_grad=True)
        frames = (
            encoder.frontend3D(video).transpose(1, 2).flatten(0, 1) if through_modules else encoder._frontend(video)
        )
        (frames * torch.randn(frames.shape, dtype=frames.dtype)).sum().backward()
        gradients = [parameter.grad for parameter in encoder.frontend3D.parameters()]
        results.append([frames, video.grad, *gradients, *encoder.frontend3D.buffers()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_eval_mode_with_a_graph_and_nothing_to_train_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    # As while a backbone is held still.
    encoder = ImageEncoder(3).eval().requires_grad_(False)
    video = torch.randn(1, 3, 2, 20, 20)
    expected = encoder(video)
    monkeypatch.setattr(nn.Conv3d, "forward", None)
    monkeypatch.setattr(nn.BatchNorm2d, "forward", None)
    torch.testing.assert_close(encoder(video), expected)


def test_frozen_front_end_builds_no_graph_and_a_trained_one_does() -> None:
    video = torch.randn(1, 3, 2, 20, 20)
    for train_frontend in (False, True):
        encoder = ImageEncoder(3, train_frontend)
        encoder(video).sum().backward()
        grads = [parameter.grad is not None for parameter in encoder.frontend3D.parameters()]
        assert all(grads) if train_frontend else not any(grads)


@pytest.mark.parametrize("size", [(50, 50), (44, 44), (7, 8), (9, 9)])
def test_pooling_is_the_same_when_it_has_to_be_deterministic(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    pool = FramePool((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    video = torch.randn(2, 3, 4, *size, dtype=torch.float64, requires_grad=True)
    expected = pool(video)
    upstream = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, video, upstream)
    torch.use_deterministic_algorithms(True)
    try:
        actual = pool(video)
    finally:
        torch.use_deterministic_algorithms(False)
    assert "MaxPool" not in type(actual.grad_fn).__name__
    assert torch.equal(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, video, upstream)[0], gradient)
