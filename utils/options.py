"""Every option of train.py and test.py with its default, and what a recipe fills in.

The command line overrides a YAML file (`--config`), which overrides the defaults here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    register_type,
)

from utils.errors import DataError
from utils.files import plain_name

ModelType = Literal["AVDF", "AVDF_Ensemble", "AVDF_Multilabel", "AVDF_Multiclass", "MRDF_Margin", "MRDF_CE"]
# Those of dataset.corpora and dataset.protocols, which are above this room.
Dataset = Literal[
    "fakeavceleb", "lavdf", "avdeepfake1m", "avdeepfake1mpp", "dfdc", "kodf", "deepspeak", "polyglotfake", "avlips",
    "mavosdd", "csv",
]  # fmt: skip
Protocol = Literal[
    "mrdf-5fold", "leave-one-out", "avh-align", "factor", "speechforensics", "subjects-70-10-20", "subjects-5fold",
    "random-70-30", "official", "lavdf-full", "lavdf-visual", "lavdf-audio", "mavosdd-closed", "mavosdd-open-model",
    "mavosdd-open-language", "mavosdd-open-set",
]  # fmt: skip
Logger = Literal["tensorboard", "csv", "wandb", "none"]
Accelerator = Literal["auto", "cpu"]
Precision = Literal["16", "16-mixed", "bf16", "bf16-mixed", "32", "32-true"]

# What the recipes give a flag: released, clean. The first does what the authors' release does when it is run, which is
# not always what one would guess (see the README); the second is what a careful lab would run: the paper's transformer,
# and nothing that looks at the test fold.
_CHOICES: dict[str, tuple[Any, Any]] = {
    "encoder_layers": (0, 12),
    "train_frontend": (False, True),
    "padding": ("cut", "mask"),
    "validation": ("test", "subjects"),
    "selection": ("released", "auc"),
    "optimizer": ("adam", "adamw"),
    "learning_rate": (1e-3, 1e-4),
    "weight_decay": (1e-4, 1e-2),
    "schedule": ("plateau", "cosine"),
    "warmup": (0.0, 0.1),
    "gradient_clip": (0.0, 1.0),
}
RECIPES: dict[str, dict[str, Any]] = {
    "released": {name: released for name, (released, _) in _CHOICES.items()},
    "clean": {name: clean for name, (_, clean) in _CHOICES.items()},
}


def clips_of_each(dataset: str, protocol: str | None) -> dict[str, int | None]:
    """Clips of each category that are trained on and tested: of the paper's folds as in the paper, else all."""
    is_paper = dataset == "fakeavceleb" and protocol in (None, "mrdf-5fold")
    return {"num_train": 400, "num_val": 100} if is_paper else {"num_train": None, "num_val": None}


class Folds(str):
    """Fold numbers, such as 1,3: from a string, a number, a list, or the name of a fold file."""

    WORDS = "fold numbers from 1 to 9, such as 2 or 1,3"

    def __new__(cls, value: object) -> Folds:
        items = value if isinstance(value, list | tuple) else str(value).strip("[]").split(",")
        numbers = [re.fullmatch(r"(?:train_)?([1-9])(?:\.txt)?", str(item).strip()) for item in items]
        if not numbers or None in numbers:
            raise DataError(f"must be {cls.WORDS}. Got value: {value}")
        return super().__new__(cls, ",".join(number[1] for number in numbers if number))


class Gpus(int):
    """A number of GPUs, 0 for the CPU; or the GPUs by their indices, such as 2,3, which then are two."""

    WORDS = "a number of GPUs, 0 for the CPU, or their indices, such as 2,3"
    indices: list[int] | None

    def __new__(cls, value: object) -> Gpus:
        text = str(value).strip("[] ").replace("cpu", "0")
        fits = re.fullmatch(r"\d+(\s*,\s*\d+)*,?", text)
        indices = [int(item) for item in text.split(",") if item.strip()] if fits else []
        if not indices or len(set(indices)) < len(indices):
            raise DataError(f"must be {cls.WORDS}. Got value: {value}")
        listed = "," in text or isinstance(value, list)
        gpus = super().__new__(cls, len(indices) if listed else indices[0])
        gpus.indices = indices if listed else None
        return gpus

    def __str__(self) -> str:
        if self.indices is None:
            return str(int(self))
        return ",".join(map(str, self.indices)) + ("," if len(self.indices) == 1 else "")


