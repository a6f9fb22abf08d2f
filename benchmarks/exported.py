"""Measures exported C and JavaScript beside what is written by hand, CasADi's C and NumPy. It needs gcc and node."""

from __future__ import annotations

import atexit
import ctypes
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case

CALLS = 20_000

_HAND = """
static void hand_call(double x, double y, double *f, double *dx, double *dy)
{
    const double sigy = 1.0 / (1 + exp(-y)), num = x + sigy, sigx = 1.0 / (1 + exp(-x)), xpy = x + y;
    const double xpysqr = xpy * xpy, den = sigx + xpysqr, invden = 1.0 / den;
    const double dnum = invden, dden = (-1.0 / (den * den)) * num, dxpy = (2 * xpy) * dden;
    *f = num * invden;
    *dx = dxpy + ((1 - sigx) * sigx) * dden + dnum;
    *dy = dxpy + ((1 - sigy) * sigy) * dnum;
}
"""

_LOOP = """
void {name}(int calls, double *sums)
{{
    sums[0] = sums[1] = sums[2] = 0.0;
    for (int i = 0; i < calls; i++) {{
        const double x = 3.0 - 1e-6 * i, y = -4.0 + 1e-6 * i;
        double f, slopes[2];
        {call}
        sums[0] += f;
        sums[1] += slopes[0];
        sums[2] += slopes[1];
    }}
}}
"""

_WAYS = {
    "ours": "staged_inputs in = {x, y}; staged_outputs out; staged_gradients g; staged_value_and_grad(&in, &out, &g); "
            "f = out.f; slopes[0] = g.x; slopes[1] = g.y;",
    "hand": "hand_call(x, y, &f, &slopes[0], &slopes[1]);",
    "casadi": "const double *in[2] = {&x, &y}; double *out[2] = {&f, slopes}; long long iw[8]; double w[64]; "
              "casadi_f(in, out, iw, w, 0);",
}


_HAND_MODULE = """
export function valueAndGrad({x0, x1}, {w0, w1, w2}) {
  const dot = w0 * x0 + w1 * x1 + w2;
  const f = 1 / (1 + Math.exp(-dot));
  const ddot = (1 - f) * f;
  return {outputs: {f}, gradients: {w0: ddot * x0, x0: ddot * w0, w1: ddot * x1, x1: ddot * w1, w2: ddot}};
}
"""

_MODULE_LOOP = """
export function run(calls) {
  const sums = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < calls; i++) {
    const t = 1e-6 * i;
    const {outputs, gradients: g} = valueAndGrad({x0: -1 + t, x1: -2}, {w0: 2, w1: -3 - t, w2: -3});
    sums[0] += outputs.f;
    sums[1] += g.w0;
    sums[2] += g.x0;
    sums[3] += g.w1;
    sums[4] += g.x1;
    sums[5] += g.w2;
  }
  return sums;
}
"""

COPIES = 16
"""Modules of each text. How node compiles one differs from copy to copy, by 40 % of its time."""

_SERVER = """
import {createInterface} from "node:readline";
createInterface({input: process.stdin}).on("line", async (line) => {
  const {name, copies, calls} = JSON.parse(line);
  let sums = [];
  for (let i = 0; i < copies; i++) {
    const {run} = await import(`./${name}.mjs?${i}`);
    sums = run(calls);
  }
  console.log(JSON.stringify(sums));
});
"""


def cases() -> Iterator[Case]:
    """The staged example, the loss and gradients of the perceptron of circuits/, and the neuron in JavaScript."""
    library = _compiled("\n".join([
        cf.to_c(cf.load("circuits/staged.json")),
        "int casadi_f(const double **arg, double **res, long long int *iw, double *w, int mem);", _HAND,
        *(_LOOP.format(name=name, call=call) for name, call in _WAYS.items())]), _by_casadi())
    ways = {name: _summed(library, name) for name in _WAYS}
    yield Case("staged example, exported C", "call", CALLS, ways["ours"],
               lambda: {"hand-written C": ways["hand"], "CasADi's C": ways["casadi"]},
               {"hand-written C": 1.0, "CasADi's C": 1.0})
    circuit = cf.load("circuits/mlp.json")
    yield Case("MLP 784-128-10, batch 2, exported C", "call", 1, _perceptron(circuit),
               lambda: {"NumPy": lambda: _in_numpy(*circuit.values.values())}, {"NumPy": 1.5})
    modules = _modules({"ours": cf.to_javascript(cf.load("circuits/sigmoid_neuron.json")), "hand": _HAND_MODULE})
    yield Case("sigmoid neuron, exported JavaScript", "call", COPIES * CALLS, modules["ours"],
               lambda: {"hand-written JavaScript": modules["hand"]}, {"hand-written JavaScript": 1.2})


