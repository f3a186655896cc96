"""The image encoder: who gets a gradient, and pooling that has to be deterministic."""

import pytest
import torch

from model.image_encoder import FramePool, ImageEncoder


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
