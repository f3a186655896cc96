"""AV-HuBERT's encoder: an audio and a visual stream, fused and encoded over time (reference: arXiv 2201.02184)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fairseq import TransformerEncoder
from model.avhubert.config import AVHubertConfig
from model.image_encoder import ImageEncoder
from utils.errors import DataError


class AudioStream(nn.Module):
    """One linear layer on each frame of stacked filterbank energies."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.grad_mult = config.feature_grad_mult
        self.proj = nn.Linear(config.audio_feat_dim, config.encoder_embed_dim)

    def forward(self, audio: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, audio_feat_dim, T) → (B, T, D); `padding_mask` (B, T), True = padding, which counts as zeros."""
        if padding_mask is not None:
            audio = audio.masked_fill(padding_mask[:, None], 0)
        with torch.set_grad_enabled(self.grad_mult > 0 and torch.is_grad_enabled()):
            embedded = self.proj(audio.transpose(1, 2))
        return _scale_gradient(embedded, self.grad_mult)


class VisualStream(nn.Module):
    """Image encoder and one linear layer on each frame."""

    def __init__(self, config: AVHubertConfig, train_frontend: bool, checkpoint_activations: bool) -> None:
        super().__init__()
        self.grad_mult = config.feature_grad_mult
        self.resnet = ImageEncoder(config.video_channels, train_frontend, checkpoint_activations)
        self.proj = nn.Linear(512, config.encoder_embed_dim)

    def forward(self, video: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """(B, C, T, H, W) → (B, T, D); `lengths` as in `ImageEncoder.forward`."""
        with torch.set_grad_enabled(self.grad_mult > 0 and torch.is_grad_enabled()):
            embedded = self.proj(self.resnet(video, lengths))
        return _scale_gradient(embedded, self.grad_mult)


class AVHubertModel(nn.Module):
    """Audio and visual streams, their fusion and the transformer encoder, with official state-dict names.

    Parameters
    ----------
    config
        Shape and dropout.
    train_frontend
        False keeps the visual front end at its start (see `ImageEncoder`).
    checkpoint_activations
        Compute activations of the image encoder and the transformer layers again in the backward pass, not keeping
        them.
    """

    def __init__(
        self, config: AVHubertConfig, train_frontend: bool = True, checkpoint_activations: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        D = config.encoder_embed_dim
        self.mask_emb = nn.Parameter(torch.rand(config.audio_feat_dim))
        self.feature_extractor_audio = AudioStream(config)
        self.feature_extractor_video = VisualStream(config, train_frontend, checkpoint_activations)
        self.layer_norm = nn.LayerNorm(config.fused_dim)
        self.post_extract_proj = nn.Linear(config.fused_dim, D) if config.fused_dim != D else nn.Identity()
        self.dropout_input = nn.Dropout(config.dropout_input)
        self.encoder = TransformerEncoder(config, checkpoint_activations)
        self.final_proj = nn.Linear(D, config.final_dim or D)

    def encode(
        self, audio: Tensor, video: Tensor, padding_mask: Tensor | None = None, output_layer: int | None = None
    ) -> Tensor:
        """Fuse the embeddings of the two streams, (B, T, D) each, and encode them over time: (B, T, D).

        In train mode the batch's video or audio is zeroed now and then, as `modality_dropout` of the configuration
        says. `padding_mask` (B, T), True = padding; `output_layer` as in `TransformerEncoder.forward`.
        """
        if self.training and self.config.modality_dropout > 0:
            audio, video = self._drop_modality(audio, video)
        fused = torch.cat([audio, video], dim=-1) if self.config.modality_fuse == "concat" else audio + video
        x = self.post_extract_proj(self.layer_norm(fused))  # (B, T, D)
        return self.encoder(self.dropout_input(x), padding_mask, output_layer)

    def _drop_modality(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """With probability `modality_dropout` zero one stream: the audio with `audio_dropout`, else the video."""
        drop, which = torch.rand(2).tolist()
        if drop >= self.config.modality_dropout:
            return audio, video
        # Zero times the stream, so that it stays in the graph, as in AV-HuBERT.
        return (0 * audio, video) if which < self.config.audio_dropout else (audio, 0 * video)

    def extract_features(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        padding_mask: Tensor | None = None,
        output_layer: int | None = None,
    ) -> Tensor:
        """Encode clips; a missing stream counts as zeros.

        Parameters
        ----------
        audio
            (B, audio_feat_dim, T).
        video
            (B, video_channels, T, H, W), normalised.
        padding_mask
            (B, T), True = padding, which the encoder leaves out. The visual front end sees it, as in the official code:
            the last two real frames of a clip depend on it. `VisualStream` alone can be given lengths too.
        output_layer
            Return what transformer layer `output_layer` (from 1) gives, without the final LayerNorm of pre-norm.

        Returns
        -------
        Tensor
            (B, T, D).

        Raises
        ------
        DataError
            If both streams are missing.
        """
        if audio is None and video is None:
            raise DataError("extract_features needs audio, video or both")
        if padding_mask is not None and not padding_mask.any():
            padding_mask = None
        audio_stream = None if audio is None else self.feature_extractor_audio(audio, padding_mask)
        video_stream = None if video is None else self.feature_extractor_video(video)
        if audio_stream is None:
            audio_stream = torch.zeros_like(video_stream)
        if video_stream is None:
            video_stream = torch.zeros_like(audio_stream)
        return self.encode(audio_stream, video_stream, padding_mask, output_layer)


def _scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x`, of which `factor` times the gradient reaches what it was computed from."""
    if factor != 1 and x.requires_grad:
        x.register_hook(lambda gradient: factor * gradient)
    return x
