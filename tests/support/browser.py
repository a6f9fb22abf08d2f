"""A real browser, and pages opened in it from files, with everything that they ask for and complain of."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from support.suite import GUARD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = "no Chromium on this machine (apt-get install chromium)"


@pytest.fixture(scope="module")
def browser():
    """The browser of a module's tests."""
    with chromium() as started:
        yield started


@contextmanager
def chromium():
    """A browser, and the pages that were opened in it and are free again, by their options."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"],
                                             timeout=GUARD * 1000)
        yield started, {}
        started.close()


@contextmanager
def opener(browser, folder):
    """A function that opens the bytes of a page, from a file. At the end no page may have complained of anything.

    A page takes the place of an earlier one with the same options: a new context costs twice as much as the page.
    """
    started, free = browser
    made = []

    def open_(content, fragment="", **options):
        path = folder / f"{len(made)}.html"
        path.write_bytes(content)
        shelf = free.setdefault(repr(sorted(options.items())), [])
        page = shelf.pop() if shelf else Opened(started, **options)
        made.append((page, shelf))
        page.open(path.as_uri(), fragment)
        return page

    yield open_
    for page, shelf in made:
        page.assert_quiet()
        shelf.append(page)


class Opened:
    """A page from a file, with everything that it asked for and complained of."""

    def __init__(self, browser, **options) -> None:
        self._options = {"viewport": {"width": 1200, "height": 800}, **options}
        self.context = browser.new_context(**self._options)
        self.context.set_default_timeout(GUARD * 1000)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.address = ""

    def open(self, address, fragment=""):
        """Open a page in place of the last one, of which nothing stays."""
        if self.address:
            self.page.set_viewport_size(self._options["viewport"])
            self.page.emulate_media(media="null")
        self.address = address
        self.requests.clear()
        self.complaints.clear()
        self.page.goto(self.address + fragment)

    def again(self, fragment):
        """Open it again, with another fragment."""
        self.page.goto("about:blank")
        self.requests.clear()
        self.page.goto(self.address + fragment)

    def assert_quiet(self):
        """Nothing was complained of, and nothing loaded but the page itself."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "blob:"))] == []
        assert len([url for url in self.requests if url.startswith("file:")]) == 1

    def shown(self):
        """The numbers that are visible, by wire: (value, gradient)."""
        return self.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll(".wire")].map((wire) => [
            wire.id, ["value", "gradient"].map((kind) => [...wire.querySelectorAll("tspan." + kind)]
                .filter((e) => getComputedStyle(e).visibility === "visible")
                .map((e) => e.textContent.trim()).join(" "))]))""")

    def step(self):
        """The words and the lines of code of this step, without formulas."""
        return "\n".join(self.page.locator("#told > p:not(.line), #told .code").all_inner_texts())

    def told(self, key):
        """What is told of a gate or a wire that has the focus, by heading."""
        self.page.locator(f"#{key}").focus()
        texts = self.page.locator("#detail dt, #detail dd").all_inner_texts()
        return dict(zip(texts[-2::-2], texts[::-2], strict=False))

    def press(self, key):
        self.page.keyboard.press(key)

    def frame(self):
        """Wait until what was changed is drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def until(self, expression):
        """Wait until an expression holds; the policy of a page forbids `wait_for_function`."""
        while not self.page.evaluate(expression):
            self.page.wait_for_timeout(30)

    def vertex(self, name):
        """The key of the vertex of a node."""
        return self.page.evaluate("""(name) => Object.entries(JSON.parse(document.getElementById("data").textContent)
            .nodes).find(([, names]) => names.includes(name))[0]""", name)


