"""Detectors that start from official AV-HuBERT weights: what is read, what is remembered, dropout in training."""

import logging
import lzma
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from model import MODELS, CheckpointError, Detector, load_detector
from model.avhubert import AVHubertConfig, AVHubertModel
from model.avhubert.config import encoder_config, encoder_options
from model.avhubert.load import FRONTEND, start_encoder
from tests.model.test_avhubert_official import SMALL
from tests.reference import recipe

REFERENCE = Path(__file__).parents[1] / "reference"
LARGE = {"encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "encoder_attention_heads": 16}


def save(path: Path, **cfg: Any) -> tuple[Path, AVHubertModel]:
    """A checkpoint in fairseq's format, and the model in it."""
    model = AVHubertModel(AVHubertConfig(**SMALL | cfg)).eval()
    values = {name: value for name, value in (SMALL | cfg).items() if name != "video_channels"}
    torch.save({"args": None, "cfg": {"model": values}, "model": model.state_dict()}, path)
    return path, model


def started(path: Path, name: str = "AVDF", **more: Any) -> Detector:
    config, weights = start_encoder(path)
    detector = MODELS[name](encoder=encoder_options(config), **more).eval()
    detector.model.load_state_dict(weights, strict=False)
    return detector


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "official.pt"
    path.write_bytes(lzma.decompress((REFERENCE / "avhubert_official_format_omegaconf.pt.xz").read_bytes()))
    return path


@torch.no_grad()
def test_grey_video_in_rgb_gives_the_features_of_the_official_file(
    official: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    detector = started(official)
    video, audio = map(torch.as_tensor, recipe.avhubert_inputs(1234, 2, 10))
    features = detector.model.extract_features(audio, video.expand(-1, 3, -1, -1, -1)).numpy()
    expected = np.load(REFERENCE / "avhubert_official_format.npz")["x"]
    assert np.abs(features - expected).max() < 2e-5 * np.abs(expected).max()
    D, tensors = detector.model.config.encoder_embed_dim, len(detector.model.state_dict())
    assert [message for message in caplog.messages if "starting from" in message] == [
        f"{official}: starting from its encoder: 2 layers, width {D}, pre-norm, {tensors} tensors, grey kernel spread "
        "over RGB"
    ]


def test_a_kernel_of_three_channels_stays_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path, model = save(tmp_path / "rgb.pt", video_channels=3, layer_norm_first=False)
    config, weights = start_encoder(path)
    assert config == AVHubertConfig(**SMALL | {"video_channels": 3, "layer_norm_first": False})
    for name, value in model.state_dict().items():
        assert torch.equal(weights[name], value), name
    assert caplog.messages[-1].endswith(f"width 32, post-norm, {len(weights)} tensors")
    grey, _ = save(tmp_path / "grey.pt")
    config, weights = start_encoder(grey)
    assert config.video_channels == 3
    assert weights[FRONTEND].shape == (64, 3, 5, 7, 7)


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_brings_its_encoder_back_without_the_official_file(name: str, tmp_path: Path) -> None:
    rates = {"dropout": 0.2, "attention_dropout": 0.3, "encoder_layerdrop": 0.05, "modality_dropout": 0.5}
    path, _ = save(tmp_path / "official.pt", **rates)
    detector = started(path, name, train_frontend=True)
    path.unlink()
    hparams = yaml.safe_load(yaml.safe_dump(dict(detector.hparams)))
    assert hparams == dict(detector.hparams)
    assert hparams["encoder_layers"] == 2
    torch.save(
        {"state_dict": detector.state_dict(), "model_type": name, "hyper_parameters": hparams}, tmp_path / "ours.ckpt"
    )
    loaded = load_detector(tmp_path / "ours.ckpt")
    assert loaded.model.config == detector.model.config == AVHubertConfig(**SMALL | rates | {"video_channels": 3})
    batch = torch.randn(1, 3, 3, 100, 100), torch.randn(1, 104, 3)
    with torch.no_grad():
        for ours, theirs in zip(loaded(*batch), detector(*batch), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)


def test_heads_are_as_wide_as_a_large_encoder() -> None:
    detector = MODELS["MRDF_CE"](encoder=LARGE | {"encoder_layers": 1}).eval()
    assert detector.project_video[1].weight.shape == (1024, 1024)
    assert detector.mm_classifier[0].weight.shape == (1024, 1024)
    assert detector.audio_classifier[0].weight.shape == (2, 1024)
    with torch.no_grad():
        outputs = detector(torch.randn(1, 3, 2, 100, 100), torch.randn(1, 104, 2))
    assert outputs.video_cross.shape == (1, 1024)
    assert outputs.logits.shape == (1, 2)


def test_the_configuration_as_plain_values() -> None:
    config = AVHubertConfig(**SMALL, video_channels=3)
    options = encoder_options(config)
    assert options == asdict(config) | {"latent_temp": [2.0, 0.5, 0.999995]}
    assert encoder_config(options) == config
    config.sim_type = object()  # a field without effect that a checkpoint could not hold
    assert encoder_config(encoder_options(config)).sim_type == "cosine"


def test_layers_are_those_asked_for_or_those_of_the_encoder() -> None:
    assert encoder_config().encoder_layers == 0
    assert encoder_config(None, 3).encoder_layers == 3
    assert encoder_config(SMALL).encoder_layers == encoder_config(SMALL, 2).encoder_layers == 2
    assert MODELS["AVDF"]().hparams.encoder_layers == 0
    for layers in (0, 12):
        with pytest.raises(ValueError, match=f"encoder_layers is {layers}, but the encoder given has 2"):
            MODELS["AVDF"](encoder=SMALL, encoder_layers=layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_type": "x"}, "'layer_type' is not a field of AV-HuBERT's configuration"),
        ({"video_channels": 1}, "video_channels is 1, but the detectors need 3"),
        ({"audio_feat_dim": 26}, "audio_feat_dim is 26, but the detectors need 104"),
        ({"modality_dropout": 1.5}, r"modality_dropout=1\.5, which is not a number from 0 to 1"),
        ({"audio_dropout": "x"}, "audio_dropout='x', which is not a number"),
        ({"modality_fuse": "product"}, "modality_fuse='product', which is not concat or add"),
    ],
)
def test_encoders_that_cannot_be_used(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS["AVDF"](encoder=SMALL | change)
    checkpoint = {"model_type": "AVDF", "hyper_parameters": {"encoder": SMALL | change}}
    weights = {"mm_classifier.2.weight": torch.zeros(2, 32)}
    weights |= {f"model.encoder.layers.{layer}.fc1.bias": torch.zeros(48) for layer in range(2)}
    torch.save(checkpoint | {"state_dict": weights}, tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match=rf"odd\.ckpt: its hyper_parameters do not fit AVDF: .*{message}"):
        load_detector(tmp_path / "odd.ckpt")


def test_dropout_of_the_configuration_is_that_of_the_modules() -> None:
    rates = {"dropout": 0.11, "attention_dropout": 0.12, "activation_dropout": 0.13}
    rates |= {"dropout_input": 0.14, "encoder_layerdrop": 0.15}
    model = MODELS["AVDF"](encoder=SMALL | rates).model
    assert model.dropout_input.p == 0.14
    assert (model.encoder.dropout.p, model.encoder.layerdrop) == (0.11, 0.15)
    for layer in model.encoder.layers:
        assert (layer.dropout.p, layer.self_attn.dropout, layer.activation_dropout.p) == (0.11, 0.12, 0.13)


def fused_streams(model: AVHubertModel, draws: int) -> Tensor:
    """Which of audio and video were there in each of many forward passes, (draws, 2)."""
    seen: list[Tensor] = []
    model.layer_norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].view(2, -1).ne(0).any(dim=1)))
    stream = torch.ones(1, 1, 32)
    with torch.no_grad():
        for _ in range(draws):
            model.encode(stream, stream)
    return torch.stack(seen)


