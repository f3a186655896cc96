"""report.html in a browser: no error, no page wider than the screen, tables that sort."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.report.clips import COUNT
from tests.report_files import (
    everything,
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What a test in the browser adds to a copy of the report.
PROBE = """
window.addEventListener("load", () => {
  const table = [...document.querySelectorAll("table")].find((t) => t.caption.textContent.endsWith("hardest clips"));
  const headings = [...table.tHead.rows[0].cells];
  const clicked = (name) => {
    const heading = headings.find((cell) => cell.textContent === name);
    heading.querySelector("button").click();
    const shown = [...table.tBodies[0].rows].map((row) => row.cells[heading.cellIndex].textContent);
    return [shown, headings.map((cell) => cell.getAttribute("aria-sort"))];
  };
  console.error("the log is read");
  parent.postMessage({
    loss: [clicked("loss"), clicked("loss")],
    file: [clicked("file"), clicked("file")],
    images: [...document.images].map((image) => image.naturalWidth),
    width: [innerWidth, document.documentElement.scrollWidth],
  }, "*");
});
"""
FRAMES = """<!DOCTYPE html><pre></pre><script>
addEventListener("message", (event) => {
  document.querySelector("pre").textContent += JSON.stringify(event.data) + "\\n";
});
</script>
<iframe src="probe.html" style="width: 390px"></iframe><iframe src="probe.html" style="width: 1280px"></iframe>"""


def browse(browser: str, page: Path, profile: Path) -> tuple[str, str]:
    """Load a page; returns the document and the log."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    command = [browser, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.slow
def test_in_a_browser(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    written = everything(tmp_path / "outputs")
    document, log = browse(browser, written, tmp_path / "profile")
    assert "Hardest clips" in document
    assert "CONSOLE" not in log

    text = written.read_text(encoding="utf-8")
    probe = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "probe.html").write_text(f"{probe}<script>{PROBE}</script>", encoding="utf-8")
    (tmp_path / "frames.html").write_text(FRAMES)
    document, log = browse(browser, tmp_path / "frames.html", tmp_path / "profile")
    assert log.count("CONSOLE") == log.count("the log is read") == 2
    results = [json.loads(html.unescape(line)) for line in re.search("(?s)<pre>(.*?)</pre>", document)[1].splitlines()]
    assert sorted(result["width"][0] for result in results) == [390, 1280]
    for result in results:
        assert result["width"][1] <= result["width"][0]
        assert len(result["images"]) == 9
        assert min(result["images"]) > 0
        check_sorted(result)


def check_sorted(result: dict[str, Any]) -> None:
    """Two clicks on a heading sort upwards and downwards, by number and by text."""
    for column, (up, down) in (("loss", result["loss"]), ("file", result["file"])):
        key = float if column == "loss" else str
        values = [key(value) for value in up[0]]
        assert len(values) == 2 * COUNT
        assert [sort for sort in up[1] if sort] == ["ascending"]
        assert [sort for sort in down[1] if sort] == ["descending"]
        if column == "loss":
            assert values == sorted(values)
        assert [key(value) for value in down[0]] in (values[::-1], sorted(values, reverse=True))
        assert values != sorted(values, reverse=True)
