"""The script of the page: what is committed is what its source is built into."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from support.suite import GUARD, ROOT

WEB = ROOT / "web"
SCRIPT = ROOT / "circuitflow/pictures/page.js"


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
@pytest.mark.skipif(not (WEB / "node_modules/vite").exists(), reason="its packages are not installed (npm ci in web/)")
def test_the_committed_script_is_what_vite_builds(tmp_path):
    subprocess.run(["node", "node_modules/vite/bin/vite.js", "build", "--outDir", str(tmp_path)], cwd=WEB, check=True,
                   capture_output=True, timeout=GUARD)
    assert (tmp_path / "page.js").read_bytes() == SCRIPT.read_bytes(), "npm run build in web/"


def test_it_can_stand_in_a_page_and_is_small():
    """At most 60 KiB of the 100 KiB that a page of an example adds to its document; the rest is its code and data."""
    text = SCRIPT.read_text(encoding="utf-8")
    assert "</" not in text
    assert "<!--" not in text
    assert len(text.encode()) < 60 * 1024
    for word in ("innerHTML", "eval(", "new Function", "document.write", "fetch(", "XMLHttpRequest", "import("):
        assert word not in text


def test_no_registry_stands_in_the_lock_file():
    assert '"resolved"' not in (WEB / "package-lock.json").read_text(encoding="utf-8")
