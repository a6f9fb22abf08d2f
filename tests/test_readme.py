"""README, CONTRIBUTING.md and the reference are true: commands run, tables are complete."""

from __future__ import annotations

import dataclasses
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from typing import get_args
from xml.etree import ElementTree as ET

import pytest

import circuitflow as cf
from circuitflow.cli.main import COMMANDS
from support.suite import GUARD, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS_PAGE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
LIMITS_PAGE = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
               flags=re.DOTALL | re.MULTILINE)
PROGRAMS = ("circuitflow", "gcc", "pip", "python", "printf", "ruff", "mypy", ".ci/run")


def commands():
    """The commands outside of the sessions, in their order: those on lines of their own, and those between
    backticks."""
    synopses = {f"circuitflow {name}" for name in COMMANDS if name != "gates"} | {*PROGRAMS} - {".ci/run"}
    for line, inline in re.findall(r"^ {4}(\S.*)$|`([^`\n]+)`", PROSE, re.MULTILINE):
        written = line or inline
        if written.split()[0] in PROGRAMS and written not in synopses and not re.search(r"\b[A-Z]{3,}\b|\|", written):
            yield from written.split(" && ")


# What takes long or runs this: the continuous integration does, and here it is seen that the program is there.
INSTEAD = {
    "python -m venv .venv": "python -m venv --help",
    ". .venv/bin/activate": "true",
    "python -m pytest -n auto": "python -m pytest --version",
    "python -m pytest -n auto -m 'long or not long'": "python -m pytest --markers | grep -q '^@pytest.mark.long:'",
    "python -m pytest -n 0 -k staged": "python -m pytest --version",
    ".ci/run": "test -x .ci/run",
    "ruff check .": "grep -q ruff pyproject.toml",
    "mypy": "grep -q mypy pyproject.toml",
    "python .ci/installed.py": "test -f .ci/installed.py",
    "python tests/fuzz/target.py --seconds 3600": "test -f tests/fuzz/target.py",
    "python tests/fuzz/engines.py --seconds 600 --jobs 2": "python tests/fuzz/engines.py --seconds 1 --jobs 2 "
                                                           "--comparisons 3",
    "python tests/fuzz/kills.py --kills 200": "python tests/fuzz/kills.py --help",
    "python tests/fuzz/calls.py --seconds 600": "python tests/fuzz/calls.py --seconds 0",
    "python -m mkdocs serve": "test -f mkdocs.yml",
    "python -m benchmarks.onnx_gradients": "test -f benchmarks/onnx_gradients.py",
    "python tests/fuzz/onnx_gradients.py": "test -f tests/fuzz/onnx_gradients.py",
    "python tests/fuzz/onnx_nodes.py": "test -f tests/fuzz/onnx_nodes.py",  # tests/onnx does it
    "python tests/fuzz/onnx_models.py --seconds 600": "test -f tests/fuzz/onnx_models.py",
    "circuitflow fit circuits/spiral.json --checkpoint run": "circuitflow fit --help",  # test_documentation runs it
}


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose files may change, and an environment in which the programs are these; nothing is installed."""
    pytest.importorskip("pygraphviz")
    pytest.importorskip("pyarrow")
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=lambda _,
                    names: {name for name in names if name.startswith((".", "__pycache__")) and name != ".ci"})
    programs = tmp_path / "programs"
    programs.mkdir()
    python = shlex.quote(sys.executable)
    for name, line in {"circuitflow": f'exec {python} -m circuitflow "$@"', "python": f'exec {python} "$@"',
                       "pip": "exit 9"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(copy),
                   "HOME": str(tmp_path)}
    return lambda command: subprocess.run(["sh", "-c", command], cwd=copy, env=environment, capture_output=True,
                                          text=True, timeout=GUARD, check=False)


def test_every_command_runs_as_written_one_after_the_other(checkout):
    seen = list(commands())
    assert len(seen) > 20
    assert INSTEAD.keys() <= set(seen)
    for command in seen:
        if command.split()[0] in ("gcc", "./neuron") and not shutil.which("gcc"):
            continue
        if command.startswith("pip "):
            is_installable(command)
            continue
        result = checkout(INSTEAD.get(command, command))
        assert result.returncode == 0, (command, result.stdout, result.stderr)


def is_installable(command):
    """Whether a command installs the checkout, with extras that it has: there is no package of this name to fetch."""
    what = re.fullmatch(r"pip install -e ('?)\.(?:\[([a-z,]+)\])?\1", command)
    assert what, command
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(filter(None, (what[2] or "").split(","))) <= set(extras), command


@pytest.mark.parametrize(("name", "rest"), re.findall(r"^\| `circuitflow (\w+)[^`]*` \|(.*)\|$", COMMANDS_PAGE,
                                                      re.MULTILINE))
def test_the_options_named_for_a_command_are_its_options(circuitflow, monkeypatch, name, rest):
    monkeypatch.setenv("COLUMNS", "200")
    shown = circuitflow(name, "--help").out
    assert "Usage:" in shown
    for option in re.findall(r"`(-[-\w]+)", rest):
        assert re.search(rf"(?<![-\w]){option}(?![-\w])", shown), option


def test_every_command_is_in_the_table():
    assert set(re.findall(r"^\| `circuitflow (\w+)", COMMANDS_PAGE, re.MULTILINE)) == set(COMMANDS)


def test_the_document_shown_is_the_file():
    shown = re.findall(r"```json\n(.*?)```", (ROOT / "docs/guides/write_circuits.md").read_text(), re.DOTALL)
    assert shown == [(ROOT / "circuits/product.json").read_text()]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_every_limit_is_the_one_in_the_code():
    for limit in dataclasses.fields(cf.Limits):
        shown = f"{limit.default >> 30} GiB" if limit.name.endswith("bytes") else f"{limit.default:,}"
        assert re.search(rf"^\\| `{limit.name}` \\| {re.escape(shown)} \\|", LIMITS_PAGE, re.MULTILINE), limit.name


def test_the_page_on_performance_has_the_sizes_at_which_engines_change():
    page = (ROOT / "docs/explanation/performance.md").read_text(encoding="utf-8")
    sizes = cf.Thresholds()
    assert (f"up to {sizes.staged_operands:,} operands of scalars, {sizes.staged_array_operands:,} of arrays") in page


@pytest.mark.parametrize(("shown", "name"), re.findall(r"^\| .* \| ([\d,]+) \| `([\w.]+)` \|$", LIMITS_PAGE,
                                                       re.MULTILINE))
def test_every_fixed_limit_is_the_one_in_the_code(shown, name):
    value = pkgutil.resolve_name(f"circuitflow.{name}")
    if name == "document.base.Id":
        value = get_args(value)[1].max_length
    assert f"{value:,}" == shown


def test_the_page_of_errors_has_every_class_and_its_status(circuitflow, monkeypatch):
    """A command raises each, and what it ends with is what the table says."""
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `cf\.(\w+)` \| (.*) \| (\d) \|$", page, re.MULTILINE)
    classes = [name for name in cf.__all__ if isinstance(getattr(cf, name), type)
               and issubclass(getattr(cf, name), cf.CircuitflowError)]
    assert sorted(name for name, _, _ in rows) == sorted(classes)
    for name, parents, status in rows:
        error = getattr(cf, name)
        bases = {f"`{'' if base.__module__ == 'builtins' else 'cf.'}{base.__name__}`" for base in error.__bases__}
        assert set(parents.split(", ")) == bases - {"`cf.CircuitflowError`"}

        def raises(*_, error=error, **__):
            raise error("no" if error is not cf.DocumentError else [cf.Fault("no")])

        monkeypatch.setattr(cf, "load", raises)
        assert circuitflow("run", "circuits/product.json").status == int(status)
        assert name == "CircuitflowError" or re.search(rf"^## .*{name}$", page, re.MULTILINE)


def test_the_message_of_a_missing_extra_is_the_one_shown(circuitflow, monkeypatch):
    from circuitflow.pictures import graphviz

    monkeypatch.setattr(graphviz, "find_spec", lambda name: None)
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    assert f"```text\n{circuitflow('draw', 'circuits/staged.json').err}```" in page


def test_the_page_of_options_is_written_from_the_help_of_the_commands():
    """A new option is on the page, or this fails."""
    written = runpy.run_path(str(ROOT / "docs/options.py"))["page"]()
    page = ROOT / "docs/reference/options.md"
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        page.write_text(written, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_what_the_command_draws(theme):
    """All but the places, which depend on the fonts of the machine."""
    def parts(svg):
        return [(e.tag, e.get("id"), e.get("class"), e.get("fill"), (e.text or "").strip())
                for e in ET.fromstring(svg).iter()]

    result = cf.Executor(cf.load(ROOT / "circuits/sigmoid_neuron.json")).run()
    path = f"docs/sigmoid_neuron.{theme}.svg"
    assert f'"{path}"' in README
    assert parts((ROOT / path).read_bytes()) == parts(cf.draw(result, theme=theme))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_recording_is_short_and_small(theme):
    """An animated PNG that `docs/recording.py` writes; its pixels depend on the fonts of the machine."""
    path = f"docs/living_page.{theme}.png"
    assert f'"{path}"' in README
    content = (ROOT / path).read_bytes()
    assert len(content) < 400_000
    at, seconds, frames = 8, 0.0, 0
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind == b"acTL":
            frames = struct.unpack(">I", content[at + 8 : at + 12])[0]
        elif kind == b"fcTL":
            delay, unit = struct.unpack(">HH", content[at + 28 : at + 32])
            seconds += delay / unit
        at += length + 12
    assert frames > 20
    assert 8 <= seconds <= 11
