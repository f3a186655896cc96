"""`main.py evaluate` by race and gender, as a user sees it."""

from pathlib import Path

import numpy as np
import pytest

from tests.score_tables import random_table, table_of
from tests.scripts.evaluate.test_evaluate_command import command, result_in

pytestmark = pytest.mark.usefixtures("restore_logging")


def test_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    table = random_table(3, 40)
    number = np.arange(len(table)) // 4
    table = table.assign(race=np.array(["East", "<W>|"])[number % 2], gender=np.array(["men", ""])[number // 2 % 2])
    path = tmp_path / "scores.csv"
    table.to_csv(path, index=False)
    assert command(path, "--bootstrap", 30) == 0
    groups = result_in(tmp_path)["pooled"]["per_group"]
    assert {name: list(entries) for name, entries in groups.items()} == {
        "race": ["<W>|", "East"],
        "gender": ["(not given)", "men"],
        "race_gender": ["<W>|, (not given)", "<W>|, men", "East, (not given)", "East, men"],
    }
    men = groups["gender"]["men"]
    assert (men["n"], men["subjects"], men["real"], men["fake"]) == (80, 20, 20, 60)
    page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    few = "By race: every group has fewer than 30 subjects, too few to compare"
    for text in ("## By race, in percent", "## Errors by race and gender, in percent", "| &lt;W>\\| ", few):
        assert text in page
    assert "<W>|, men" in capsys.readouterr().out


def test_no_figure_is_cut_on_a_narrow_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    score = np.tile([1.0, 0.0, 0.0, 0.0], 30)  # all right: 100.00 everywhere
    table = table_of("ABCD" * 30, score, [f"id{k // 4:05d}" for k in range(120)])
    table.assign(race="Caucasian (European)", gender="women").to_csv(tmp_path / "scores.csv", index=False)
    assert command(tmp_path / "scores.csv", "--bootstrap", 9) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("90.00 to 100.00 †") > 15  # thirty subjects, all alike
    assert "rule of three" in shown


def test_without_people_there_is_a_word_and_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for table in (random_table(3), random_table(3).assign(race="", gender="")):
        table.to_csv(tmp_path / "scores.csv", index=False)
        assert command(tmp_path / "scores.csv", "--bootstrap", 9) == 0
        assert result_in(tmp_path)["pooled"]["per_group"] == {}
        page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
        assert page.endswith("## By race and gender\n\n- Nothing by race or gender: the scores do not say it.\n")
        assert "Nothing by race or gender" in capsys.readouterr().out
