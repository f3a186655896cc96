"""report.html in a browser: no error, no page wider than the screen, tables that sort."""

from pathlib import Path
from typing import Any

import pytest

from scripts.report.clips import COUNT
from tests.browser import probed
from tests.report_files import everything

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


@pytest.mark.slow
def test_in_a_browser(tmp_path: Path) -> None:
    for result in probed(everything(tmp_path / "outputs"), PROBE, tmp_path):
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
