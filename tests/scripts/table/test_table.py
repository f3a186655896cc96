"""main.py table: four files from the folders of the runs alone."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from main import main
from utils.environment import commit, environment

ENVIRONMENT = {
    "commit": "abc123",
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "cpu": "Some CPU_2, 8 cores",
    "gpu": "Some GPU",
    "hours": 1.5,
    "epochs": 30,
}
CONFIG = {"corpus": "FakeAVCeleb", "config_hash": "a", "seed": 42, "learning_rate": 1e-3, "environment": ENVIRONMENT}
CATEGORIES = {
    "A": {"n": 1, "acc": 0.5},
    "B": {"n": 1, "acc": 0.6, "auc": 0.65},
    "C": {"n": 1, "acc": 0.7, "auc": 0.75},
    "D": {"n": 1, "acc": 0.8, "auc": None},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """MRDF_CE on two folds, AVDF on one, and a run of another name and corpus."""
    results = tmp_path / "results"
    for number, acc in ((1, 0.93), (2, 0.95)):
        write(results, "MRDF_CE", number, acc)
    write(results, "AVDF", 3, 0.9)
    write(results, "a_run & more", 1, 0.8, model_type="MRDF_CE", corpus="miniature")
    return results


def write(results: Path, run: str, fold: int | str, acc: float, **config: Any) -> Path:
    folder = results / run / f"train_{fold}"
    folder.mkdir(parents=True)
    figures = {"acc": acc, "auc_hard": acc - 0.02, "auc": acc + 0.01, "n": 100, "per_category": CATEGORIES}
    figures["config"] = CONFIG | {"model_type": run} | config
    (folder / "metrics.json").write_text(json.dumps(figures))
    return folder


def table(results: Path, *arguments: object) -> int:
    return main(["table", "--outputs", str(results.parent), *map(str, arguments)])


def cells(text: str, run: str) -> list[list[str]]:
    """Rows of a run in a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == run]


def test_markdown(results: Path, capsys: pytest.CaptureFixture) -> None:
    assert table(results) == 0
    text = (results / "table.md").read_text()
    assert text in capsys.readouterr().out
    main_row, by_category = cells(text, "MRDF_CE")
    assert main_row[1:4] == ["94.00 ± 1.41", "94.05", "-0.05"]
    assert main_row[4:7] == ["92.00 ± 1.41", "92.43", "-0.43"]
    assert main_row[7:] == ["95.00 ± 1.41", "2", "200", "3.00"]
    assert by_category[1:] == ["50.00 ± 0.00", "60.00 ± 0.00", "70.00 ± 0.00", "80.00 ± 0.00",
                               "65.00 ± 0.00", "75.00 ± 0.00", ""]  # fmt: skip
    assert cells(text, "AVDF")[0][1:] == ["90.00", "", "", "88.00", "", "", "91.00", "1", "100", "1.50"]
    # The paper says nothing of the miniature.
    assert cells(text, "a_run & more")[0][1:] == ["80.00", "78.00", "81.00", "1", "100", "1.50"]
    for part in ("- Git commit: abc123.", "- Seed: 42.", "python 3.11.7, torch 2.14.1", "Some GPU, Some CPU_2, 8 cores",
                 "- Data: FakeAVCeleb; miniature.", "- Training: 6.00 hours."):  # fmt: skip
        assert part in text, part
    assert "different configurations" not in text


def test_what_is_odd_is_said_under_the_table(results: Path) -> None:
    write(results, "mine", 1, 0.9, model_type="MRDF_CE", recipe="clean", checkpoint="ckpts/mine/mine_train_1.ckpt")
    write(results, "mine", 2, 0.9, model_type="MRDF_CE", recipe="clean", checkpoint="ckpts/mine/mine_train_1.ckpt")
    assert table(results) == 0
    notes = {line.removeprefix("- ") for line in (results / "table.md").read_text().splitlines()}
    assert {
        "mine: MRDF_CE, recipe clean.",
        "mine: train_2 was tested with mine_train_1.ckpt, which may have been trained on its subjects.",
        "mine: AUC D is empty, as it is in train_1, train_2.",
        "MRDF_CE: 2 of 5 folds, so that Δ says little.",
    } <= notes
    assert not {note for note in notes if note.startswith(("AVDF: 1", "mine: train_1", "a_run & more: MRDF_CE"))}


