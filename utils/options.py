"""Every option of train.py and test.py with its default, and what a recipe fills in.

The command line overrides a YAML file (`--config`), which overrides the defaults here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    restricted_string_type,
)

from utils.recipes import CORPORA, RECIPES

ModelType = Literal["AVDF", "AVDF_Ensemble", "AVDF_Multilabel", "AVDF_Multiclass", "MRDF_Margin", "MRDF_CE"]
Dataset = Literal["fakeavceleb", "csv"]
Logger = Literal["tensorboard", "csv", "wandb", "none"]
Accelerator = Literal["auto", "cpu"]
Precision = Literal["16", "16-mixed", "bf16-mixed", "32", "32-true"]
Folds = restricted_string_type("Folds", r"^[1-5](,[1-5])*$", docstring="fold numbers from 1 to 5, such as 2 or 1,3")


@dataclass
class TrainOptions:
    """Train a detector on the subject-independent folds of FakeAVCeleb and test each fold's best checkpoint.

    Parameters
    ----------
    dataset
        Kind of data set: fakeavceleb, or csv for any other that comes with a table (see the README).
    model_type
        Detector to train.
    data_root
        Folder of FakeAVCeleb v1.2, the one with meta_data.csv; for a csv, that file or the folder of clips.csv.
    folds
        Folds to train, such as 2 or 1,3; all five by default.
    recipe
        Protocol: released does what the authors' release does, clean what the paper describes. It sets what is not
        given of encoder_layers, train_frontend, padding, validation, selection, optimizer, learning_rate,
        weight_decay, schedule, warmup and gradient_clip.
    pretrained
        Official AV-HuBERT checkpoint to start from; the encoder takes its shape.
    encoder_layers
        Transformer layers of the encoder.
    train_frontend
        Train the visual front end.
    freeze_encoder_steps
        For so many optimiser steps train the heads alone.
    padding
        cut: clips of a batch are cut to the shortest; mask: padded to the longest and masked.
    validation
        test: the epoch is picked on the test fold; subjects: on a tenth of the training subjects, not trained on.
    selection
        Metric by which the best epoch is picked: released is that of the release (accuracy + hard AUC of each batch,
        averaged over the batches), acc_auc accuracy + hard AUC of all validation clips, auc the AUC of their scores.
    batch_size
        Clips in a batch, on each device.
    accumulate
        Batches to an optimiser step.
    checkpoint_activations
        Recompute activations in the backward pass: several times less memory, steps a third longer.
    num_workers
        Processes that load clips; by default none on a CPU, up to 8 beside a GPU.
    gpus
        GPUs to use; several train in parallel (DDP). Without a GPU the CPU is used.
    accelerator
        auto: GPUs, or one process on the CPU; cpu: as many processes on the CPU as gpus says.
    precision
        16 and bf16-mixed are mixed precision. Without a GPU 16 becomes 32.
    max_frames
        Frames of a clip at most, from its start; 25 are a second.
    cache_dir
        Cache that main.py prepare --cache made; by default it is looked for in data_root and in the outputs.
    num_train
        Training clips of each category at most, the first in csv order; by default 400, for a csv all.
    num_val
        Test clips of each category at most, the first in csv order; by default 100, for a csv all.
    max_epochs
        Epochs at most.
    min_epochs
        Epochs at least.
    patience
        Stop when what the epoch is picked by has not risen for this many epochs; 0 never does.
    log_steps
        Steps between two entries of the training log.
    resume
        auto goes on from the last checkpoint of each fold, where there is one of the same configuration; files of
        another one are moved aside. A file goes on from that.
    save_name
        Name of the run in the outputs; by default the model type.
    optimizer
        adam as in the release, or adamw.
    learning_rate
        The highest.
    backbone_learning_rate
        Of the encoder and its streams; by default the same.
    weight_decay
        Of the optimiser.
    schedule
        plateau: halved when the validation loss stalls; cosine: raised over the warm-up, then lowered to 0.
    warmup
        Share of the steps in which a cosine schedule raises the rate.
    gradient_clip
        Largest norm of the gradient; 0 does not clip.
    contrast_weight
        Of the cross-modality term (MRDF_Margin, MRDF_CE).
    within_weight
        Of the two within-modality terms (MRDF_Margin, MRDF_CE).
    margin_audio
        Margin of the within-modality loss of the sound (MRDF_Margin).
    margin_visual
        Margin of the within-modality loss of the picture (MRDF_Margin).
    margin_contrast
        Margin of the cross-modality loss (MRDF_Margin, MRDF_CE).
    outputs
        Folder for checkpoints, results and logs.
    seed
        Of everything that is drawn: the subset and the folds; weights, order, crops and dropout of train_1. Each other
        fold has a seed of its own for these, made from this one and the fold.
    skip_bad
        Go on without clips that are missing or do not decode, instead of stopping before training.
    compile
        Compile the image trunk with torch.compile: slower to start, faster steps.
    deterministic
        Use only algorithms that give the same bits each time: slower on a GPU. On a CPU that is so anyway.
    logger
        Where curves go: tensorboard, csv, wandb (if that package is installed) or none. All but none write the csv
        file, from which the report draws its curves.
    """

    dataset: Dataset = "fakeavceleb"
    model_type: ModelType = "MRDF_CE"
    data_root: Path = Path("data/FakeAVCeleb_v1.2")
    folds: Folds = "1,2,3,4,5"
    recipe: Literal["released", "clean"] = "released"
    pretrained: Path | None = None
    encoder_layers: NonNegativeInt | None = None
    train_frontend: bool | None = None
    freeze_encoder_steps: NonNegativeInt = 0
    padding: Literal["cut", "mask"] | None = None
    validation: Literal["test", "subjects"] | None = None
    selection: Literal["released", "acc_auc", "auc"] | None = None
    batch_size: PositiveInt = 64
    accumulate: PositiveInt = 1
    checkpoint_activations: bool = False
    num_workers: NonNegativeInt | None = None
    gpus: PositiveInt = 1
    accelerator: Accelerator = "auto"
    precision: Precision = "16"
    max_frames: PositiveInt = 500
    cache_dir: Path | None = None
    num_train: PositiveInt | None = None
    num_val: PositiveInt | None = None
    max_epochs: PositiveInt = 30
    min_epochs: PositiveInt = 30
    patience: NonNegativeInt = 0
    log_steps: PositiveInt = 20
    resume: str | None = None
    save_name: str | None = None
    optimizer: Literal["adam", "adamw"] | None = None
    learning_rate: PositiveFloat | None = None
    backbone_learning_rate: PositiveFloat | None = None
    weight_decay: NonNegativeFloat | None = None
    schedule: Literal["plateau", "cosine"] | None = None
    warmup: ClosedUnitInterval | None = None
    gradient_clip: NonNegativeFloat | None = None
    contrast_weight: NonNegativeFloat = 1.0
    within_weight: NonNegativeFloat = 1.0
    margin_audio: float = 0.0
    margin_visual: float = 0.0
    margin_contrast: float = 0.0
    outputs: Path = Path("outputs")
    seed: NonNegativeInt = 42
    skip_bad: bool = False
    compile: bool = False
    deterministic: bool = False
    logger: Logger = "tensorboard"

    def __post_init__(self) -> None:
        _unrestrict(self)
        self.save_name = self.save_name or self.model_type
        if Path(self.save_name).name != self.save_name:
            raise ValueError(f"--save_name {self.save_name}: must be a plain name, not a path")
        for name, value in (RECIPES[self.recipe] | CORPORA[self.dataset]).items():
            shape_is_given = name == "encoder_layers" and self.pretrained is not None
            if getattr(self, name) is None and not shape_is_given:
                setattr(self, name, value)
        # One fold may be asked for twice, but is trained once.
        self.fold_names = [f"train_{number}" for number in dict.fromkeys(self.folds.split(","))]
        if self.resume not in (None, "auto") and len(self.fold_names) > 1:
            raise ValueError(f"--resume {self.resume}: a file resumes one fold; add --folds with its number")


@dataclass
class TestOptions:
    """Score the test clips of a fold with a checkpoint.

    Parameters
    ----------
    data_root
        Folder of FakeAVCeleb v1.2, the one with meta_data.csv; for a csv, that file or the folder of clips.csv.
    checkpoint
        A checkpoint that train.py or the authors' release wrote.
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    dataset
        Kind of data set: fakeavceleb, or csv for any other that comes with a table (see the README).
    train_fold
        Fold file; everyone that it does not list is tested.
    batch_size
        Clips in a batch; by default as in training, otherwise 64. Under recipe released a clip's score depends on the
        others, as a batch is cut to its shortest.
    num_workers
        Processes that load clips; by default none on a CPU, up to 8 beside a GPU.
    gpus
        GPUs to use. Without a GPU the CPU is used.
    accelerator
        auto: GPUs, or one process on the CPU; cpu: as many processes on the CPU as gpus says.
    precision
        16 and bf16-mixed are mixed precision; by default as in training, otherwise 16. Without a GPU 16 becomes 32.
    max_frames
        Frames of a clip at most, from its start; by default as in training.
    cache_dir
        Cache that main.py prepare --cache made; by default it is looked for in data_root and in the outputs.
    num_val
        Test clips of each category at most, the first in csv order; by default as in training, for a csv all.
    seed
        Of the subset and the folds; by default as in training.
    outputs
        Folder for results.
    skip_bad
        Go on without clips that are missing or do not decode.
    deterministic
        Use only algorithms that give the same bits each time; by default as in training.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    data_root: Path
    checkpoint: Path
    model_type: ModelType | None = None
    dataset: Dataset = "fakeavceleb"
    train_fold: str = "train_1.txt"
    batch_size: PositiveInt | None = None
    num_workers: NonNegativeInt | None = None
    gpus: PositiveInt = 1
    accelerator: Accelerator = "auto"
    precision: Precision | None = None
    max_frames: PositiveInt | None = None
    cache_dir: Path | None = None
    num_val: PositiveInt | None = None
    seed: NonNegativeInt | None = None
    outputs: Path = Path("outputs")
    skip_bad: bool = False
    deterministic: bool | None = None

    def __post_init__(self) -> None:
        _unrestrict(self)
        if Path(self.train_fold).name != self.train_fold or not self.train_fold.endswith(".txt"):
            raise ValueError(f"--train_fold {self.train_fold}: must be the name of a fold file, such as train_1.txt")

    @property
    def fold_name(self) -> str:
        """Name of the fold in the outputs."""
        return Path(self.train_fold).stem


def plain(options: TrainOptions | TestOptions) -> dict[str, Any]:
    """The options as plain values, for YAML, JSON and checkpoints."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}


def _unrestrict(options: TrainOptions | TestOptions) -> None:
    """Make the restricted numbers and strings of the command line ordinary ones, which checkpoints can hold."""
    for field in fields(options):
        value = getattr(options, field.name)
        for kind in (int, float, str):
            if isinstance(value, kind) and not isinstance(value, bool):
                setattr(options, field.name, kind(value))
