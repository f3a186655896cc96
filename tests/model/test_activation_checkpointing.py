"""Gradient checkpointing changes memory and nothing else."""

import pytest
import torch
from torch import Tensor

from model import MODELS, Detector

NARROW = {"encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
LABELS = {name: torch.tensor([1, 0]) for name in ("v_label", "a_label", "c_label", "m_label")}
# AV-HuBERT base but for the positional kernel, whose memory does not depend on the clips.
BASE = {"encoder_layers": 2, "conv_pos": 8}


def step(detector: Detector, mask: Tensor | None) -> dict[str, Tensor]:
    """Loss, gradients and running statistics of a training step with dropout, the same at each call."""
    torch.manual_seed(1)
    video, audio = torch.randn(2, 3, 5, 20, 20), torch.randn(2, 104, 5)
    loss = detector.losses(detector(video, audio, mask), LABELS)["loss"]
    loss.backward()
    gradients = {name: value.grad for name, value in detector.named_parameters() if value.grad is not None}
    return {"loss": loss.detach(), "random": torch.rand(3), **gradients, **dict(detector.named_buffers())}


@pytest.mark.parametrize("train_frontend", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_loss_gradients_and_running_statistics_are_the_same(train_frontend: bool, padded: bool) -> None:
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]]) if padded else None
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        encoder = NARROW | {"dropout": 0.2, "attention_dropout": 0.2, "encoder_layerdrop": 0.4}
        detector = MODELS["MRDF_CE"](
            encoder=encoder, train_frontend=train_frontend, checkpoint_activations=checkpointed
        )
        results.append(step(detector.train(), mask))
    without, with_checkpoints = results
    assert without.keys() == with_checkpoints.keys()
    for name, expected in without.items():
        scale = float(expected.abs().max())
        torch.testing.assert_close(with_checkpoints[name], expected, rtol=1e-6, atol=1e-6 * scale, msg=name)
    counts = [value for name, value in with_checkpoints.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)


def test_layers_are_left_out_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = MODELS["AVDF"](encoder=NARROW | {"encoder_layerdrop": 1.0}, checkpoint_activations=True).train()
    monkeypatch.setattr(detector.model.encoder.layers[0], "forward", None)
    step(detector, None)
    assert all(parameter.grad is None for parameter in detector.model.encoder.layers.parameters())


def test_buffers_are_the_same_tensors_after_a_step() -> None:
    # DDP and optimisers hold on to them.
    detector = MODELS["AVDF"](encoder=NARROW, train_frontend=True, checkpoint_activations=True).train()
    before = dict(detector.named_buffers())
    step(detector, None)
    assert all(value is before[name] for name, value in detector.named_buffers())


def test_compiling_and_checkpointing_together_are_refused() -> None:
    with pytest.raises(ValueError, match="compile_encoder and checkpoint_activations"):
        MODELS["AVDF"](compile_encoder=True, checkpoint_activations=True)


@pytest.mark.parametrize("train_frontend", [False, True])
def test_less_is_kept_for_the_backward_pass(train_frontend: bool) -> None:
    assert kept_bytes(True, train_frontend) < 0.4 * kept_bytes(False, train_frontend)


def kept_bytes(checkpointed: bool, train_frontend: bool) -> int:
    """What a step keeps of its activations."""
    torch.manual_seed(0)
    detector = MODELS["MRDF_CE"](
        encoder=BASE, checkpoint_activations=checkpointed, train_frontend=train_frontend
    ).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in detector.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        detector(torch.randn(2, 3, 6, 100, 100), torch.randn(2, 104, 6))
    return sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in own)
