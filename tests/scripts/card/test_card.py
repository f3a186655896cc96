"""MODEL_CARD.md: everything in it is read from files, and what is absent is said to be."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import main
from model.threshold import validation_calibration, with_calibration
from scripts.card import facts
from scripts.card.command import FILE, MINIATURE, OF_SEVERAL_FOLDS, PICKED_ON_TEST
from scripts.evaluate.tables import HEADINGS
from scripts.report.cautions import CAUTIONS
from tests.card_files import AVDF, CKPT, FOLD, RUN, TITLES, main_table, part, text_of, write
from tests.score_tables import random_table, table_of, with_heads
from utils.files import to_json
from utils.metrics import evaluate
from utils.options import RECIPES
from utils.results import read_scores
from utils.statistics.bootstrap import bootstrap_intervals


@pytest.fixture(autouse=True)
def small_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "detector_of", lambda *_: AVDF())


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A run whose one fold was trained and tested."""
    return write(tmp_path / "outputs")


def test_parts_and_what_it_is(outputs: Path) -> None:
    text = text_of(outputs)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == TITLES
    assert text.startswith(f"# Model card: `{RUN}`, fold `train_1`\n\nEvery number")
    said = part(text, "What it is")
    data = (outputs / CKPT).read_bytes()
    for line in (
        "- Detector: AVDF: one classifier looks at",
        "- Parameters: 220.",
        "- Encoder: no transformer layer; visual front end not trained",
        "- Epoch kept: 7.",
        "- Commit: `c0ffee`.",
        f"{len(data):,} bytes, SHA-256 `{hashlib.sha256(data).hexdigest()}`.",
        "- Versions: not recorded.",
        "- Hardware: not recorded.",
        "- Training time: not recorded.",  # hours, but of how many epochs is not said
    ):
        assert line in said
    assert str(outputs) not in text  # it is handed on


def test_record_of_training(tmp_path: Path) -> None:
    made = {"versions": {"torch": "2.9"}, "gpu": "H100", "cpu": "Xeon", "hours": 1.25, "epochs": 30}
    changes = {"environment": made, "learning_rate": 0.5, "pretrained": "/secret/base.pt"}
    text = text_of(write(tmp_path, **changes))
    said = part(text, "What it is")
    assert "- Training time: 1.25 hours for 30 epochs." in said
    assert "- Versions: torch 2.9." in said
    assert "- Hardware: H100, Xeon." in said
    assert "- Started from: the weights of AV-HuBERT in `base.pt`." in said
    assert f"; changed: learning_rate 0.5 instead of {RECIPES['clean']['learning_rate']}." in said
    assert "Meta's own licence" in part(text, "Licences and citation")
    assert "/secret" not in text


def test_results_are_those_of_the_scores(outputs: Path) -> None:
    text = part(text_of(outputs, bootstrap=60, seed=7), "Results")
    table = pd.read_csv(outputs / FOLD / "scores.csv")
    figures = evaluate(table.assign(video_score=np.nan, audio_score=np.nan))
    found = main_table(text)
    for name, heading in (("acc", "ACC"), ("auc", "AUC"), ("eer", "EER"), ("recall_fake", "recall, fake")):
        assert found[heading][0] == f"{100 * figures[name]:.2f}"
    low, high = map(float, found["AUC"][1].split(" to "))
    assert low < 100 * figures["auc"] < high
    assert found["audio AUC"] == ["", "", "no audio score"]
    assert "percentiles of 60 resamples of the subjects, seed 7" in text
    for category in "BCD":
        line = next(line for line in text.splitlines() if line.startswith(f"| {category}  "))
        assert f" {100 * figures['per_category'][category]['auc']:.2f} |" in line
        assert line.count(" to ") == 2  # an interval of ACC and of AUC
    assert "| fake-B " in text


def test_figures_of_classes_and_heads_have_intervals(tmp_path: Path) -> None:
    table = with_heads(random_table(4, 15))
    expected = bootstrap_intervals(table, 40, 42, detailed=True)["intervals"]
    cells = main_table(part(text_of(write(tmp_path, table)), "Results"))
    for name in ("f1_real", "precision_fake", "audio_auc", "video_auc"):
        low, high = expected[name]
        assert cells[HEADINGS[name]][1] == f"{100 * low:.2f} to {100 * high:.2f}"


def test_threshold_and_its_errors(tmp_path: Path) -> None:
    table = table_of("AABBCD", [0.9, 0.65, 0.6, 0.1, 0.2, 0.75])
    threshold = {"value": 0.7, "rule": "eer", "clips": 8}
    text = text_of(write(tmp_path, table, threshold=threshold))
    protocol = part(text, "Protocol")
    assert (
        "calls a clip real from a score of 0.7000 on: where the two error rates meet on 8 clips, the valid" in protocol
    )
    results = part(text, "Results")
    below = results[results.index("### At the threshold of main.py predict, 0.7000") :]
    found = main_table(below[: below.index("### By category")])
    assert found["real clips rejected (false rejection)"][0] == "50.00"
    assert found["fake clips accepted (false acceptance)"][0] == "25.00"
    assert found["ACC"][0] == "66.67"
    assert "these very clips" not in below
    by_test = write(tmp_path / "other", table, threshold=threshold, validation="test")
    assert "chosen on these very clips" in part(text_of(by_test), "Results")


