"""How a detector's parameters are trained: their optimiser, its rates, and a backbone that is held still."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from utils.errors import DataError

OPTIMIZERS = ("adam", "adamw")


def parameter_groups(detector: LightningModule, hparams: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Groups of an optimiser, each with its rate and weight decay: all parameters of a detector that have a gradient.

    Of the hyperparameters optimizer, learning_rate, backbone_learning_rate and weight_decay count.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            continue
        backbone = name.startswith("model.") and hparams["backbone_learning_rate"] is not None
        spared = hparams["optimizer"] != "adam" and parameter.ndim < 2  # biases, norms, PReLU slopes and mask_emb
        group = {
            "params": [],
            "lr": hparams["backbone_learning_rate" if backbone else "learning_rate"],
            "weight_decay": 0.0 if spared else hparams["weight_decay"],
        }
        groups.setdefault((backbone, spared), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def make_optimizer(detector: LightningModule, clipped: bool = False) -> Optimizer:
    """The optimiser of a detector's hyperparameters, for all parameters that have a gradient.

    "adam" is that of the authors' release: betas (0.5, 0.9), L2 on everything. "adamw" has AV-HuBERT's betas
    (0.9, 0.98) and decays weight matrices and kernels alone. The first group has the rate of the heads.

    On a GPU it is PyTorch's fused one, which the gradient scaler of half precision need not wait for. Lightning cannot
    clip gradients in half precision with that, so with `clipped` it is the plain one, and each such step waits. That a
    fused step waits for nothing is tested with fake tensors alone; nobody has trained with it on a GPU yet.
    """
    groups = parameter_groups(detector, detector.hparams)
    fused = True if not clipped and groups[0]["params"][0].is_cuda else None
    if detector.hparams.optimizer == "adam":
        optimizer: Optimizer = torch.optim.Adam(groups, betas=(0.5, 0.9), fused=fused)
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=fused)
    optimizer.register_load_state_dict_pre_hook(_stay_fused_or_plain)
    return optimizer


def _stay_fused_or_plain(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """What to load from a checkpoint that another device may have written; the scaler goes by how this one was made."""
    groups = [group | {"fused": optimizer.defaults["fused"]} for group in state["param_groups"]]
    return state | {"param_groups": groups}


def warmup_cosine(optimizer: Optimizer, warmup: float, total_steps: float) -> LambdaLR:
    """Raise the rate along a line, then lower it along half a cosine to 0; to be stepped once an optimiser step.

    Each group of the optimiser keeps its own highest rate, the one that it has now. In the share `warmup` of the steps
    the rate rises, and the first of them already moves the weights; after `total_steps` it stays at 0.

    Raises
    ------
    DataError
        If the number of steps is not known, or `warmup` is not from 0 to 1.
    """
    if not 1 <= total_steps < math.inf:
        raise DataError("the schedule has to know when training ends; set max_epochs")
    if not 0 <= warmup <= 1:
        raise DataError(f"warmup={warmup} is not a share from 0 to 1")
    # The scaler of 16-mixed leaves out the first updates, which the schedule would take for a mistake.
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        progress = min(1.0, (step - rising) / max(1, total_steps - rising))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, share)


def go_on_along(schedule: LambdaLR, step: int) -> None:
    """Put a schedule at an optimiser step, with the highest rates that its optimiser's groups have as `initial_lr`."""
    highest = [group["initial_lr"] for group in schedule.optimizer.param_groups]
    rates = [rate * share(step) for rate, share in zip(highest, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule.load_state_dict(schedule.state_dict() | {"last_epoch": step, "base_lrs": highest, "_last_lr": rates})


@contextmanager
def held_still(module: nn.Module) -> Iterator[None]:
    """Within, the module's parameters get no gradient and its BatchNorm is in eval mode; afterwards all is as before.

    Its dropout is not touched. Since nothing stays changed between two steps, DDP and a resumed run see the same
    parameters as ever; DDP has to look for unused ones.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    for parameter in trained:
        parameter.requires_grad_(False)
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for norm in norms:
            norm.train()