register_type(Folds)
register_type(Gpus)
ALL_FOLDS = Folds(list(range(1, 10)))  # as many of them as the protocol has
ONE_GPU = Gpus(1)


@dataclass
class TrainOptions:
    """Train a detector on the subject-independent folds of FakeAVCeleb and test each fold's best checkpoint.

    Parameters
    ----------
    dataset
        Kind of corpus (see dataset/corpora/README.md); csv is any other that comes with a table.
    model_type
        Detector to train: one of the paper's two (MRDF) or of its four baselines (AVDF).
    data_root
        Folder of the corpus, for FakeAVCeleb the one with meta_data.csv; for a csv, that file or the folder of
        clips.csv.
    folds
        Folds to train and test, such as 2, 1 3 or 1,3. By default all of the protocol.
    protocol
        Who is trained on and who is tested (see dataset/protocols/README.md). By default mrdf-5fold for FakeAVCeleb,
        the split of a corpus that has one, else folds by subject.
    lists
        Your clone of the repository whose lists the protocol uses.
    recipe
        Settings that are not given: released trains as the authors' release does, clean as the paper describes, with a
        validation set of its own. The flags that it fills in name both values.
    pretrained
        AV-HuBERT checkpoint in fairseq's format to start the encoder from, which takes its number of layers.
    encoder_layers
        Number of transformer layers of the encoder.
    train_frontend
        Train the 3-D convolution in front of the image encoder too; false leaves it at its random start.
    freeze_encoder_steps
        Number of first optimizer steps in which the encoder is frozen and only the heads are trained.
    padding
        cut: the clips of a batch are cut to the shortest; mask: they are padded to the longest, with a mask.
    validation
        Clips that choose the best epoch. test: the test fold, as in the release; subjects: the protocol's
        validation clips; where it has none, those of a tenth of the training subjects, who are left out of training.
    selection
        Metric by which the best epoch is picked: released is that of the release (accuracy + hard AUC of each batch,
        averaged over the batches), acc_auc accuracy + hard AUC of all validation clips, auc the AUC of their scores.
    batch_size
        Number of clips in a batch, on each device.
    accumulate
        Number of batches whose gradients are accumulated before an optimizer step.
    checkpoint_activations
        Compute activations again in the backward pass instead of keeping them: several times less memory, and a step
        takes a third longer.
    num_workers
        Number of worker processes that load clips. By default as many as suit the cores and the device.
    prefetch
        Number of batches that each worker process loads ahead.
    gpus
        Number of GPUs, 0 for the CPU, or the indices of those to use, such as 2,3. Several train with DDP. The CPU is
        used too where the machine has no GPU.
    accelerator
        auto: GPUs if there are any; cpu: as many processes on the CPU as --gpus says.
    precision
        Numbers that the network computes with: 16 and bf16 are mixed precision, 32 is float32. On a CPU 16 becomes 32.
    max_frames
        Number of frames of a clip that are used at most, from its start; 25 are a second.
    trim_silence
        Leave out the silence at the start of each clip, of its video and its audio.
    cache_dir
        Folder of the cache that `main.py prepare --cache` made. By default it is looked for in data_root and outputs.
    num_train
        Number of training clips of each category at most, the first in the order of the table. By default 400 under
        mrdf-5fold of fakeavceleb, else all.
    num_val
        Number of test clips of each category at most, the first in the order of the table. By default 100 under
        mrdf-5fold of fakeavceleb, else all.
    max_epochs
        Number of epochs of training at most.
    min_epochs
        Number of epochs at least, whatever --patience says. By default 30, with --patience 1.
    patience
        Stop after this many epochs without a better value of what --selection names; 0 never does.
    log_steps
        Number of steps between two entries of the training curves.
    resume
        auto, or no value: each fold goes on from its last checkpoint, if that has the same settings (others are moved
        aside). A path: go on from that checkpoint.
    save_name
        Name of the run in the outputs. By default the name of the detector.
    optimizer
        Optimizer of the weights: adam or adamw.
    learning_rate
        Learning rate; with a cosine schedule its highest value, after the warm-up.
    backbone_learning_rate
        Learning rate of the AV-HuBERT backbone. By default that of the heads.
    weight_decay
        Weight decay of the optimizer.
    schedule
        Learning rate schedule. plateau: halved when the validation loss stops falling; cosine: a linear warm-up, then
        a cosine down to 0.
    warmup
        Share of the training steps in which a cosine schedule warms up.
    gradient_clip
        Largest norm of the gradient, to which larger ones are clipped; 0 does not clip.
    contrast_weight
        Weight of the cross-modality loss (MRDF_Margin, MRDF_CE).
    within_weight
        Weight of the two within-modality losses (MRDF_Margin, MRDF_CE).
    margin_audio
        Margin of the within-modality loss of the audio (MRDF_Margin).
    margin_visual
        Margin of the within-modality loss of the video (MRDF_Margin).
    margin_contrast
        Margin of the cross-modality loss (MRDF_Margin, MRDF_CE).
    outputs
        Folder for checkpoints, results and logs.
    seed
        Random seed of the subset and the folds; of weights, order, crops and dropout of train_1. Each other fold has a
        seed of its own for these, made from this one and the fold.
    skip_bad
        Leave out clips that are missing or do not decode, instead of stopping before training.
    compile
        Compile the image encoder with torch.compile: a slower start, then faster steps.
    deterministic
        Use only deterministic algorithms: slower on a GPU. On a CPU they always are.
    logger
        Where training curves go: tensorboard, csv, wandb (if that package is installed) or none. All but none write the
        csv file too, from which the report draws its curves.
    """

    dataset: Dataset = "fakeavceleb"
    model_type: ModelType = "MRDF_CE"
    data_root: Path = Path("data/FakeAVCeleb_v1.2")
    folds: Folds = ALL_FOLDS
    protocol: Protocol | None = None
    lists: Path | None = None
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
    prefetch: PositiveInt = 2
    gpus: Gpus = ONE_GPU
    accelerator: Accelerator = "auto"
    precision: Precision = "16"
    max_frames: PositiveInt = 500
    trim_silence: bool = False
    cache_dir: Path | None = None
    num_train: PositiveInt | None = None
    num_val: PositiveInt | None = None
    max_epochs: PositiveInt = 30
    min_epochs: PositiveInt | None = None
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
        _settle(self)
        self.save_name = plain_name(self.save_name or self.model_type, "--save_name")
        for name, value in (RECIPES[self.recipe] | clips_of_each(self.dataset, self.protocol)).items():
            shape_is_given = name == "encoder_layers" and self.pretrained is not None
            if getattr(self, name) is None and not shape_is_given:
                setattr(self, name, value)
        if self.min_epochs is None:
            self.min_epochs = 1 if self.patience else 30
        # One fold may be asked for twice, but is trained once.
        self.fold_names = [f"train_{number}" for number in dict.fromkeys(self.folds.split(","))]
        if self.resume not in (None, "auto") and len(self.fold_names) > 1:
            raise DataError(f"--resume {self.resume}: a file resumes one fold; add --folds with its number")