def test_csv_and_json_hold_fractions(results: Path) -> None:
    assert table(results) == 0
    csv = pd.read_csv(results / "table.csv").set_index("run")
    assert csv.index.tolist() == ["AVDF", "MRDF_CE", "a_run & more"]
    row = csv.loc["MRDF_CE"]
    assert row["acc_mean"] == pytest.approx(0.94, abs=1e-12)
    assert row["acc_std"] == pytest.approx(0.01 * math.sqrt(2), abs=1e-12)
    assert row["auc_hard_paper"] == 0.9243
    assert row["auc_hard_difference"] == pytest.approx(0.92 - 0.9243, abs=1e-12)
    assert math.isnan(csv.loc["AVDF", "acc_std"])
    assert (row["folds"], row["clips"], row["commit"]) == (2, 200, "abc123")
    rows = {entry["run"]: entry for entry in json.loads((results / "table.json").read_text())["rows"]}
    assert rows["MRDF_CE"]["acc_mean"] == pytest.approx(row["acc_mean"], abs=1e-15)
    assert rows["MRDF_CE"]["auc_B_mean"] == 0.65
    assert rows["MRDF_CE"]["auc_D_mean"] is None
    assert rows["AVDF"]["acc_paper"] is None
    assert rows["AVDF"]["record"] == {
        "corpus": ["FakeAVCeleb"],
        "commit": ["abc123"],
        "seed": ["42"],
        "versions": ["python 3.11.7, torch 2.14.1"],
        "hardware": ["Some GPU, Some CPU_2, 8 cores"],
    }


def test_latex(results: Path) -> None:
    assert table(results) == 0
    text = (results / "table.tex").read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert code.isascii()
    for word in ("toprule", "midrule", "bottomrule"):
        assert code.count(f"\\{word}") == 4
    assert r"MRDF\_CE & 94.00 $\pm$ 1.41 & 94.05 & $-$0.05 & 92.00 $\pm$ 1.41 & 92.43 & $-$0.43 &" in code
    assert r"a\_run \& more & 80.00 &" in code
    assert not re.search(r"(?<!\\)_", code)
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", code, re.DOTALL):
        lines = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert len(lines) in (2, 3)  # two runs on FakeAVCeleb, one on the miniature
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(tabular[0]) - 1}


def test_runs_are_chosen(results: Path) -> None:
    assert table(results, "--runs", "MRDF_CE,AVDF") == 0
    rows = json.loads((results / "table.json").read_text())["rows"]
    assert [row["run"] for row in rows] == ["AVDF", "MRDF_CE"]


def test_folds_of_different_configurations_are_told(results: Path) -> None:
    write(results, "MRDF_CE", 4, 0.9, config_hash="b", learning_rate=1e-4)
    write(results, "AVDF", 4, 0.9, config_hash="b")
    write(results, "AVDF", "4.1", 0.1, config_hash="set aside")
    assert table(results) == 0
    text = (results / "table.md").read_text()
    of = "The folds are of different configurations"
    assert f"- MRDF_CE: {of} (learning_rate: 0.001, but 0.0001 in train_4): their mean says little." in text
    assert f"- AVDF: {of} (data or weights): their mean says little." in text
    assert cells(text, "AVDF")[0][8] == "2"


def test_results_from_before_the_record_are_shown(tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = write(results, "AVDF", 1, 0.9)
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["config"]["environment"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert table(results) == 0
    text = (results / "table.md").read_text()
    assert "- Git commit: unknown." in text
    assert "Training:" not in text


def test_bad_folders(results: Path, capsys: pytest.CaptureFixture) -> None:
    (results / "MRDF_CE/train_2/metrics.json").write_text("{")
    (results / "empty").mkdir()
    (results / "none" / "results").mkdir(parents=True)
    for arguments, message in (
        ((results / "absent" / "results",), "absent/results: no such folder"),
        ((results / "none" / "results",), "none/results has no run with a tested fold"),
        ((results, "--runs", "AVDF,absent"), "has no run 'absent'"),
        ((results, "--runs", "empty"), "empty has no train_*/metrics.json"),
        ((results,), "train_2/metrics.json is not valid JSON"),
    ):
        assert table(*arguments) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(errors) == 1
        assert message in errors[0]
    assert not list(results.glob("table.*"))


def test_environment(tmp_path: Path) -> None:
    record = environment()
    assert set(record) == {"commit", "versions", "cpu", "gpu"}
    assert set(record["versions"]) == {"python", "torch", "lightning", "numpy", "opencv", "av"}
    assert all(record["versions"].values())
    assert record["cpu"]
    assert commit(tmp_path) is None
    assert commit(Path(__file__).parent) is None  # a folder in a working tree is not one itself


def test_corpora_and_protocols_are_never_mixed(results: Path) -> None:
    write(results, "AVDF", 4, 0.5, protocol="leave-one-out")
    write(results, "AVDF", 5, 0.7, corpus="LAV-DF", dataset="lavdf")
    assert table(results) == 0
    rows = [row for row in json.loads((results / "table.json").read_text())["rows"] if row["run"] == "AVDF"]
    assert [(row["protocol"], row["record"]["corpus"], row["folds"], row["acc_mean"]) for row in rows] == [
        ("mrdf-5fold", ["FakeAVCeleb"], 1, 0.9),
        ("leave-one-out", ["FakeAVCeleb"], 1, 0.5),
        ("official", ["LAV-DF"], 1, 0.7),
    ]
    titles = [line for line in (results / "table.md").read_text().splitlines() if line.startswith("## ")]
    where = ["FakeAVCeleb, mrdf-5fold", "FakeAVCeleb, leave-one-out"]
    assert titles[:4] == [f"## {one}, {how}" for one in where for how in ("in percent", "by category")]
