"""Official AV-HuBERT checkpoints: pre-trained ones, and fine-tuned ones that hold the same encoder."""

import logging
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairseq.checkpoint import CheckpointError, plain, read_checkpoint
from model.avhubert.config import AVHubertConfig
from model.avhubert.model import AVHubertModel
from utils.errors import DataError

log = logging.getLogger(__name__)

FIELDS = {field.name for field in fields(AVHubertConfig)} - {"video_channels"}
PREFIXES = ("encoder.w2v_model.", "w2v_encoder.w2v_model.")  # of the encoder in fine-tuned models: seq2seq, CTC
HEAD = ("final_proj.weight", "final_proj.bias")  # of the pre-training loss; its width is that loss's affair
FRONTEND = "feature_extractor_video.resnet.frontend3D.0.weight"
HEAD_WIDTH = 64  # of one attention head, in both published sizes


def load_avhubert(path: str | Path) -> AVHubertModel:
    """Load the encoder of an official checkpoint, which is read as `read_avhubert` does.

    Returns
    -------
    AVHubertModel
        On the CPU, float32, in eval mode, with as many video channels as the file has (1 in official ones). A
        `final_proj` that the file does not have keeps random weights.
    """
    config, weights = read_avhubert(path)
    with torch.device("meta"):  # random weights for 300 million parameters take their time
        model = AVHubertModel(config)
    model.to_empty(device="cpu")
    model.final_proj.reset_parameters()
    model.load_state_dict(weights, strict=False)  # `read_avhubert` has seen that only final_proj may be missing
    return model.eval()


def start_encoder(path: str | Path) -> tuple[AVHubertConfig, dict[str, Tensor]]:
    """The encoder of an official checkpoint for a detector's RGB video, as `read_avhubert` gives it.

    Each channel of the front end's kernel is a third of a grey one, so that grey video gives the file's own features; a
    kernel of three channels stays as it is. The log says what was loaded.
    """
    config, weights = read_avhubert(path)
    grey = config.video_channels == 1
    if grey:
        weights[FRONTEND] = (weights[FRONTEND] / 3).repeat(1, 3, 1, 1, 1)  # (64, 3, 5, 7, 7)
    log.info(
        "%s: starting from its encoder: %d layers, width %d, %s-norm, %d tensors%s",
        path,
        config.encoder_layers,
        config.encoder_embed_dim,
        "pre" if config.layer_norm_first else "post",
        len(weights),
        ", grey kernel spread over RGB" if grey else "",
    )
    return replace(config, video_channels=3), weights


