"""`circuitflow fit` with an optimiser: what is written, shown and refused, and Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.cli import fit_progress
from circuitflow.fitting.stochastic import Progress
from support.suite import GUARD, ROOT

pytest.importorskip("optax")

NODES = [{"id": "t", "gate": "input"}, {"id": "y", "gate": "input"},
         {"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [1, 70], "seed": 1}},
         {"id": "v", "gate": "parameter", "value": {"random": "normal", "shape": [70], "seed": 2}},
         {"id": "b", "gate": "parameter", "value": 0}, {"id": "s", "gate": "mul", "inputs": ["w", "t"]},
         {"id": "h", "gate": "tanh", "inputs": ["s"]}, {"id": "p", "gate": "matmul", "inputs": ["h", "v"]},
         {"id": "q", "gate": "reduce_sum", "inputs": ["p"]}, {"id": "f", "gate": "add", "inputs": ["q", "b"]},
         {"id": "r", "gate": "sub", "inputs": ["y", "f"]}, {"id": "l", "gate": "square", "inputs": ["r"]},
         {"id": "near", "gate": "less", "inputs": ["l", "one"]}, {"id": "one", "gate": "constant", "value": 1}]
FIT = {"data": {"file": "rows.csv"}, "loss": "l", "method": {"name": "adam"}, "batch_size": 8, "epochs": 3,
       "validation": {"file": "more.csv"}}


@pytest.fixture
def net(tmp_path):
    for name, rows in (("rows", 40), ("more", 10)):
        t = np.linspace(-1, 1, rows)
        lines = [f"{x!r},{y!r}\n" for x, y in zip(t.tolist(), np.sin(3 * t).tolist(), strict=True)]
        (tmp_path / f"{name}.csv").write_text("t,y\n" + "".join(lines))
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"circuitflow": "1.1", "nodes": NODES, "outputs": ["l", "near"], "fit": FIT}))
    return path


def test_a_network_is_trained_written_and_trained_again_to_the_same(circuitflow, net):
    folder = net.parent
    outcome = circuitflow("fit", str(net), "-o", str(folder / "new.json"), "--history", str(folder / "h.csv"))
    assert outcome.status == 0
    assert "trained for 3 epochs, 15 steps (method adam, 3 passes over 40 rows)" in outcome.out
    entry = json.loads((folder / "new.json").read_text())["fit"]["result"]
    assert f"validation near: {entry['metrics']['validation_near']:.6g}\n" in outcome.out
    records = list(csv.DictReader((folder / "h.csv").read_text().splitlines()))
    assert [record["step"] for record in records] == ["5", "10", "15"]
    assert min(float(record["validation_loss"]) for record in records) == entry["metrics"]["validation_loss"]
    assert circuitflow("fit", str(folder / "new.json"), "-o", str(folder / "again.json")).status == 0
    assert (folder / "again.json").read_bytes().replace(b"again.", b"new.") == (folder / "new.json").read_bytes()
    assert cf.load(folder / "again.json").values["w"].tolist() == cf.load(folder / "new.json").values["w"].tolist()


def test_statuses_and_refusals(circuitflow, net):
    rows = net.parent / "rows.csv"
    rows.write_text(rows.read_text() + "0.5,1e200\n")
    outcome = circuitflow("fit", str(net), "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)["status"].startswith("stopped before step")
    outcome = circuitflow("fit", str(net), "--on-nan", "raise")
    assert (outcome.status, outcome.out) == (2, "")
    assert "row 41: node 'l': in the forward pass, square gives inf" in outcome.err
    assert circuitflow("fit", str(net), "--on-nan", "skip").status == 0
    for arguments, words in ((["--tolerance", "1e-3"], "fit: 'tolerance' goes with SciPy's methods"),
                             (["--method", "smooth"], "fit: 'batch_size' goes with a loss and stochastic methods"),
                             (["--on-nan", "skp"], "on_nan is \"skp\"; expected one of 'stop', 'skip', 'raise'"),
                             (["--validation", "gone.csv"], "'gone.csv': no such file beside the document"),
                             (["-o", str(net.parent / "more.csv")], "more.csv")):
        outcome = circuitflow("fit", str(net), *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert words in outcome.err


def test_ctrl_c_ends_after_the_step(circuitflow, net, monkeypatch):
    def pressed(watch: fit_progress.FitProgress, step: Progress) -> None:
        if step.step == 7:
            watch._interrupt()
        plain(watch, step)

    plain = fit_progress.FitProgress.__call__
    monkeypatch.setattr(fit_progress.FitProgress, "__call__", pressed)
    history = net.parent / "h.csv"
    outcome = circuitflow("fit", str(net), "-o", str(net.parent / "new.json"), "--history", str(history))
    assert (outcome.status, outcome.out) == (130, "")
    assert "interrupted after step 7, in epoch 2: loss " in outcome.err
    assert not (net.parent / "new.json").exists()
    assert len(history.read_text().splitlines()) == 2


def test_a_line_of_a_log_says_how_far_training_is(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(fit_progress.time, "monotonic", lambda: now[0])
    watch = fit_progress.FitProgress(None)
    for number in range(1, 6):
        now[0] += 4
        watch(Progress(number, 0, number, 10, 8, 1 / number, 2.0, {}, 5, None, lambda: None))
        now[0] += 1
    watch(Progress(5, 1, 0, 10, 0, 0.5, 2.0, {}, 5, {"epoch": 1, "loss": 0.5, "validation_loss": 0.25}, lambda: None))
    assert capsys.readouterr().err.splitlines() == [
        "step 3, epoch 1 of 5: loss 0.333333, gradient norm 2, 1.6 rows a second, 235 s left",
        "step 5, epoch 2 of 5: loss 0.5, gradient norm 2, validation loss 0.25, 1.52 rows a second, 93 s left"]


# Devices --------------------------------------------------------------------------------------------------------------

ON_DEVICES = """
import sys
from circuitflow.cli import main
from circuitflow.fitting.devices import Devices

