"""Files of a fold and the summary of the folds."""

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from utils.errors import DataError
from utils.metrics import evaluate
from utils.results import SCORE_COLUMNS, read_metrics, read_scores, record_of_training, write_fold
from utils.runs import objections, read_run
from utils.summary import fold_table, summarise
from utils.table import percent

CONFIG = {"model_type": "MRDF_CE", "corpus": "FakeAVCeleb", "checkpoint": "a.ckpt", "data_root": "data/a", "seed": 42}


def fold(score: list[float], name: str = "train_1") -> pd.DataFrame:
    """Clips of categories A, B, C, D in turn."""
    category = [("A", "B", "C", "D")[k % 4] for k in range(len(score))]
    table = pd.DataFrame({"category": category, "score": np.asarray(score, np.float32)})
    return table.assign(
        file=[f"{name}/Asian (East), {k}.mp4" for k in range(len(score))],
        subject=[f"id{k // 4:05d}" for k in range(len(score))],
        method="wav2lip",
        label=(table["category"] == "A").astype(int),
        video_score=np.nan,
        audio_score=table["score"],
        decision=(table["score"] >= 0.5).astype(int),
    )


def write(folder: Path, table: pd.DataFrame, **config) -> None:
    write_fold(folder, table, evaluate(table), CONFIG | config)


def write_three_folds(run: Path, **config) -> None:
    """Write folds of accuracy 1, 1/2 and 3/4, hard AUC 1, 1/3 and 5/6."""
    for k, score in enumerate(([0.9, 0.1, 0.2, 0.3], [0.4, 0.1, 0.2, 0.7], [0.8, 0.1, 0.2, 0.6]), start=1):
        write(run / f"train_{k}", fold(score, f"train_{k}"), **config)


def test_files_read_back_exactly(tmp_path: Path) -> None:
    table = fold(np.random.default_rng(0).random(200).tolist())
    write(tmp_path, table)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == (
        "file,subject,category,method,label,score,video_score,audio_score,decision"
    )
    back = read_scores(tmp_path / "scores.csv")
    assert list(back) == [*SCORE_COLUMNS, "race", "gender"]
    assert list(back.index[:2]) == [2, 3]  # lines of the file
    assert back["score"].tolist() == table["score"].astype(float).tolist()
    assert back["video_score"].isna().all()
    for name in ("file", "subject", "category", "method", "label", "decision"):
        assert back[name].tolist() == table[name].tolist()
    assert evaluate(back) == evaluate(table)


def test_double_scores_read_back_exactly(tmp_path: Path) -> None:
    table = fold([0.0] * 8).assign(score=[0.1, 1 / 3, 5e-324, 1 - 2**-53, 1e-17, 0.1 + 0.2, 2 / 3, math.pi / 4])
    write(tmp_path, table)
    assert read_scores(tmp_path / "scores.csv")["score"].tolist() == table["score"].tolist()


def test_metrics_are_strict_json_with_the_configuration(tmp_path: Path) -> None:
    table = fold([0.9, 0.1, 0.2])
    config = CONFIG | {"outputs": Path("outputs"), "margin": float("nan"), "rate": np.float32(0.5), "folds": (1, 2)}
    write_fold(tmp_path, table, evaluate(table), config)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    resolved = CONFIG | {"outputs": "outputs", "margin": None, "rate": 0.5, "folds": [1, 2]}
    assert metrics.pop("config") == resolved
    assert metrics == evaluate(table)
    assert metrics["video_auc"] is None


