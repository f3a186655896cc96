"""A page of one file in a headless browser: what it logs and, by a script added to a copy, what it does."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = [390, 1280]  # pixels: a telephone and a desk
# The probe sends what it finds to the page around it, which shows it.
FRAMES = """<!DOCTYPE html><pre></pre><script>
addEventListener("message", (event) => {
  document.querySelector("pre").textContent += JSON.stringify(event.data) + "\\n";
});
</script>
""" + "".join(f'<iframe src="probe.html" style="width: {width}px"></iframe>' for width in WIDTHS)


def probed(page: Path, probe: str, folder: Path) -> list[dict[str, Any]]:
    """Load a page, which must log nothing, and return what a script finds in it at each of `WIDTHS`.

    The script calls parent.postMessage with an object whose "width" is that of the window and of the document, and
    console.error with "the log is read", which shows that errors would be seen.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    _, log = _browse(browser, page, folder)
    assert "CONSOLE" not in log
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    (folder / "probe.html").write_text(f"{text}<script>{probe}</script>", encoding="utf-8")
    (folder / "frames.html").write_text(FRAMES, encoding="utf-8")
    document, log = _browse(browser, folder / "frames.html", folder)
    assert log.count("CONSOLE") == log.count("the log is read") == len(WIDTHS)
    found = [json.loads(html.unescape(line)) for line in re.search("(?s)<pre>(.*?)</pre>", document)[1].splitlines()]
    assert sorted(result["width"][0] for result in found) == WIDTHS
    assert all(result["width"][1] <= result["width"][0] for result in found)
    return found


def _browse(browser: str, page: Path, folder: Path) -> tuple[str, str]:
    """Load a page; returns the document and the log."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=9000"]
    command = [browser, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout, done.stderr
