"""What a GPU would run, found wrong without one: PyTorch's fake tensors have a device and a shape, and no values."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model import MODELS, Detector
from model.training.optimizer import make_optimizer

pytestmark = pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="torch 2.6 asks the driver when it fills a fake tensor"
)
B, T = 3, 5
RECIPES = {
    "released": ({}, (T,) * B),
    "clean": ({"encoder_layers": 1, "train_frontend": True, "optimizer": "adamw"}, (2, T, 3)),
}
PRECISIONS = (None, torch.float16, torch.bfloat16)
LABELS = ("v_label", "a_label", "c_label", "m_label", "mm_label")
WAITS = {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.item, torch.ops.aten.is_nonzero}


class Watch(TorchDispatchMode):
    """Notes what makes a program wait for its GPU, and tensors that lie elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.elsewhere: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(leaf.is_cuda for leaf in given) and func.overloadpacket in WAITS:
            self.waits.append(str(func))
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if {leaf.device.type for leaf in given} - {leaf.device.type for leaf in made} and made:
            # A copy between a GPU and the host, and every number of a tensor on the host.
            self.waits.append(f"{func} {[leaf.device.type for leaf in given]} to {[leaf.device.type for leaf in made]}")
        self.elsewhere += [f"{func} on {leaf.device}" for leaf in made if not leaf.is_cuda and leaf.ndim > 0]
        self.largest = max([self.largest, *(leaf.numel() for leaf in made)])
        return result


@pytest.fixture(autouse=True)
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Autocast asks whether there is a GPU, and what it can do."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode(), torch.device("cuda:0"):
        yield


def batch_of(lengths: tuple[int, ...], dtype: torch.dtype | None, with_lengths: bool = True) -> dict[str, Any]:
    """A collated batch on the GPU, the video in the precision of the step."""
    batch = {
        "video": torch.empty(len(lengths), 3, max(lengths), 100, 100, dtype=dtype),
        "audio": torch.empty(len(lengths), 104, max(lengths)),
        "padding_mask": torch.empty(len(lengths), max(lengths), dtype=torch.bool),
        "id": torch.empty(len(lengths), dtype=torch.int64),
        "file": [""] * len(lengths),
        **{name: torch.empty(len(lengths), dtype=torch.int64) for name in LABELS},
    }
    return batch | ({"lengths": lengths} if with_lengths else {})


def made(name: str, recipe: str) -> Detector:
    return MODELS[name](**RECIPES[recipe][0])


@pytest.mark.parametrize(("name", "recipe"), [*((name, "clean") for name in MODELS), ("MRDF_CE", "released")])
def test_a_step_stays_on_the_gpu_and_waits_for_nothing(name: str, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = made(name, recipe)
    outputs, losses = [], []
    shared_losses = detector.losses
    monkeypatch.setattr(detector, "losses", lambda *given: losses.append(shared_losses(*given)) or losses[-1])
    monkeypatch.setattr(
        detector, "decide", lambda given: outputs.append(given) or type(detector).decide(detector, given)
    )
    for half in PRECISIONS:
        batch = batch_of(RECIPES[recipe][1], half)
        with Watch() as watch, torch.autocast("cuda", half, enabled=half is not None):
            assert torch.is_autocast_enabled("cuda") == (half is not None)
            loss = detector.train().training_step(batch, 0)
            with torch.no_grad():
                shown = detector.eval().validation_step(batch, 0)
        assert not watch.waits
        assert not watch.elsewhere
        assert loss.requires_grad
        for value in (*losses[-1].values(), *losses[-2].values(), loss, shown["loss"], shown["score"]):
            assert value.is_cuda
            assert value.dtype == torch.float32
        logits = [value for value in (outputs[-1].logits, outputs[-1].video_logits) if value is not None]
        assert {value.dtype for value in logits} == {half or torch.float32}
    scores = detector.fold_scores["val"]
    assert len(scores.rows) == len(PRECISIONS)
    assert all(rows.is_cuda and rows.shape == (B, len(scores.columns)) for rows in scores.rows)


def test_a_test_step_stays_on_the_gpu_and_waits_for_nothing() -> None:
    detector = made("MRDF_CE", "clean").eval()
    with Watch() as watch, torch.no_grad():
        found = detector.test_step(batch_of((2, T, 3), None), 0)
    assert not watch.waits
    assert all(value.is_cuda for value in found.values() if isinstance(value, Tensor))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_optimiser_stays_on_the_gpu_and_waits_for_nothing(recipe: str, half: bool) -> None:
    """Also where the gradient scaler of half precision looks for gradients that are infinite."""
    detector = made("MRDF_CE", recipe)
    optimizer, scaler = detector.configure_optimizers(), torch.amp.GradScaler("cuda", enabled=half)
    for parameter in detector.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)  # the backward pass needs a real GPU
    scaler.scale(torch.empty(()))
    with Watch() as watch:
        scaler.step(optimizer)
        scaler.update()
    assert scaler.is_enabled() == half
    assert not watch.waits
    assert not watch.elsewhere
    for state in optimizer.state.values():
        assert state["exp_avg"].is_cuda


def test_clipped_gradients_are_waited_for_as_lightning_cannot_clip_scaled_ones() -> None:
    detector = made("AVDF", "clean")
    clipped = make_optimizer(detector, clipped=True)
    assert make_optimizer(detector)._step_supports_amp_scaling
    assert not getattr(clipped, "_step_supports_amp_scaling", False)


@pytest.mark.parametrize("clipped", [False, True])
def test_a_state_from_another_device_does_not_change_the_kind_of_optimiser(clipped: bool) -> None:
    detector = made("AVDF", "released")
    optimizer, other = make_optimizer(detector, clipped), make_optimizer(detector, not clipped)
    optimizer.load_state_dict(other.state_dict())
    assert [group["fused"] for group in optimizer.param_groups] == [None if clipped else True]


def test_padded_clips_are_convolved_once_and_without_their_padding() -> None:
    lengths = (2, 500, 100)
    detector = made("MRDF_CE", "clean")
    batch = batch_of(lengths, torch.float16)
    with Watch() as watch, torch.autocast("cuda", torch.float16):
        detector.train()(batch["video"], batch["audio"], batch["padding_mask"], lengths)
    assert watch.largest == sum(lengths) * 64 * 50 * 50


def test_a_mask_alone_on_a_gpu_has_to_be_waited_for() -> None:
    detector, batch = made("AVDF", "clean"), batch_of((2, 5), None, with_lengths=False)
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        detector(batch["video"], batch["audio"], batch["padding_mask"])