def test_calibration_before_and_after(outputs: Path) -> None:
    assert "The checkpoint holds no calibration" in part(text_of(outputs), "Calibration")
    checkpoint = {"config": {"validation": "test"}, **validation_calibration(random_table(2, 40).assign(category=""))}
    table = read_scores(outputs / FOLD / "scores.csv")
    metrics = json.loads((outputs / FOLD / "metrics.json").read_text(encoding="utf-8"))
    _, metrics = with_calibration(checkpoint, table, metrics, {})
    (outputs / FOLD / "metrics.json").write_text(to_json(metrics), encoding="utf-8")
    said, record = part(text_of(outputs), "Calibration"), metrics["calibration"]
    cells = f"{record['before']['brier']:.4f} |     {record['after']['brier']:.4f}"
    assert cells in said
    assert "which makes it look better than it is" in said  # validation was the test fold


def test_without_a_threshold_or_heads(outputs: Path) -> None:
    said = part(text_of(outputs), "Protocol")
    assert "from a score of 0.5000 on: the file holds no threshold that was chosen on clips." in said
    assert "It calls the audio" not in said
    assert "1 = real, 0 = fake" in said


def test_people(tmp_path: Path) -> None:
    table = random_table(1, 80)
    number = np.arange(len(table)) // 4
    table = table.assign(race=np.array(["African", "Asian (East)"])[(number < 20).astype(int)])
    said = part(text_of(write(tmp_path, table.assign(gender=""))), "Race and gender")
    assert "By race: Asian (East) (20): fewer than 30 subjects, too few to compare" in said
    assert "- Nothing by gender: the scores do not say it." in said
    assert re.search(r"\| African +\| +60 \| 240 \|", said)


def test_nothing_known_of_people(outputs: Path) -> None:
    assert part(text_of(outputs), "Race and gender").strip() == (
        "- Nothing by race or gender: the scores do not say it."
    )


def test_miniature_is_named_first(tmp_path: Path) -> None:
    lines = text_of(write(tmp_path, corpus="miniature")).splitlines()
    assert lines[2] == MINIATURE
    assert re.fullmatch(r"\*\*.*synthetic miniature.*\*\*", MINIATURE)
    assert any(line.startswith("- Trained on: the synthetic miniature") for line in lines)
    assert any("miniature is drawn and voiced by this software" in line for line in lines)


@pytest.mark.parametrize("recipe", ["released", "clean"])
def test_limits_follow_the_configuration(tmp_path: Path, recipe: str) -> None:
    said = part(text_of(write(tmp_path, recipe=recipe, **RECIPES[recipe])), "Limits")
    for title in (PICKED_ON_TEST, "Scores depend on the batch", "There is no transformer layer"):
        assert (f"**{title}**" in said) == (recipe == "released"), title
    for title in OF_SEVERAL_FOLDS:
        assert title not in said
    assert "25 % of the test clips are real" in said
    assert "the first 20.0 s of clips at most" in said
    for topic in ("Unseen fakes", "Languages", "Codecs", "Deliberate deception", "Face crops"):
        assert f"**{topic}" in said


def test_titles_left_out_are_titles() -> None:
    assert {*OF_SEVERAL_FOLDS, PICKED_ON_TEST} <= {caution.title for caution in CAUTIONS}


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    method = "<script>`a|b*"
    table = random_table(1, 40)
    table = table.assign(method=table["method"].replace("fake-B", method), race="<i>|", gender="")
    text = text_of(write(tmp_path, table, corpus="<b>`x"))
    assert "`<script>'a|b*`" in part(text, "Data")
    assert "| &lt;script>`a\\|b* |" in part(text, "Results")
    assert "| &lt;i>\\| |" in part(text, "Race and gender")
    outside_code = re.sub(r"`[^`\n]*`", "", text.replace("&lt;script>`a", ""))
    assert "<" not in outside_code


def test_the_same_files_give_the_same_card(outputs: Path) -> None:
    assert text_of(outputs) == text_of(outputs)


@pytest.mark.usefixtures("restore_logging")
def test_command(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = outputs / "deep" / "card.md"
    arguments = ["card", "--checkpoint", outputs / CKPT, "--outputs", outputs, "--out", out, "--bootstrap", 0]
    assert main.main(list(map(str, arguments))) == 0
    assert "No intervals: no resamples." in out.read_text(encoding="utf-8")
    assert not (outputs / FOLD / FILE).exists()
    for flag, value, message in (
        ("--bootstrap", "-1", "--bootstrap is -1, but must be 0 or more"),
        ("--seed", "-2", "--seed is -2, but must be 0 or more"),
        ("--out", outputs, f"--out {outputs}: is a folder, but must be a file, such as"),
    ):
        assert main.main([*map(str, arguments), flag, str(value)]) == 2
        assert message in capsys.readouterr().err
