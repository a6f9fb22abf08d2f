"""Matrices that are not finite: every gate comes back, with NaN for them, and leaves the others of a batch as they
are."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.suite import GUARD

GATES = ["det", "cofactor", "slogdet", "inv", "solve", "cholesky", "eigh", "qr", "svd"]
PROGRAM = """
import importlib, json, sys
import numpy as np
import circuitflow as cf
library, size, gates = json.loads(sys.argv[1])
xp = importlib.import_module(library)
right = np.eye(size) * 3 + np.cos(np.arange(size * size)).reshape(size, size) * 0.2
right = right @ right.T
for bad in (np.inf, -np.inf, np.nan):
    for place in {(0, 0), (size - 1, 0)}:
        x = np.stack([right, right, right + np.eye(size)])
        x[1][place] = bad
        for gate in gates:
            node = {"id": "f", "gate": gate, "inputs": ["x", "b"] if gate == "solve" else ["x"]}
            outputs = [f"f.{name}" for name in cf.GATES[gate].output_names({})] or ["f"]
            document = {"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "shape": [3, size, size]},
                        {"id": "b", "gate": "parameter", "value": np.ones((size, 2)).tolist()}, node],
                        "outputs": outputs}
            executor = cf.Executor(cf.loads(json.dumps(document)))
            shapes = executor.forward({"x": np.stack([right] * 3)}).outputs
            upstream = {name: xp.asarray(np.cos(np.arange(value.size)).reshape(value.shape))
                        for name, value in shapes.items()}
            found = executor.run({"x": xp.asarray(x)}, upstream=upstream, wrt="x")
            fine = np.where(np.isfinite(x), x, 0) * 1.0
            fine[1] = right
            expected = executor.run({"x": xp.asarray(fine)}, upstream=upstream, wrt="x")
            for name, value in {**found.outputs, "x": found.gradients["x"]}.items():
                other = expected.gradients["x"] if name == "x" else expected.outputs[name]
                assert np.all(np.isnan(np.asarray(value)[1])), (gate, name, bad, place)
                np.testing.assert_allclose(np.asarray(value)[::2], np.asarray(other)[::2], rtol=1e-9, atol=1e-11,
                                           err_msg=f"{gate} {name}")
"""


@pytest.mark.sliced(by=["library"])
@pytest.mark.parametrize("size", [3, 1, 20])
@pytest.mark.parametrize("library", ["numpy", "torch", pytest.param("jax.numpy", marks=pytest.mark.long)])
def test_linear_algebra_comes_back_with_nan(library, size):
    pytest.importorskip(library)
    run = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps([library, size, GATES])], timeout=GUARD,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