def model_with(**rates: float) -> AVHubertModel:
    silent = {"dropout": 0.0, "attention_dropout": 0.0}
    return AVHubertModel(AVHubertConfig(**SMALL | {"encoder_layers": 0} | silent | rates))


def test_modality_dropout_zeroes_one_stream_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    seen = fused_streams(model_with(modality_dropout=0.4, audio_dropout=0.3).train(), 3000)
    audio, video = seen.double().mean(dim=0).tolist()
    assert audio == pytest.approx(1 - 0.4 * 0.3, abs=0.025)
    assert video == pytest.approx(1 - 0.4 * 0.7, abs=0.03)
    assert seen.any(dim=1).all()  # never both
    assert fused_streams(model_with(modality_dropout=0.4, audio_dropout=0.3).eval(), 50).all()
    assert not fused_streams(model_with(modality_dropout=1.0, audio_dropout=1.0).train(), 50)[:, 0].any()


def test_modality_dropout_repeats_with_the_seed_and_draws_nothing_when_it_is_off() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(fused_streams(model_with(modality_dropout=0.5, audio_dropout=0.5).train(), 40))
    assert torch.equal(*runs)
    model = model_with(audio_dropout=0.5).train()
    before = torch.get_rng_state()
    assert fused_streams(model, 5).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_zeroed_stream_stays_in_the_graph() -> None:
    model = model_with(modality_dropout=1.0, audio_dropout=1.0).train()
    linear = nn.Linear(4, 32)
    model.encode(linear(torch.ones(1, 2, 4)), torch.ones(1, 2, 32)).sum().backward()
    assert linear.weight.grad.eq(0).all()


@pytest.mark.parametrize("recompute", [False, True])
def test_so_much_of_the_gradient_reaches_the_streams(recompute: bool) -> None:
    """The values are the same, and the rest of the model has its whole gradient."""
    video, audio = torch.randn(2, 3, 3, 24, 24), torch.randn(2, 104, 3)
    results = {}
    for factor in (1.0, 0.25, 0.0):
        torch.manual_seed(0)
        options = {"checkpoint_activations": recompute, "train_frontend": True}
        encoder = SMALL | {"dropout": 0.0, "attention_dropout": 0.0, "feature_grad_mult": factor}
        detector = MODELS["AVDF"](encoder=encoder, **options).train()
        logits = detector(video, audio).logits
        logits.square().sum().backward()
        gradients = {name: value.grad for name, value in detector.named_parameters() if value.grad is not None}
        results[factor] = logits, gradients, dict(detector.named_buffers())
    logits, whole, buffers = results[1.0]
    streams = {name for name in whole if "feature_extractor" in name}
    assert any("frontend3D" in name for name in streams)
    assert any("audio" in name for name in streams)
    for factor, (same, gradients, moved) in results.items():
        assert torch.equal(same, logits)
        assert all(torch.equal(value, buffers[name]) for name, value in moved.items())
        assert gradients.keys() == (whole.keys() if factor else whole.keys() - streams)
        for name, value in gradients.items():
            expected = factor * whole[name] if name in streams else whole[name]
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("factor", [-0.1, 1.5, float("nan"), "x"])
def test_shares_of_the_gradient_that_are_none(factor: Any) -> None:
    with pytest.raises(ValueError, match=r"feature_grad_mult=.+, which is not a number from 0 to 1"):
        MODELS["AVDF"](encoder=SMALL | {"feature_grad_mult": factor})
