"""What is made in one process, and used in another or in several threads: pickles, copies, forks, pools."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import pickle
import pkgutil
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import circuitflow as cf
from circuitflow.gates import GATES
from support.documents import circuit, document
from support.slices import alike
from support.suite import GUARD, ROOT

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WAYS = {f"pickle {protocol}": lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol))
        for protocol in PROTOCOLS}
WAYS |= {"copy": copy.copy, "deepcopy": copy.deepcopy}
everyhow = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


def same(one, other):
    """Whether two circuits are equal in all that they are made of."""
    assert one == other
    assert one is not other
    for name in ("name", "limits", "outputs", "gates"):
        assert getattr(one, name) == getattr(other, name)
    assert [(node.id, node.kind, node.operands, node.outputs, node.types, node.label)
            for node in one.nodes.values()] == [
        (node.id, node.kind, node.operands, node.outputs, node.types, node.label) for node in other.nodes.values()]
    assert [*one.graph.edges(keys=True, data=True)] == [*other.graph.edges(keys=True, data=True)]
    for arrays, others in ((one.values, other.values), (one.upstream, other.upstream)):
        assert list(arrays) == list(others)
        for array, found in zip(arrays.values(), others.values(), strict=True):
            np.testing.assert_array_equal(array, found, strict=True)
            assert not found.flags.writeable


# Circuits -------------------------------------------------------------------------------------------------------------


@everyhow
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "circuits").glob("*.json")))
def test_the_examples(name, again):
    same(loaded := cf.load(ROOT / "circuits" / f"{name}.json"), again(loaded))


@everyhow
def test_a_document_that_a_program_made(again):
    made = cf.gradient(circuit("x = 2", "y = -0.0", "p = pow(x, y)", "f = mul(p, y)"))
    same(made, again(made))
    made = cf.Circuit(made.document, limits=cf.Limits(digits=1, text=1))  # which bound a text that is read
    same(made, again(made))


@pytest.fixture
def folder(tmp_path):
    """A document with tensors and subcircuits in files, which name one another and the document."""
    save_file({"W": np.arange(6.0).reshape(2, 3), "g": np.array([2.0, 3.0, 4.0])}, tmp_path / "w.safetensors")
    (tmp_path / "below").mkdir()
    save_file({"b": np.array([1.0, 2.0, 3.0])}, tmp_path / "below/b.safetensors")
    inner = document({"id": "x", "gate": "input"},
                     {"id": "b", "gate": "constant", "value": {"file": "b.safetensors", "tensor": "b"}},
                     "y = mul(x, b)", circuits={"same": {"file": "inner.json"}})
    (tmp_path / "below/inner.json").write_text(inner)
    (tmp_path / "other.json").write_text(document({"id": "x", "gate": "input"},
                                                  {"id": "y", "gate": "call", "circuit": "z", "inputs": ["x"]},
                                                  circuits={"z": {"file": "below/inner.json"},
                                                            "all": {"file": "main.json"}}))
    (tmp_path / "main.json").write_text(document(
        {"id": "x", "gate": "input", "value": [1.0, -1.0]},
        {"id": "W", "gate": "parameter", "value": {"file": "w.safetensors", "tensor": "W"}},
        "h = matmul(x, W)", {"id": "i", "gate": "call", "circuit": "below", "inputs": ["h"]},
        {"id": "f", "gate": "call", "circuit": "other", "inputs": ["i"]},
        circuits={"below": {"file": "./below/inner.json"}, "other": {"file": "other.json"}},
        upstream={"f": {"file": "w.safetensors", "tensor": "g"}}))
    return tmp_path


@everyhow
def test_files_are_not_needed_again(folder, again):
    """Neither for the circuit, nor for a derivative of it, nor for one of that."""
    loaded = cf.load(folder / "main.json")
    expected = cf.Executor(loaded).run()
    derivative = cf.gradient(loaded)
    data = again(loaded), again(cf.Executor(loaded)), again(expected), again(derivative)
    shutil.rmtree(folder)
    same(loaded, data[0])
    same(loaded, again(data[0]))
    same(derivative, data[3])
    same(derivative, cf.gradient(data[0]))
    for executor in (cf.Executor(data[0]), data[1]):
        for engine in ("interpreter", "staged"):
            np.testing.assert_array_equal(executor.compile(engine=engine)()[1]["W"], expected.gradients["W"])


def test_values_cannot_change_with_their_files(folder):
    data = pickle.dumps(cf.load(folder / "main.json"))
    save_file({"W": np.ones((2, 3))}, folder / "w.safetensors")
    found = pickle.loads(data)
    assert found.values["W"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert cf.gradient(found).values["W"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_pickle_is_small():
    for path in (ROOT / "circuits").glob("*.json"):
        if "safetensors" not in path.read_text():
            assert len(pickle.dumps(cf.load(path))) < path.stat().st_size + 1000


def test_limits_are_those_of_the_circuit():
    limited = circuit("x = 2", "f = exp(x)", limits=cf.Limits(nodes=2))
    assert pickle.loads(pickle.dumps(limited)).limits.nodes == 2


# Gate tables ----------------------------------------------------------------------------------------------------------


def cube_forward(xp, x):
    return x * x * x


def cube_backward(op, g, out, x):
    return op.mul(g, op.mul(x, op.mul(x, x)))  # wrong on purpose: it must be this one that is used


CUBE = replace(GATES["square"], formula="x³", forward=cube_forward, backward=(cube_backward,))


@everyhow
def test_rows_of_a_programs_own(again):
    tables = {"own": {**GATES, "cube": CUBE}, "built in": {**GATES}, "smaller": {"cube": CUBE, "mul": GATES["mul"]},
              "overridden": {**GATES, "square": replace(GATES["square"], forward=cube_forward), "cube": CUBE}}
    for name, gates in tables.items():
        loaded = circuit("x = 2", "c = mul(x, x)" if name == "built in" else "c = cube(x)", gates=gates)
        copied = again(loaded)
        assert (copied.gates is GATES) is (name == "built in")
        assert copied.gates == gates
        result = cf.Executor(copied).run()
        assert (result.outputs["c"], result.gradients["x"]) == ((4, 4) if name == "built in" else (8, 8))


def test_a_row_of_lambdas_gives_the_error_of_pickle():
    gates = {**GATES, "cube": replace(CUBE, forward=lambda xp, x: x * x * x)}
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(circuit("x = 2", "f = cube(x)", gates=gates))


# Executors and results ------------------------------------------------------------------------------------------------


@everyhow
@pytest.mark.parametrize("cache", ["all", "needed"])
def test_executors_and_results(again, cache):
    executor = cf.Executor(cf.load(ROOT / "circuits/staged.json"))
    result = executor.run({"x": 2.0}, cache=cache)
    copied = again(executor)
    assert type(copied) is cf.Executor
    assert executor._plans
    assert copied._plans == {}
    for found in (copied.run({"x": 2.0}, cache=cache), again(result)):
        for name in ("outputs", "values", "gradients", "upstream"):
            assert dict(getattr(found, name)) == dict(getattr(result, name))
            with pytest.raises(TypeError):
                getattr(found, name)["x"] = 1
        assert found.contributions == result.contributions
        assert found.circuit == result.circuit
        assert repr(found) == repr(result)


@everyhow
def test_what_is_not_finite(again):
    found = cf.Executor(circuit("x = 0", "y = log(x)", "f = square(y)")).run().non_finite()
    assert again(found) == found
    assert str(again(found)) == str(found)


# Errors ---------------------------------------------------------------------------------------------------------------


def errors():
    """Every class of exception in the package; one with an underscore never leaves its function."""
    for module in pkgutil.walk_packages(cf.__path__, "circuitflow."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(value) and issubclass(value,
                                                         Exception) and value.__module__ == module.name and name[
                                                             0] != "_":
                    yield value


def raised(kind):
    """An error as it is raised, or one with a message, where it is easily made."""
    if kind is cf.DocumentError:
        with pytest.raises(cf.DocumentError) as caught:
            cf.loads('{"nodes": [1]}')
        return caught.value
    return kind("a message")


@everyhow
@pytest.mark.parametrize("kind", list(errors()), ids=lambda kind: kind.__name__)
def test_errors(kind, again):
    error = raised(kind)
    error.add_note("a note")
    found = again(error)
    assert type(found) is kind
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    if kind is cf.DocumentError:
        assert len(found.faults) > 1
        assert found.faults == error.faults


# Processes and threads ------------------------------------------------------------------------------------------------

INSTALLS = ["core", "fast", "jax"]


def finished(*arguments):
    """The output of a program with all its children gone; it fails where it hangs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("CIRCUITFLOW_TEST_INSTALL", None)
    with subprocess.Popen([sys.executable, *arguments], env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=GUARD)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"hangs: {arguments}\n{process.communicate()[0]}")
    assert process.returncode == 0, output
    return output


