"""Multi-head self-attention with fairseq's parameter names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """Self-attention with separate query, key, value and output projections.

    Parameters
    ----------
    embed_dim
        Width C of the embeddings; a multiple of `num_heads`.
    num_heads
        Number of heads.
    dropout
        Dropout on the attention weights in training.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of {num_heads} attention heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Let each frame look at all frames that are not padding.

        Parameters
        ----------
        x
            Embeddings, (B, T, C).
        padding_mask
            (B, T), True = padding.

        Returns
        -------
        Tensor
            (B, T, C).
        """
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
