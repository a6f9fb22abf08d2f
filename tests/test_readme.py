"""The README is true: what it shows is what its commands print."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

import circuitflow as cf
from conftest import GUARD, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command for command, _ in SESSIONS])
def test_commands_print_what_is_shown(command, shown):
    program, *arguments = shlex.split(command)
    assert program == "circuitflow"
    result = subprocess.run([sys.executable, "-m", "circuitflow", *arguments], cwd=ROOT, capture_output=True, text=True,
                            encoding="utf-8", timeout=GUARD, check=False)
    printed = result.stdout + result.stderr
    assert "\n".join(line.rstrip() for line in printed.splitlines()) == shown.rstrip("\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run(script, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(script, "README.md", "exec"), {})


def test_there_is_something_to_test():
    assert len(SESSIONS) >= 4
    assert len(SCRIPTS) >= 2


def test_the_document_shown_is_the_file():
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert shown == (ROOT / "circuits/product.json").read_text()


def test_every_limit_is_the_one_in_the_code():
    for limit in dataclasses.fields(cf.Limits):
        shown = f"{limit.default >> 30} GiB" if limit.name.endswith("bytes") else f"{limit.default:,}"
        assert re.search(rf"^\\| `{limit.name}` \\| {re.escape(shown)} \\|", README, re.MULTILINE), limit.name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_what_the_command_draws(theme):
    """All but the places, which depend on the fonts of the machine."""
    def parts(svg):
        return [(e.tag, e.get("id"), e.get("class"), e.get("fill"), (e.text or "").strip()) for e in ET.fromstring(svg).iter()]

    result = cf.Executor(cf.load(ROOT / "circuits/sigmoid_neuron.json")).run()
    assert f"docs/sigmoid_neuron.{theme}.svg" in README
    assert parts((ROOT / f"docs/sigmoid_neuron.{theme}.svg").read_bytes()) == parts(cf.draw(result, theme=theme))
