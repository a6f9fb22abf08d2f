"""Pages of Markdown whose blocks are run in their order, as a reader would run them.

In a block of a console, a line after `$ ` is a command, and the lines below it are what it prints. A line that is
indented by four and begins with a program is a command as well. A block of Python is a script; the blocks of a page
that imports nothing twice go on from one another, except those that import a program of others, which have a test of
their own. "Save it as `name`" below a block of JSON makes it a file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from support.suite import GUARD, ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|^ {4}((?:circuitflow|printf|mkdir|python|cat) [^\n]*)$",
                   re.DOTALL | re.MULTILINE)
SAVED = re.compile(r"\s*Save it as `([\w.]+)`")
PROGRAMS = ("dask", "duckdb", "polars", "pyspark", "ray")
"""Programs of others, which may not be installed."""

COPIED = ("circuitflow", "circuits", "docs", "schemas", "benchmarks", "pyproject.toml", "README.md")


def imports_program(block: str) -> str | None:
    """The program of others that a block of Python imports, if any."""
    found = re.search(rf"^(?:import|from) ({'|'.join(PROGRAMS)})\b", block, re.MULTILINE)
    return found[1] if found else None


def checkout(folder: Path, *names: str) -> Path:
    """A copy of the checkout, or of parts of it, whose files may change; `programs` has its programs."""
    copy, programs = folder / "checkout", folder / "programs"
    copy.mkdir()
    programs.mkdir()
    for name in names or COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    for name, start in {"circuitflow": "-m circuitflow", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n')
        (programs / name).chmod(0o755)
    return copy


def run(copy: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy."""
    environment = {**os.environ, "PATH": f"{copy.parent / 'programs'}{os.pathsep}{os.environ['PATH']}",
                   "PYTHONPATH": str(copy), "HOME": str(copy.parent), "COLUMNS": "120"}
    return subprocess.run(["sh", "-c", command], cwd=copy, env=environment, capture_output=True, text=True,
                          encoding="utf-8", timeout=GUARD, check=False)


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, without blanks at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in (done.stdout + done.stderr).splitlines())


def rerun(page: str, copy: Path) -> str:
    """The page with what its commands print now.

    Raises:
        AssertionError: a command without shown output fails.
        Exception: what a script raises.
    """
    variables: dict[str, object] = {}

    def again(match: re.Match[str]) -> str:
        kind, body, command = match.groups()
        if command is not None:
            done = run(copy, command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        elif kind == "json" and (saved := SAVED.match(page, match.end())):
            (copy / saved[1]).write_text(body, encoding="utf-8")
        elif kind == "python" and not imports_program(body):
            exec(compile(body, "page", "exec"), variables)
        elif kind == "console":
            shown = "".join(f"$ {line}\n{printed(run(copy, line))}" for line in
                            re.findall(r"^\$ (.*)$", body, re.MULTILINE))
            return f"```console\n{shown}```"
        return match[0]

    return BLOCK.sub(again, page)
