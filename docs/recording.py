"""Records the living page for README.md: `python docs/recording.py` writes docs/living_page.light.png and .dark.png.

It takes Chromium and the extra `test`, which brings Playwright and, with matplotlib, Pillow. The pictures are animated
PNGs, for which every viewer that shows PNGs shows at least the first frame.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import circuitflow as cf

DOCS = Path(__file__).parent
CIRCUIT = DOCS.parent / "circuits/sigmoid_neuron.json"
WIDTH, HEIGHT, SCALE = 1210, 470, 0.8
MOVES = [1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
"""Where the slider of w0 goes from 2."""


def frames(page: Page) -> Iterator[tuple[bytes, int]]:
    """Pictures of the page, and how long each is shown, in milliseconds: a slider moves, then the sweep plays."""
    def shot() -> bytes:
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return page.screenshot()

    page.locator("#whole").click()
    yield shot(), 1000
    slider = page.get_by_label("w0, slider")
    for x in MOVES:
        slider.focus()
        slider.fill(str(x))
        yield shot(), 160
    slider.blur()
    yield shot(), 600
    page.locator("#first").click()
    page.locator("#first").blur()
    yield shot(), 500
    steps = int(page.locator("#step").get_attribute("max") or 0)
    for _ in range(steps):
        page.keyboard.press("ArrowRight")
        yield shot(), 210
    yield shot(), 800


def record(theme: str, browser: Any) -> None:
    """Write the recording in the colours of a theme."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        path.write_bytes(cf.draw(cf.Executor(cf.load(CIRCUIT)).run(), "html", theme=theme))
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE,
                                      color_scheme=theme, reduced_motion="reduce")
        page = context.new_page()
        page.goto(path.as_uri())
        pictures, times = [], []
        for content, time in frames(page):
            pictures.append(Image.open(io.BytesIO(content)).convert("RGB"))
            times.append(time)
        context.close()
    palette = pictures[-1].quantize(128, Image.Quantize.MAXCOVERAGE)  # few pixels are green or red
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    first.save(DOCS / f"living_page.{theme}.png", save_all=True, append_images=rest, duration=times, loop=0,
               optimize=True)


if __name__ == "__main__":
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in ("light", "dark"):
            record(name, started)
        started.close()
