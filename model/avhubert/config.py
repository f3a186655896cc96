"""Configuration of AV-HuBERT, with the names and defaults of fairseq's `cfg.model`, and of a detector's encoder."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from utils.errors import DataError

INPUTS: dict[str, Any] = {"video_channels": 3, "audio_feat_dim": 104}  # what the detectors see and hear


def _checked(default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    return field(default=default, metadata={"fits": fits, "expected": expected})


def _whole(default: int, least: int = 1, most: int = 1_000_000) -> Any:
    """A whole number; no larger model exists, and a small file must not ask for one."""
    expected = f"a whole number from {least} to {most}"
    return _checked(default, lambda value: type(value) is int and least <= value <= most, expected)


def _rate(default: float) -> Any:
    return _checked(default, lambda value: type(value) in (int, float) and 0 <= value <= 1, "a number from 0 to 1")


def _one_of(default: Any, *choices: Any) -> Any:
    """What the published models use, and what is written here; compared by type too, as 1 is equal to True."""

    def fits(value: Any) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return _checked(default, fits, " or ".join(map(str, choices)))


@dataclass
class AVHubertConfig:
    """Shape and regularisation of an AV-HuBERT model.

    Every entry of an official checkpoint's `cfg.model` is a field, so `AVHubertConfig(**cfg)` takes one as it is; the
    last group is kept for that alone. `video_channels` is this project's own: official models see grey mouth crops,
    the detectors RGB faces. A value that the model cannot be built from is a DataError.
    """

    # The encoder
    encoder_layers: int = _whole(12, least=0, most=256)
    encoder_embed_dim: int = _whole(768)
    encoder_ffn_embed_dim: int = _whole(3072)
    encoder_attention_heads: int = _whole(12)
    activation_fn: str = _one_of("gelu", "gelu", "relu")
    layer_norm_first: bool = _one_of(False, True, False)
    conv_pos: int = _whole(128)
    conv_pos_groups: int = _whole(16)
    final_dim: int = _whole(0, least=0, most=16_384)  # 0: as wide as the encoder

    # The two streams and their fusion
    audio_feat_dim: int = _whole(104)
    video_channels: int = 1
    modality_fuse: str = _one_of("concat", "concat", "add")
    resnet_relu_type: str = _one_of("prelu", "prelu")
    sub_encoder_layers: int = _one_of(0, 0)

    # Dropout in training, and the factor on the gradient that reaches the two streams
    dropout: float = _rate(0.1)
    attention_dropout: float = _rate(0.1)
    activation_dropout: float = _rate(0.0)
    encoder_layerdrop: float = _rate(0.0)
    dropout_input: float = _rate(0.0)
    modality_dropout: float = _rate(0.0)
    audio_dropout: float = _rate(0.0)
    feature_grad_mult: float = _rate(1.0)

    # Pre-training and speech recognition: read from checkpoints, without effect here
    _name: str = "av_hubert"
    dropout_features: float = 0.0  # of a copy of the features of which the official model makes no further use
    extractor_mode: str = "default"
    label_rate: int = -1
    input_modality: str = "???"
    untie_final_proj: bool = False
    conv_feature_layers: str = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    conv_bias: bool = False
    logit_temp: float = 0.1
    target_glu: bool = False
    mask_length_audio: int = 10
    mask_prob_audio: float = 0.65
    mask_length_image: int = 10
    mask_prob_image: float = 0.65
    mask_selection: str = "static"
    mask_other: float = 0.0
    no_mask_overlap: bool = False
    mask_min_space: int = 1
    mask_channel_length: int = 10
    mask_channel_prob: float = 0.0
    mask_channel_selection: str = "static"
    mask_channel_other: float = 0.0
    no_mask_channel_overlap: bool = False
    mask_channel_min_space: int = 1
    latent_temp: tuple[float, float, float] = (2.0, 0.5, 0.999995)
    skip_masked: bool = False
    skip_nomask: bool = False
    resnet_weights: str | None = None
    sim_type: str = "cosine"
    selection_type: str = "same_other_seq"
    masking_type: str = "input"
    decoder_embed_dim: int = 768
    decoder_ffn_embed_dim: int = 3072
    decoder_layers: int = 6
    decoder_layerdrop: float = 0.0
    decoder_attention_heads: int = 4
    decoder_learned_pos: bool = False
    decoder_normalize_before: bool = False
    no_token_positional_embeddings: bool = False
    decoder_dropout: float = 0.1
    decoder_attention_dropout: float = 0.1
    decoder_activation_dropout: float = 0.0
    max_target_positions: int = 2048
    share_decoder_input_output_embed: bool = False
    no_scale_embedding: bool = True

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.metadata and not each.metadata["fits"](getattr(self, each.name)):
                raise self._bad(each.name, each.metadata["expected"])
        for name in ("encoder_attention_heads", "conv_pos_groups"):
            if self.encoder_embed_dim % getattr(self, name):
                raise self._bad(name, f"a divisor of encoder_embed_dim={self.encoder_embed_dim}")

    def _bad(self, name: str, expected: str) -> DataError:
        value = getattr(self, name)
        shown = f"{value!a}"[:100] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
        return DataError(f"{name}={shown}, which is not {expected}")

    @property
    def fused_dim(self) -> int:
        """Width of the two streams put together."""
        return self.encoder_embed_dim * (2 if self.modality_fuse == "concat" else 1)


def encoder_options(config: AVHubertConfig) -> dict[str, Any]:
    """A configuration as plain values, for the hyperparameter `encoder`, checkpoints and YAML: tuples become lists.

    A value that is not plain, which only fields without effect can have, is left out and gives way to the default.
    """

    def is_plain(value: Any) -> bool:
        return all(map(is_plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | None)

    options = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {name: value for name, value in options.items() if is_plain(value)}


def encoder_config(encoder: dict[str, Any] | None = None, encoder_layers: int | None = None) -> AVHubertConfig:
    """The configuration of a detector's encoder.

    Parameters
    ----------
    encoder
        Fields of `AVHubertConfig`, as `encoder_options` gives them; None for the defaults, and no transformer layer.
    encoder_layers
        Number of transformer layers; None for that of `encoder`.

    Raises
    ------
    DataError
        If a field or a value is not known, the encoder does not take the detectors' input, or the two numbers of layers
        differ.
    """
    if encoder is None:
        return AVHubertConfig(encoder_layers=encoder_layers or 0, **INPUTS)
    known = {field.name for field in fields(AVHubertConfig)}
    for name in encoder:
        if name not in known:
            raise DataError(f"encoder: {name!a} is not a field of AV-HuBERT's configuration")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in encoder.items()}
    config = AVHubertConfig(**INPUTS | values)
    for name, expected in INPUTS.items():
        if getattr(config, name) != expected:
            raise DataError(f"encoder: {name} is {getattr(config, name)!a}, but the detectors need {expected}")
    if encoder_layers not in (None, config.encoder_layers):
        raise DataError(
            f"encoder_layers is {encoder_layers}, but the encoder given has {config.encoder_layers}; leave it out"
        )
    return config
