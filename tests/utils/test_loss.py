"""The regularisation terms against plain loops over clips."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.loss import (
    binary_cross_entropy,
    cross_entropy,
    cross_modality_loss,
    of_all_processes,
    within_modality_loss,
)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def looped_within(embeddings: Tensor, labels: Tensor, margin: float) -> float:
    total = 0.0
    for i in range(len(labels)):
        for j in range(len(labels)):
            d = cosine(embeddings[i], embeddings[j])
            total += 1 - d if labels[i] == labels[j] else max(d - margin, 0.0)
    return total / len(labels) ** 2


@pytest.mark.parametrize("margin", [0.0, 0.3, -0.2])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_within_modality_loss_is_the_mean_over_all_ordered_pairs(margin: float, size: int) -> None:
    torch.manual_seed(size)
    embeddings = torch.randn(size, 16, dtype=torch.float64) + 0.4
    labels = torch.randint(0, 2, (size,))
    ours = within_modality_loss(embeddings.float(), labels, margin)
    assert float(ours) == pytest.approx(looped_within(embeddings, labels, margin), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_cross_modality_loss_is_the_mean_over_clips(margin: float) -> None:
    torch.manual_seed(0)
    video, audio = torch.randn(8, 16) + 0.5, torch.randn(8, 16) + 0.5
    labels = torch.tensor([1, 0, 0, 1, 0, 1, 0, 0])
    terms = []
    for v, a, label in zip(video, audio, labels, strict=True):
        d = cosine(v.double(), a.double())
        terms.append(1 - d if label == 1 else max(d - margin, 0.0))
    assert float(cross_modality_loss(video, audio, labels, margin)) == pytest.approx(sum(terms) / 8, rel=1e-5)


def test_hand_computed_values() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    diagonal = torch.tensor([3.0, 3.0])
    # Pairs (east, north): same label, 1 - 0, twice; each with itself 0.
    assert float(within_modality_loss(torch.stack([east, north]), torch.tensor([1, 1]))) == pytest.approx(0.5)
    # Pair (east, diagonal): other label, cos 45°, less the margin.
    loss = within_modality_loss(torch.stack([east, diagonal]), torch.tensor([1, 0]), 0.2)
    assert float(loss) == pytest.approx((math.sqrt(0.5) - 0.2) / 2)
    assert float(cross_modality_loss(east[None], -east[None], torch.tensor([1]))) == pytest.approx(2)
    assert float(cross_modality_loss(east[None], -east[None], torch.tensor([0]))) == 0


def test_half_precision_embeddings_are_compared_in_float32() -> None:
    torch.manual_seed(0)
    embeddings = torch.randn(6, 768) * 100
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = within_modality_loss(embeddings, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, within_modality_loss(embeddings, labels))


def test_a_zero_embedding_gives_a_finite_gradient() -> None:
    embeddings = torch.zeros(3, 8, requires_grad=True)
    within_modality_loss(embeddings, torch.tensor([0, 1, 1])).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_without_other_processes_clips_stay_as_they_are() -> None:
    embeddings, labels = torch.randn(3, 8, requires_grad=True), torch.tensor([0, 1, 1])
    gathered = of_all_processes(embeddings, labels)
    assert gathered[0] is embeddings
    assert gathered[1] is labels


def test_unknown_labels_are_left_out() -> None:
    torch.manual_seed(0)
    video, audio = torch.randn(2, 6, 8)
    label = torch.tensor([1, -1, 0, 0, -1, 1])
    known = label >= 0
    assert float(cross_modality_loss(video, audio, label)) == pytest.approx(
        float(cross_modality_loss(video[known], audio[known], label[known]))
    )
    assert float(within_modality_loss(video, label, 0.1)) == pytest.approx(
        float(within_modality_loss(video[known], label[known], 0.1))
    )
    assert float(cross_entropy(video, label)) == pytest.approx(float(F.cross_entropy(video[known], label[known])))
    logits, both = video[:, :2], torch.stack([label, label.flip(0)], dim=1)
    expected = F.binary_cross_entropy_with_logits(logits[both >= 0], both[both >= 0].float())
    assert float(binary_cross_entropy(logits, both)) == pytest.approx(float(expected))


def test_without_a_known_label_a_term_is_zero_and_so_is_its_gradient() -> None:
    unknown = torch.full((4,), -1)
    for term in (
        lambda x: cross_entropy(x, unknown),
        lambda x: binary_cross_entropy(x, unknown[:, None].expand(4, 3)),
        lambda x: cross_modality_loss(x, x.detach() + 1, unknown),
        lambda x: within_modality_loss(x, unknown),
    ):
        x = torch.randn(4, 3, requires_grad=True)
        loss = term(x)
        loss.backward()
        assert float(loss) == 0
        assert not x.grad.any()