def test_results_of_another_checkpoint_or_root_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = fold([0.9, 0.1]), fold([0.8, 0.1]), fold([0.7, 0.1])
    write(tmp_path, first)
    write(tmp_path, first, data_root="./data/a/", epoch=3)
    write(tmp_path, first, data_root=str(Path("data/a").resolve()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "scores.csv"]
    assert not caplog.records

    write(tmp_path, second, checkpoint="b.ckpt")
    assert "kept beside as metrics.1.json, scores.1.csv" in caplog.text
    write(tmp_path, third, checkpoint="b.ckpt", data_root="data/b")
    names = ["metrics.1.json", "metrics.2.json", "metrics.json", "scores.1.csv", "scores.2.csv", "scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    kept = [read_scores(tmp_path / f"scores{infix}.csv")["score"].iloc[0] for infix in (".1", ".2", "")]
    assert kept == pytest.approx([0.9, 0.8, 0.7])
    assert json.loads((tmp_path / "metrics.1.json").read_text())["config"]["checkpoint"] == "a.ckpt"


def test_unreadable_earlier_results_are_kept_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    write(tmp_path, fold([0.9, 0.1]))
    assert (tmp_path / "metrics.1.json").read_text() == "{"
    assert json.loads((tmp_path / "metrics.json").read_text())["acc"] == 1.0


def test_failed_write_leaves_the_earlier_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, fold([0.9, 0.1]))
    earlier = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, fold([0.8, 0.2]))
    monkeypatch.undo()
    with pytest.raises(KeyError, match="subject"):
        write(tmp_path, fold([0.8, 0.2]).drop(columns="subject"), checkpoint="b.ckpt")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == earlier


def test_read_folds(tmp_path: Path) -> None:
    write_three_folds(tmp_path)
    folds = read_run(tmp_path).frame
    assert folds.index.tolist() == ["train_1", "train_2", "train_3"]
    assert folds["acc"].tolist() == [1, 0.5, 0.75]
    assert folds["acc_D"].tolist() == [1, 0, 0]
    assert folds["auc_D"].tolist() == [1, 0, 1]


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    assert read_run(tmp_path).problems == [f"{tmp_path} has no train_*/metrics.json: train or test a fold first"]
    with pytest.raises(FileNotFoundError, match="train or test a fold first"):
        summarise(tmp_path)
    (tmp_path / "train_1").mkdir()
    for content in ("{", "[]", '{"acc": 1.0}', '{"config": {}, "n": 1, "per_category": {"A": 1}}'):
        (tmp_path / "train_1" / "metrics.json").write_text(content)
        with pytest.raises(DataError, match=r"train_1.metrics\.json"):
            read_metrics(tmp_path / "train_1" / "metrics.json")
        assert len(read_run(tmp_path).damaged) == 1


def test_scores_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the score of train_1/Asian \(East\), 1\.mp4 is not a number"):
        write(tmp_path, fold([0.9, math.nan, 0.2, 0.3]))
    assert not list(tmp_path.iterdir())


def test_labels_and_categories_that_the_corpus_does_not_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = fold([0.9, 0.1, 0.2, 0.7, 0.6, 0.3])
    table.loc[4, ["label", "category"]] = -1, ""
    table.loc[5, "category"] = ""
    write(tmp_path / "train_1", table)
    assert (tmp_path / "train_1" / "scores.csv").read_text().splitlines()[5].startswith('"train_1/Asian (East), 4.mp4"')
    back = read_scores(tmp_path / "train_1" / "scores.csv")
    assert (len(back), list(back["category"])) == (5, ["A", "B", "C", "D", ""])
    assert "scores.csv: 1 of 6 clips have no label and are left out" in caplog.text
    metrics = read_metrics(tmp_path / "train_1" / "metrics.json")
    assert (metrics["n"], metrics["auc"]) == (5, 1.0)
    assert read_run(tmp_path).problems == []
    assert summarise(tmp_path).at["train_1", "n"] == 5


