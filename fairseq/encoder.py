"""The transformer encoder of wav2vec 2.0 and AV-HuBERT: positional convolution, then N layers, pre- or post-norm.

Every module takes `config`, an object with the fields of fairseq's `cfg.model`: `model.avhubert.AVHubertConfig` is one.
Embeddings are (B, T, C) everywhere, with the width C = `encoder_embed_dim`; a padding mask is (B, T), True = padding.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class PositionalConvolution(nn.Sequential):
    """Relative positions from a wide grouped convolution over time: GELU(conv(x)), (B, C, T) → (B, C, T)."""

    def __init__(self, config: Any) -> None:
        super().__init__(
            _WeightNormConv1d(config.encoder_embed_dim, config.conv_pos, config.conv_pos_groups), nn.GELU()
        )


class _WeightNormConv1d(nn.Module):
    """Grouped Conv1d whose kernel is weight-normed over dim 2, kept as fairseq's `weight_g` and `weight_v`."""

    def __init__(self, channels: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.kernel_size = kernel_size
        weight = torch.randn(channels, channels // groups, kernel_size) * math.sqrt(4 / (kernel_size * channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))  # (1, 1, K)
        self.weight_v = nn.Parameter(weight)  # (C, C / groups, K)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        x = F.conv1d(x, weight, self.bias, padding=self.kernel_size // 2, groups=self.groups)
        # An even kernel gives one frame more than came in.
        return x[..., :-1] if self.kernel_size % 2 == 0 else x


class MultiheadAttention(nn.Module):
    """Self-attention with separate query, key, value and output projections."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        C = config.encoder_embed_dim
        self.num_heads = config.encoder_attention_heads
        self.dropout = config.attention_dropout
        self.k_proj = nn.Linear(C, C)
        self.v_proj = nn.Linear(C, C)
        self.q_proj = nn.Linear(C, C)
        self.out_proj = nn.Linear(C, C)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Let each frame look at all frames that are not padding."""
        B, T, C = x.shape

        def split_heads(projected: Tensor) -> Tensor:
            return projected.view(B, T, self.num_heads, C // self.num_heads).transpose(1, 2)  # (B, H, T, C / H)

        visible = None if padding_mask is None else ~padding_mask[:, None, None, :]  # (B, 1, 1, T), True = look at it
        x = F.scaled_dot_product_attention(
            split_heads(self.q_proj(x)),
            split_heads(self.k_proj(x)),
            split_heads(self.v_proj(x)),
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, H, T, C / H)
        return self.out_proj(x.transpose(1, 2).reshape(B, T, C))


class TransformerEncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        C = config.encoder_embed_dim
        self.layer_norm_first = config.layer_norm_first  # before each branch (pre-norm), or after each sum
        self.activation = ACTIVATIONS[config.activation_fn]
        self.self_attn = MultiheadAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(C)
        self.fc1 = nn.Linear(C, config.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_embed_dim, C)
        self.final_layer_norm = nn.LayerNorm(C)
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation_dropout(self.activation(self.fc1(x)))))

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        if self.layer_norm_first:
            x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), padding_mask))
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, padding_mask)))
        return self.final_layer_norm(x + self.feed_forward(x))


class TransformerEncoder(nn.Module):
    """Positional convolution and `encoder_layers` transformer layers, which may be none.

    With `checkpoint_activations` each layer's input alone is kept, and the rest computed again in the backward pass,
    with the same dropout.
    """

    def __init__(self, config: Any, checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.layer_norm_first = config.layer_norm_first
        self.layerdrop = config.encoder_layerdrop
        self.checkpoint_activations = checkpoint_activations
        self.pos_conv = PositionalConvolution(config)
        self.layers = nn.ModuleList(TransformerEncoderLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.encoder_embed_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers.apply(_init_linear)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None, output_layer: int | None = None) -> Tensor:
        """Encode embeddings (B, T, C); padding is set to 0 before the convolution and not attended to.

        With `output_layer` the result is what that layer (from 1) gives, without the final LayerNorm of pre-norm.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if output_layer is not None and not 1 <= output_layer <= len(self.layers):
            raise ValueError(f"output_layer {output_layer} is not between 1 and {len(self.layers)}")
        if padding_mask is not None:
            x = x.masked_fill(padding_mask[..., None], 0)
        x = x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        if not self.layer_norm_first:
            x = self.layer_norm(x)
        x = self.dropout(x)
        for layer in self.layers[:output_layer]:
            if self.training and self.layerdrop > 0 and torch.rand(()) < self.layerdrop:
                continue
            if self.checkpoint_activations:
                x = checkpoint(layer, x, padding_mask, use_reentrant=False)
            else:
                x = layer(x, padding_mask)
        if self.layer_norm_first and output_layer is None:
            x = self.layer_norm(x)
        return x


def _init_linear(module: nn.Module) -> None:
    """N(0, 0.02) and bias 0, as BERT starts."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
