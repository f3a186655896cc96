"""Official AV-HuBERT checkpoints: the features that they must give, every part of them that may be odd, and the log."""

import argparse
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fairseq import CheckpointError
from model.avhubert import AVHubertConfig, AVHubertModel, load_avhubert, read_avhubert
from tests.reference import recipe

Weights = dict[str, Tensor]
Log = pytest.LogCaptureFixture
REFERENCE = Path(__file__).parents[1] / "reference"
SIZES = json.loads((REFERENCE / "avhubert.json").read_text())
SMALL = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "conv_pos": 8,
    "conv_pos_groups": 2,
    "final_dim": 12,
    "layer_norm_first": True,
}
FRONTEND = "feature_extractor_video.resnet.frontend3D.0.weight"


def agree(actual: Tensor, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual.detach().numpy() - expected).max() < 2e-5 * np.abs(expected).max()


def hollow(**cfg: Any) -> Weights:
    """Weights of the right shapes, all of one value, in half precision to take little room."""
    with torch.device("meta"):
        model = AVHubertModel(AVHubertConfig(**cfg))
    official = {name: like.half() if like.is_floating_point() else like for name, like in model.state_dict().items()}
    return {name: torch.full(like.shape, 0.5).to(like.dtype) for name, like in official.items()}


def save(path: Path, weights: dict[str, Any], cfg: Any, **more: Any) -> Path:
    torch.save({"args": None, "cfg": cfg, "model": weights, **more}, path)
    return path


@pytest.fixture(scope="module")
def small() -> Weights:
    return hollow(**SMALL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "avhubert.pt"


@pytest.mark.parametrize("name", ["avhubert_official_format", "avhubert_official_format_omegaconf"])
@torch.no_grad()
def test_features_of_official_files(name: str, file: Path, caplog: Log) -> None:
    file.write_bytes(lzma.decompress((REFERENCE / f"{name}.pt.xz").read_bytes()))
    model = load_avhubert(file)
    assert not model.training
    assert (model.config.video_channels, model.config.encoder_layers, model.config.latent_temp) == (
        1,
        2,
        (2, 0.5, 0.999995),
    )
    video, audio = map(torch.as_tensor, recipe.avhubert_inputs(1234, 2, 10))
    expected = np.load(REFERENCE / "avhubert_official_format.npz")
    assert expected.files == ["x"]
    agree(model.extract_features(audio, video), expected["x"])
    assert caplog.messages == [
        f"{file}: only the encoder is used; left aside: label_embs_concat, optimizer_history, task_state, extra_state"
    ]
    trunk = model.feature_extractor_video.resnet.trunk.layer1[0].conv1.weight
    assert trunk.is_contiguous(memory_format=torch.channels_last)  # as in a new model


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_features_of_every_kind(size: str, file: Path) -> None:
    """Each stream, both, masked, one missing, a middle layer; pre- and post-norm; both of PyTorch's formats."""
    expected, arrays = SIZES[size], np.load(REFERENCE / "avhubert.npz")
    weights = {
        name: torch.as_tensor(recipe.weight(name, tuple(shape), expected["weights_seed"]))
        for name, shape in expected["state_dict"].items()
    }
    weights |= {name: torch.tensor(0) for name in weights if name.endswith("num_batches_tracked")}
    torch.save(
        {"cfg": {"model": expected["cfg"]}, "model": weights}, file, _use_new_zipfile_serialization=size != "deep"
    )
    model = load_avhubert(file)
    video, audio = map(torch.as_tensor, recipe.avhubert_inputs(**expected["inputs"]))
    mask = torch.zeros(audio.shape[0], audio.shape[2], dtype=torch.bool)
    mask[1, 12:] = mask[2, 5:] = True
    for kind, features in {
        "av": model.extract_features(audio, video),
        "av_masked": model.extract_features(audio, video, mask),
        "layer1": model.extract_features(audio, video, output_layer=1),
        "audio_only": model.extract_features(audio=audio),
        "video_only": model.extract_features(video=video),
        "feat_audio": model.feature_extractor_audio(audio).transpose(1, 2),
        "feat_video": model.feature_extractor_video(video).transpose(1, 2),
    }.items():
        agree(features, arrays[f"{size}/{kind}"])


@pytest.mark.parametrize(
    "cfg",
    [
        {"encoder_embed_dim": 96},  # the rest fairseq's defaults: base, post-norm
        {"layer_norm_first": True, "encoder_layers": 1, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096}
        | {"encoder_attention_heads": 16},  # large, but for its depth
        {"encoder_embed_dim": 48, "video_channels": 3, "modality_fuse": "add", "conv_pos_groups": 2},
    ],
)
def test_published_widths_and_defaults(cfg: dict[str, Any], file: Path, caplog: Log) -> None:
    weights = hollow(**cfg)
    named = {name: value for name, value in cfg.items() if name != "video_channels"}
    save(file, weights, {"model": named | {"_name": "av_hubert"}})
    config, read = read_avhubert(file)
    assert config == AVHubertConfig(**cfg)
    assert list(read) == list(weights)
    assert not caplog.messages


@torch.no_grad()
def test_many_layers(file: Path) -> None:
    cfg = SMALL | {"encoder_layers": 24, "encoder_attention_heads": 16}
    original = AVHubertModel(AVHubertConfig(**cfg)).eval()
    loaded = load_avhubert(save(file, original.state_dict(), {"model": cfg}))
    assert len(loaded.encoder.layers) == 24
    audio, video = torch.randn(1, 104, 3), torch.randn(1, 1, 3, 88, 88)
    assert torch.equal(loaded.extract_features(audio, video), original.extract_features(audio, video))


def test_half_precision_becomes_single(small: Weights, file: Path) -> None:
    model = load_avhubert(save(file, small, {"model": SMALL}))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32, torch.int64}
    assert model.mask_emb.eq(0.5).all()


