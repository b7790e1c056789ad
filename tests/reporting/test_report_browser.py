"""The report in a real browser: the viewer draws, turns, plays and scrubs, and nothing complains."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_sample import sample_report_data

from mas_ray.reporting.report import render_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: the report's script, for want of a Chromium on the PATH"),
]

# Runs in the page after its own script; leaves what it found in the title and in attributes of <html>.
PROBE = """
<script>
addEventListener("load", () => {
  const found = document.documentElement.dataset;
  const canvas = document.querySelector("#viewer canvas");
  const scrub = document.querySelector("#viewer .scrub");
  const play = document.querySelector("#viewer .play");
  const ink = () => canvas.toDataURL();
  const show = (frame) => { scrub.value = frame; scrub.dispatchEvent(new Event("input")); };
  const point = (kind, x, y) =>
    canvas.dispatchEvent(new PointerEvent(kind, { clientX: x, clientY: y, pointerId: 1, bubbles: true }));
  canvas.setPointerCapture = () => {};
  found.playsAtFirst = play.textContent;
  show("2");
  const before = ink();
  found.scrubbed = document.querySelector("#viewer .where").textContent;
  point("pointerdown", 100, 100); point("pointermove", 180, 120); point("pointerup", 180, 120);
  found.turned = ink() !== before;
  show("7");
  found.missing = ink() !== before;
  const picker = document.querySelector("#viewer .sequence");
  picker.value = "1"; picker.dispatchEvent(new Event("change"));
  found.frames = scrub.max;
  found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.width = innerWidth;
});
</script>
"""


def _browse(page: Path, width: int) -> tuple[str, str]:
    """The document after its scripts ran, and the browser's log."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}",
            f"--window-size={width},900",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("width", [1280, 500])
def test_the_viewer_works_and_the_page_fits(tmp_path, width):
    page = tmp_path / "report.html"
    page.write_text(render_report(sample_report_data()).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    document, log = _browse(page, width)
    found = dict(re.findall(r'data-([a-z-]+)="([^"]*)"', re.search(r"<html[^>]*>", document).group(0)))  # type: ignore[union-attr]
    complaints = [line for line in log.splitlines() if "CONSOLE" in line]
    assert complaints == []
    assert found["plays-at-first"] == "Pause"
    assert found["scrubbed"] == "frame 102 · test"
    assert found["turned"] == "true"
    assert found["missing"] == "true"
    assert found["frames"] == "7"
    assert found["overflow"] == "0"
    assert "<title>broken</title>" not in document


def test_a_script_error_would_be_seen(tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render_report(sample_report_data()).replace("choose(0);", "choose(99);"), encoding="utf-8")
    _, log = _browse(page, 1280)
    assert any("CONSOLE" in line and "TypeError" in line for line in log.splitlines())