def test_summary_of_three_folds(tmp_path: Path) -> None:
    write_three_folds(tmp_path)
    table = summarise(tmp_path)
    assert table.loc["mean", "acc"] == pytest.approx(0.75)
    assert table.loc["std", "acc"] == pytest.approx(0.25)  # sqrt((1/16 + 1/16 + 0) / 2)
    assert table.loc["mean", "auc_hard"] == pytest.approx(13 / 18)
    assert table.loc["std", "auc_hard"] == pytest.approx(math.sqrt((25 + 49 + 4) / 324 / 2))
    assert table.loc["paper", ["acc", "auc_hard"]].tolist() == [0.9405, 0.9243]
    assert math.isnan(table.loc["paper", "auc"])
    # real 0.9, 0.4, 0.8 over nine fakes: 0.4 lies below 0.7 and 0.6
    assert table.loc["pooled_auc", "auc"] == pytest.approx(25 / 27)
    assert table.loc["pooled_auc", "n"] == 12

    text = (tmp_path / "summary.md").read_text()
    cells = {
        row[1]: row[2:-1] for row in ([c.strip() for c in line.split("|")] for line in text.splitlines()) if row[1:]
    }
    assert cells["fold"][:4] == ["n", "ACC", "AUC", "hard AUC"]
    assert cells["train_2"][:4] == ["4", "50.00", "66.67", "33.33"]
    assert cells["mean"][:2] == ["", "75.00 ± 25.00"]
    assert cells["paper"][:4] == ["", "94.05", "", "92.43"]
    assert "Folds without results: train_4, train_5." in text
    assert "92.59 (n = 12)" in text


def test_summary_has_the_same_numbers_in_each_file(tmp_path: Path) -> None:
    write_three_folds(tmp_path)
    table = summarise(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    csv = pd.read_csv(tmp_path / "summary.csv", index_col="fold")
    assert csv.index.tolist() == ["train_1", "train_2", "train_3", "mean", "std", "paper", "pooled_auc"]
    pd.testing.assert_frame_equal(csv.astype(float), table.astype(float), check_index_type=False)
    assert list(summary["folds"]) == ["train_1", "train_2", "train_3"]
    assert summary["mean"]["acc"] == table.loc["mean", "acc"]
    assert summary["paper"]["auc_hard"] == 0.9243
    assert summary["paper"]["eer"] is None
    assert summary["folds"]["train_1"]["n"] == 4
    assert (summary["pooled_auc"], summary["pooled_n"]) == (table.loc["pooled_auc", "auc"], 12)


def test_one_fold_has_no_deviation(tmp_path: Path) -> None:
    write(tmp_path / "train_2", fold([0.9, 0.1, 0.2, 0.7]))
    table = summarise(tmp_path)
    assert table.loc["std"].isna().all()
    assert table.loc["mean", "acc"] == 0.75
    text = (tmp_path / "summary.md").read_text()
    assert " 75.00 |" in text
    assert "nan" not in text.lower()
    assert "75.00 ±" not in text
    assert "Folds without results: train_1, train_3, train_4, train_5." in text


@pytest.mark.parametrize(("folds", "note"), [(1, ""), (3, "Folds without results: train_2, train_3.")])
def test_the_summary_misses_the_folds_of_its_protocol_alone(tmp_path: Path, folds: int, note: str) -> None:
    named = [f"train_{k}" for k in range(1, folds + 1)]
    write(tmp_path / "train_1", fold([0.9, 0.1, 0.2, 0.3]), protocol="official", folds_of_protocol=named)
    summarise(tmp_path)
    notes = json.loads((tmp_path / "summary.json").read_text())["notes"]
    assert [text for text in notes if text.startswith("Folds without")] == [note] * bool(note)


def test_mean_is_empty_where_a_fold_lacks_the_figure(tmp_path: Path) -> None:
    write(tmp_path / "train_1", fold([0.9, 0.1, 0.2, 0.3]))
    write(tmp_path / "train_2", fold([0.9, 0.1, 0.2, 0.3])[1:])
    table = summarise(tmp_path)
    assert math.isnan(table.loc["mean", "auc"])
    assert table.loc["mean", "acc"] == 1.0


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({}, True),
        ({"model_type": "AVDF"}, False),
        ({"corpus": "miniature"}, False),
        ({"corpus": "another"}, False),
        ({"corpus": None}, False),
    ],
)
def test_published_numbers_stand_beside_the_same_data_and_model_only(
    tmp_path: Path, config: dict[str, str | None], numbers: bool
) -> None:
    write_three_folds(tmp_path, **config)
    summarise(tmp_path)
    for name in ("summary.md", "summary.json", "summary.csv"):
        text = (tmp_path / name).read_text()
        assert ("94.05" in text or "0.9405" in text) is numbers
    title = json.loads((tmp_path / "summary.json").read_text())["title"]
    assert ("miniature" in title) is (config.get("corpus") == "miniature")
    assert title in (tmp_path / "summary.md").read_text()


