"""Configuration of AV-HuBERT, with the names and defaults of fairseq's `cfg.model`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AVHubertConfig:
    """Shape and regularisation of an AV-HuBERT model.

    Every entry of an official checkpoint's `cfg.model` is a field, so `AVHubertConfig(**cfg)` takes one as it is; the
    last group is kept for that alone. `video_channels` is this project's own: official models see grey mouth crops,
    the detectors RGB faces.
    """

    # The encoder
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    activation_fn: str = "gelu"
    layer_norm_first: bool = False
    conv_pos: int = 128
    conv_pos_groups: int = 16
    final_dim: int = 0  # 0: as wide as the encoder

    # The two streams and their fusion
    audio_feat_dim: int = 104
    video_channels: int = 1
    modality_fuse: str = "concat"
    resnet_relu_type: str = "prelu"
    sub_encoder_layers: int = 0

    # Dropout in training, and the factor on the gradient that reaches the two streams
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    encoder_layerdrop: float = 0.0
    dropout_input: float = 0.0
    modality_dropout: float = 0.0
    audio_dropout: float = 0.0
    feature_grad_mult: float = 1.0

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

    @property
    def fused_dim(self) -> int:
        """Width of the two streams put together."""
        return self.encoder_embed_dim * (2 if self.modality_fuse == "concat" else 1)
