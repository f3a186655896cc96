"""The transformer encoder of wav2vec 2.0 and AV-HuBERT: positional convolution, then N layers, pre- or post-norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fairseq.attention import MultiheadAttention
from fairseq.positional import PositionalConvolution

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class TransformerEncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual.

    Parameters
    ----------
    embed_dim, ffn_dim, num_heads
        Width C, width of the feed-forward network, number of heads.
    dropout, attention_dropout, activation_dropout
        Dropout on each residual branch, on the attention weights, after the activation.
    layer_norm_first
        True: LayerNorm before each branch (pre-norm); False: after each sum (post-norm).
    activation_fn
        "gelu" or "relu".
    """

    def __init__(
        self,
        embed_dim: int,
        ffn_dim: int,
        num_heads: int,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        layer_norm_first: bool = False,
        activation_fn: str = "gelu",
    ) -> None:
        super().__init__()
        self.layer_norm_first = layer_norm_first
        self.activation = ACTIVATIONS[activation_fn]
        self.self_attn = MultiheadAttention(embed_dim, num_heads, attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, embed_dim)
        self.final_layer_norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.activation_dropout = nn.Dropout(activation_dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        return self.dropout(self.fc2(self.activation_dropout(self.activation(self.fc1(x)))))

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, C) → (B, T, C); `padding_mask` (B, T), True = padding."""
        if self.layer_norm_first:
            x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), padding_mask))
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, padding_mask)))
        return self.final_layer_norm(x + self.feed_forward(x))


class TransformerEncoder(nn.Module):
    """Positional convolution and N transformer layers.

    Parameters
    ----------
    num_layers
        Number of transformer layers N; 0 leaves the positional convolution and its LayerNorm.
    embed_dim, ffn_dim, num_heads, dropout, attention_dropout, activation_dropout, layer_norm_first, activation_fn
        As in `TransformerEncoderLayer`.
    layerdrop
        Probability of leaving out a layer in training.
    conv_pos, conv_pos_groups
        Kernel and groups of the positional convolution.
    checkpoint_activations
        Keep each layer's input only, and compute the rest again in the backward pass, with the same dropout.
    """

    def __init__(
        self,
        num_layers: int,
        embed_dim: int,
        ffn_dim: int,
        num_heads: int,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        layerdrop: float = 0.0,
        layer_norm_first: bool = False,
        activation_fn: str = "gelu",
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.layer_norm_first = layer_norm_first
        self.layerdrop = layerdrop
        self.checkpoint_activations = checkpoint_activations
        self.pos_conv = PositionalConvolution(embed_dim, conv_pos, conv_pos_groups)
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                embed_dim,
                ffn_dim,
                num_heads,
                dropout,
                attention_dropout,
                activation_dropout,
                layer_norm_first,
                activation_fn,
            )
            for _ in range(num_layers)
        )
        self.layer_norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.layers.apply(_init_linear)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None, output_layer: int | None = None) -> Tensor:
        """Encode a batch of frame embeddings.

        Parameters
        ----------
        x
            (B, T, C).
        padding_mask
            (B, T), True = padding: set to 0 before the positional convolution and not attended to.
        output_layer
            Return what layer `output_layer` (from 1) gives, without the final LayerNorm of pre-norm.

        Returns
        -------
        Tensor
            (B, T, C).

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if output_layer is not None and not 1 <= output_layer <= len(self.layers):
            raise ValueError(f"output_layer {output_layer} is not between 1 and {len(self.layers)}")
        if padding_mask is not None:
            x = x.masked_fill(padding_mask[..., None], 0)
        x = x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2)  # (B, T, C)
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