find = Devices.__init__

def told(self, device):
    find(self, device)
    print(f"{device}: {self.words}", flush=True)

Devices.__init__ = told
for device in ("all", "cpu", "abacus"):
    sys.argv = ["circuitflow", "fit", "net.json", "--device", device, "-o", f"{device}.json"]
    try:
        main()
    except SystemExit as end:
        print(f"{device}: {end.code or 0}", flush=True)
"""


def test_device_shares_the_rows_or_names_one(net):
    pytest.importorskip("jax")
    net.write_text(json.dumps({
        "circuitflow": "1.1", "nodes": [
            {"id": "t", "gate": "input"}, {"id": "y", "gate": "input"},
            {"id": "w", "gate": "parameter", "value": 0.5}, {"id": "s", "gate": "mul", "inputs": ["w", "t"]},
            {"id": "r", "gate": "sub", "inputs": ["y", "s"]}, {"id": "l", "gate": "square", "inputs": ["r"]}],
        "outputs": ["l"], "fit": {"data": {"file": "rows.csv"}, "loss": "l", "method": {"name": "adam"},
                                  "batch_size": 8, "epochs": 1}}))
    done = subprocess.run([sys.executable, "-c", ON_DEVICES], cwd=net.parent, capture_output=True, text=True,
                          timeout=GUARD, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu",
                               "XLA_FLAGS": "--xla_force_host_platform_device_count=3"})
    assert [line for line in done.stdout.splitlines() if line.startswith(("all:", "cpu:", "abacus:"))] == [
        "all: 3 × cpu, processes: 1", "all: 0", "cpu: cpu", "cpu: 0", "abacus: 2"], done.stderr
    assert "error: there is no device 'abacus' for the engine jax; there is " in done.stderr
    shared, alone = (cf.load(net.parent / f"{name}.json").values for name in ("all", "cpu"))
    assert alone["w"] != 0.5
    np.testing.assert_allclose(shared["w"], alone["w"], rtol=1e-12)
    assert not (net.parent / "abacus.json").exists()
