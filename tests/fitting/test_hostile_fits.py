"""Fits of documents from strangers: what they ask for is bounded, and what they say is shown as text."""

from __future__ import annotations

import json
import resource

import pytest

import circuitflow as cf

NODES = [{"id": "x", "gate": "parameter", "value": -1.2, "min": -2, "max": 2},
         {"id": "y", "gate": "parameter", "value": 1, "min": -2, "max": 2},
         {"id": "square", "gate": "mul", "inputs": ["x", "x"]}, {"id": "a", "gate": "sub", "inputs": ["y", "square"]},
         {"id": "f", "gate": "mul", "inputs": ["a", "a"]}, {"id": "b", "gate": "sub", "inputs": ["x", "y"]},
         {"id": "g", "gate": "mul", "inputs": ["b", "b"]}, {"id": "loss", "gate": "add", "inputs": ["f", "g"]}]
TALL = [{"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [30_000], "seed": 0}},
        {"id": "squares", "gate": "mul", "inputs": ["w", "w"]},
        {"id": "loss", "gate": "reduce_sum", "inputs": ["squares"]}]


@pytest.fixture(autouse=True)
def bounded():
    """More memory than this is refused by the system: a MemoryError."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 3 * 2**30, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


def fit(entry, nodes=NODES):
    return cf.fit(cf.loads(json.dumps({"circuitflow": "1.1", "nodes": nodes, "outputs": ["loss"], "fit": entry})))


@pytest.mark.parametrize(("entry", "nodes", "words"), [
    ({"loss": "loss", "method": {"name": "differential_evolution", "popsize": 10**12}}, NODES,
     "method differential_evolution: popsize = 1000000000000 members for each of 2 free elements takes 2.98e\\+04 GiB"),
    ({"loss": "loss", "method": {"name": "L-BFGS-B", "maxcor": 10**9}}, NODES, "maxcor = 1000000000 steps of 2 free"),
    ({"loss": "loss", "method": {"name": "trust-exact"}}, TALL, "the square of 30000 free elements takes 6.706 GiB"),
    ({"loss": "loss", "constraints": {"loss": "nonnegative"}}, TALL, "the square of 30000 free elements"),
    ({"residuals": "squares"}, TALL, "method auto: the square of 30000 free elements takes 6.706 GiB; at most 4 GiB "
                                     r"are allowed \(limit tensor_bytes\); freeze parameters, or minimise a loss"),
    ({"loss": "loss", "method": {"name": "lbfgs", "memory_size": 2**30}, "epochs": 1}, NODES,
     "what the optimiser keeps of the parameters takes 40 GiB"),
])
def test_memory_is_refused_before_it_is_taken(entry, nodes, words):
    if entry.get("method", {}).get("name") == "lbfgs":
        pytest.importorskip("optax")
    with pytest.raises(cf.InputError, match=words):
        fit(entry, nodes)


@pytest.mark.parametrize("entry", [
    {"loss": "loss", "starts": 2**62, "max_evaluations": 300},
    {"loss": "loss", "method": {"name": "differential_evolution", "maxiter": 10**30}, "max_evaluations": 300},
    {"loss": "loss", "method": {"name": "dual_annealing", "maxiter": 10**30}, "max_evaluations": 300},
])
def test_counts_are_no_sizes(entry):
    assert fit(entry).evaluations <= 320


@pytest.mark.parametrize("entry", [
    {"residuals": "b\x1b[31m"}, {"loss": "loss", "method": {"name": "adam\x1b[31m"}},
    {"loss": "loss", "method": {"name": "L-BFGS-B", "\x1b[31m": 1}}, {"residuals": "b", "columns": {"x": "\x1b[31m"}},
    {"residuals": "b", "sigma": {"column": "\x1b[31m"}}, {"residuals": "b", "data": {"file": "\x1b[31m.csv"}},
    {"loss": "loss", "constraints": {"\x1b[31m": "zero"}},
    {"loss": "loss", "method": {"name": "adam"}, "schedule": {"name": "\x1b[31m"}},
    {"loss": "loss", "method": {"name": "differential_evolution", "strategy": "\x1b[31m"}},
])
def test_words_of_a_stranger_are_shown_as_text(entry):
    with pytest.raises(cf.CircuitflowError) as error:
        fit(entry)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../rows.csv", "rows.csv\0", "C:rows.csv", "https://host/rows.csv"])
@pytest.mark.parametrize("key", ["data", "validation"])
def test_data_lie_beside_or_below_the_document(tmp_path, name, key):
    pytest.importorskip("optax")
    (tmp_path / "rows.csv").write_text("t\n1\n")
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "own.csv").write_text("t\n1\n")
    entry = {"loss": "loss", "method": {"name": "adam"}, "data": {"file": "own.csv"}, key: {"file": name}}
    nodes = [{"id": "t", "gate": "input"}, {"id": "w", "gate": "parameter", "value": 1},
             {"id": "loss", "gate": "mul", "inputs": ["t", "w"]}]
    path = folder / "c.json"
    path.write_text(json.dumps({"circuitflow": "1.1", "nodes": nodes, "outputs": ["loss"], "fit": entry}))
    with pytest.raises(cf.CircuitflowError):
        cf.fit(cf.load(path))
