"""The suite: its file, its numbers by hand, and that nothing scored is scored again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset import read_corpus
from main import main
from scripts.evaluate.others import Others, read_others
from scripts.report.command import report
from scripts.suite import scoring
from scripts.suite.plan import read_plan
from scripts.suite.table import as_errors, group_means, pairs_of, row_of
from tests.report_files import Page
from utils.errors import DataError


def clips(label: list[int], score: list[float | None], threshold: float = 0.5) -> pd.DataFrame:
    table = pd.DataFrame({"label": label, "score": pd.Series(score, dtype=float)})
    table["file"] = table["subject"] = [f"{n}.mp4" for n in range(len(table))]
    return table.assign(category="", method="", decision=(table["score"] >= threshold).astype(int))


def test_coverage_by_hand() -> None:
    # Two real clips and two fakes; one of either could not be scored. The other two are ranked and decided rightly.
    row = row_of(clips([1, 1, 0, 0], [0.9, None, 0.1, None]), resamples=0, seed=0)
    assert (row["n"], row["scored"], row["coverage"], row["fake"]) == (4, 2, 0.5, 0.5)
    assert (row["auc"], row["ap_fake"], row["eer"], row["acc"]) == (1, 1, 0, 1)
    # Real 0.9, -inf; fake 0.1, +inf: of four pairs one is ordered rightly.
    assert row["auc_with_errors"] == 0.25
    assert row["acc_with_errors"] == 0.5
    # From the most fake on: real, fake (1/2), real, fake (2/4).
    assert row["ap_fake_with_errors"] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_nothing_scored_and_nothing_missing() -> None:
    table = clips([1, 0], [None, None])
    row = row_of(table, resamples=0, seed=0)
    assert (row["coverage"], row["auc"], row["acc"]) == (0, None, None)
    assert (row["auc_with_errors"], row["acc_with_errors"]) == (0, 0)
    whole = clips([1, 0, 1], [0.9, 0.2, 0.4])
    pd.testing.assert_frame_equal(as_errors(whole), whole)


def test_holm_by_hand() -> None:
    rng = np.random.default_rng(0)
    label = [1] * 40 + [0] * 40
    tables = {
        name: clips(label, list(np.array(label) * gap + rng.normal(size=80)))
        for name, gap in (("a", 2.0), ("b", 1.0), ("c", 0.0))
    }
    pairs = pairs_of(tables)
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    p = sorted((pair["p"], k) for k, pair in enumerate(pairs))
    expected = [0.0, 0.0, 0.0]
    expected[p[0][1]] = 3 * p[0][0]
    expected[p[1][1]] = max(3 * p[0][0], 2 * p[1][0])
    expected[p[2][1]] = max(3 * p[0][0], 2 * p[1][0], p[2][0])
    assert [pair["holm"] for pair in pairs] == pytest.approx([min(1, value) for value in expected])


def test_pairs_are_of_the_clips_that_both_scored() -> None:
    one, other = clips([1, 1, 1, 0, 0, 0], [0.9, None, 0.3, 0.1, 0.2, 0.6]), clips([1, 1, 1, 0, 0, 0], [0.8] * 6)
    (pair,) = pairs_of({"one": one, "other": other.iloc[::-1]})
    assert pair["n"] == 5
    assert pair["difference"] == pytest.approx(5 / 6 - 1 / 2)


def test_means_of_groups() -> None:
    rows = [
        {"detector": d, "group_key": t, "auc": auc, "ap_fake": 1.0, "eer": 0.0, "acc": 1.0}
        for d, t, auc in (("a", "x", 0.6), ("a", "y", 0.8), ("b", "x", 0.5), ("b", "y", None))
    ]
    first, second = group_means(rows, {"both": ["x", "y"]})
    assert (first["auc"], first["tests"]) == (pytest.approx(0.7), 2)
    assert second["auc"] is None
    assert second["acc"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not a YAML file"),
        ("detectors: {a: b.ckpt}", "the file lacks the entry corpora"),
        ("{detectors: {a: b.ckpt}, corpora: {c: {data_root: d}}, corpus: 1}", "the unknown entry corpus"),
        ("{detectors: {a: {}}, corpora: {c: {data_root: d}}}", "detector a must be a checkpoint, one a fold"),
        ("{detectors: {a: {scores: s, polarity: up}}, corpora: {c: {data_root: d}}}", "polarity of detector a is 'up'"),
        ("{detectors: {a: b}, corpora: {c: {data_root: d, dataset: x}}}", "dataset of corpus c is 'x'; known are"),
        ("{detectors: {a: b}, corpora: {c: {data_root: d, protocols: [x]}}}", "corpus c has protocol 'x'; known are"),
        ("{detectors: {a: b}, corpora: {c: {data_root: d}}, groups: {g: [e]}}", "group g has 'e'; known are c"),
        ("{detectors: {a: b}, corpora: {c: {data_root: d, protocols: [official, official]}}}", "is there twice"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_plan(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names", [["x/a.mp4", "y/b.mp4"], ["/data/corpus/x/a.mp4", "/data/corpus/y/b.mp4"], ["a.mp4", "b.mp4"]]
)
def test_scores_of_others_find_their_clips(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"file,p\n{names[0]},3.5\n{names[1]},-2\nanother.mp4,1\n")
    found, threshold = read_others(Others(path, "p", "fake", 1.0), ["y/b.mp4", "x/a.mp4", "z/c.mp4"])
    assert found == {"x/a.mp4": -3.5, "y/b.mp4": 2.0}
    assert -1.0 < threshold < -0.999  # a clip of 1.0 itself is fake


def test_scores_of_others_at_the_threshold_and_beyond_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("file,score,polarity\na.mp4,0.5,Fake\nb.mp4,0.25,fake\nc.mp4,inf,fake\nd.mp4,,fake\n")
    found, threshold = read_others(Others(path), ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"])
    assert [score >= threshold for score in found.values()] == [False, True, False, False]
    assert np.isnan([found["c.mp4"], found["d.mp4"]]).all()
    assert "e.mp4" not in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,p\na.mp4,1\n", "column score is missing"),
        ("file,score\na.mp4,high\n", "line 2: score is 'high', not a number"),
        ("file,score\na.mp4,1\na.mp4,2\n", "line 3: 'a.mp4' is there twice"),
        ("file,score\nb.mp4,1\n", "has none of the clips of this test"),
        ("file,score,polarity\na.mp4,1,real\nb.mp4,1,fake\n", "its column polarity holds fake, real; say which"),
        ("file,score\na.mp4,1\n", "it has no column polarity"),
    ],
)
def test_scores_of_others_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    others = Others(tmp_path / "s.csv", polarity=None if "polarity" in message else "real")
    with pytest.raises(DataError, match=message):
        read_others(others, ["x/a.mp4"])


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": [{}]}'])
def test_a_report_on_what_is_no_suite(tmp_path: Path, content: str) -> None:
    (tmp_path / "suite.json").write_text(content)
    with pytest.raises(DataError, match="does not hold a suite"):
        report(tmp_path, suite=[tmp_path])


@pytest.mark.usefixtures("small_detectors")
def test_a_suite_goes_on_where_it_stood(
    original_root: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    restore_logging: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    table = read_corpus(original_root)
    tested = table[table["subject"] == "id00076"]
    table.assign(split=np.where(table["subject"] == "id00076", "test", "train"))[
        ["file", "subject", "category", "method", "split"]
    ].to_csv(original_root / "clips.csv", index=False)
    (original_root / tested["file"].iloc[3]).unlink()
    (tmp_path / "theirs.csv").write_text(
        "file,score\n" + "\n".join(f"{row.file},{row.m_label}" for row in tested.itertuples())
    )
    (tmp_path / "plan.yaml").write_text(f"""
        detectors:
          ours: {small_checkpoint}
          theirs: {{scores: theirs.csv, polarity: real}}
        corpora:
          Original: {{dataset: csv, data_root: {original_root}, protocols: [official]}}
        groups:
          all: [Original]
    """)
    run = ["suite", "plan.yaml", "--outputs", "out", "--bootstrap", "20"]
    assert main(run) == 0
    folder = tmp_path / "out" / "suite" / "plan"
    found = json.loads((folder / "suite.json").read_text())
    ours, theirs = found["rows"]
    assert (ours["n"], ours["scored"], theirs["scored"], theirs["auc"]) == (4, 3, 4, 1)
    assert list(ours["unscored"]) == ["no such file"]
    assert found["pairs"][0]["n"] == 3
    for name in ("suite.md", "suite.csv", "suite.tex", "suite.html", "heatmap.png"):
        assert (folder / name).stat().st_size > 0
    assert "Not controlled by official: Whatever the owners do not" in (folder / "suite.md").read_text()
    before = (folder / "suite.csv").read_bytes()
    assert main(["report", "--outputs", "out", "--suite", str(folder)]) == 0
    for page in (folder / "suite.html", tmp_path / "out" / "results" / "report.html"):
        read = Page(page.read_text(encoding="utf-8"))
        captions = [attributes["aria-label"] for attributes in read.all("div") if attributes.get("role") == "region"]
        assert captions[0] == "Table: Metrics, in percent"
        assert [image["alt"] for image in read.all("img")] == ["AUC of each detector on each test"]

    # Killed before a record was written: that cell alone is scored again, and the table is the same.
    records = sorted(folder.glob("scores/*/record.json"))
    assert len(records) == 2
    cell = next(path for path in records if "ours" in path.read_text())
    cell.unlink()
    scored = []
    monkeypatch.setattr(
        scoring.Bench, "_test", lambda bench, one, test=scoring.Bench._test: scored.append(one) or test(bench, one)
    )
    assert main(run) == 0
    assert len(scored) == 1
    assert (folder / "suite.csv").read_bytes() == before
    assert main(run) == 0
    assert len(scored) == 1

    # A list of clips that has changed is another test.
    shutil.copyfile(original_root / tested["file"].iloc[0], original_root / "more.mp4")
    with (original_root / "clips.csv").open("a") as out:
        out.write("more.mp4,id00076,A,real,test\n")
    assert main(run) == 0
    assert len(scored) == 2
