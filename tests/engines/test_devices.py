"""Rows that all devices share: every row is what one device gives. A process of its own has several devices."""

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


def test_processes_have_rows_of_their_own():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    file = ROOT / "circuits/staged.json"
    processes = [start(PROCESS, address, number, file) for number in range(2)]
    for number, process in enumerate(processes):
        value, gradient = json.loads(output(process).splitlines()[-1])  # JAX tells of its connections before
        expected, gradients = cf.Executor(cf.load(file)).vmap(engine="jax")(x=np.arange(5.0) + 10 * number)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, gradients["x"], rtol=1e-12)


def test_one_call_has_no_rows_to_share():
    with pytest.raises(cf.InputError, match="the device 'all' shares rows between devices, and one call has none; use "
                                            "it with vmap or `run --table`, or name one device"):
        cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile(engine="jax", device="all")
