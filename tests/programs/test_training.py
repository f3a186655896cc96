"""The detectors' optimisers, a backbone that is held still at first, and half precision."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from model import MODELS, Detector, Outputs, load_detector
from model.training.callbacks import EpochSeed
from model.training.optimizer import held_still
from tests.reference import recipe

TINY = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4, "encoder_layers": 1}
TINY |= {"conv_pos": 8, "conv_pos_groups": 2}
every_detector = pytest.mark.parametrize("name", MODELS)
State = dict[str, Tensor]


def batch_of(seed: int, frames: int = 2) -> dict[str, Any]:
    """Two clips of 32 pixels."""
    batch = {key: torch.as_tensor(value) for key, value in recipe.detector_batch(seed, 2, frames, size=32).items()}
    return batch | {"id": torch.arange(2), "file": ["A/0.mp4", "B/1.mp4"]}


def names_of(detector: Detector, group: dict[str, Any]) -> set[str]:
    members = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in detector.named_parameters() if id(parameter) in members}


@pytest.mark.parametrize("name", ["MRDF_CE", "AVDF_Ensemble"])
def test_adam_is_that_of_the_release(name: str) -> None:
    detector = MODELS[name](learning_rate=3e-4, weight_decay=2e-4)
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    expected = torch.optim.Adam(trained, lr=3e-4, betas=(0.5, 0.9), weight_decay=2e-4)
    optimizer = detector.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.state_dict() == expected.state_dict()
    for ours, theirs in zip(optimizer.param_groups[0]["params"], trained, strict=True):
        assert ours is theirs


def test_adamw_decays_matrices_and_kernels_alone() -> None:
    detector = MODELS["MRDF_CE"](encoder=TINY, optimizer="adamw", train_frontend=True, weight_decay=0.01)
    optimizer = detector.configure_optimizers()
    assert type(optimizer) is torch.optim.AdamW
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert all(group["lr"] == 2e-4 and group["betas"] == (0.9, 0.98) for group in optimizer.param_groups)
    expected = {"model.mask_emb"}
    for prefix, module in detector.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, (_BatchNorm, nn.LayerNorm, nn.PReLU)):
                expected.add(f"{prefix}.{name}")
    assert names_of(detector, spared) == expected
    assert names_of(detector, decayed) == {name for name, _ in detector.named_parameters()} - expected


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_backbone_has_its_own_rate(optimizer: str) -> None:
    detector = MODELS["AVDF"](encoder=TINY, optimizer=optimizer, learning_rate=1e-3, backbone_learning_rate=1e-5)
    groups = detector.configure_optimizers().param_groups
    assert groups[0]["lr"] == 1e-3  # the one that the log shows
    fixed = {name for name, parameter in detector.named_parameters() if not parameter.requires_grad}
    assert fixed == {name for name, _ in detector.named_parameters() if "frontend3D" in name}
    for rate, backbone in ((1e-3, False), (1e-5, True)):
        members = set().union(*(names_of(detector, group) for group in groups if group["lr"] == rate))
        expected = {name for name, _ in detector.named_parameters() if name.startswith("model.") == backbone}
        assert members == expected - fixed


def test_an_optimiser_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd' is unknown; use one of adam, adamw"):
        MODELS["AVDF"](optimizer="sgd")


def test_held_still_leaves_everything_as_it_was() -> None:
    model = MODELS["AVDF"](encoder=TINY).train().model
    model.feature_extractor_video.resnet.trunk.layer1[0].bn1.eval()

    def state() -> tuple[dict[str, bool], dict[str, bool]]:
        return (
            {name: parameter.requires_grad for name, parameter in model.named_parameters()},
            {name: module.training for name, module in model.named_modules()},
        )

    def fail_within() -> None:
        with held_still(model):
            grads, modes = state()
            assert not any(grads.values())
            still = {name for name, training in modes.items() if not training}
            assert still == {name for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
            raise KeyError

    before = state()
    with pytest.raises(KeyError):
        fail_within()
    assert state() == before


class Watch(Callback):
    """What of the detector has changed since training started, after each batch."""

    def __init__(self) -> None:
        self.changed: list[tuple[bool, bool, bool]] = []  # backbone's parameters, its BatchNorm, the heads

    def on_train_start(self, trainer: Trainer, pl_module: Detector) -> None:
        self.start = copy.deepcopy(pl_module.state_dict())

    def on_train_batch_end(self, trainer: Trainer, pl_module: Detector, *_: Any) -> None:
        now = pl_module.state_dict()
        changed = {name for name, value in now.items() if not torch.equal(value, self.start[name])}
        norms = {name for name in changed if "running_" in name or "num_batches" in name}
        backbone = {name for name in changed if name.startswith("model.")} - norms
        self.changed.append((bool(backbone), bool(norms), bool(changed - backbone - norms)))
        frontend = {name for name in backbone if "frontend3D" in name}
        assert pl_module.hparams.train_frontend or not frontend
        assert all(
            parameter.requires_grad != ("frontend3D" in name and not pl_module.hparams.train_frontend)
            for name, parameter in pl_module.named_parameters()
        )


def fit(folder: Path, epochs: int, resume: Path | None = None, **more: Any) -> tuple[Detector, list[tuple]]:
    """Epochs of three batches, two of them a step, so two steps an epoch."""
    torch.manual_seed(0)
    options = {"freeze_encoder_steps": 3, "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1} | more
    detector = MODELS["MRDF_CE"](encoder=TINY, **options)
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        accumulate_grad_batches=2,
        callbacks=[watch, EpochSeed(0), ModelCheckpoint(folder, filename="last")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([batch_of(seed) for seed in range(3)], batch_size=None, generator=torch.Generator())
    trainer.fit(detector, loader, ckpt_path=resume, weights_only=True)
    return detector, watch.changed


@pytest.mark.usefixtures("small_detectors")
def test_the_backbone_starts_after_so_many_optimiser_steps_also_when_resumed(tmp_path: Path) -> None:
    whole, changed = fit(tmp_path / "whole", 2)
    # Batches 0 and 1 are the first step, 2 alone the second, 3 and 4 the third; then the backbone moves.
    frozen, trained = (False, False, True), (True, True, True)
    assert changed == [(False, False, False), frozen, frozen, frozen, frozen, trained]

    fit(tmp_path / "parts", 1)
    assert load_detector(tmp_path / "parts" / "last.ckpt").model.config == whole.model.config
    resumed, changed = fit(tmp_path / "parts", 2, tmp_path / "parts" / "last.ckpt")
    assert changed == [(False, False, False), frozen, trained]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.usefixtures("small_detectors")
def test_without_freezing_everything_moves_at_once(tmp_path: Path) -> None:
    _, changed = fit(tmp_path, 1, freeze_encoder_steps=0, train_frontend=True)
    assert changed == [(False, True, False), (True, True, True), (True, True, True)]


class Step(nn.Module):
    """A training step as a module, as DDP wants it."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: dict[str, Any], frozen: bool) -> Tensor:
        self.detector.hparams.freeze_encoder_steps = int(frozen)  # without a trainer it is always step 0
        return self.detector.training_step(batch, 0)


