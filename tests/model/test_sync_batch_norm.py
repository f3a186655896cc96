"""BatchNorm over the frames of two processes against one process with all of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model import MODELS
from model.image_encoder import ImageEncoder
from model.norm_act import norm_act, sync_batch_norm

CASES = {
    "trained": {"train_frontend": True},
    "fixed": {"train_frontend": False},
    "recomputed": {"train_frontend": True, "checkpoint_activations": True},
}
SHARES = (slice(0, 1), slice(1, 3))  # clips of each process, of 2 and of 5 + 3 real frames


def step(case: str, share: slice, synchronised: bool) -> dict[str, Tensor]:
    """Outputs, running statistics and gradients of one step on some of the clips."""
    torch.manual_seed(0)
    encoder = ImageEncoder(3, **CASES[case]).double().train()
    if synchronised:
        encoder = sync_batch_norm(encoder)
    video = torch.randn(3, 3, 5, 16, 16, dtype=torch.float64)
    weight = torch.randn(3, 5, 512, dtype=torch.float64)
    mask = torch.tensor([2, 5, 3])[:, None] <= torch.arange(5)  # (B, T)
    # DDP refuses PyTorch's own SyncBatchNorm on a CPU. Its mean of the gradients, over both processes, is their sum.
    model = DistributedDataParallel(encoder) if dist.is_initialized() else encoder
    outputs = model(video[share], mask[share])
    (outputs * weight[share]).sum().backward()
    gradients = {f"grad of {name}": value.grad for name, value in encoder.named_parameters() if value.grad is not None}
    return {"outputs": outputs.detach(), **dict(encoder.named_buffers()), **gradients}


def process(rank: int, folder: Path) -> None:
    """One of two processes: its share of each case, kept in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    results = {case: step(case, SHARES[rank], synchronised=True) for case in CASES}
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one_with_the_whole_batch(case: str, two_processes: list[dict]) -> None:
    first, second = (results[case] for results in two_processes)
    whole = step(case, slice(None), synchronised=False)
    assert first.keys() == second.keys() == whole.keys()
    for name, expected in whole.items():
        if name == "outputs":
            actual = torch.cat([first[name], second[name]])
        elif name.startswith("grad of"):
            actual = first[name] + second[name]
        else:
            assert torch.equal(first[name], second[name]), name
            actual = first[name]
        scale = float(expected.abs().max())
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8 * scale, msg=name)
    assert whole["frontend3D.1.num_batches_tracked"] == 1


def test_processes_that_do_not_share_statistics_differ() -> None:
    apart, whole = (step("trained", share, synchronised=False) for share in (SHARES[0], slice(None)))
    assert not torch.allclose(apart["outputs"], whole["outputs"][:1], rtol=1e-3)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_names_and_parameters_stay(device_type: str) -> None:
    torch.manual_seed(0)
    detector = MODELS["AVDF_Ensemble"]()
    before, parameters = list(detector.state_dict()), list(detector.parameters())
    assert sync_batch_norm(detector, device_type) is detector
    assert list(detector.state_dict()) == before
    assert all(ours is theirs for ours, theirs in zip(detector.parameters(), parameters, strict=True))
    synchronised = [module for module in detector.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(synchronised) == (20 if device_type == "cuda" else 0)


def test_one_process_is_as_before() -> None:
    whole, alone = (step("trained", slice(None), synchronised) for synchronised in (False, True))
    for name, expected in whole.items():
        assert torch.equal(alone[name], expected), name


@pytest.mark.parametrize("train", [True, False])
def test_modules_of_a_gpu_work_on_masked_frames(train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(3).double().train(train)
    video = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64)
    mask = torch.tensor([[False] * 4, [False] * 2 + [True] * 2])
    expected = encoder(video, mask)
    for module in ("image_encoder", "norm_act"):
        monkeypatch.setattr(f"model.{module}.is_fast", lambda x: False)
    torch.testing.assert_close(sync_batch_norm(encoder, "cuda")(video, mask), expected)


def test_a_cpu_without_full_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = sync_batch_norm(nn.BatchNorm2d(4))
    x = torch.randn(3, 4, 2, 2)
    torch.testing.assert_close(norm_act(x, norm), nn.BatchNorm2d(4)(x))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="for a CPU in full precision"):
        norm_act(x, norm)
