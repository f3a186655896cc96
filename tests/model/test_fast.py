"""Detectors made faster give the same scores, and leave the detector as it was."""

import logging

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from model import MODELS, Detector, fast, for_inference
from tests.reference import recipe


def filled(name: str = "MRDF_CE", **options: bool) -> Detector:
    """A detector every weight and running statistic of which matters."""
    detector = MODELS[name](**options)
    for key, value in detector.state_dict().items():
        if value.dtype != torch.int64:
            value.copy_(torch.as_tensor(recipe.weight(key, tuple(value.shape), 3)))
    return detector


def batch() -> tuple[torch.Tensor, ...]:
    found = recipe.detector_batch(5, 2, 4)
    mask = torch.tensor([[False] * 4, [False, False, True, True]])
    return torch.as_tensor(found["video"]), torch.as_tensor(found["audio"]), mask


@pytest.mark.parametrize(("name", "train_frontend"), [*((name, False) for name in MODELS), ("MRDF_CE", True)])
def test_scores_with_folded_norms_are_the_same(name: str, train_frontend: bool) -> None:
    detector = filled(name, train_frontend=train_frontend).train()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    folded = for_inference(detector)
    assert not folded.training
    assert not any(isinstance(module, _BatchNorm) for module in folded.modules())
    assert detector.training
    assert detector.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    with torch.no_grad():
        ours, expected = (made.decide(made(*batch())) for made in (folded, detector.eval()))
    assert torch.equal(ours.decision, expected.decision)
    for field in ("score", "video_score", "audio_score"):
        if getattr(expected, field) is not None:
            torch.testing.assert_close(getattr(ours, field), getattr(expected, field), rtol=0, atol=1e-5)
    embedded, plain = (
        made.model.feature_extractor_video.resnet(batch()[0]).detach() for made in (folded, detector)
    )  # (B, T, 512)
    assert float((embedded - plain).abs().max() / plain.abs().max()) < 1e-5


def test_the_trunk_stays_in_channels_last() -> None:
    convolutions = [module for module in for_inference(filled()).modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 19
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions)


def test_without_a_compiler_one_message_and_the_same_scores(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(*_: object, **__: object) -> None:
        raise RuntimeError("\nInvalidCxxCompiler: No working C++ compiler found\n\nmore")

    monkeypatch.setattr(torch, "compile", no_compiler)
    fast._can_compile.cache_clear()
    with caplog.at_level(logging.WARNING):
        detectors = [MODELS["AVDF"](compile_encoder=True).eval(), for_inference(filled(), compiled=True)]
    fast._can_compile.cache_clear()
    (message,) = caplog.messages
    assert message == (
        "--compile: torch.compile does not work here, going on without it: "
        "InvalidCxxCompiler: No working C++ compiler found"
    )
    with torch.no_grad():
        assert all(detector(*batch()).logits.isfinite().all() for detector in detectors)


@pytest.mark.slow
def test_a_compiled_trunk_scores_the_same() -> None:
    plain, compiled = filled().eval(), for_inference(filled(), compiled=True)
    outputs = [detector(*batch()).logits for detector in (plain, compiled)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_trunk_has_the_gradients_of_double_precision() -> None:
    # Not those of the plain trunk in float32, whose BatchNorm sums in one chain where there is one thread: 5e-3 off.
    exact, compiled = filled().double(), filled()
    fast.compile_trunk(compiled)
    found = []
    for detector, dtype in ((exact, torch.float64), (compiled, torch.float32)):
        for module in detector.modules():  # dropout would draw other numbers for the same clips
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        video, audio, mask = batch()
        logits = detector(video.to(dtype), audio.to(dtype), mask).logits
        logits.square().sum().backward()
        gradient = detector.model.feature_extractor_video.resnet.trunk.layer1[0].conv1.weight.grad
        found.append((logits.detach().double(), gradient.double()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    assert float((found[0][1] - found[1][1]).abs().max() / found[0][1].abs().max()) < 1e-4
