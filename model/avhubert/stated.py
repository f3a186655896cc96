"""What an official AV-HuBERT checkpoint says of its encoder: where it does, and values that make no model."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from fairseq.record import Record, plain
from fairseq.unpickle import CheckpointError
from model.avhubert.config import AVHubertConfig

log = logging.getLogger(__name__)

FIELDS = {field.name for field in fields(AVHubertConfig)} - {"video_channels"}
# What the model is built from, and the least that each may be. What else the configuration holds has no effect on it.
COUNTS = {
    "encoder_layers": 0,
    "encoder_embed_dim": 1,
    "encoder_ffn_embed_dim": 1,
    "encoder_attention_heads": 1,
    "conv_pos": 1,
    "conv_pos_groups": 1,
    "final_dim": 0,
    "audio_feat_dim": 1,
    "sub_encoder_layers": 0,
}
LARGEST = 1_000_000  # no such model exists
# A small file may name many layers and leave out the head, and so ask for much time and memory.
MOST = {"encoder_layers": 256, "final_dim": 16_384}
CHOICES = ("activation_fn", "modality_fuse", "resnet_relu_type")
RATES = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "dropout_input",
    "modality_dropout",
    "audio_dropout",
    "feature_grad_mult",
)


def model_values(checkpoint: dict[str, Any], fine_tuned: bool) -> tuple[str, dict[str, Any] | None]:
    """The encoder's configuration as the file has it, and where it was found; None if nowhere."""
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
    return "", None


def _mapping(value: Any) -> dict[str, Any]:
    """A dict or a record as a dict with plain values; an empty one for anything else."""
    value = plain(value)
    entries = dict(value) if isinstance(value, (dict, Record)) else {}
    return {name: plain(entry) for name, entry in entries.items() if isinstance(name, str)}


def config_of_values(path: str | Path, source: str, values: dict[str, Any]) -> AVHubertConfig:
    """A configuration from the file's values, if all its fields are known, save those that are off or empty."""
    unknown = sorted(values.keys() - FIELDS)
    for name in unknown:
        if not _is_off(values[name]):
            raise CheckpointError(f"{path}: its {source} has {name!a}, which AV-HuBERT does not know")
    if unknown:
        log.warning(
            "%s: its %s has fields that are not known, all off or empty: %s",
            path,
            source,
            ", ".join(map(ascii, unknown)),
        )
    values = {name: value for name, value in values.items() if name in FIELDS}
    values = {name: tuple(value) if isinstance(value, (list, Record)) else value for name, value in values.items()}
    return AVHubertConfig(**values)


def _is_off(value: Any) -> bool:
    """Whether a field's value says that what the field is about is not used."""
    if isinstance(value, Record):
        return value.module.partition(".")[0] == "omegaconf" and len(value) == 0
    return not isinstance(value, Tensor) and not value


def check_values(path: str | Path, source: str, config: AVHubertConfig) -> None:
    """Refuse values that the model cannot be built from."""
    for name, least in COUNTS.items():
        value = getattr(config, name)
        most = MOST.get(name, LARGEST)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _bad_value(path, source, name, value, f"a whole number from {least} to {most}")
    for name in RATES:
        value = getattr(config, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise _bad_value(path, source, name, value, "a number from 0 to 1")
    for name in CHOICES:
        if not isinstance(getattr(config, name), str):
            raise _bad_value(path, source, name, getattr(config, name), "a name")
    if not isinstance(config.layer_norm_first, bool):
        raise _bad_value(path, source, "layer_norm_first", config.layer_norm_first, "True or False")
    for name in ("encoder_attention_heads", "conv_pos_groups"):
        if config.encoder_embed_dim % getattr(config, name):
            expected = f"a divisor of encoder_embed_dim={config.encoder_embed_dim}"
            raise _bad_value(path, source, name, getattr(config, name), expected)


def _bad_value(path: str | Path, source: str, name: str, value: Any, expected: str) -> CheckpointError:
    shown = f"{value!a}"[:100] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return CheckpointError(f"{path}: its {source} says {name}={shown}, which is not {expected}")
