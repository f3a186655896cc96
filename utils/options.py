"""Every option of train.py and test.py with its default, and what a recipe fills in.

The command line overrides a YAML file (`--config`), which overrides the defaults here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, restricted_string_type

ModelType = Literal["AVDF", "AVDF_Ensemble", "AVDF_Multilabel", "AVDF_Multiclass", "MRDF_Margin", "MRDF_CE"]
Dataset = Literal["fakeavceleb", "csv"]
Precision = Literal["16", "16-mixed", "bf16-mixed", "32", "32-true"]
Folds = restricted_string_type("Folds", r"^[1-5](,[1-5])*$", docstring="fold numbers from 1 to 5, such as 2 or 1,3")

RECIPES: dict[str, dict[str, Any]] = {
    # What the authors' release does when it is run, which is not always what one would guess: see the README.
    "released": {"encoder_layers": 0, "train_frontend": False},
}


CORPORA: dict[str, dict[str, Any]] = {
    "fakeavceleb": {"num_train": 400, "num_val": 100},  # as in the paper
    "csv": {"num_train": None, "num_val": None},  # all of them
}


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
        Protocol: released does what the authors' release does.
    encoder_layers
        Transformer layers of the encoder; by default as the recipe says.
    train_frontend
        Train the visual front end; by default as the recipe says.
    batch_size
        Clips in a batch, on each device.
    num_workers
        Processes that load clips; by default none on a CPU, up to 8 beside a GPU.
    gpus
        GPUs to use; several train in parallel (DDP). Without a GPU the CPU is used.
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
        Stop when accuracy + AUC have not risen for this many epochs; 0 never does.
    log_steps
        Steps between two entries of the training log.
    resume
        auto goes on from the last checkpoint of each fold, where there is one; a file goes on from that.
    save_name
        Name of the run in the outputs; by default the model type.
    learning_rate
        Of Adam.
    weight_decay
        Of Adam.
    margin_audio
        Margin of the within-modality loss of the sound (MRDF_Margin).
    margin_visual
        Margin of the within-modality loss of the picture (MRDF_Margin).
    margin_contrast
        Margin of the cross-modality loss (MRDF_Margin, MRDF_CE).
    outputs
        Folder for checkpoints, results and logs.
    seed
        Of everything that is drawn: subset, folds, weights, order, crops, dropout.
    skip_bad
        Go on without clips that are missing or do not decode, instead of stopping before training.
    compile
        Compile the image trunk with torch.compile: slower to start, faster steps.
    """

    dataset: Dataset = "fakeavceleb"
    model_type: ModelType = "MRDF_CE"
    data_root: Path = Path("data/FakeAVCeleb_v1.2")
    folds: Folds = "1,2,3,4,5"
    recipe: Literal["released"] = "released"
    encoder_layers: NonNegativeInt | None = None
    train_frontend: bool | None = None
    batch_size: PositiveInt = 64
    num_workers: NonNegativeInt | None = None
    gpus: PositiveInt = 1
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
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-4
    margin_audio: float = 0.0
    margin_visual: float = 0.0
    margin_contrast: float = 0.0
    outputs: Path = Path("outputs")
    seed: NonNegativeInt = 42
    skip_bad: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        _unrestrict(self)
        self.save_name = self.save_name or self.model_type
        if Path(self.save_name).name != self.save_name:
            raise ValueError(f"--save_name {self.save_name}: must be a plain name, not a path")
        for name, value in (RECIPES[self.recipe] | CORPORA[self.dataset]).items():
            if getattr(self, name) is None:
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
        Clips in a batch. Under recipe released a clip's score depends on the others, as a batch is cut to its shortest.
    num_workers
        Processes that load clips; by default none on a CPU, up to 8 beside a GPU.
    gpus
        GPUs to use. Without a GPU the CPU is used.
    precision
        16 and bf16-mixed are mixed precision. Without a GPU 16 becomes 32.
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
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    data_root: Path
    checkpoint: Path
    model_type: ModelType | None = None
    dataset: Dataset = "fakeavceleb"
    train_fold: str = "train_1.txt"
    batch_size: PositiveInt = 64
    num_workers: NonNegativeInt | None = None
    gpus: PositiveInt = 1
    precision: Precision = "16"
    max_frames: PositiveInt | None = None
    cache_dir: Path | None = None
    num_val: PositiveInt | None = None
    seed: NonNegativeInt | None = None
    outputs: Path = Path("outputs")
    skip_bad: bool = False

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
