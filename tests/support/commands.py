"""Commands run in this process, and golden files of what they print."""

from __future__ import annotations

import io
import json
import os
import signal
import sys

import pytest

from circuitflow.cli import main as program
from support.suite import ROOT

GOLDEN = ROOT / "tests/golden"


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def circuitflow(monkeypatch, capfd):
    """Run a command in this process, from the root of the project."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str, stdin: str | None = None) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["circuitflow", *arguments])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        try:
            program()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return call


def golden(name: str, text: str) -> None:
    """Compare with a golden file; `CIRCUITFLOW_GOLDEN=write` makes them anew."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = GOLDEN / name
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def outputs(outcome: Outcome) -> dict:
    assert (outcome.status, outcome.err) == (0, "")
    return json.loads(outcome.out)["outputs"]