def test_folds_of_different_corpora_and_protocols_have_no_mean(tmp_path: Path) -> None:
    for changes in ({"corpus": "miniature"}, {"protocol": "subjects-70-10-20"}, {"trim_silence": True}):
        write(tmp_path / "train_1", fold([0.9, 0.1, 0.2, 0.3]))
        write(tmp_path / "train_2", fold([0.9, 0.1, 0.2, 0.3], "train_2"), **changes)
        table = summarise(tmp_path)
        assert table.loc[["mean", "std"]].isna().all(axis=None)
        assert math.isnan(table.at["pooled_auc", "auc"])
        text = (tmp_path / "summary.md").read_text()
        assert "There is no mean, as the folds are of several corpora or protocols (train_1: FakeAVCeleb mrdf-" in text
        assert "94.05" not in text


@pytest.mark.parametrize("name", ["learning_rate", "encoder_layers", "padding", "validation", "max_epochs", "selection",
                                  "margin_audio", "num_val", "table_digest", "seed", "anything_new"])  # fmt: skip
def test_folds_that_differ_in_what_decides_are_named(name: str) -> None:
    configs = {f"train_{k}": CONFIG | {"num_workers": k, "fold_seed": k, name: "a"} for k in (1, 2, 3)}
    assert objections(configs) == []
    configs["train_2"][name] = "b"
    assert objections(configs) == [
        f"The folds are of different configurations ({name}: a, but b in train_2): their mean says little."
    ]


def test_the_summary_says_in_what_its_folds_differ(tmp_path: Path) -> None:
    for k in (1, 2):
        write(tmp_path / f"train_{k}", fold([0.9, 0.1, 0.2, 0.3], f"train_{k}"), learning_rate=k / 10)
    summarise(tmp_path)
    (sentence,) = objections(read_run(tmp_path).configs)
    assert f"- {sentence}\n" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "trained_subjects_tested",
        "test_clips_showing_trained",
        "fold_meaning",
        "folds_of_protocol",
    ],
)
def test_what_is_counted_in_a_fold_may_differ(name: str) -> None:
    assert objections({"train_1": {name: 26}, "train_2": {name: 23}}) == []


def test_a_fold_with_the_checkpoint_of_another_is_named(tmp_path: Path) -> None:
    for k in (1, 2):
        write(tmp_path / f"train_{k}", fold([0.9, 0.1, 0.2, 0.3], f"train_{k}"), checkpoint="a/x_train_1.ckpt")
    summarise(tmp_path)
    said = "train_2 was tested with x_train_1.ckpt, which may have been trained on its subjects."
    assert objections(read_run(tmp_path).configs) == [said]
    assert said in (tmp_path / "summary.md").read_text()


def test_hashes_count_where_nothing_else_tells() -> None:
    configs = {"train_1": {"config_hash": "a"}, "train_2": {"config_hash": "b"}}
    assert objections(configs) == [
        "The folds are of different configurations (data or weights): their mean says little."
    ]
    # With digests of their own, a hash takes the clips of the fold.
    assert objections({fold: config | {"table_digest": "t"} for fold, config in configs.items()}) == []


def test_the_summary_says_what_its_protocol_does_not_control(tmp_path: Path) -> None:
    write(tmp_path / "train_1", fold([0.9, 0.1, 0.2, 0.3]), protocol="random-70-30")
    summarise(tmp_path, {"random-70-30": "Subjects.", "official": "Other things."})
    notes = [line for line in (tmp_path / "summary.md").read_text().splitlines() if "Not controlled" in line]
    assert notes == ["- Not controlled by random-70-30: Subjects."]


