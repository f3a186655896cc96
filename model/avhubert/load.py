"""Official AV-HuBERT checkpoints: pre-trained ones, and fine-tuned ones that hold the same encoder."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairseq.checkpoint import read_checkpoint
from fairseq.unpickle import CheckpointError
from model.avhubert.config import AVHubertConfig
from model.avhubert.model import AVHubertModel
from model.avhubert.stated import check_values, config_of_values, model_values

log = logging.getLogger(__name__)

PREFIXES = ("encoder.w2v_model.", "w2v_encoder.w2v_model.")  # of the encoder in fine-tuned models: seq2seq, CTC
HEAD = "final_proj."  # of the pre-training loss; its width is that loss's affair
FRONTEND = "feature_extractor_video.resnet.frontend3D.0.weight"
HEAD_WIDTH = 64  # of one attention head, in both published sizes


def load_avhubert(path: str | Path) -> AVHubertModel:
    """Load the encoder of an official checkpoint.

    Parameters
    ----------
    path
        A checkpoint as fairseq writes it, pre-trained or fine-tuned; see `read_avhubert`.

    Returns
    -------
    AVHubertModel
        On the CPU, float32, in eval mode, with as many video channels as the file has (1 in official ones). A
        `final_proj` that the file does not have keeps random weights.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file cannot be used; the message says why.
    """
    config, weights, _ = read_avhubert(path)
    with torch.device("meta"):  # random weights for 300 million parameters take their time
        model = AVHubertModel(config)
    model.to_empty(device="cpu")
    model.final_proj.reset_parameters()
    model.load_state_dict(weights, strict=False)  # `read_avhubert` has seen that only final_proj may be missing
    return model.eval()


def read_avhubert(path: str | Path) -> tuple[AVHubertConfig, dict[str, Tensor], list[str]]:
    """Read the encoder of an official checkpoint without running anything in the file.

    Parameters
    ----------
    path
        A checkpoint as fairseq writes it. The encoder's shape comes from its `cfg.model` or `args`, in a fine-tuned
        one from the `w2v_args` within; where there are none, from the weights (see the log).

    Returns
    -------
    config
        The configuration of the encoder, with fairseq's default where the file lacks a field.
    weights
        Official name → tensor, on the CPU: all that `AVHubertModel(config)` needs, save perhaps `final_proj`, which is
        of another shape in some files and absent from fine-tuned ones.
    left_aside
        Names of the file's other entries, which the log tells too.

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
    config = _config(path, checkpoint, found, fine_tuned=prefix != "")
    weights = _fitting(path, config, found, fine_tuned=prefix != "")
    left_aside = [name for name in entries if not (name.startswith(prefix) and name.removeprefix(prefix) in weights)]
    left_aside += [
        str(name) for name, value in checkpoint.items() if name not in ("args", "cfg", "model") and value is not None
    ]
    if left_aside:
        log.warning("%s: only the encoder is used; left aside: %s", path, _summary(left_aside))
    return config, weights, left_aside


def _config(path: str | Path, checkpoint: dict[str, Any], found: dict[str, Any], fine_tuned: bool) -> AVHubertConfig:
    """The encoder's configuration, checked against what the weights show."""
    matches = (re.match(r"encoder\.layers\.(\d+)\.", name) for name in found)
    layers = len({match[1] for match in matches if match})
    source, values = model_values(checkpoint, fine_tuned)
    if values is not None:
        config = config_of_values(path, source, values)
    elif fine_tuned:
        source, config = "list of weights", _config_of_weights(path, found, layers)
        log.warning(
            "%s: does not say what shape the encoder is; taken from its weights, with %d attention heads and pre-norm",
            path,
            config.encoder_attention_heads,
        )
    else:
        raise CheckpointError(f"{path}: has neither cfg.model nor args, which say what shape the encoder is")
    check_values(path, source, config)
    if config.encoder_layers != layers:
        raise CheckpointError(
            f"{path}: its {source} says encoder_layers={config.encoder_layers}, but it holds {layers} layers"
        )
    channels = _size(path, found, FRONTEND, 5)[1]
    if channels not in (1, 3):
        raise CheckpointError(f"{path}: {FRONTEND} takes {channels} channels; grey (1) or RGB (3) are supported")
    return replace(config, video_channels=channels)


