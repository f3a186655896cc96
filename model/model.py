"""The one LightningModule that the six detectors share: encoder, forward pass, shared step, optimiser, padding."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from model.avhubert import AVHubertModel
from model.avhubert.config import encoder_config, encoder_options
from model.fast import compile_trunk
from model.threshold import validation_calibration, validation_threshold
from model.training.optimizer import OPTIMIZERS, held_still, make_optimizer, warmup_cosine
from utils.errors import DataError
from utils.metrics import FoldScores, evaluate, release_criterion


class Streams(NamedTuple):
    """Embeddings of the two streams, (B, T, D) each, and their padding mask (B, T)."""

    video: Tensor
    audio: Tensor
    padding_mask: Tensor | None


class Outputs(NamedTuple):
    """What a detector says of B clips; None where it has no such output."""

    logits: Tensor | None = None  # (B, 2), AVDF_Multiclass (B, 4)
    video_logits: Tensor | None = None  # (B, 2)
    audio_logits: Tensor | None = None  # (B, 2)
    video_cross: Tensor | None = None  # (B, D)
    audio_cross: Tensor | None = None  # (B, D)
    video_within: Tensor | None = None  # (B, D)
    audio_within: Tensor | None = None  # (B, D)


class Verdict(NamedTuple):
    """Decisions on B clips. Every score is a probability of real, in float32."""

    score: Tensor  # (B,)
    decision: Tensor  # (B,) int64, 1 = real
    video_score: Tensor | None = None  # (B,), None without a head for the video
    audio_score: Tensor | None = None  # (B,), None without a head for the audio


class Detector(LightningModule):
    """Base of the six detectors (arXiv 2401.05746).

    A subclass adds its heads, its losses and its decision, and nothing else. The arguments become hyperparameters; most
    are flags of train.py, which `utils.options.TrainOptions` describes.

    Parameters
    ----------
    encoder_layers
        Transformer layers; by default those of `encoder`, without one 0 as in the authors' release, which trains none.
    compile_encoder
        `--compile`: compile the image trunk, the slowest part; without a compiler the log says so.
    encoder
        Fields of `AVHubertConfig` as plain values (see `model.avhubert.config`), in place of the default configuration.
    schedule
        "cosine" is stepped here; "plateau" is a callback, `model.training.callbacks.PlateauSchedule`.

    Raises
    ------
    DataError
        If `compile_encoder` and `checkpoint_activations` are both asked for, there is no such optimiser, or `encoder`
        cannot be used (see `model.avhubert.config.encoder_config`).
    """

    def __init__(
        self,
        margin_contrast: float = 0.0,
        margin_audio: float = 0.0,
        margin_visual: float = 0.0,
        contrast_weight: float = 1.0,
        within_weight: float = 1.0,
        weight_decay: float = 1e-4,
        learning_rate: float = 2e-4,
        encoder_layers: int | None = None,
        train_frontend: bool = False,
        compile_encoder: bool = False,
        checkpoint_activations: bool = False,
        encoder: dict[str, Any] | None = None,
        optimizer: str = "adam",
        backbone_learning_rate: float | None = None,
        freeze_encoder_steps: int = 0,
        schedule: str = "plateau",
        warmup: float = 0.0,
    ) -> None:
        if compile_encoder and checkpoint_activations:
            raise DataError("compile_encoder and checkpoint_activations do not work together; leave one of them out")
        super().__init__()
        if optimizer not in OPTIMIZERS:
            raise DataError(f"optimizer '{optimizer}' is unknown; use one of {', '.join(OPTIMIZERS)}")
        config = encoder_config(encoder, encoder_layers)
        # The hyperparameters hold the arguments as they are now: resolved, and plain for checkpoints and YAML.
        encoder_layers = config.encoder_layers
        encoder = None if encoder is None else encoder_options(config)
        self.save_hyperparameters()
        dim = config.encoder_embed_dim
        self.model = AVHubertModel(config, train_frontend, checkpoint_activations)
        self.project_audio = _projection(dim)
        self.project_video = _projection(dim)
        self.build_heads(dim)
        if compile_encoder:
            compile_trunk(self)
        self.fold_scores: Any = nn.ModuleDict({"val": FoldScores(), "test": FoldScores()})
        self._validated: dict[str, Any] = {"threshold": None}  # what the last validation gives a checkpoint

    @abstractmethod
    def build_heads(self, dim: int) -> None:
        """Add the classifiers on embeddings of width `dim`."""
        raise NotImplementedError(f"{type(self).__name__} has no method build_heads")

    @abstractmethod
    def heads(self, streams: Streams) -> Outputs:
        """Outputs of this detector from the embeddings of the streams."""
        raise NotImplementedError(f"{type(self).__name__} has no method heads")

    @abstractmethod
    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Scalar loss terms of a batch; "loss" is the total."""
        raise NotImplementedError(f"{type(self).__name__} has no method losses")

    @abstractmethod
    def decide(self, outputs: Outputs) -> Verdict:
        """Scores and decisions from the outputs."""
        raise NotImplementedError(f"{type(self).__name__} has no method decide")

    def with_total(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four terms of MRDF and their weighted total; `audio_loss`, `video_loss` are the within-modality ones."""
        within = self.hparams.within_weight * (terms["audio_loss"] + terms["video_loss"])
        return {"loss": terms["mm_loss"] + within + self.hparams.contrast_weight * terms["contrast_loss"], **terms}

    def forward(
        self, video: Tensor, audio: Tensor, padding_mask: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Outputs:
        """Look at and listen to a batch of clips.

        Parameters
        ----------
        video
            (B, 3, T, 100, 100), normalised.
        audio
            (B, 104, T).
        padding_mask
            (B, T), True = padding: it follows the real frames of a clip and changes no output, whatever it contains.
        lengths
            Real frames of each clip, as the mask says it. Without them they are read off the mask, for which the
            program waits where the mask lies on a GPU.
        """
        return self.heads(self.streams(video, audio, padding_mask, lengths))

    def streams(
        self, video: Tensor, audio: Tensor, padding_mask: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Streams:
        """Embeddings of the two streams of a batch, of the shapes that :meth:`forward` takes."""
        if padding_mask is not None:
            lengths = lengths or lengths_of(padding_mask)
        if lengths is None or min(lengths) == video.shape[2]:  # nothing is padding
            padding_mask = lengths = None
        video_stream = self.model.feature_extractor_video(video, lengths)  # (B, T, D)
        audio_stream = self.model.feature_extractor_audio(audio, padding_mask)  # (B, T, D)
        return Streams(video_stream, audio_stream, padding_mask)

    def cross(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Embeddings of video and audio for the cross-modality term, (B, D) each: means of the streams over time."""
        return mean_over_time(streams.video, streams.padding_mask), mean_over_time(streams.audio, streams.padding_mask)

    def within(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Embeddings of video and audio within their modality, (B, D) each: means of the projected streams."""
        video, audio = self.project_video(streams.video), self.project_audio(streams.audio)  # (B, T, D)
        return mean_over_time(video, streams.padding_mask), mean_over_time(audio, streams.padding_mask)

    def fused(self, streams: Streams) -> Tensor:
        """Embedding of the whole clip, (B, D): the first frame of the encoder's output."""
        return self.model.encode(streams.audio, streams.video, streams.padding_mask)[:, 0]

    def _shared_step(self, batch: dict[str, Any], split: str, outputs: Outputs) -> Tensor:
        losses = self.losses(outputs, batch)
        shown = {f"{split}_{name}": value.detach() for name, value in losses.items()}
        size = 0 if batch.get("repeated") else len(batch["file"])  # of a batch that another process has as well
        whole = shown
        if split == "train":
            # Each step as this process has it; its epoch's mean is that of all processes, which is one exchange.
            steps = {f"{name}_step": value for name, value in shown.items()}
            self.log_dict(steps, batch_size=size, on_step=True, on_epoch=False)
            whole = {f"{name}_epoch": value for name, value in shown.items()}
        self.log_dict(whole, batch_size=size, on_step=False, on_epoch=True, sync_dist=True)
        return losses["loss"]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        frozen = self.global_step < self.hparams.freeze_encoder_steps  # optimiser steps, also after resuming
        with held_still(self.model) if frozen else nullcontext():
            return self._shared_step(batch, "train", self(*_inputs(batch)))

    def _evaluation_step(self, batch: dict[str, Any], split: str, outputs: Outputs) -> dict[str, Tensor]:
        loss, verdict = self._shared_step(batch, split, outputs), self.decide(outputs)._asdict()
        labels = {name: batch[name] for name in ("m_label", "v_label", "a_label")}
        self.fold_scores[split].update(batch["id"], **verdict, **labels)
        return {"loss": loss} | {name: value for name, value in verdict.items() if value is not None}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Score a batch; returns its loss, scores and decisions."""
        return self._evaluation_step(batch, "val", self(*_inputs(batch)))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Score a batch; returns its ids and the embeddings that the regularisation is about, (B, D) each."""
        streams = self.streams(*_inputs(batch))
        outputs = self.heads(streams)
        self._evaluation_step(batch, "test", outputs)
        if outputs.video_cross is None:
            video_cross, audio_cross = self.cross(streams)
            outputs = outputs._replace(video_cross=video_cross, audio_cross=audio_cross)
        if outputs.video_within is None:
            video_within, audio_within = self.within(streams)
            outputs = outputs._replace(video_within=video_within, audio_within=audio_within)
        embeddings = ("video_cross", "audio_cross", "video_within", "audio_within")
        return {"id": batch["id"]} | {name: getattr(outputs, name) for name in embeddings}

    def on_validation_epoch_end(self) -> None:
        """Metrics of all validation clips, for `--selection`; `val_released` is that of the release."""
        table = self.fold_scores["val"].compute()
        self.fold_scores["val"].reset()
        self._validated = {"threshold": validation_threshold(table)} | validation_calibration(table)
        metrics = evaluate(table)
        logged = {name: metrics[name] for name in ("acc", "auc", "auc_hard") if metrics[name] is not None}
        logged["acc_auc"] = logged["acc"] + logged.get("auc_hard", 0.0)  # no AUC in a fold of one class
        # The batch size of the data, not the batches that came: several processes have cut others.
        batch_size = getattr(self.trainer.datamodule, "batch_size", len(table))
        logged["released"] = release_criterion(table["label"], table["decision"], batch_size)
        self.log_dict({f"val_{name}": value for name, value in logged.items()}, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        self.fold_scores["test"].reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {"model_type": type(self).__name__, **self._validated}

    def configure_optimizers(self) -> torch.optim.Optimizer | dict[str, Any]:
        """The optimiser of the hyperparameters, with the schedule that goes on at each step if there is one."""
        clip = None if self._trainer is None else self._trainer.gradient_clip_val
        optimizer = make_optimizer(self, clipped=bool(clip))
        if self.hparams.schedule != "cosine":
            return optimizer
        schedule = warmup_cosine(optimizer, self.hparams.warmup, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lengths_of(padding_mask: Tensor) -> tuple[int, ...]:
    """Real frames of each clip, from the mask (B, T), True = padding. Where that lies on a GPU, this waits for it.

    Raises
    ------
    DataError
        If a clip has no real frame, or padding is not at its end alone.
    """
    lengths = (~padding_mask).sum(dim=1)  # (B,)
    expected = torch.arange(padding_mask.shape[1], device=padding_mask.device) >= lengths[:, None]
    right = (padding_mask == expected).all(dim=1) & (lengths > 0)
    told = torch.stack([lengths, right], dim=1).tolist()
    for clip, (_, fits) in enumerate(told):
        if not fits:
            raise DataError(f"padding_mask of clip {clip} of the batch: padding follows at least one real frame")
    return tuple(length for length, _ in told)


def mean_over_time(x: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Mean of each clip's real frames, (B, T, D) → (B, D)."""
    if padding_mask is None:
        return x.mean(dim=1)
    real = (~padding_mask).sum(dim=1, keepdim=True)  # (B, 1)
    return x.masked_fill(padding_mask[..., None], 0).sum(dim=1) / real


def mm_head(dim: int, classes: int) -> nn.Sequential:
    """The classifier on the clip's fused embedding, (B, dim) → (B, classes)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, classes))


def within_head(dim: int) -> nn.Sequential:
    """The classifier on one modality's within embedding, (B, dim) → (B, 2)."""
    return nn.Sequential(nn.Linear(dim, 2))


def probability(logits: Tensor, column: int = 1) -> Tensor:
    """Softmax of one class in float32, (B, classes) → (B,)."""
    return logits.float().softmax(dim=-1)[:, column]


def _inputs(batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Sequence[int] | None]:
    """What a detector takes of a batch."""
    return batch["video"], batch["audio"], batch["padding_mask"], batch.get("lengths")


def _projection(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.Dropout(0.1))