def test_what_lies_below_a_run_is_no_fold_of_it(tmp_path: Path) -> None:
    for name in ("train_1", "train_1.1", "train_2@lavdf", "train_10"):
        write(tmp_path / name, fold([0.9, 0.1, 0.2, 0.3], name))
    assert read_run(tmp_path).folds == ["train_1", "train_10"]


@pytest.mark.parametrize(("value", "text"), [(0.94054, "94.05"), (1.0, "100.00"), (None, ""), (math.nan, "")])
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_fold_table_is_read_by_a_person() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(fold_table(evaluate(fold([0.9, 0.1, 0.2, 0.7, 0.6, 0.3, 0.2, 0.1])), "MRDF_CE, train_2"))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "MRDF_CE, train_2" in lines
    assert "8 clips %" in lines
    assert "ACC 87.50" in lines
    assert "AUC 91.67" in lines
    assert "hard AUC 91.67" in lines
    assert "D fake video, fake audio 2 50.00 75.00" in lines
    assert "A real video, real audio 2 100.00" in lines
    assert any("1 = real" in line for line in lines)
    assert not any(line.startswith("video AUC") for line in lines)


def test_a_test_in_another_way_is_kept_with_its_embeddings(tmp_path: Path) -> None:
    table = fold([0.9, 0.1])
    common = CONFIG | {"config_hash": "h", "batch_size": 64, "precision": "16"}
    for number, changed in enumerate(({}, {}, {"batch_size": 4}, {"batch_size": 4, "precision": "32"})):
        write_fold(tmp_path, table, evaluate(table), common | changed, {"video_cross": np.full((2, 3), number)})
    kept = {path.name: np.load(path)["video_cross"][0, 0] for path in tmp_path.glob("*.npz")}
    assert kept == {"embeddings.npz": 3, "embeddings.1.npz": 1, "embeddings.2.npz": 2}
    sizes = [json.loads((tmp_path / f"metrics{k}.json").read_text())["config"]["batch_size"] for k in (".1", ".2", "")]
    assert sizes == [64, 4, 4]


def test_the_hours_of_training_are_those_of_the_same_checkpoint(tmp_path: Path) -> None:
    config = CONFIG | {"config_hash": "h"}
    assert record_of_training(tmp_path, config) == {}
    write(tmp_path, fold([0.9, 0.1]), config_hash="h", environment={"hours": 2.5, "epochs": 30, "commit": "c"})
    assert record_of_training(tmp_path, config) == {"hours": 2.5, "epochs": 30}
    assert record_of_training(tmp_path, config | {"checkpoint": "moved/to/a.ckpt"}) == {"hours": 2.5, "epochs": 30}
    assert record_of_training(tmp_path, config | {"checkpoint": "b.ckpt"}) == {}
    assert record_of_training(tmp_path, config | {"config_hash": "another"}) == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", None),
        ("metrics.json", b"{"),
        ("metrics.json", b'{"config": [], "per_category": {}, "n": 4}'),
        ("metrics.json", b'{"config": {}, "per_category": {"A": 1}, "n": 4}'),
        ("metrics.json", b'{"config": {}, "per_category": {}, "n": 3}'),
        ("scores.csv", None),
        ("scores.csv", b""),
        ("scores.csv", b"\xff\xfe"),
        ("scores.csv", b"file,score\na,0.5\n"),
        ("scores.csv", b"file,score\na,half\n"),
    ],
)
def test_a_fold_that_cannot_be_read_is_left_out(
    name: str, content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_three_folds(tmp_path)
    path = tmp_path / "train_2" / name
    path.unlink() if content is None else path.write_bytes(content)
    table = summarise(tmp_path)
    assert table.index.tolist() == ["train_1", "train_3", "mean", "std", "paper", "pooled_auc"]
    assert table.loc["mean", "acc"] == pytest.approx(0.875)
    assert table.loc["pooled_auc", "n"] == 8
    if not (name == "metrics.json" and content is None):  # such a fold has no results yet
        assert "train_2 is left out of the summary: " in caplog.text
        assert str(path.parent / "scores.csv") in caplog.text or str(path) in caplog.text