@pytest.mark.parametrize("kind", [argparse.Namespace, dict])
def test_arguments_of_the_command_line_alone(kind: type, small: Weights, file: Path) -> None:
    torch.save({"args": kind(arch="av_hubert", lr=[0.1], **SMALL), "model": small}, file)
    config, _ = read_avhubert(file)
    assert config == AVHubertConfig(**SMALL)


SEQ2SEQ = {"_name": "av_hubert_seq2seq", "w2v_path": "/none", "dropout": 0.3, "decoder_layers": 6, "w2v_args": None}


@pytest.mark.parametrize(
    ("cfg", "args"),
    [
        ({"model": SEQ2SEQ | {"w2v_args": {"model": SMALL, "task": {"_name": "x"}}}}, None),
        ({"model": SEQ2SEQ | {"w2v_args": argparse.Namespace(lr=1, **SMALL)}}, None),
        ({"model": SEQ2SEQ, "w2v_args": {"model": SMALL}}, None),
        ({"model": SEQ2SEQ | SMALL | {"dropout": 0.1, "decoder_layers": 6}}, None),
        (None, argparse.Namespace(w2v_args=argparse.Namespace(**SMALL), dropout=0.3)),
    ],
)
@pytest.mark.parametrize("prefix", ["encoder.w2v_model.", "w2v_encoder.w2v_model."])
def test_fine_tuned(cfg: Any, args: Any, prefix: str, small: Weights, file: Path, caplog: Log) -> None:
    encoder = {name: value for name, value in small.items() if not name.startswith("final_proj")}
    decoder = {f"decoder.layers.{i}.fc1.weight": torch.zeros(2) for i in range(9)}
    nested = {prefix + name: value for name, value in encoder.items()}
    torch.save({"args": args, "cfg": cfg, "model": nested | decoder, "last_optimizer_state": {"step": 1}}, file)
    config, weights = read_avhubert(file)
    assert config.dropout == 0.1
    assert {name: getattr(config, name) for name in SMALL} == SMALL
    assert list(weights) == list(encoder)
    assert caplog.messages == [f"{file}: only the encoder is used; left aside: decoder, last_optimizer_state"]
    assert load_avhubert(file).final_proj.weight.isfinite().all()


def test_fine_tuned_without_its_configuration(small: Weights, file: Path, caplog: Log) -> None:
    cfg = SMALL | {"encoder_embed_dim": 128, "encoder_attention_heads": 2, "final_dim": 0}
    for more in ({}, {"modality_fuse": "add"}):
        nested = {f"encoder.w2v_model.{name}": value for name, value in hollow(**cfg, **more).items()}
        config, _ = read_avhubert(save(file, nested, {"model": SEQ2SEQ}))
        assert config == AVHubertConfig(**cfg, **more)
        assert "taken from its weights, with 2 attention heads and pre-norm" in caplog.text
    nested = {f"encoder.w2v_model.{name}": value for name, value in small.items()}
    with pytest.raises(CheckpointError, match="of width 32 is none of the published ones"):
        read_avhubert(save(file, nested, None))
    name = "encoder.w2v_model.encoder.pos_conv.0.weight_v"
    with pytest.raises(CheckpointError, match="its list of weights says conv_pos=0, which is not"):
        read_avhubert(save(file, nested | {name: torch.zeros(64, 2, 0)}, None))


