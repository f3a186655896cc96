"""Gradient checkpointing changes memory and nothing else; the memory is what `model.memory` says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import MODELS, Detector
from model.memory import activation_bytes

NARROW = {"encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
LABELS = {name: torch.tensor([1, 0]) for name in ("v_label", "a_label", "c_label", "m_label")}
# AV-HuBERT base but for the positional kernel, whose memory does not depend on the clips.
BASE = {"encoder_layers": 2, "conv_pos": 8}
CASES = [(checkpointed, train_frontend) for checkpointed in (False, True) for train_frontend in (False, True)]
# Training steps in a process of its own, and the bytes that each takes at its highest point.
STEPS = """
import re, sys
from pathlib import Path

from tests.model.test_activation_checkpointing import CASES, base, torch

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def measured(detector, clips, frames):
    video, audio = torch.randn(clips, 3, frames, 100, 100), torch.randn(clips, 104, frames)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    before = kilobytes("VmRSS")
    outputs = detector(video, audio)
    sum(value.sum() for value in outputs if value is not None).backward()
    return 1024 * (kilobytes("VmHWM") - before)

for case in CASES:
    detector = base(*case)
    measured(detector, 1, 1)  # gradients of the parameters, and what PyTorch sets up once
    print(measured(detector, *map(int, sys.argv[1:])))
"""


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


def base(checkpointed: bool, train_frontend: bool) -> Detector:
    torch.manual_seed(0)
    options = {"checkpoint_activations": checkpointed, "train_frontend": train_frontend}
    detector = MODELS["MRDF_CE"](encoder=BASE, **options).train()
    for layer in detector.model.encoder.layers:
        layer.self_attn.dropout = 0.0  # attention is fused on a CPU without dropout alone
    return detector


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("checkpointed", "train_frontend"), CASES)
def test_what_a_step_keeps(checkpointed: bool, train_frontend: bool, half: bool) -> None:
    detector = base(checkpointed, train_frontend)
    own = {parameter.untyped_storage().data_ptr() for parameter in detector.parameters()}
    copies = {parameter.numel() for parameter in detector.parameters() if parameter.ndim > 1}  # made by autocast
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() not in copies:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    video, audio = torch.randn(2, 3, 6, 100, 100), torch.randn(2, 104, 6)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
        outputs = detector(video, audio)
    assert outputs.logits.requires_grad
    total = sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in own)
    bytes_per_value = 2 if half else 4
    expected = activation_bytes(2, 6, BASE["encoder_layers"], checkpointed, train_frontend, bytes_per_value)
    if checkpointed:  # `expected` counts what is recomputed too
        assert total < 0.7 * expected
    else:
        assert total == pytest.approx(expected, rel=0.1)


def test_formula_grows_with_clips_frames_and_layers() -> None:
    one = activation_bytes(1, 50)
    assert activation_bytes(4, 25) == 2 * one
    layer = activation_bytes(1, 1, encoder_layers=3, bytes_per_value=4) - activation_bytes(1, 1, 2, bytes_per_value=4)
    assert layer == 4 * (8 * 768 + 2 * 3072) + 2 * 768
    assert activation_bytes(1, 50, 12, checkpointed=True) == activation_bytes(1, 50, 0, checkpointed=True) < one


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is measured as on Linux")
def test_memory_of_a_step_is_the_formula() -> None:
    clips, frames = 2, 20
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", STEPS, str(clips), str(frames)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    for case, measured in zip(CASES, done.stdout.split(), strict=True):
        expected = activation_bytes(clips, frames, BASE["encoder_layers"], *case, bytes_per_value=4)
        assert int(measured) == pytest.approx(expected, rel=0.25), case
