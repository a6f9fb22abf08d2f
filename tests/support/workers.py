"""A program that shares what it made with other processes and threads: `python tests/support/workers.py INSTALL WAY`.

INSTALL is core, fast or jax; what is not installed with it cannot be imported. WAY is fork, spawn, forkserver, threads
or
asyncio. `test_processes.py` runs it with a time limit.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

INSTALL = os.environ.setdefault("CIRCUITFLOW_TEST_INSTALL", sys.argv[1] if __name__ == "__main__" else "core")
for name in {"core": ("numba", "jax"), "fast": ("jax",), "jax": ("numba",)}[INSTALL]:
    sys.modules[name] = None
warnings.simplefilter("ignore")  # of a fork beside threads, which is what is tried

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

import circuitflow as cf  # noqa: E402

STAGED = """{"circuitflow": "1.0", "nodes": [
{"id": "x", "gate": "input", "value": 3.0}, {"id": "y", "gate": "input", "value": -4.0},
{"id": "s", "gate": "sigmoid", "inputs": ["y"]}, {"id": "n", "gate": "add", "inputs": ["x", "s"]},
{"id": "f", "gate": "mul", "inputs": ["n", "n"]}], "outputs": ["f"]}"""
BATCH = """{"circuitflow": "1.0", "nodes": [
{"id": "x", "gate": "input", "shape": ["batch", 64]}, {"id": "t", "gate": "tanh", "inputs": ["x"]},
{"id": "f", "gate": "reduce_sum", "inputs": ["t"], "axis": 1}], "outputs": ["f"]}"""
ROWS = 200_000


def run(executors):
    result = executors["staged"].run({"x": 2.0})
    return result.outputs["f"], result.gradients["x"], result.contribution("s", "n")


def rows(executors):
    value, gradients = executors["staged"].vmap()(x=np.linspace(-1, 1, ROWS), y=0.5)
    return value, gradients["x"]


def tape(executors):
    value, gradients = executors["staged"].vmap(engine="tape")(x=np.linspace(-1, 1, ROWS), y=0.5)
    return value, gradients["x"]


def batch(executors):
    return executors["batch"].compile(wrt=(), engine="staged")(x=np.ones((140_000, 64)))[0]  # in several blocks


def jitted(executors):
    value, gradients = executors["staged"].compile(engine="jax")(x=2.0)
    return np.asarray(value), np.asarray(gradients["x"])


TASKS = {"core": (run, rows), "fast": (run, rows, tape), "jax": (run, rows, jitted)}[INSTALL]

COLUMN = np.linspace(-1, 1, 1000)
COMPILED = [
    (lambda there: there["staged"].compile(), {"x": 2.0}),
    (lambda there: there["staged"].compile(engine="interpreter"), {"x": 2.0}),
    (lambda there: there["staged"].compile(engine="tape"), {"x": 2.0}),
    (lambda there: cf.Executor(there["staged"].circuit, verify=True).compile("n", ["y"]), {"x": 2.0}),
    (lambda there: there["batch"].compile(wrt=(), engine="staged"), {"x": np.ones((70, 64))}),
    (lambda there: there["staged"].vmap(), {"x": COLUMN}),
    *([(lambda there: there["staged"].vmap(engine="tape"), {"x": COLUMN})] if INSTALL == "fast" else []),
]
"""How functions are made that are compiled here and sent to another process, and what they are called with there."""
if INSTALL == "jax" and sys.argv[2:] != ["fork"]:
    COMPILED += [(lambda there: there["staged"].compile(engine="jax"), {"x": 2.0}),
                 (lambda there: there["batch"].compile(wrt=(), engine="jax", device="cpu"), {"x": np.ones((7, 64))})]


def call(function, given):
    value, gradients = function(**given)
    return np.asarray(value), {name: np.asarray(x) for name, x in gradients.items()}


def mapped(function, columns):
    return pa.Table.from_batches(function([pa.record_batch(columns)])).to_pydict()


def fault(text):
    cf.loads(text)


def equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def with_processes(method, executors, expected):
    with ProcessPoolExecutor(2 if method == "fork" else 1, mp_context=multiprocessing.get_context(method)) as pool:
        for task in (*TASKS, batch):
            future = pool.submit(task, executors)
            if method == "fork" and task is jitted:
                print("fork:", future.exception())
            else:
                equal(future.result(), expected[task])
        for make, given in COMPILED:
            function = make(executors)
            found, known = pool.submit(call, function, given).result(), call(function, given)
            equal([found[0], *found[1].values()], [known[0], *known[1].values()])
        function, columns = cf.map_batches(executors["staged"].circuit), {"x": COLUMN, "y": COLUMN}
        assert mapped(function, columns) == pool.submit(mapped, function, columns).result()
        error = pool.submit(fault, "{}").exception()
        assert str(error).splitlines()[0] == "<document>:1:1: 'nodes' is missing", error


def with_threads(executors, expected):
    with ThreadPoolExecutor(6) as pool:
        for task in TASKS:
            for found in pool.map(task, [executors] * 6):
                equal(found, expected[task])


async def with_asyncio(executors, expected):
    loop = asyncio.get_running_loop()
    for task in TASKS:
        for found in await asyncio.gather(*(asyncio.to_thread(task, executors) for _ in range(3)),
                                          *(loop.run_in_executor(None, task, executors) for _ in range(3))):
            equal(found, expected[task])


def main(way):
    executors = {"staged": cf.Executor(cf.loads(STAGED)), "batch": cf.Executor(cf.loads(BATCH))}
    expected = {task: task(executors) for task in (*TASKS, batch)}  # so that all threads there are run before a fork
    if way == "threads":
        with_threads(executors, expected)
    elif way == "asyncio":
        asyncio.run(with_asyncio(executors, expected))
    else:
        with_processes(way, executors, expected)
    print("done")


if __name__ == "__main__":
    main(sys.argv[2])
