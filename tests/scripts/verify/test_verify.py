"""`main.py verify`: what it finds on this machine, and what it says where a number is off."""

import json
from pathlib import Path

import pytest
import torch

from main import main
from scripts.verify import command, reference
from scripts.verify.reference import Check, check_clips, check_detector, planned


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One detector in one precision, and no times."""
    monkeypatch.setattr(command, "planned", lambda device: [("AVDF", device, "32")])
    speeds = {"training_frames_per_second": 80.0, "scoring_frames_per_second": 200.0}
    monkeypatch.setattr(command, "speed", lambda device, precision: speeds)


def test_a_machine_that_gives_the_numbers(quick: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["verify", "--gpus", "0", "--json", str(tmp_path / "verify.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "this machine gives the release's numbers"
    assert "An estimate." in shown
    found = json.loads((tmp_path / "verify.json").read_text())
    assert found["verdict"] == "this machine gives the release's numbers"
    assert {check["name"] for check in found["checks"]} == {
        "audio of 12 clips, in levels of 16 bits",
        *(f"cpu, 32, AVDF, {part}" for part in ("outputs", "losses", "gradients")),
    }
    assert found["machine"]["cores_allowed"] >= 1
    assert found["times"]["cpu"]["computing_minutes"] == pytest.approx(100 * (1600 / 80 + 400 / 200) / 60)


def test_a_number_that_is_off(quick: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "check_clips", lambda: [Check("audio", 3.0, 1.0), Check("video", None, 1.0)])
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--gpus", "0"])
    assert stop.value.code == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "this machine does not give the release's numbers: audio; video"


def test_a_detector_of_ones_own_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reference.MODELS, "Mine", reference.MODELS["AVDF"])
    assert {name for name, _, precision in planned(torch.device("cpu")) if precision == "32"} == set(reference.OUTPUTS)


def test_what_a_wrong_weight_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> torch.nn.Module:
        detector = filled(name)
        with torch.no_grad():
            detector.mm_classifier[2].bias[0] += 0.01  # of one class, which moves the loss too
        return detector

    filled = reference.filled
    monkeypatch.setattr(reference, "filled", broken)
    outputs, losses, _ = check_detector("AVDF", torch.device("cpu"), "32")
    assert not outputs.ok
    assert not losses.ok


def test_clips_that_do_not_decode_as_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    read = reference.read_audio
    monkeypatch.setattr(reference, "read_audio", lambda path: read(path)[1:])
    (check,) = check_clips()
    assert not check.ok
    assert "samples in place of" in check.remark


def test_a_cpu_is_spared_half_precision() -> None:
    plan = planned(torch.device("cpu"))
    assert len(plan) == 7
    assert len(planned(torch.device("cuda", 0))) == 18
