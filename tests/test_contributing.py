"""The recipes of CONTRIBUTING.md, followed to the letter in a copy.

A block of Python belongs to the file that the text above it names: "New file `path`" or "In `path`, below `line`". A
block of a console has commands, and what they print.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from support.suite import GUARD, ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^## (Add .*)\n((?:(?!^## ).*\n?)*)", PAGE, re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NEW = re.compile(r"New file\s+`([^`]+)`:\s*\Z")
BELOW = re.compile(r"[Ii]n\s+`([^`]+)`,\s+below\s+`([^`]+)`:\s*\Z")


@pytest.fixture
def copy(tmp_path):
    """A checkout that may change, and a way to run its programs."""
    for name in ("circuitflow", "circuits", "docs", "schemas", "tests", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, start in {"circuitflow": "-m circuitflow", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
    return tmp_path, lambda command: subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8",
        timeout=GUARD, check=False)


def put(folder, before, block):
    """Write a block of Python to the place that the text before it names."""
    new, below = NEW.search(before), BELOW.search(before)
    if new:
        path = folder / new[1]
        assert not path.exists(), path
        path.write_text(block, encoding="utf-8")
    else:
        path = folder / below[1]
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.strip() == below[2]]
        assert len(places) == 1, f"{below[2]} stands {len(places)} times in {path}"
        lines.insert(places[0] + 1, block)
        path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("recipe", [
    pytest.param(text, id=title, marks=[pytest.mark.long] if title == "Add a gate" else []) for title, text in RECIPES])
def test_a_recipe_works(recipe, copy):
    folder, run = copy
    written, shown = 0, 0
    for match in BLOCK.finditer(recipe):
        if match[1] == "python":
            put(folder, recipe[:match.start()], match[2])
            written += 1
        else:
            for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", match[2], re.MULTILINE):
                done = run(command)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                if expected:
                    assert "\n".join(line.rstrip() for line in done.stdout.splitlines()) == expected.rstrip("\n")
                shown += 1
    assert written > 1
    assert shown > 0


def test_there_is_a_recipe_for_everything_that_is_a_table():
    assert [title for title, _ in RECIPES] == ["Add a gate", "Add a command", "Add an engine", "Add an export target"]
