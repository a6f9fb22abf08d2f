"""README and the pages of docs/ are true: what they show is what their commands print, and their scripts run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import circuitflow as cf
from circuitflow.gates import FAMILIES
from support.pages import checkout, rerun
from support.suite import ROOT

GENERATED = {"gates.md", "conventions.md", "gallery.md", "onnx.md"}  # by commands, with tests of their own
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in GENERATED)]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_a_page_shows_what_is_printed(path, tmp_path, monkeypatch):
    page = path.read_text(encoding="utf-8")
    copy = checkout(tmp_path)
    monkeypatch.chdir(copy)
    again = rerun(page, copy)
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        path.write_text(again, encoding="utf-8")
    assert again == page


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_documents_of_a_page_load(path):
    for text in re.findall(r"^```json\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        if '"circuitflow"' in text:
            cf.loads(text)


def test_the_cells_of_the_guide_to_notebooks_show_what_it_says(tmp_path):
    """A cell ends with what it shows: a picture and a table, words, a widget, or numbers."""
    pytest.importorskip("pygraphviz")
    pytest.importorskip("anywidget")
    page = (ROOT / "docs/guides/notebooks.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    program = ("import json, sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
               "shell = InteractiveShell.instance()\n"
               f"for cell in {cells!r}:\n"
               "    result = shell.run_cell(cell).result\n"
               "    forms = shell.display_formatter.format(result)[0]\n"
               "    print(json.dumps([forms.get('text/html') or [*forms] + [str(result)]]), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)})
    shown = [json.loads(line)[0] for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(shown) == len(cells), done.stderr
    picture = ["<img alt=\"circuit circuit\""]
    widget, number = ["application/vnd.jupyter.widget-view+json"], ["text/plain"]
    for forms, parts in zip(shown, [[*picture, "<table>"], picture, ["Reverse sweep"], widget, number, number, picture],
                            strict=True):
        assert all(part in forms for part in parts), str(forms)[:200]


def test_the_idea_fits_into_200_lines():
    lines = (ROOT / "docs/in_200_lines.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200


@pytest.mark.long
def test_the_site_is_built_without_a_warning(tmp_path):
    """Links lead somewhere, every page stands in the navigation, every name of the API exists. Gates have formulas and
    pictures. Nothing is loaded from elsewhere."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'circuitflow[docs]'")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
                          cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference/python/index.html").stat().st_size > 10_000
    for family, gates in FAMILIES.items():
        page = (tmp_path / "gates" / family / "index.html").read_text(encoding="utf-8")
        assert page.count('display="block"') == len(gates)
        for name in gates:
            assert f'<h2 id="{name}">' in page
            assert f'src="../{name}.light.svg#only-light"' in page
            assert (tmp_path / "gates" / f"{name}.dark.svg").exists()
    for path in tmp_path.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "arithmatex" not in page, path
        assert not re.search(r"<(?:script|img|iframe)[^>]* src=\"https?:|<link[^>]*stylesheet[^>]*https?:", page), path
