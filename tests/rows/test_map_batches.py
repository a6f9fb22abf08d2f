"""`cf.map_batches` beside NumPy by hand: batches of every form, columns of every type, lists, and what is refused."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import circuitflow as cf
from circuitflow.gates import GATES
from circuitflow.rows import answering, holding, mapping
from circuitflow.tables import arrow
from support.documents import circuit
from support.suite import ROOT

PLANE = circuit({"id": "x", "gate": "input"}, {"id": "y", "gate": "input", "value": 2},
                {"id": "w", "gate": "parameter", "value": 3}, "xy = mul(x, y)", "f = mul(xy, w)")
"""f = w·x·y."""

NEURON = circuit({"id": "x", "gate": "input", "shape": [3]}, {"id": "b", "gate": "input"},
                 {"id": "W", "gate": "parameter", "value": [[1, -2, 0.5], [0.25, 1, -1]]},
                 "Wx = matmul(W, x)", "h = tanh(Wx)", "s = reduce_sum(h)", "f = mul(s, b)", outputs=["f", "h"])
"""f = b·Σ tanh(W x): no engine takes its rows at once."""

MATRIX = circuit({"id": "x", "gate": "input", "shape": ["n", 2]}, {"id": "k", "gate": "input", "dtype": "int64"},
                 {"id": "on", "gate": "input", "dtype": "bool"}, "sq = square(x)", "z = sub(x, sq)",
                 "v = where(on, sq, z)", "s = reduce_sum(v)", "next = add(k, k)", outputs=["s", "next", "v"])


def made_of(function, *batches):
    """All rows of the results."""
    found = list(function(batches))
    return pa.Table.from_batches(found, found[0].schema)


def by_hand(x, y, w=3.0):
    return {"f": w * x * y, "dx": w * y, "dy": w * x, "dw": x * y}


def plane(rows, seed=0):
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((2, rows))
    return x, y, pa.record_batch({"id": [f"r{i}" for i in range(rows)], "x": x, "y": y})


# Batches --------------------------------------------------------------------------------------------------------------

def test_a_stream_is_mapped_in_order():
    x, y, batch = plane(1000)
    parts = [batch.slice(0, 0), batch.slice(0, 1), batch.slice(1, 500), batch.slice(501, 0), batch.slice(501)]
    function = cf.map_batches(PLANE, keep=["id"])
    found = made_of(function, *parts)
    assert found.schema == function.schema(batch.schema)
    assert found.column_names == ["id", "f", "dx", "dy", "dw"]
    assert found["id"].to_pylist() == [f"r{i}" for i in range(1000)]
    for name, expected in by_hand(x, y).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-14)


def test_no_batches_give_none_and_no_rows_give_a_schema():
    function = cf.map_batches(PLANE)
    assert list(function([])) == []
    empty = pa.record_batch({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())})
    (found,) = function(iter([empty]))
    assert (found.num_rows, found.schema) == (0, function.schema())
    (found,) = cf.map_batches(NEURON, "f")([pa.record_batch({"x": pa.array([], pa.list_(pa.float64())), "b": []},
                                                            pa.schema({"x": pa.list_(pa.float64()), "b": pa.int8()}))])
    assert (found.num_rows, found.schema.names) == (0, ["f", "dx", "db", "dW"])


def test_large_batches_are_taken_apart(monkeypatch):
    _, y, batch = plane(100)
    whole = made_of(cf.map_batches(PLANE, keep=["id"]), batch)
    monkeypatch.setattr(answering, "NUMBERS", 40)  # ten rows of four results
    monkeypatch.setattr(arrow, "BYTES", 16 * 25)
    found = list(cf.map_batches(PLANE, keep=["id"])([batch.slice(3)]))
    assert max(part.num_rows for part in found) == 10
    assert pa.Table.from_batches(found).equals(whole.slice(3))
    with pytest.raises(cf.InputError, match="batch 1: row 60, column 'x': there is no value"):
        list(cf.map_batches(PLANE)([pa.record_batch({"x": [1.0] * 59 + [None] * 41, "y": y})]))


def test_batches_may_have_schemas_of_their_own():
    function = cf.map_batches(PLANE, of="f", wrt=["x"])
    batches = [pa.record_batch({"x": pa.array([1, 2], pa.int8()), "y": [2.0, 3.0]}),
               pa.record_batch({"y": pa.array([1.5], pa.float32()), "other": ["?"], "x": [4.0]}),
               pa.record_batch({"x": pa.array([0.5, 2.5, 0.5]).dictionary_encode(), " y ": [1.0, 2.0, 3.0]})]
    assert made_of(function, *batches)["f"].to_pylist() == [6, 18, 18, 1.5, 15, 4.5]
    with pytest.raises(cf.InputError, match="batch 2: its columns are 'string', 'double', 'double', and those of the "
                                            "batches before it give a result of other types"):
        list(cf.map_batches(PLANE, keep=["id"])([pa.record_batch({"id": [1], "x": [1.0], "y": [1.0]}),
                                                 pa.record_batch({"id": ["a"], "x": [1.0], "y": [1.0]})]))


@pytest.mark.parametrize("engine", ["auto", "staged", "tape", "jax", "interpreter"])
def test_engines(engine):
    x, y, batch = plane(50)
    found = made_of(cf.map_batches(PLANE, engine=engine, verify=True), batch)
    for name, expected in by_hand(x, y).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-14)


def test_wide_batches():
    names = [f"x{i}" for i in range(300)]
    wide = circuit(*({"id": name, "gate": "input"} for name in names), {"id": "s", "gate": "add", "inputs": names},
                   {"id": "f", "gate": "mul", "inputs": ["s", "x7"]})
    columns = np.random.default_rng(1).standard_normal((300, 40))
    found = made_of(cf.map_batches(wide, engine="interpreter"), pa.record_batch(list(columns), names))
    assert found.num_columns == 301
    np.testing.assert_allclose(found["f"], columns.sum(0) * columns[7], rtol=1e-12)
    np.testing.assert_allclose(found["dx7"], columns.sum(0) + columns[7], rtol=1e-12)
    np.testing.assert_array_equal(found["dx299"], columns[7])


def test_what_is_the_same_in_every_row():
    found = made_of(cf.map_batches(PLANE, inputs={"y": np.float32(4)}, upstream={"f": 10.0}),
                    pa.record_batch({"x": [1.0, 2.0], "y": ["not", "read"], "w": [5, 6]}))
    assert found.to_pydict() == {"f": [20, 48], "dx": [200, 240], "dy": [50, 120], "dw": [40, 80]}
    found = made_of(cf.map_batches(PLANE, wrt=(), defaults=True), pa.record_batch({"x": [1.0]}))
    assert found.to_pydict() == {"f": [6]}


# Lists ----------------------------------------------------------------------------------------------------------------

def lists(array, kind):
    """An array as a column of lists, nested for more axes."""
    column = pa.array(array.ravel())
    for size in reversed(array.shape[1:]):
        rows = len(column) // size
        column = (pa.FixedSizeListArray.from_arrays(column, size) if kind == "fixed" else
                  {"list": pa.ListArray, "large": pa.LargeListArray}[kind].from_arrays(
                      pa.array(np.arange(rows + 1) * size, pa.int64() if kind == "large" else pa.int32()), column))
    return column


def array_of(column):
    return np.array(column.to_pylist())


@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_lists_go_in_and_come_out(kind):
    random = np.random.default_rng(2)
    x, b, w = random.standard_normal((40, 3)), random.standard_normal(40), NEURON.values["W"]
    batch = pa.record_batch({"x": lists(x, kind), "b": b}).slice(7)
    function = cf.map_batches(NEURON, of=["f", "h"], wrt=["x", "W"], upstream={"h": [0.0, 0.0]})
    found = made_of(function, batch.slice(0, 5), batch.slice(5))
    assert found.schema == function.schema() == function.schema(batch.schema)
    assert [str(type_) for type_ in found.schema.types] == [
        "double", "fixed_size_list<item: double>[2]", "fixed_size_list<item: double>[3]",
        "fixed_size_list<item: fixed_size_list<item: double>[3]>[2]"]
    x, b = x[7:], b[7:]
    h = np.tanh(x @ w.T)
    slope = b[:, None] * (1 - h * h)
    np.testing.assert_allclose(found["f"], b * h.sum(1), rtol=1e-13)
    np.testing.assert_allclose(array_of(found["h"]), h, rtol=1e-13)
    np.testing.assert_allclose(array_of(found["dx"]), slope @ w, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(array_of(found["dW"]), slope[:, :, None] * x[:, None, :], rtol=1e-12, atol=1e-14)


def test_lists_at_once():
    x = np.random.default_rng(3).standard_normal((9, 3))
    batch = pa.record_batch({"x": lists(x, "list"), "b": np.ones(9)})
    slow, fast = (made_of(cf.map_batches(NEURON, "f", engine=engine), batch) for engine in ("staged", "jax"))
    for name in slow.column_names:
        np.testing.assert_allclose(array_of(fast[name]), array_of(slow[name]), rtol=1e-12, atol=1e-14)


def test_named_dimensions_have_the_sizes_of_the_columns():
    x = np.random.default_rng(4).standard_normal((6, 5, 2))
    on = np.arange(6) % 2 == 0
    batch = pa.record_batch({"x": lists(x, "fixed"), "k": pa.array(range(6), pa.uint8()), "on": on})
    function = cf.map_batches(MATRIX, wrt=())
    found = made_of(function, batch)
    assert found.schema == function.schema(batch.schema)
    v = np.where(on[:, None, None], x * x, x - x * x)
    np.testing.assert_allclose(found["s"], v.sum((1, 2)), rtol=1e-13)
    np.testing.assert_array_equal(found["next"], 2 * np.arange(6))
    np.testing.assert_allclose(array_of(found["v"]), v, rtol=1e-14)
    open_ended = pa.record_batch({"x": lists(x, "list"), "k": range(6), "on": on})
    for ask in (function.schema, lambda: list(function([open_ended]))):
        with pytest.raises(cf.InputError, match=r"column 'v' has shape \(n, 2\) in each row, and 'n' has no size;"):
            ask()
    # Without results of that shape, lists of any one length do.
    alone = cf.map_batches(MATRIX, of="s", wrt=())
    np.testing.assert_allclose(made_of(alone, open_ended)["s"], v.sum((1, 2)), rtol=1e-13)


# Refusals -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("columns", "message"), [
    ({"x": [1.0], "y": ["two"]}, "column 'y' is string; expected float64, so cast it to a column of numbers"),
    ({"x": [1.0, None], "y": [1.0, 2.0]}, "row 2, column 'x': there is no value; write one, or take the row out"),
    ({"x": pa.array(["a", None]).dictionary_encode(), "y": [1.0, 2.0]}, "column 'x' is string; expected float64"),
    ({"x": pa.array([1.5, None]).dictionary_encode(), "y": [1.0, 2.0]}, "row 2, column 'x': there is no value"),
    ({"x": [2**53 + 1], "y": [1.0]}, "row 1, column 'x': 9007199254740993 cannot be kept exactly in a float64"),
    ({"x": [1.0]}, "there is no column for input 'y'; its columns are 'x'; give the same value for every row by "
                   "inputs={'y': …}, or the document's by defaults=True"),
    ({"a": [1.0]}, "there is no column for inputs 'x', 'y'"),
    ({"x": [[1.0]], "y": [1.0]}, "column 'x' has 1 level of lists in each row, and input 'x' is one number; take the"),
])
def test_what_cannot_be_read_is_named(columns, message):
    good = pa.record_batch({"x": [1.0], "y": [2.0]})
    results = cf.map_batches(PLANE)([good, pa.record_batch(columns)])
    next(results)
    with pytest.raises(cf.InputError) as error:
        next(results)
    assert str(error.value).startswith(f"batch 2: {message}")


@pytest.mark.parametrize(("column", "message"), [
    ([[1.0, 2, 3], [1.0, 2]], "row 2, column 'x': a list of 2; expected 3"),
    ([[1.0, 2], [1.0, 2, 3]], "row 1, column 'x': a list of 2; expected 3"),
    ([[1.0, 2, 3], None], "row 2, column 'x': there is no list; write one, or take the row out"),
    ([[1.0, 2, 3], [1.0, None, 2]], "row 2, column 'x': there is no value; write one, or take the row out"),
    ([[["1"]]], "column 'x' has 2 levels of lists in each row, and input 'x' has shape (3,); write the circuit for one "
                "example, or give 'x' by inputs={'x': …}, the same for every row"),
    (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "column 'x' has lists of shape (2,) in each row, and input 'x' has "
                                                 "shape (3,)"),
    ([1.0], "column 'x' has one number in each row, and input 'x' has shape (3,); write lists of that shape into a "
            ".parquet or .arrow file, write the circuit"),
])
def test_lists_that_do_not_fit_are_named(column, message):
    with pytest.raises(cf.InputError) as error:
        list(cf.map_batches(NEURON, "f")([pa.record_batch({"x": column, "b": np.ones(len(column))})]))
    assert str(error.value).startswith(f"batch 1: {message}")


def test_a_row_that_cannot_be_computed_is_named():
    picks = circuit({"id": "k", "gate": "input", "dtype": "int64"}, {"id": "v", "gate": "constant", "value": [1, 2, 3]},
                    {"id": "f", "gate": "gather", "inputs": ["v", "k"]})
    with pytest.raises(cf.GateError, match="^batch 2: row 3: node 'f': "):
        list(cf.map_batches(picks, wrt=())([pa.record_batch({"k": [0]}), pa.record_batch({"k": [0, 1, 3]})]))


def test_what_no_row_can_do_is_refused_at_once():
    batch = pa.record_batch({"x": lists(np.ones((1, 3)), "fixed"), "b": [1.0]})
    with pytest.raises(cf.InputError, match=r"^'h' has shape \(2,\), so its gradients need the upstream gradient"):
        list(cf.map_batches(NEURON)([batch]))
    for arguments, message in [({"of": "g"}, "of: there is no 'g'"), ({"engine": "tapes"}, "there is no engine 'tape"),
                               ({"keep": ["f"]}, "column 'f' would stand twice"),
                               ({"keep": "f"}, 'keep is "f"; expected several of text'),
                               ({"upstream": {"g": 1}}, "upstream 'g': not one of the outputs"),
                               ({"inputs": {"q": 1}}, "there is no input 'q'")]:
        with pytest.raises(cf.InputError, match=message):
            list(cf.map_batches(NEURON, **{"of": "f", **arguments})([batch]))
    with pytest.raises(cf.InputError, match="schema: the columns of keep have the types that they have in the batches"):
        cf.map_batches(PLANE, keep=["id"]).schema()
    with pytest.raises(cf.InputError, match="schema: there is no column 'id' to keep"):
        cf.map_batches(PLANE, keep=["id"]).schema(pa.schema({"x": pa.float64(), "y": pa.float64()}))


@pytest.mark.parametrize(("given", "message"), [
    (pa.table({"x": [1.0]}), "expected an iterable of record batches"),
    (pa.record_batch({"x": [1.0]}), "expected an iterable of record batches"),
    ([pa.table({"x": [1.0]})], "batch 1 is .*; expected a pyarrow.RecordBatch"),
    ([{"x": [1.0]}], "batch 1 is .*; expected a pyarrow.RecordBatch"),
])
def test_what_is_no_stream_of_batches_is_refused(given, message):
    with pytest.raises(cf.InputError, match=message):
        list(cf.map_batches(PLANE)(given))


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(cf.MissingExtraError, match=r"map_batches needs `pip install 'circuitflow\[tables\]'`"):
        cf.map_batches(PLANE)


# Processes and threads ------------------------------------------------------------------------------------------------

@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(holding, "_held", {})


def tables_of(function, batches):
    return pa.Table.from_batches(function(batches)).to_pydict()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, *(
    lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol)) for protocol in (0, pickle.HIGHEST_PROTOCOL))])
def test_copies_do_the_same(again):
    _, _, batch = plane(10)
    function = cf.map_batches(PLANE, keep=["id"])
    copied = again(function)
    assert copied.digest == function.digest
    assert tables_of(copied, [batch]) == tables_of(function, [batch])
    assert repr(copied) == repr(function) == "<map_batches of 'circuit': 'f', 'dx', 'dy', 'dw'>"


def test_a_pickle_is_as_small_as_the_document():
    for name in ("staged", "sigmoid_neuron", "michaelis_menten"):
        path = ROOT / "circuits" / f"{name}.json"
        assert len(pickle.dumps(cf.map_batches(cf.load(path)))) < path.stat().st_size + 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_fork_does_not_wait_for_a_lock_that_a_thread_of_its_parent_holds():
    program = ("import os, signal, threading, pyarrow as pa, circuitflow as cf\n"
               "from circuitflow.rows import holding\n"
               "function = cf.map_batches(cf.load('circuits/product.json'), defaults=True, engine='interpreter')\n"
               "held, over = threading.Event(), threading.Event()\n"
               "def hold():\n"
               "    with holding._lock:\n"
               "        held.set(); over.wait()\n"
               "threading.Thread(target=hold).start(); held.wait()\n"
               "pid = os.fork()\n"
               "if not pid:\n"
               "    signal.alarm(600)\n"
               "    os._exit(len(list(function([pa.record_batch({'x': [1.0]})]))))\n"
               "status = os.waitpid(pid, 0)[1]; over.set(); print(os.waitstatus_to_exitcode(status))\n")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_process_compiles_once(monkeypatch):
    made = []
    compile_, load = answering.RowFunction.__init__, mapping.loaded
    monkeypatch.setattr(answering.RowFunction, "__init__", lambda self, *args: made.append("compiled") or compile_(
        self, *args))
    monkeypatch.setattr(mapping, "loaded", lambda *args: made.append("loaded") or load(*args))
    data = pickle.dumps(cf.map_batches(PLANE))
    holding._held.clear()  # as in another process
    _, _, batch = plane(10)
    threads = [threading.Thread(target=lambda: list(pickle.loads(data)([batch, batch]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["loaded", "compiled"]


def test_few_are_held():
    for i in range(holding.HELD + 5):
        list(cf.map_batches(PLANE, inputs={"w": i})([plane(1)[2]]))
    assert len(holding._held) == holding.HELD


def cube_forward(xp, x):
    return x * x * x


def cube_backward(op, g, out, x):
    return op.mul(g, op.mul(x, x))  # wrong on purpose: it must be this one that is used


def test_gates_of_a_program_go_by_reference():
    cube = replace(GATES["square"], formula="x³", forward=cube_forward, backward=(cube_backward,))
    own = circuit({"id": "x", "gate": "input"}, "f = cube(x)", gates={**GATES, "cube": cube})
    function = pickle.loads(pickle.dumps(cf.map_batches(own)))
    holding._held.clear()
    assert tables_of(function, [pa.record_batch({"x": [2.0]})]) == {"f": [8], "dx": [4]}
    local = replace(cube, forward=lambda xp, x: x * x * x)
    with pytest.raises(cf.InputError, match="map_batches: the circuit cannot be sent to other processes: .*lambda.*; "
                                            "write the functions of its gate table at the top level of a module"):
        cf.map_batches(circuit({"id": "x", "gate": "input"}, "f = cube(x)", gates={**GATES, "cube": local}))


def test_gates_that_a_process_does_not_have_are_named(monkeypatch):
    cube = replace(GATES["square"], formula="x³", forward=cube_forward, backward=(cube_backward,))
    own = circuit({"id": "x", "gate": "input"}, "f = cube(x)", gates={**GATES, "cube": cube})
    function = cf.map_batches(own)
    holding._held.clear()
    monkeypatch.delattr(sys.modules[__name__], "cube_forward")
    with pytest.raises(cf.InputError, match="this process does not have the gates of the circuit: .*cube_forward.*; "
                                            "put the module of the gate table where it can be imported"):
        list(function([pa.record_batch({"x": [2.0]})]))