def test_ddp_goes_on_when_the_backbone_starts() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        detector = MODELS["AVDF"](encoder=TINY | {"modality_dropout": 1.0}).train()
        step = DistributedDataParallel(Step(detector), find_unused_parameters=True)
        head = {f"mm_classifier.{index}.{kind}" for index in (0, 2) for kind in ("weight", "bias")}
        for frozen in (True, True, False, False):
            detector.zero_grad()
            step(batch_of(0), frozen).backward()
            grads = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
            assert grads == head if frozen else grads > head
    finally:
        dist.destroy_process_group()


@every_detector
def test_a_step_in_bfloat16(name: str) -> None:
    detector = MODELS[name](encoder=TINY, train_frontend=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = detector(*(batch_of(0, 3)[key] for key in ("video", "audio", "padding_mask")))
        loss = detector.training_step(batch_of(0, 3), 0)
    head = outputs.video_logits if outputs.logits is None else outputs.logits
    assert head.dtype == torch.bfloat16  # autocast was at work
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    grads = [parameter.grad for parameter in detector.parameters() if parameter.grad is not None]
    assert len(grads) > 60
    assert all(grad.isfinite().all() for grad in grads)


@every_detector
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_single_precision(name: str, half: torch.dtype) -> None:
    """Logits that half precision holds, but not the exponentials and squared lengths that a loss takes of them."""
    torch.manual_seed(0)
    widths = {"logits": 4 if name == "AVDF_Multiclass" else 2, "video_logits": 2, "audio_logits": 2}
    widths |= {f"{kind}_{part}": 32 for kind in ("video", "audio") for part in ("cross", "within")}
    outputs = {field: (300 * torch.randn(6, width)).to(half) for field, width in widths.items()}
    batch = {key: torch.as_tensor(value) for key, value in recipe.detector_batch(5, 6, 1, size=1).items()}
    with torch.device("meta"):  # no weight is needed
        detector = MODELS[name](encoder=TINY, margin_contrast=0.1, margin_audio=0.1, margin_visual=0.1)
    with torch.autocast("cpu", half):
        losses = detector.losses(Outputs(**outputs), batch)
    expected = detector.losses(Outputs(**{field: value.double() for field, value in outputs.items()}), batch)
    for key, value in losses.items():
        assert value.dtype == torch.float32, key
        torch.testing.assert_close(value, expected[key].float(), rtol=1e-5, atol=1e-6)


def test_the_loss_of_an_epoch_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is exchanged once an epoch, which Lightning does of what is not shown each step."""
    detector = MODELS["MRDF_CE"](encoder=TINY).train()
    logged: list[tuple[set[str], dict[str, Any]]] = []
    monkeypatch.setattr(detector, "log_dict", lambda values, **how: logged.append((set(values), how)))
    detector.training_step(batch_of(0), 0)
    names = {"loss", "mm_loss", "contrast_loss", "audio_loss", "video_loss"}
    assert logged == [
        ({f"train_{name}_step" for name in names}, {"batch_size": 2, "on_step": True, "on_epoch": False}),
        (
            {f"train_{name}_epoch" for name in names},
            {"batch_size": 2, "on_step": False, "on_epoch": True, "sync_dist": True},
        ),
    ]
