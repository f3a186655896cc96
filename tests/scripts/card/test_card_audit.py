"""MODEL_CARD.md: what an audit found, what it did not measure, and that there is none."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.audit.changes import CHANGES
from scripts.card import facts
from tests.card_files import AVDF, CKPT, FOLD, RUN, part, text_of, write
from utils.errors import DataError


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose one fold was trained and tested."""
    monkeypatch.setattr(facts, "detector_of", lambda *_: AVDF())
    return write(tmp_path / "outputs")


def put_audit(outputs: Path, **changes: Any) -> Path:
    rows = [
        {"shortcut": "leading silence", "category": "B", "auc": 0.91, "low": 0.85, "high": 0.95, "n": 80,
         "named": True},
        {"shortcut": "duration", "category": "all", "auc": None, "low": None, "high": None, "n": 160, "named": False,
         "note": "the same | in all"},
    ]  # fmt: skip
    digest = hashlib.sha256((outputs / CKPT).read_bytes()).hexdigest()
    audit = {"digest": digest, "n": 160, "shortcuts": rows, "sentences": ["It listens to <silence>."]} | changes
    path = outputs / FOLD / "audit" / "audit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(audit))
    return path


def test_audit(outputs: Path) -> None:
    put_audit(outputs)
    text = text_of(outputs)
    said = part(text, "What the audit found")
    assert "scores of 160 test clips were looked at" in said
    assert "- It listens to &lt;silence>.\n" in said
    assert re.search(r"\| leading silence \| +B \| +80 \| 91\.00 \| 85\.00 to 95\.00 \| +yes \|", said)
    assert re.search(r"\| duration +\| +all \| +160 \| +\| +\| +\| the same \\\| in all \|", said)


@pytest.mark.parametrize("there", [False, True])
def test_no_audit_of_this_checkpoint(outputs: Path, there: bool, caplog: pytest.LogCaptureFixture) -> None:
    if there:
        put_audit(outputs, digest="0" * 64)
    text = text_of(outputs)
    why = "the audit on disk is of another checkpoint" if there else "no audit was made"
    said = part(text, "What the audit found")
    assert said.strip().startswith(f"Not audited: {why}.")
    assert f"`python main.py audit --checkpoint {RUN}_train_1.ckpt --data_root FOLDER`" in said
    assert why in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", '{"digest": "0"}'])
def test_damaged_audit(outputs: Path, content: str) -> None:
    path = put_audit(outputs)
    path.write_text(content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*make the audit again"):
        text_of(outputs)


def of_changes(*chosen: str) -> list[dict[str, Any]]:
    """Effects, as audit.json has them, of changes by kind, family or name."""
    made = [change for change in CHANGES if {change.kind, change.family, change.name} & {*chosen}]
    return [{"change": name, "category": "all"} for name in ("original", *(change.name for change in made))]


@pytest.mark.parametrize(("effects", "measured", "limit"), [
    (of_changes("probe", "damage"), "probes, all 16; everyday damage, all 40",
     "by how much the audit says, for the damage that it does to clips"),
    (of_changes("probe"), "probes, all 16; everyday damage, none of 40", "by how much was not measured"),
    (of_changes("leading silence", "MP3", "H.264", "blur", "noise", "resize", "audio noise", "brightness",
                "band limit 1 kHz"), "probes, 1 of 16; everyday damage, 36 of 40",
     "by how much the audit says in part; it left out band limit 6 kHz, band limit 4 kHz, band limit 3 kHz and band "
     "limit 2 kHz"),
    (None, "not recorded", "by how much was not measured"),
])  # fmt: skip
def test_what_was_measured(outputs: Path, effects: list[dict[str, Any]] | None, measured: str, limit: str) -> None:
    put_audit(outputs, effects=effects)
    text = text_of(outputs)
    assert f"Changes of the clips that were measured: {measured}.\n" in part(text, "What the audit found")
    assert f"recording them again changes scores; {limit}.\n" in part(text, "Limits")


def test_without_an_audit_nothing_was_measured(outputs: Path) -> None:
    assert "recording them again changes scores; by how much was not measured.\n" in part(text_of(outputs), "Limits")