def test_extra_entries_are_left_aside_and_named(small: Weights, file: Path, caplog: Log) -> None:
    entry = torch.zeros(24, 32)
    extra = {"label_embs_concat": entry, "final_proj.weight": entry, "quantizer.x": entry}
    save(file, small | extra, {"model": SMALL}, last_optimizer_state={"state": {0: torch.zeros(3)}})
    _, weights = read_avhubert(file)
    named = "final_proj, label_embs_concat, quantizer, last_optimizer_state"
    assert caplog.messages == [f"{file}: only the encoder is used; left aside: {named}"]
    assert set(weights) == set(small) - {"final_proj.weight", "final_proj.bias"}
    assert load_avhubert(file).final_proj.weight.isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "mask_emb",
        "feature_extractor_audio.proj.weight",
        FRONTEND,
        "feature_extractor_video.resnet.frontend3D.1.running_var",
        "feature_extractor_video.resnet.frontend3D.2.weight",
        "feature_extractor_video.resnet.trunk.layer2.0.downsample.0.weight",
        "feature_extractor_video.resnet.trunk.layer4.1.bn2.num_batches_tracked",
        "layer_norm.weight",
        "post_extract_proj.weight",
        "encoder.pos_conv.0.weight_g",
        "encoder.pos_conv.0.weight_v",
        "encoder.layers.1.self_attn.k_proj.bias",
    ],
)
def test_missing_and_odd_weights_are_named(name: str, small: Weights, file: Path) -> None:
    weights = dict(small)
    value = weights.pop(name)
    shape = (*value.shape, 7)
    kind, needed = (torch.int32, torch.float32) if value.is_floating_point() else (torch.float32, torch.int64)
    cases = [
        (weights, "is missing"),
        (weights | {name: "text"}, "is a str, not a tensor"),
        (weights | {name: torch.zeros(shape)}, rf"is \({', '.join(map(str, shape))},?\), but "),
        (weights | {name: value.to(kind)}, f"holds {kind}, where {needed} is needed"),
    ]
    for changed, message in cases:
        save(file, changed, {"model": SMALL})
        with pytest.raises(CheckpointError, match=rf"avhubert\.pt: {name} {message}"):
            load_avhubert(file)


def test_weights_that_the_encoder_does_not_have(small: Weights, file: Path) -> None:
    name = "encoder.layers.0.self_attn.rel_pos"
    save(file, small | {name: torch.zeros(2)}, {"model": SMALL})
    with pytest.raises(CheckpointError, match=rf"'{name}' does not belong to AV-HuBERT's encoder"):
        load_avhubert(file)
    save(file, small | {FRONTEND: torch.zeros(64, 2, 5, 7, 7)}, {"model": SMALL})
    with pytest.raises(CheckpointError, match="takes 2 channels"):
        load_avhubert(file)
    save(file, {name: value for name, value in small.items() if name != "final_proj.bias"}, {"model": SMALL})
    with pytest.raises(CheckpointError, match=r"final_proj\.bias is missing"):  # as the file is not fine-tuned
        load_avhubert(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_layers": 12}, r"its cfg\.model says encoder_layers=12, but it holds 2 layers"),
        ({"encoder_embed_dim": 64}, r"is \(32, 104\), but its configuration needs \(64, 104\)"),
        ({"layer_type": "conformer"}, "has 'layer_type', which AV-HuBERT does not know"),
        ({"activation_fn": "tanh"}, "activation_fn='tanh', which is not gelu or relu"),
        ({"activation_fn": 3}, "activation_fn=3, which is not gelu or relu"),
        ({"modality_fuse": "product"}, "modality_fuse='product', which is not concat or add"),
        ({"resnet_relu_type": "relu"}, "resnet_relu_type='relu', which is not prelu"),
        ({"sub_encoder_layers": 1}, "sub_encoder_layers=1, which is not 0"),
        ({"encoder_attention_heads": 5}, "encoder_attention_heads=5, which is not a divisor of encoder_embed_dim=32"),
        ({"conv_pos_groups": 3}, "conv_pos_groups=3, which is not a divisor"),
        ({"conv_pos": 0}, "conv_pos=0, which is not a whole number from 1 to"),
        ({"conv_pos": "${task.x}"}, r"conv_pos='\$\{task.x\}', which is not a whole number"),
        ({"encoder_embed_dim": 10**30}, "encoder_embed_dim=10+, which is not a whole number"),
        ({"encoder_ffn_embed_dim": True}, "encoder_ffn_embed_dim=True, which is not a whole number"),
        ({"dropout": 1.5}, "dropout=1.5, which is not a number from 0 to 1"),
        ({"attention_dropout": [0.1]}, "attention_dropout=a tuple, which is not a number"),
        ({"layer_norm_first": 1}, "layer_norm_first=1, which is not True or False"),
    ],
)
def test_configurations_that_are_odd(change: dict[str, Any], message: str, small: Weights, file: Path) -> None:
    save(file, small, {"model": SMALL | change})
    with pytest.raises(CheckpointError, match=rf"avhubert\.pt: .*{message}"):
        load_avhubert(file)


@pytest.mark.parametrize("checkpoint", [{"cfg": {"model": SMALL}}, {"model": [1]}, {"model": {1: torch.zeros(1)}}])
def test_files_without_weights(checkpoint: dict[str, Any], file: Path) -> None:
    torch.save(checkpoint, file)
    with pytest.raises(CheckpointError, match=r"avhubert\.pt: holds no 'model' with weights"):
        load_avhubert(file)


@pytest.mark.parametrize("cfg", [None, {}, {"model": None}, {"task": {"encoder_layers": 2}}, "text"])
def test_files_without_a_configuration(cfg: Any, small: Weights, file: Path) -> None:
    save(file, small, cfg)
    with pytest.raises(CheckpointError, match=r"has neither cfg\.model nor args"):
        load_avhubert(file)
