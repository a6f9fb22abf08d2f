"""Rows that all devices share: every row is what one device gives, and so is training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import circuitflow as cf
from support.suite import GUARD, ROOT

pytest.importorskip("jax", reason="the extra jax brings it")

BEGIN = """
import json, sys
import jax, numpy as np
import circuitflow as cf
"""

SAME = BEGIN + """
def columns(circuit, rows):
    random = np.random.default_rng(rows)
    return {name: np.asarray(value) + random.uniform(-0.1, 0.1, (rows, *np.shape(value)))
            for name, value in circuit.values.items()
            if circuit.nodes[name].kind == "input" and circuit.nodes[name].types[0].is_float}

assert jax.local_device_count() == 3
told = []
for file in sys.argv[1:]:
    circuit = cf.load(file)
    one, shared = (cf.Executor(circuit).vmap(engine="jax", device=device) for device in (None, "all"))
    for rows in (7, 6):
        given = columns(circuit, rows)
        expected, found = one(given), shared(given)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13), found, expected)
        if rows == 6:
            first = next(iter(jax.tree.leaves(found)))
            assert {shard.data.shape[0] for shard in first.addressable_shards} == {2}, first.sharding
            jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), shared(jax.device_put(given)), found)
        told.append([circuit.name, rows])
print(json.dumps(told))
"""

EDGES = BEGIN + """
circuit = cf.loads(json.dumps({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
    {"id": "x", "gate": "input", "value": 2}, {"id": "y", "gate": "input", "value": 3},
    {"id": "i", "gate": "input", "value": {"data": [0], "dtype": "int64"}},
    {"id": "t", "gate": "constant", "value": [1, 2]},
    {"id": "n", "gate": "gather", "inputs": ["t", "i"]}, {"id": "k", "gate": "reduce_sum", "inputs": ["n"]},
    {"id": "f", "gate": "mul", "inputs": ["x", "k"]}]}))
shared = cf.Executor(circuit).vmap(engine="jax", device="all")
value, gradients = shared(x=[1.0, 2.0, 3.0, 4.0], y=5.0, i=[[0], [1], [0], [1]], upstream={"f": [1.0, 1.0, 1.0, 2.0]})
print(value.tolist(), gradients["x"].tolist())
print(cf.Executor(circuit).vmap(of=["k"], wrt=[], engine="jax", device="all")(x=[1.0, 2.0, 3.0, 4.0])[0].tolist())
print(shared(x=np.zeros(0))[0].shape)
try:
    shared(x=1.0, i=[[0], [1], [1], [7]])
except cf.GateError as error:
    print(error)
"""

PROCESS = BEGIN + """
address, number = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize(address, 2, number)
assert (jax.device_count(), jax.local_device_count()) == (6, 3)
x = np.arange(5.0) + 10 * number
value, gradients = cf.Executor(cf.load(sys.argv[3])).vmap(engine="jax", device="all")(x=x)
print(json.dumps([np.asarray(value).tolist(), np.asarray(gradients["x"]).tolist()]))
"""

TRAINED = BEGIN + """
def net(named):
    batch, last = (["N"], "n.y") if named else ([], "d")
    statistics = [{"id": name, "gate": "constant", "value": [value] * 4}
                  for name, value in (("scale", 1), ("bias", 0), ("mean", 0), ("variance", 1))]
    normalised = [*statistics, {"id": "n", "gate": "batch_normalization", "training_mode": True,
                                "inputs": ["d", "scale", "bias", "mean", "variance"]}]
    return cf.loads(json.dumps({"circuitflow": "1.1", "outputs": ["l", "u"], "nodes": [
        {"id": "x", "gate": "input", "shape": [*batch, 3]}, {"id": "y", "gate": "input", "shape": batch},
        {"id": "W", "gate": "parameter", "value": {"random": "normal", "shape": [3, 4], "seed": 1}},
        {"id": "v", "gate": "parameter", "value": {"random": "normal", "shape": [4], "seed": 2}},
        {"id": "p", "gate": "matmul", "inputs": ["x", "W"]},
        {"id": "seed", "gate": "constant", "value": 7, "dtype": "int64"},
        {"id": "d", "gate": "dropout", "inputs": ["p", "seed"], "ratio": 0.5}, *(normalised if named else []),
        {"id": "f", "gate": "matmul", "inputs": [last, "v"]}, {"id": "r", "gate": "sub", "inputs": ["f", "y"]},
        {"id": "u", "gate": "div", "inputs": ["r", "y"]}, {"id": "l", "gate": "square", "inputs": ["u"]}]}))