def _config_of_weights(path: str | Path, found: dict[str, Any], layers: int) -> AVHubertConfig:
    """The configuration that the weights show; heads and pre-norm, which they do not, as in the published sizes."""
    D, group_width, conv_pos = _size(path, found, "encoder.pos_conv.0.weight_v", 3)
    if D % HEAD_WIDTH:
        raise CheckpointError(
            f"{path}: does not say what shape the encoder is, and one of width {D} is none of the published ones"
        )
    return AVHubertConfig(
        encoder_layers=layers,
        encoder_embed_dim=D,
        encoder_ffn_embed_dim=_size(path, found, "encoder.layers.0.fc1.weight", 2)[0],
        encoder_attention_heads=D // HEAD_WIDTH,
        layer_norm_first=True,
        conv_pos=conv_pos,
        conv_pos_groups=D // max(group_width, 1),
        audio_feat_dim=_size(path, found, "feature_extractor_audio.proj.weight", 2)[1],
        modality_fuse="add" if _size(path, found, "layer_norm.weight", 1) == (D,) else "concat",
    )


def _size(path: str | Path, found: dict[str, Any], name: str, ndim: int) -> tuple[int, ...]:
    """The shape of the tensor `name`, which has to have as many dimensions."""
    shape = tuple(_tensor(path, found, name).shape)
    if len(shape) != ndim:
        raise CheckpointError(f"{path}: {name} is {shape}, but needs {ndim} dimensions")
    return shape


def _tensor(path: str | Path, found: dict[str, Any], name: str) -> Tensor:
    if name not in found:
        raise CheckpointError(f"{path}: {name} is missing")
    if not isinstance(found[name], Tensor):
        raise CheckpointError(f"{path}: {name} is a {type(found[name]).__name__}, not a tensor")
    return found[name]


def _fitting(path: str | Path, config: AVHubertConfig, found: dict[str, Any], fine_tuned: bool) -> dict[str, Tensor]:
    """Those weights that the model has, each of the right shape and type."""
    try:
        with torch.device("meta"):  # nothing is allocated for a shape that the file may have made up
            expected = AVHubertModel(config).state_dict()
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {str(error)[:200]}") from error
    parts = {name.partition(".")[0] for name in expected} - {HEAD.rstrip(".")}
    for name in found:
        if name not in expected and name.partition(".")[0] in parts:
            raise CheckpointError(f"{path}: {name!a} does not belong to AV-HuBERT's encoder")
    heads = [name for name in expected if name.startswith(HEAD)]
    odd_head = any(name in found and getattr(found[name], "shape", None) != expected[name].shape for name in heads)
    weights = {}
    for name, like in expected.items():
        if name in heads and (odd_head or (fine_tuned and name not in found)):
            continue
        value = _tensor(path, found, name)
        if value.shape != like.shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(value.shape)}, but its configuration needs {tuple(like.shape)}"
            )
        if value.is_floating_point() != like.is_floating_point() or value.dtype == torch.bool:
            raise CheckpointError(f"{path}: {name} holds {value.dtype}, where {like.dtype} is needed")
        weights[name] = value
    # Tensors may lie over one another, and a small file must not ask for a large model.
    if sum(value.nbytes for value in weights.values()) > Path(path).stat().st_size:
        raise CheckpointError(f"{path}: its weights share memory: together they are larger than the file")
    weights = {name: value.to(expected[name].dtype) for name, value in weights.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds values that are NaN or infinite")
    return weights


def _summary(names: Iterable[str]) -> str:
    """Names in one line, with those that begin alike and are many as one."""
    names = list(names)
    counts = Counter(name.partition(".")[0] for name in names)
    starts = ((name, name.partition(".")[0]) for name in names)
    shown = dict.fromkeys(f"{start}.* ({counts[start]})" if counts[start] > 4 else name for name, start in starts)
    return ", ".join(name if name.isprintable() else ascii(name) for name in shown)