def _modules(texts: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    """Modules, called in a loop by one process of node, copy after copy."""
    folder = _folder()
    for name, text in texts.items():
        (folder / f"{name}.mjs").write_text(text + _MODULE_LOOP)
    (folder / "server.mjs").write_text(_SERVER)
    server = subprocess.Popen(["node", folder / "server.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,  # noqa: S603, S607
                              text=True, bufsize=1)
    atexit.register(server.kill)

    def run(name: str) -> Any:
        print(json.dumps({"name": name, "copies": COPIES, "calls": CALLS}), file=server.stdin)
        return json.loads(next(iter(server.stdout)))

    return {name: partial(run, name) for name in texts}


def _folder() -> Path:
    """A folder that lasts as long as the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _in_numpy(image: Any, label: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> list[Any]:
    """Loss and gradients, in the order of the file."""
    a = image @ w1 + b1
    hidden = np.maximum(a, 0)
    scores = hidden @ w2 + b2
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(label))
    loss = -np.log(shares[rows, label]).mean()
    shares[rows, label] -= 1
    shares /= len(label)
    da = (shares @ w2.T) * (a > 0)
    return [loss, da @ w1.T, image.T @ da, da.sum(axis=0), hidden.T @ shares, shares.sum(axis=0)]


def _by_casadi() -> str:
    """The staged example as CasADi writes it."""
    import casadi

    x, y = casadi.SX.sym("x"), casadi.SX.sym("y")
    f = (x + 1 / (1 + casadi.exp(-y))) / (1 / (1 + casadi.exp(-x)) + (x + y) ** 2)
    function = casadi.Function("casadi_f", [x, y], [f, casadi.gradient(f, casadi.vertcat(x, y))])
    generator = casadi.CodeGenerator("f")
    generator.add(function)
    return str(generator.dump())


def _compiled(*texts: str) -> ctypes.CDLL:
    """Texts of C as a library."""
    folder = _folder()
    for i, text in enumerate(texts):
        (folder / f"part{i}.c").write_text(text)
    parts = [str(folder / f"part{i}.c") for i in range(len(texts))]
    subprocess.run(["gcc", "-std=c99", "-O2", "-shared", "-fPIC", *parts, "-o", str(folder / "library.so"), "-lm"],  # noqa: S603, S607
                   check=True)
    return ctypes.CDLL(str(folder / "library.so"))


def _summed(library: ctypes.CDLL, name: str) -> Callable[[], Any]:
    sums = np.zeros(3)
    function, place = library[name], sums.ctypes.data_as(ctypes.c_void_p)

    def run() -> Any:
        function(CALLS, place)
        return sums

    return run


def _perceptron(circuit: cf.Circuit) -> Callable[[], Any]:
    """The exported function, and its results in the order of NumPy's."""
    call = """
void call(double *results)
{
    static mlp_outputs out;
    static mlp_gradients g;
    static mlp_work work;
    int k = 0;
    mlp_value_and_grad(&mlp_default_parameters, &mlp_default_inputs, &out, &g, &work);
    results[k++] = out.loss;
    COPIES
}
"""
    copies = "\n    ".join(f"for (int i = 0; i < {circuit.values[name].size}; i++) results[k++] = g.{name}[i];"
                           for name in cf.Executor(circuit).run().gradients if name in circuit.values)
    library = _compiled(cf.to_c(circuit) + call.replace("COPIES", copies))
    results = np.zeros(1 + sum(circuit.values[name].size for name in circuit.values if name != "label"))
    place = results.ctypes.data_as(ctypes.c_void_p)

    def run() -> Any:
        library.call(place)
        return results

    return run