def read_avhubert(path: str | Path) -> tuple[AVHubertConfig, dict[str, Tensor]]:
    """Read the encoder of an official checkpoint without running anything in the file; the log says what is left aside.

    The encoder's shape comes from the file's `cfg.model` or `args`, in a fine-tuned one from the `w2v_args` within;
    where there are none, from the weights (see the log).

    Returns
    -------
    config
        The configuration of the encoder, with fairseq's default where the file lacks a field.
    weights
        Official name → tensor, on the CPU: all that `AVHubertModel(config)` needs, save perhaps `final_proj`, which is
        of another shape in some files and absent from fine-tuned ones.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is no fairseq checkpoint, a weight is missing, odd or of another shape than the configuration says, or
        the configuration has a field or value that is not known.
    """
    checkpoint = read_checkpoint(path)
    entries = checkpoint.get("model")
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise CheckpointError(f"{path}: holds no 'model' with weights by their names, as fairseq saves it")
    prefix = next((prefix for prefix in PREFIXES for name in entries if name.startswith(prefix)), "")
    found = {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
    try:
        config = _config(path, checkpoint, found, fine_tuned=prefix != "")
        weights = _fitting(config, found, Path(path).stat().st_size, fine_tuned=prefix != "")
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from error
    others = [name for name in entries if not (name.startswith(prefix) and name.removeprefix(prefix) in weights)]
    others += [
        str(name) for name, entry in checkpoint.items() if name not in ("args", "cfg", "model") and entry is not None
    ]
    if others:
        parts = dict.fromkeys(name.removeprefix(prefix).partition(".")[0] for name in others)
        named = ", ".join(part if part.isprintable() else ascii(part) for part in parts)
        log.warning("%s: only the encoder is used; left aside: %s", path, named)
    return config, weights


def _config(path: str | Path, checkpoint: dict[str, Any], found: dict[str, Any], fine_tuned: bool) -> AVHubertConfig:
    """The encoder's configuration, checked against what the weights show."""
    matches = (re.match(r"encoder\.layers\.(\d+)\.", name) for name in found)
    layers = len({match[1] for match in matches if match})
    source, values = _stated(checkpoint, fine_tuned)
    if source:
        values = _known(path, source, values)
    elif fine_tuned:
        source, values = "list of weights", _shown_by_weights(found, layers)
        heads = values["encoder_attention_heads"]
        text = (
            "%s: does not say what shape the encoder is; taken from its weights, with %d attention heads and pre-norm"
        )
        log.warning(text, path, heads)
    else:
        raise DataError("has neither cfg.model nor args, which say what shape the encoder is")
    try:
        config = AVHubertConfig(**values)
    except DataError as error:
        raise DataError(f"its {source} says {error}") from error
    if config.encoder_layers != layers:
        raise DataError(f"its {source} says encoder_layers={config.encoder_layers}, but it holds {layers} layers")
    channels = _size(found, FRONTEND, 5)[1]
    if channels not in (1, 3):
        raise DataError(f"{FRONTEND} takes {channels} channels; grey (1) or RGB (3) are supported")
    return replace(config, video_channels=channels)


def _stated(checkpoint: dict[str, Any], fine_tuned: bool) -> tuple[str, dict[str, Any]]:
    """Where the file has the encoder's configuration, and what that is; nothing if nowhere."""
    cfg, args = _mapping(checkpoint.get("cfg")), _mapping(checkpoint.get("args"))
    model = _mapping(cfg.get("model"))
    places: list[tuple[str, dict[str, Any], bool]] = []  # where, its values, whether they are the encoder's alone
    if fine_tuned:
        for place, outer in (("cfg.model.w2v_args", model), ("cfg.w2v_args", cfg), ("args.w2v_args", args)):
            inner = _mapping(outer.get("w2v_args"))
            places += [(f"{place}.model", _mapping(inner.get("model")), True), (place, inner, False)]
    places += [("cfg.model", model, not fine_tuned), ("args", args, False)]
    for place, values, alone in places:
        # Arguments of a command line lie in one heap with the task's and the optimiser's, and a fine-tuned model has
        # fields of its own, such as dropout.
        known = {name: value for name, value in values.items() if alone or name in FIELDS}
        if any(alone or name.startswith("encoder_") for name in known):
            return place, known
    return "", {}


def _mapping(value: Any) -> dict[str, Any]:
    """A dict, or what a record holds as one, with plain values; an empty one for anything else."""
    value = plain(value)
    entries = value.items() if isinstance(value, dict) else ()
    return {name: plain(entry) for name, entry in entries if isinstance(name, str)}


def _known(path: str | Path, source: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of known fields, if all others are off or empty."""
    unknown = sorted(values.keys() - FIELDS)
    for name in unknown:
        if isinstance(values[name], Tensor) or values[name]:
            raise DataError(f"its {source} has {name!a}, which AV-HuBERT does not know")
    if unknown:
        text = "%s: its %s has fields that are not known, all off or empty: %s"
        log.warning(text, path, source, ", ".join(map(ascii, unknown)))
    known = {name: value for name, value in values.items() if name in FIELDS}
    return {name: tuple(map(plain, value)) if isinstance(value, list) else value for name, value in known.items()}


def _shown_by_weights(found: dict[str, Any], layers: int) -> dict[str, Any]:
    """The configuration that the weights show; heads and pre-norm, which they do not, as in the published sizes."""
    D, group_width, conv_pos = _size(found, "encoder.pos_conv.0.weight_v", 3)
    if D % HEAD_WIDTH:
        raise DataError(f"does not say what shape the encoder is, and one of width {D} is none of the published ones")
    return {
        "encoder_layers": layers,
        "encoder_embed_dim": D,
        "encoder_ffn_embed_dim": _size(found, "encoder.layers.0.fc1.weight", 2)[0],
        "encoder_attention_heads": D // HEAD_WIDTH,
        "layer_norm_first": True,
        "conv_pos": conv_pos,
        "conv_pos_groups": D // max(group_width, 1),
        "audio_feat_dim": _size(found, "feature_extractor_audio.proj.weight", 2)[1],
        "modality_fuse": "add" if _size(found, "layer_norm.weight", 1) == (D,) else "concat",
    }


def _size(found: dict[str, Any], name: str, ndim: int) -> tuple[int, ...]:
    """The shape of the tensor `name`, which has to have as many dimensions."""
    shape = tuple(_tensor(found, name).shape)
    if len(shape) != ndim:
        raise DataError(f"{name} is {shape}, but needs {ndim} dimensions")
    return shape


def _tensor(found: dict[str, Any], name: str) -> Tensor:
    if name not in found:
        raise DataError(f"{name} is missing")
    value = found[name]
    if not isinstance(value, Tensor) or value.is_meta or value.layout != torch.strided:
        raise DataError(f"{name} is a {type(value).__name__}, not a tensor that holds all its values")
    return value.detach()


def _fitting(config: AVHubertConfig, found: dict[str, Any], most_bytes: int, fine_tuned: bool) -> dict[str, Tensor]:
    """Those weights that the model has, each of the right shape and type."""
    with torch.device("meta"):  # nothing is allocated for a shape that the file may have made up
        expected: Mapping[str, Tensor] = AVHubertModel(config).state_dict()
    parts = {name.partition(".")[0] for name in expected} - {"final_proj"}
    for name in found:
        if name not in expected and name.partition(".")[0] in parts:
            raise DataError(f"{name!a} does not belong to AV-HuBERT's encoder")
    odd_head = any(name in found and getattr(found[name], "shape", None) != expected[name].shape for name in HEAD)
    weights = {}
    for name, like in expected.items():
        if name in HEAD and (odd_head or (fine_tuned and name not in found)):
            continue
        value = _tensor(found, name)
        if value.shape != like.shape:
            raise DataError(f"{name} is {tuple(value.shape)}, but its configuration needs {tuple(like.shape)}")
        if value.is_floating_point() != like.is_floating_point() or value.dtype == torch.bool:
            raise DataError(f"{name} holds {value.dtype}, where {like.dtype} is needed")
        weights[name] = value
    # Tensors may lie over one another, and a small file must not ask for a large model.
    if sum(value.nbytes for value in weights.values()) > most_bytes:
        raise DataError("its weights share memory: together they are larger than the file")
    weights = {name: value.to(expected[name].dtype, copy=True) for name, value in weights.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise DataError(f"{name} holds values that are NaN or infinite")
    return weights