@dataclass
class TestOptions:
    """Score the test clips of a fold with a checkpoint.

    Parameters
    ----------
    data_root
        Folder of the corpus, for FakeAVCeleb the one with meta_data.csv; for a csv, that file or the folder of
        clips.csv.
    checkpoint
        Checkpoint to test, written by train.py or by the authors' release.
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    dataset
        Kind of corpus (see dataset/corpora/README.md); csv is any other that comes with a table.
    train_fold
        Fold to test, as the name of its file (train_2.txt) or its number: everyone whom it does not list is tested. By
        default the fold of the checkpoint's training.
    protocol
        Who is tested (see dataset/protocols/README.md). By default as in training, of the same corpus.
    lists
        Your clone of the repository whose lists the protocol uses.
    batch_size
        Number of clips in a batch. By default as in training, else 64. With --padding cut a score depends on the other
        clips of its batch.
    num_workers
        Number of worker processes that load clips. By default as many as suit the cores and the device.
    prefetch
        Number of batches that each worker process loads ahead.
    gpus
        Number of GPUs, 0 for the CPU, or the indices of those to use, such as 2,3. The CPU is used too where the
        machine has no GPU.
    accelerator
        auto: GPUs if there are any; cpu: as many processes on the CPU as --gpus says.
    precision
        Numbers that the network computes with: 16 and bf16 are mixed precision, 32 is float32. By default as in
        training, for a checkpoint of the authors' release 32. On a CPU 16 becomes 32.
    max_frames
        Number of frames of a clip that are used at most, from its start. By default as in training.
    trim_silence
        Leave out the silence at the start of each clip, of its video and its audio. By default as in training.
    cache_dir
        Folder of the cache that `main.py prepare --cache` made. By default it is looked for in data_root and outputs.
    num_val
        Number of test clips of each category at most, the first in the order of the table. By default as in training.
    seed
        Random seed of the subset and the folds. By default as in training.
    save_name
        Name of the run in the outputs. By default that of the checkpoint's training. A test that is not as in training
        (other fold, corpus, clips, precision, number of GPUs or batch size) has a folder of its own in it.
    outputs
        Folder of all outputs, in whose results/ the test is written.
    skip_bad
        Leave out clips that are missing or do not decode, instead of stopping before the test.
    compile
        Compile the image encoder with torch.compile: a slower start, then faster batches.
    deterministic
        Use only deterministic algorithms: slower on a GPU. By default as in training.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    data_root: Path
    checkpoint: Path
    model_type: ModelType | None = None
    dataset: Dataset = "fakeavceleb"
    train_fold: str | None = None
    protocol: Protocol | None = None
    lists: Path | None = None
    batch_size: PositiveInt | None = None
    num_workers: NonNegativeInt | None = None
    prefetch: PositiveInt = 2
    gpus: Gpus = ONE_GPU
    accelerator: Accelerator = "auto"
    precision: Precision | None = None
    max_frames: PositiveInt | None = None
    trim_silence: bool | None = None
    cache_dir: Path | None = None
    num_val: PositiveInt | None = None
    seed: NonNegativeInt | None = None
    save_name: str | None = None
    outputs: Path = Path("outputs")
    skip_bad: bool = False
    compile: bool = False
    deterministic: bool | None = None

    def __post_init__(self) -> None:
        _settle(self)
        if self.save_name is not None:
            self.save_name = plain_name(self.save_name, "--save_name")
        if self.train_fold is not None:
            self.train_fold = fold_file(self.train_fold)

    @property
    def fold_name(self) -> str:
        """Name of the fold in the outputs."""
        return Path(self.train_fold).stem


def fold_file(fold: str) -> str:
    """The name of a fold file, such as train_2.txt, from that or from the number of the fold."""
    if re.fullmatch(r"(train_)?[1-9]", fold):
        return f"train_{fold[-1]}.txt"
    if Path(fold).name != fold or not fold.endswith(".txt"):
        raise DataError(f"--train_fold {fold}: must be the name of a fold file, such as train_1.txt")
    return fold


def plain(options: TrainOptions | TestOptions) -> dict[str, Any]:
    """The options as plain values, for YAML, JSON and checkpoints; GPUs by their number."""
    values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return values | {"gpus": int(options.gpus)}


def taken_by(function: Callable[..., Any], options: TrainOptions | TestOptions) -> dict[str, Any]:
    """Those of the options for which a function has a parameter of the same name."""
    names = inspect.signature(function).parameters
    return {field.name: getattr(options, field.name) for field in fields(options) if field.name in names}


def _settle(options: TrainOptions | TestOptions) -> None:
    """Make the restricted values of the command line ordinary ones, which checkpoints can hold, in one spelling."""
    for field in fields(options):
        value = getattr(options, field.name)
        for kind in (int, float, str):
            if isinstance(value, kind) and not isinstance(value, bool | Gpus):
                setattr(options, field.name, kind(value))
    options.gpus = Gpus(options.gpus)
    if options.precision == "bf16":
        options.precision = "bf16-mixed"