x = np.random.RandomState(0).standard_normal((14, 3))
data = {"x": x, "y": 1 + x[:, 0] ** 2}

def fit(circuit, data=data, **options):
    return cf.fit(circuit, data, loss="l", batch_size=7, epochs=3, method={"name": "sgd", "learning_rate": 1e-3},
                  **options)

def told(found):
    return {name: np.asarray(x).tolist() for name, x in {**found.values, **found.metrics}.items()}
"""

SHARED = TRAINED + """
from circuitflow.fitting.devices import Devices

everywhere = Devices("all")
total = everywhere.compiled(lambda columns: everywhere.shared(columns)["x"].sum())
assert "all-reduce" in total.lower({"x": np.zeros(7)}).compile().as_text()
for named in (False, True):
    circuit, steps, ends = net(named), {"cpu": [], "all": []}, {}
    for device, numbers in steps.items():
        ends[device] = told(fit(circuit, device=device, callback=lambda progress: numbers.extend(
            [progress.loss, progress.gradient_norm, *progress.metrics.values()])))
    np.testing.assert_allclose(steps["all"], steps["cpu"], rtol=1e-12)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13), ends["all"], ends["cpu"])
    print(len(steps["all"]), sorted(ends["all"]))
"""

PARTS = TRAINED + """
address, number, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(address, 2, number)
circuit = cf.new("l = (y - w * tanh(v * x))**2", {"w": 0.5, "v": 0.3, "x": 0.0, "y": 0.0}, parameters=["w", "v"])
data["x"] = x[:, 0]
try:
    fit(circuit, {**data, "y": data["y"] + number}, device="all")
except cf.InputError as error:
    print(error)

def stop(progress):
    if progress.step == 3:
        raise KeyboardInterrupt

try:
    fit(circuit, device="all", checkpoint=folder, callback=stop)
except KeyboardInterrupt:
    pass
steps = []
found = fit(circuit, device="all", checkpoint=folder, callback=lambda progress: steps.append(progress.step))
print(json.dumps([steps[0], told(found), told(fit(circuit, device="all"))]))
"""


def start(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, cwd=ROOT,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu",
                                 "XLA_FLAGS": "--xla_force_host_platform_device_count=3"})


def output(process):
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    return out


def test_three_devices_give_what_one_gives():
    names = ["staged", "neuron_layer", "rnn"]
    told = json.loads(output(start(SAME, *(ROOT / f"circuits/{name}.json" for name in names))))
    assert told == [[name, rows] for name in names for rows in (7, 6)]


def test_what_is_wrong_in_a_row_or_the_same_in_all():
    assert output(start(EDGES)).splitlines() == [
        "[1.0, 4.0, 3.0, 8.0] [1.0, 2.0, 1.0, 4.0]", "[1.0, 1.0, 1.0, 1.0]", "(0,)",
        "node 'n': gather: index 7 is out of range for axis 0 of size 2"]


def outputs_of_two(script, argument):
    """What two processes of `jax.distributed` print."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [output(process) for process in [start(script, address, number, argument) for number in range(2)]]


def test_processes_have_rows_of_their_own():
    file = ROOT / "circuits/staged.json"
    for number, out in enumerate(outputs_of_two(PROCESS, file)):
        value, gradient = json.loads(out.splitlines()[-1])  # JAX tells of its connections before
        expected, gradients = cf.Executor(cf.load(file)).vmap(engine="jax")(x=np.arange(5.0) + 10 * number)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, gradients["x"], rtol=1e-12)


@pytest.mark.long
def test_training_shares_the_rows_of_every_step():
    pytest.importorskip("optax")
    assert output(start(SHARED)).splitlines() == ["24 ['W', 'loss', 'u', 'v']",
                                                  "24 ['W', 'loss', 'mean', 'u', 'v', 'variance']"]


@pytest.mark.long
def test_processes_train_together_and_go_on_from_the_state_of_the_first(tmp_path):
    pytest.importorskip("optax")
    results = []
    for out in outputs_of_two(PARTS, tmp_path):
        assert "the processes of jax.distributed do not fit the same: 'data' differ; give every process the same" in out
        first, resumed, undisturbed = json.loads(out.splitlines()[-1])
        assert (first, resumed) == (4, undisturbed)
        results.append(resumed)
    assert results[0] == results[1]


def test_one_call_has_no_rows_to_share():
    with pytest.raises(cf.InputError, match="the device 'all' shares rows between devices, and one call has none; use "
                                            "it with vmap or `run --table`, or name one device"):
        cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile(engine="jax", device="all")
