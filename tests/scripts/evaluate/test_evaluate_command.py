"""`main.py evaluate` as a user runs it: its files, its tables, and one line for whatever is wrong."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import main
from scripts.evaluate.tables import sections
from tests.score_tables import random_table, table_of
from utils.errors import DataError
from utils.metrics import LISTED, evaluate
from utils.results import SCORE_COLUMNS, match, read_scores, write_fold
from utils.statistics.evaluation import evaluate_folds
from utils.table import as_markdown


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def write(path: Path, table: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table[[name for name in SCORE_COLUMNS if name in table]].to_csv(path, index=False)
    return path


def command(*args: object) -> int:
    return main.main(["evaluate", *map(str, args)])


def result_in(folder: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"), parse_constant=refuse)


def fold(k: int, shift: float = 1.0) -> pd.DataFrame:
    table = random_table(k, shift=shift)
    return table.assign(file=f"{k}/" + table["file"], subject=f"{k}-" + table["subject"])


def test_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = fold(1)
    write_fold(tmp_path, table, evaluate(table), {})  # exactly as test.py leaves it
    assert command(tmp_path / "scores.csv", "--bootstrap", 50) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.json", "evaluation.md", "metrics.json", "scores.csv"
    ]  # fmt: skip
    result = result_in(tmp_path)
    assert result["files"] == [str(tmp_path / "scores.csv")]
    assert (result["against"], result["comparison"], result["folds"]) == ([], None, {})
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in metrics.keys() - {"config", "per_category"}:
        assert result["pooled"][name] == metrics[name], name
    assert len(result["pooled"]["calibration"]["bins"]) == 15
    shown = capsys.readouterr().out
    low, high = result["pooled"]["bootstrap"]["intervals"]["auc"]
    line = f"{100 * metrics['auc']:.2f} {100 * low:.2f} to {100 * high:.2f}"
    assert line in " ".join(shown.split())
    page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "| audio AUC       |" in page
    assert "no audio score |" in page


def test_folds_against_another_detector(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"a/train_{k}/scores.csv", fold(k)) for k in (1, 2)]
    both = pd.concat([fold(k, shift=0.4) for k in (1, 2)]).sample(frac=1, random_state=0)  # one file, in another order
    other = write(tmp_path / "b.csv", both)
    assert command(*paths, "--against", other, "--bootstrap", 40, "--seed", 7, "--out", tmp_path / "new/out") == 0
    assert not (tmp_path / "a/train_1/evaluation.json").exists()
    result = result_in(tmp_path / "new/out")
    folds = {f"train_{k}": read_scores(paths[k - 1]) for k in (1, 2)}
    pooled = pd.concat(folds.values(), ignore_index=True)
    expected = evaluate_folds(folds, match(pooled, read_scores(other), ("a", "b")), 40, 7)
    assert {name: result[name] for name in expected} == json.loads(json.dumps(expected))
    assert result["comparison"]["delong"]["auc_against"] == pytest.approx(evaluate(both)["auc"], abs=1e-12)
    assert list(result["folds"]) == ["train_1", "train_2"]
    page = (tmp_path / "new/out/evaluation.md").read_text(encoding="utf-8")
    for text in (
        "| train_2 |",
        "| AUC, DeLong",
        "| ACC, McNemar",
        f"Evaluation of {paths[0]} and 1 more against {other}",
    ):
        assert text in page


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}/train_1/scores.csv", fold(k)) for k in (1, 2)]
    assert command(*paths, "--bootstrap", 0) == 0
    assert list(result_in(tmp_path / "1/train_1")["folds"]) == list(map(str, paths))


def test_the_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "scores.csv", fold(1))
    pages = []
    for _ in range(2):
        assert command(path, "--bootstrap", 30) == 0
        pages.append([(tmp_path / f"evaluation.{kind}").read_bytes() for kind in ("json", "md")])
    assert pages[0] == pages[1]


def test_2000_resamples_of_2000_clips_take_seconds(tmp_path: Path) -> None:
    path = write(tmp_path / "scores.csv", random_table(0, subjects=500))
    start = time.process_time()
    assert command(path) == 0
    assert time.process_time() - start < 20
    assert result_in(tmp_path)["bootstrap"]["resamples"] == 2000


@pytest.mark.parametrize("category", ["AAAA", "BCDD", "A", "ABBB", "AB"])
def test_absent_classes_leave_empty_cells_and_a_reason(tmp_path: Path, category: str) -> None:
    score = np.linspace(0.9, 0.1, len(category))
    table = table_of(category, score).drop(columns=["video_score", "audio_score"])
    path, other = write(tmp_path / "scores.csv", table), write(tmp_path / "b.csv", table.assign(score=1 - score))
    assert command(path, "--against", other, "--bootstrap", 20) == 0
    pooled = result_in(tmp_path)["pooled"]
    page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    absent = [name for name, clips in (("real", "A"), ("fake", "BCD")) if not set(category) & set(clips)]
    for name in absent:
        assert (pooled["auc"], pooled["why"]["auc"]) == (None, f"no {name} clip")
        row = next(line for line in page.splitlines() if line.startswith("| AUC "))
        assert [cell.strip() for cell in row.split("|")[2:-1]] == ["", "", f"no {name} clip"]
        assert f"No intervals: no {name} clip." in page
    assert (pooled["auc"] is None) == bool(absent)
    assert pooled["why"]["audio_auc"] == "no audio score"


def test_odd_names_do_not_break_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of("AABB", [0.9, 0.8, 0.2, 0.3]).assign(method=["real", "real", "[red]a|b", ""])
    assert command(write(tmp_path / "scores.csv", table), "--bootstrap", 20) == 0
    assert "[red]a|b" in capsys.readouterr().out
    page = as_markdown("x", sections(result_in(tmp_path)))
    assert "| [red]a\\|b   |" in page
    assert "| (not given) |" in page


def spoil(column: str, value: object) -> pd.DataFrame:
    table = table_of("AABC", [0.9, 0.4, 0.6, 0.1]).astype(object)
    table.loc[2, column] = value  # line 4 of the file
    return table


WRONG_CELLS = [
    ("score", 1.01, "line 4: score is '1.01', not a number from 0 to 1"),
    ("score", -0.2, "line 4: score is '-0.2', not a number from 0 to 1"),
    ("score", "nan", "line 4: score is empty, not a number from 0 to 1"),
    ("score", "inf", "line 4: score is 'inf', not a number from 0 to 1"),
    ("score", "", "line 4: score is empty, not a number from 0 to 1"),
    ("score", "0,5", "line 4: score is '0,5', not a number from 0 to 1"),
    ("audio_score", 0.5, "line 2: audio_score is empty, not a number from 0 to 1"),
    ("label", 2, "line 4: label is '2', not 0 or 1"),
    ("label", "real", "line 4: label is 'real', not 0 or 1"),
    ("label", 1, "line 4: label 1 does not go with category B; A alone is real (1)"),
    ("decision", 0.5, "line 4: decision is '0.5', not 0 or 1"),
    ("decision", "", "line 4: decision is empty, not 0 or 1"),
    ("category", "E", "line 4: category is 'E', not A, B, C or D"),
    ("file", "0.mp4", "line 4: file '0.mp4' is in line 2 already"),
    ("file", "", "line 4: file is empty"),
    ("subject", "", "line 4: subject is empty"),
]


@pytest.mark.parametrize(("column", "value", "message"), WRONG_CELLS)
def test_wrong_cells_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, value: object, message: str
) -> None:
    path = write(tmp_path / "scores.csv", spoil(column, value))
    assert command(path) == 2
    assert capsys.readouterr().err == f"main.py: error: {path} {message}\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["scores.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": the file is empty"),
        (",".join(SCORE_COLUMNS).encode() + b"\n", ": holds no row"),
        (b"file,score\na,0.5\n", ": column subject, category, method, label, decision is missing"),
        (b"\xff\xfe\x00", ": not a csv file that can be read"),
        (None, ": no such file"),
    ],
)
def test_files_that_hold_no_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_bytes(content)
    assert command(path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"main.py: error: {path}{message}")
    assert error.count("\n") == 1


def test_a_folder_is_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path) == 2
    assert capsys.readouterr().err == f"main.py: error: {tmp_path}: is a folder; name the scores.csv in it\n"


def test_folds_that_share_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / f"{k}.csv", random_table(k)) for k in (1, 2)]
    assert command(*paths) == 2
    assert f"{paths[1]} line 2: file '0.mp4' is in {paths[0]} already" in capsys.readouterr().err
    assert command(paths[0], paths[0]) == 2
    assert f"{paths[0]} is given twice" in capsys.readouterr().err


def test_both_sides_need_the_same_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = random_table(0)
    ours, theirs = write(tmp_path / "a.csv", table.iloc[1:]), write(tmp_path / "b.csv", table.iloc[:-8])
    assert command(ours, "--against", theirs) == 2
    error = capsys.readouterr().err
    assert f"only {ours} has 52.mp4, 53.mp4, 54.mp4, 55.mp4, 56.mp4 and {8 - LISTED} more" in error
    assert f"; only {theirs} has 0.mp4\n" in error


def test_both_sides_need_the_same_labels() -> None:
    table = random_table(0)
    other = table.assign(subject=table["subject"].where(table.index != 5, "somebody"))
    with pytest.raises(DataError, match=r"^5\.mp4: subject is id00001 in a\.csv, but somebody in b\.csv; they are not"):
        match(table, other, ("a.csv", "b.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bootstrap", "-1"), "--bootstrap is -1, but must be 0 or more"),
        (("--seed", "-3"), "--seed is -3, but must be 0 or more"),
    ],
)
def test_options_out_of_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert command(write(tmp_path / "scores.csv", random_table(0)), *options) == 2
    assert message in capsys.readouterr().err


def test_no_file_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command()
    assert stop.value.code == 2
    assert "required" in capsys.readouterr().err


def test_scores_are_read_exactly(tmp_path: Path) -> None:
    score = [0.1, 1 / 3, 5e-324, 1 - 2**-53, 0.0, 1.0]
    table = read_scores(write(tmp_path / "scores.csv", table_of("AABCDD", score)))
    assert table["score"].tolist() == score
    assert (table["label"].dtype.kind, table["decision"].dtype.kind) == ("i", "i")
    assert table["audio_score"].isna().all()
    assert table.index.tolist() == [2, 3, 4, 5, 6, 7]
