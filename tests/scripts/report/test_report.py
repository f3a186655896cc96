"""report.html: one sound file that shows what there is, says what is not, and escapes what data hold."""

import base64
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from markupsafe import escape

import main
from scripts.report import command
from scripts.report.clips import COUNT
from scripts.report.command import report
from scripts.report.page import numeric_columns
from tests.report_files import (
    HOSTILE,
    QUOTED,
    Page,
    build_page,
    easy_fold,
    everything,
    write_run,
)
from tests.score_tables import random_table
from utils.runs import read_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it."""
    return everything(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take their time, and are looked at in one report only."""
    monkeypatch.setattr(command, "figures", lambda run, log_dir: ([], [str(log_dir)]))


@pytest.fixture
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


def test_nothing_is_loaded_from_outside(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    page = Page(text)
    for image in page.all("img"):
        assert re.match(r"data:image/(png|jpeg|svg\+xml);base64,", image["src"])
        assert image["alt"]
    assert len(page.all("img")) == 7 + 2  # figures and strips
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object", "base", "form", "video"} == set()
    assert all("src" not in attributes for tag, attributes in page.tags if tag != "img")
    assert not re.search(r"@import|url\(|fetch\(|https?:", "".join(re.split(r'"data:[^"]*"', text)))
    (policy,) = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert written.stat().st_size < 2_000_000


def test_ids_and_contents(written: Path) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [link["href"] for link in page.all("a")]
    assert len(links) == 2 + 1 + 6
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {section["aria-labelledby"] for section in page.all("section")} <= set(ids)
    assert [section["id"] for section in page.all("section")] == [link.removeprefix("#") for link in links]


def test_every_heading_of_a_table_is_a_button(written: Path) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    columns = [cell for cell in page.all("th") if cell.get("scope") == "col"]
    assert len(columns) == len(page.all("button")) > 30
    assert all(button["type"] == "button" for button in page.all("button"))
    boxes = [box for box in page.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table")) == len(page.all("caption"))


def test_names_from_the_data_are_escaped(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("i") == page.all("b") == []
    assert "alert(1)" in page.said()
    for name in (HOSTILE, QUOTED, "<i>&"):
        assert name in page.said()
        assert str(escape(name)) in text
    (alt,) = {image["alt"] for image in page.all("img") if QUOTED in image["alt"]}
    assert re.fullmatch(r"8 of \d+ frames of .*", alt)
    assert any(QUOTED in (drawing["aria-label"] or "") for drawing in page.all("svg"))


def test_figures_have_captions_with_n(written: Path) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    said = page.said()
    for start in ("ROC: ", "DET: ", "Precision and recall: ", "Confusion: ", "Scores: ", "Reliability: "):
        assert re.search(rf"{start}[^(]*\(n = 84 clips of 2 folds\)", said), start
    assert re.search(r"Training: [^(]*\(n = 1 folds?\)", said)
    assert re.search(r"Not drawn: Embeddings: \S*MRDF_CE has no train_\*/embeddings.npz", said)


def test_figures_lie_beside_the_results_too(written: Path) -> None:
    folder = next(written.parent.glob("*/figures"))
    for name in ("roc", "det", "precision_recall", "confusion", "scores", "reliability"):
        assert {(folder / f"{name}{suffix}").is_file() for suffix in (".png", ".svg")} == {True}, name


def test_clips_that_cannot_be_read_are_said(written: Path) -> None:
    said = Page(written.read_text(encoding="utf-8")).said()
    assert re.search(r"No video: \S*cut.mp4: ", said)
    assert re.search(r"No audio: \S*cut.mp4: ", said)
    assert said.count("The clip is not in this corpus.") == 2 * COUNT - 3


def test_published_numbers_are_shown_for_their_corpus_only(tmp_path: Path, no_figures: None) -> None:
    scores = {"train_1": random_table(1)}
    write_run(tmp_path / "results" / "MRDF_CE", scores, corpus="miniature")
    assert "94.05" not in build_page(tmp_path / "results").said()
    write_run(tmp_path / "results" / "MRDF_CE", scores)
    assert build_page(tmp_path / "results").said().count("94.05") == 2


def test_what_is_missing_is_said(tmp_path: Path, no_figures: None) -> None:
    results = tmp_path / "results"
    scores = {f"train_{k}": easy_fold(k) for k in (1, 2, 3)}
    folder = write_run(results / "broken", scores)
    (folder / "train_1" / "metrics.json").write_text("{")
    (folder / "train_2" / "scores.csv").write_text("file,label\n1,1\n")
    (folder / "train_3" / "metrics.json").unlink()
    (folder / "train_4").mkdir()
    (folder / "train_4" / "metrics.json").write_text('{"config": [], "per_category": {}, "n": 1}')
    write_run(results / "other", {"train_1": random_table(1)})
    said = build_page(results).said()
    for words in (
        "broken is not in the table: ",
        "train_1/metrics.json is not valid JSON",
        "train_2/scores.csv: column subject",
        "train_3/metrics.json: no such file",
        "train_4/metrics.json does not hold the metrics of a fold",
        "train_4/scores.csv: no such file",
        "Folds: train_1, train_2, train_3; test clips: 240",
    ):
        assert words in said, words


def test_odd_configurations(tmp_path: Path, no_figures: None) -> None:
    odd = {"environment": None, "dataset": ["a"], "max_frames": "x", "skipped": [[], "x.mp4", None], "corpus": {"a": 1}}
    write_run(tmp_path / "results" / "run", {"train_1": random_table(1)}, **odd)
    page = build_page(tmp_path / "results", tmp_path / "nowhere")
    assert "run (3 clips)" in page.said()


def test_figures_that_are_not_those_of_the_scores(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"train_1": random_table(1)})
    assert read_run(folder).problems == []
    random_table(2).to_csv(folder / "train_1" / "scores.csv", index=False)
    (problem,) = read_run(folder).problems
    assert problem.endswith("acc, auc, auc_hard of metrics.json are not those of scores.csv; test it again")
    write_run(folder, {"train_2": random_table(2)})
    assert any("is in train_1 already; folds share no clip" in problem for problem in read_run(folder).problems)


@pytest.mark.usefixtures("restore_logging", "no_figures")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    results, out = tmp_path / "results", tmp_path / "new" / "page.html"
    for name in ("zoo", "MRDF_CE", "AVDF"):
        write_run(results / name, {"train_1": random_table(1)}, model_type=name)
    (tmp_path / "log" / "zoo").mkdir(parents=True)
    (tmp_path / "empty" / "results").mkdir(parents=True)
    assert main.main(["report", "--outputs", str(tmp_path), "--out", str(out)]) == 0
    links = re.findall(r'<a href="#run-\d">(.*?)</a>', out.read_text(encoding="utf-8"))
    assert links == ["AVDF", "MRDF_CE", "zoo"]
    assert f"<li>{tmp_path / 'log' / 'zoo'}</li>" in out.read_text(encoding="utf-8")
    assert main.main(["report", "--outputs", str(tmp_path), "--runs", "zoo,AVDF"]) == 0
    text = (results / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<a href="#run-\d">(.*?)</a>', text) == ["AVDF", "zoo"]
    capsys.readouterr()
    for arguments, words in (
        (["--runs", "zoo,none"], "has no run 'none'"),
        (["--outputs", str(tmp_path / "nowhere")], "no such folder"),
        (["--outputs", str(tmp_path / "empty")], "has no run with a tested fold"),
        (["--out", str(tmp_path)], "must be a file"),
        (["--data_root", str(tmp_path / "nowhere")], "nowhere: no such folder"),
    ):
        assert main.main(["report", "--outputs", str(tmp_path), *arguments]) == 2
        assert words in capsys.readouterr().err


def test_size_is_logged(
    tmp_path: Path, no_figures: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "results" / "run", {"train_1": random_table(1)})
    caplog.set_level("INFO")
    report(tmp_path)
    assert f"report: {tmp_path / 'results' / 'report.html'}, 0.0 MB" in caplog.messages
    monkeypatch.setattr(command, "LARGE", 1)
    report(tmp_path)
    assert any("is large; --runs makes a report on fewer runs" in message for message in caplog.messages)


def test_bytes_of_names_that_are_no_utf8(tmp_path: Path, no_figures: None) -> None:
    write_run(tmp_path / "results" / "a\udcff", {"train_1": random_table(1)})
    report(tmp_path)
    assert 'href="#run-1">a?</a>' in (tmp_path / "results" / "report.html").read_text(encoding="utf-8")


def test_columns_of_numbers_are_sorted_as_such() -> None:
    grid = [["name", "text", "interval", "mean", "none"], ["1", "x1", "1.00 to 2.00 †", "3.00 ± 1.00", ""],
            ["2", "", "", "-1", ""]]  # fmt: skip
    assert numeric_columns(grid) == [False, False, True, True, False]
    assert numeric_columns([]) == []


def test_figures_are_whole(written: Path) -> None:
    page = Page(written.read_text(encoding="utf-8"))
    for image in page.all("img"):
        kind, _, content = image["src"].partition(";base64,")
        data = base64.b64decode(content, validate=True)
        if kind == "data:image/svg+xml":
            assert data.lstrip().startswith(b"<?xml")
        else:
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
