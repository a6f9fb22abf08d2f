"""Large circuits, and input that is meant to hurt."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import circuitflow as cf
from support.documents import document
from support.slices import alike
from support.suite import GUARD, ROOT


def test_a_chain_as_long_as_it_likes_needs_no_recursion():
    n = 20_000
    nodes = [f"n{i + 1} = sigmoid(n{i})" for i in range(n)]
    circuit = cf.loads(document("n0 = 0.5", *nodes))
    result = cf.Executor(circuit).run()
    assert len(result.values) == n + 1
    assert result.outputs[f"n{n}"] == pytest.approx(0.659046068407)  # the fixed point of the sigmoid
    assert result.gradients[f"n{n - 1}"] == pytest.approx(0.659046068407 * (1 - 0.659046068407))
    assert cf.loads(cf.dumps(circuit)) == circuit
    assert circuit.unused() == []


def test_as_many_definitions_as_one_likes():
    inner = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"]}
    names = [f"a{i}" for i in range(4_000)]
    outer = {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "call", "circuit": "i", "inputs": ["x"]}],
             "outputs": ["y"], "circuits": {"i": inner}}
    calls = [{"id": f"c_{name}", "gate": "call", "circuit": name, "inputs": ["x"]} for name in names]
    circuit = cf.loads(document("x = 1", *calls, outputs=["c_a7"], circuits=dict.fromkeys(names, outer)))
    assert cf.Executor(circuit).run().gradients["x"] == 1


def test_a_fork_as_wide_as_it_likes():
    n = 5_000
    nodes = [f"n{i} = exp(x)" for i in range(n)]
    result = cf.Executor(cf.loads(document("x = 0", *nodes,
                                           {"id": "f", "gate": "add", "inputs": [f"n{i}" for i in range(n)]}))).run()
    assert result.gradients["x"] == n
    assert len([c for c in result.contributions if c.source == "x"]) == n


def test_a_product_of_many_operands_is_linear_in_their_number():
    n = 3_000
    nodes = [f"x{i} = {1 + i % 2}" for i in range(n)] + ["x_zero = 0"]
    result = cf.Executor(cf.loads(document(*nodes,
                                           {"id": "f", "gate": "mul",
                                            "inputs": [f"x{i}" for i in range(60)] + ["x_zero"]}))).run()
    assert result.gradients["x_zero"] == 2.0**30
    assert result.gradients["x0"] == 0


def test_check_of_a_circuit_of_many_inputs_goes_by_groups():
    n = 450
    circuit = cf.loads(document(*[f"x{i} = {i / n}" for i in range(n)],
                                {"id": "s", "gate": "add", "inputs": [f"x{i}" for i in range(n)]}, "f = tanh(s)"))
    report = cf.check(circuit, {"x0": -220.0})
    assert report.ok
    assert len(report.compared) == 90
    assert report.compared[0].nodes == ("x0", "x1", "x2", "x3", "x4")
    assert report.compared[0].where == "4 directions"


def limited(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    """A command under a limit of work, in seconds of the processor, and of memory, where the system keeps them."""
    script = ("import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (2**29, 2**29)); "
              "resource.setrlimit(resource.RLIMIT_CPU, (60, 60)); sys.argv[0] = 'circuitflow'; "
              "from circuitflow.cli import main; main()")
    return subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, input=stdin,
                          timeout=GUARD,
                          check=False, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})


HOSTILE = ["binary", "broadcast_bomb", "byte_order_mark", "deep_value", "empty", "exponential", "hostile_text",
           "many_digits",
           "nested_too_deep", "recursion", "ten_gigabytes", "utf16"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits on memory are kept on Linux")
@pytest.mark.sliced(arguments=lambda words: (words[0], "broken" in words[1], "--set" in words))
@pytest.mark.parametrize("arguments", [
    *[["run", f"circuits/broken/{name}.json"] for name in HOSTILE], ["check", "circuits/broken/cycle.json"],
    ["fmt", "circuits/broken/nested_too_deep.json"], ["run", "circuits"], ["run", "nowhere.json"], ["run", "/dev/zero"],
    ["run", "circuits/product.json", "--set", "x=1e999"], ["run", "circuits/product.json", "--set", "x=" + "[" * 5000],
], ids=lambda arguments: " ".join(arguments)[:60])
def test_hostile_input_is_refused_within_bounds(arguments):
    outcome = limited(*arguments)
    error = outcome.stderr.decode()
    assert outcome.returncode == 2, error
    assert not outcome.stdout
    assert error
    assert "Traceback" not in error
    assert all(line.isprintable() for line in error.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="limits on memory are kept on Linux")
def test_standard_input_of_any_bytes_is_refused_within_bounds():
    random = np.random.RandomState(0)
    for data in (b"", b"\xff\xfe{", bytes(random.randint(0, 256, 4096, np.uint8)), b"[" * 100_000, b'{"a":' * 5000):
        outcome = limited("run", "-", stdin=data)
        assert outcome.returncode == 2
        assert b"Traceback" not in outcome.stderr


@pytest.mark.parametrize("nodes", [
    [f"n{i} = neg(m{i})" for i in range(20_000)],
    [f"n{i} = nge(x)" for i in range(20_000)],
    [{"id": f"n{i}", "gate": "neg", "inputs": ["x"], "colour": 1} for i in range(20_000)],
    [{"id": f"n{i}", "gate": "input", "colour": 1} for i in range(20_000)],
    [{"id": f"n{i}", "gate": "input", "value": "1"} for i in range(20_000)],
    [{"id": f"n{i}", "gate": "neg"} for i in range(20_000)],
    ["x1 = 1"] * 20_000,
    [{"id": "n", "gate": "add", "inputs": {"0": "x", "999999999": "x"}}],
], ids=["dangling", "unknown gates", "unknown attributes", "unknown keys", "text", "no operands", "one id", "far port"])
def test_many_faults_of_a_large_document_are_found_in_good_time(nodes):
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(document("x = 1", *nodes, outputs=["x"]))
    assert len(error.value.faults) in (1, 1001)
    if len(nodes) > 1:
        assert str(error.value).endswith("more than 1000 faults; the rest is not listed")


@pytest.mark.sliced(gate=alike)
@pytest.mark.parametrize("gate", ["call", "checkpoint", "scan"])
def test_as_many_inputs_and_outputs_as_one_likes(gate):
    n = 2_000
    names = [f"x{i}" for i in range(n)]
    body = {"nodes": [*({"id": name, "gate": "input"} for name in names),
                      *({"id": f"y{i}", "gate": "neg", "inputs": [f"x{i}"]} for i in range(n))],
            "outputs": [f"y{i}" for i in range(n)]}
    node = {"id": "c", "gate": gate, "circuit": "a", "inputs": dict.fromkeys(names, "s"),
            **({"over": names} if gate == "scan" else {})}
    circuit = cf.loads(document("s = [1, 2]", node, {"id": "t", "gate": "add", "inputs": [f"c.y{i}" for i in range(n)]},
                                "f = reduce_sum(t)", circuits={"a": body}))
    result = cf.Executor(circuit).run()
    assert result.gradients["s"].tolist() == [-n, -n]
    assert cf.draw(result, "dot")
    assert len(cf.explain(result, "markdown")) < 500 * n
    assert cf.Executor(cf.gradient(circuit)).run().outputs["ds"].tolist() == [-n, -n]
    _, gradients = cf.Executor(circuit).compile()()
    assert gradients["s"].tolist() == [-n, -n]
    if gate == "call":
        assert cf.to_python(circuit).count("add(c/y0, c/y1, c/y2, c/y3, c/y4, c/y5, c/y6, c/y7, c/y8, c/y9, c/y10, "
                                           "c/y11, …)") == 1


def test_a_circuit_of_nothing_but_inputs_however_many_of_them(tmp_path):
    circuit = cf.loads(document(*(f"x{i} = 1" for i in range(1_000)), outputs=[f"x{i}" for i in range(1_000)]))
    for form in ("dot", "mmd"):
        assert "994 others" in str(cf.draw(circuit, form))


def test_a_sum_of_as_many_parts_as_one_likes():
    n = 4_000
    circuit = cf.loads(document("x = [1]", {"id": "y", "gate": "concat", "axis": 0, "inputs": ["x"] * n},
                                "f = reduce_sum(y)"))
    assert cf.Executor(cf.gradient(circuit)).run().outputs["dx"] == n
    assert cf.Executor(circuit).compile()()[1]["x"] == n


def test_an_operand_list_as_long_as_it_likes():
    n = 20_000
    names = [f"x{i}" for i in range(n)]
    edges = [{"source": name, "target": "f", "port": i} for i, name in enumerate(names)]
    circuit = cf.loads(document(*[f"{name} = 1" for name in names], {"id": "f", "gate": "add"}, edges=edges))
    assert cf.Executor(circuit).run().outputs["f"] == n
    inner = {"nodes": [{"id": name, "gate": "input"} for name in names], "outputs": names}
    call = {"id": "h", "gate": "call", "circuit": "a", "inputs": dict.fromkeys(names, "x")}
    circuit = cf.loads(document("x = 1", call, {"id": "f", "gate": "add", "inputs": [f"h.{name}" for name in names]},
                                circuits={"a": inner}))
    assert cf.Executor(circuit).run().gradients["x"] == n