@pytest.mark.sliced(by=["install"], install=alike)
@pytest.mark.skipif(sys.platform == "win32", reason="starts of processes and groups of them as POSIX has them")
@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver", "threads", "asyncio"])
@pytest.mark.parametrize("install", INSTALLS)
def test_executors_in_other_processes_and_threads(install, way):
    lines = finished("tests/support/workers.py", install, way).splitlines()
    refused = ["fork: the engine jax hangs in this process, which was forked from one in which JAX ran; start "
               "processes by spawn "
               "or forkserver, as with multiprocessing.get_context('spawn')"]
    assert [line for line in lines if line != "done"] == (refused if (install, way) == ("jax", "fork") else [])
    assert lines[-1:] == ["done"]


FORKED = """
import os, signal, warnings
warnings.simplefilter("ignore")
from circuitflow.engines import processes
import circuitflow as cf

def child(deeper=False):
    pid = os.fork()
    if not pid:
        signal.alarm(900)
        try:
            processes.refuse_fork()
            print("allowed", flush=True)
        except cf.InputError:
            print("refused", flush=True)
        if deeper:
            child()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

child()
import jax
child()
jax.numpy.zeros(2)
child(deeper=True)
processes.refuse_fork()
print("parent")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_jax_is_refused_in_forks_of_a_process_in_which_it_ran():
    """And in forks of those; not where it was only imported."""
    assert finished("-c", FORKED).split() == ["allowed", "allowed", "refused", "refused", "parent"]


def test_pickles_hold_no_schedules():
    executor = cf.Executor(circuit(*("x = 1", *(f"n{i} = exp({'x' if not i else f'n{i - 1}'})" for i in range(300)))))
    before = len(pickle.dumps(executor))
    executor.run()
    assert len(pickle.dumps(executor)) == before
    assert before < len(json.dumps(executor.circuit.document.model_dump(mode="json", exclude_none=True))) + 2000


def test_a_pickle_that_no_longer_parses_says_so(monkeypatch):
    """As where the other side has another version."""
    text = pickle.dumps(cf.loads('{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": 1}], '
                                 '"outputs": ["x"]}'))
    monkeypatch.setattr("circuitflow.graph.carried.parse", lambda source,
                        faults: faults.add(source, "a key of another version"))
    with pytest.raises(cf.DocumentError, match="a key of another version"):
        pickle.loads(text)
