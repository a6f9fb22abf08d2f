"""Every public function, called with values of every kind: it answers, or raises an error of the public tree."""

from __future__ import annotations

import collections
import decimal
import fractions
import inspect
import pathlib
import random
import traceback

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.interpreter.question import Question
from support.slices import few
from support.suite import ROOT

CALLS = few(5_000)


class Series:
    """As a table of pandas looks: numbers with labels."""

    shape, dtype = (2,), np.dtype(float)

    def __init__(self, numbers):
        self.numbers = numbers

    def to_numpy(self):
        return np.asarray(self.numbers)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.numbers, dtype)


class Nulls(Series):
    """As a table of polars or pyarrow looks where a number is missing."""

    null_count = 1


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


def itself():
    inside = [1.0]
    inside.append(inside)
    return inside


def doubled():
    inside = [1.0]
    inside += [inside, inside]
    return inside


def wrong_values():
    """Values of every kind, made anew: some are right here and there."""
    jnp, torch = pytest.importorskip("jax.numpy"), pytest.importorskip("torch")
    circuit = cf.load(ROOT / "circuits" / "product.json")
    wire = cf.build().input("x")
    return [
        None, True, 0, 3, -1, 10**400, 2.5, float("nan"), 1j, "", "x", "f", "q", "no such", "a.b", "x/y", "\ud800",
        "\0", b"", b"x",
        bytearray(b"x"), [], [1], [1.0, [2]], [None], ["x"], [b"x"], [[1, 2], [3]], itself(), doubled(), (), ("x", 1),
        {}, {"x": 1.0}, {1: 2}, {"x": None}, {"f": "g"},
        {"x": {"x": 1}}, {"x": 1j}, {"x": [[1], 2]}, set(), {"x"}, frozenset({1}), range(3), iter([1]),
        (i for i in "ab"), object(), Hostile(), print, len, int, np.ndarray,
        np.float32(1), np.complex128(1j), np.str_("x"), np.datetime64("2020"), np.ones(2), np.ones((2, 2), int),
        np.array("x"), np.array([1, None], object), np.array(object()),
        np.zeros(2, [("a", "f8")]), np.ma.array([1.0, 2.0], mask=[0, 1]), np.array([1j]), np.array(1, np.longdouble),
        np.dtype("float32"), np.float64,
        decimal.Decimal("2.99"), decimal.Decimal("sNaN"), decimal.Decimal("1e999999"), fractions.Fraction(1, 3),
        pathlib.Path("no such"), ..., NotImplemented, slice(1, "x"),
        Series([1.0, 2.0]), Series([1.0, None]), Nulls([1.0, 2.0]), torch.ones(2, requires_grad=True),
        torch.ones((), dtype=torch.bfloat16), torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64),
        jnp.ones(2), jnp.ones((), jnp.bfloat16), wire, cf.build(), circuit, circuit.document, cf.Executor(circuit),
        cf.Executor(circuit).run(), cf.GATES, cf.GATES["mul"],
        cf.Limits(), cf.Thresholds(), cf.DocumentError([]), collections.OrderedDict(x=1.0), collections.UserDict(x=1.0),
        collections.deque([1.0]), memoryview(b"ab"),
    ]


def functions():
    """The public functions and methods, each with arguments that are right."""
    circuit = cf.load(ROOT / "circuits" / "product.json")
    array = cf.new("f = reduce_sum(tanh(x @ w))", {"x": np.ones((2, 3)), "w": np.ones((3, 2))})
    found, executor, fresh = {}, cf.Executor(circuit), (lambda: cf.Executor(circuit).run())
    text = (ROOT / "circuits" / "product.json").read_text()
    whole = {"of": "f", "wrt": ["x"]}
    found |= {
        "load": (cf.load, {"path": ROOT / "circuits" / "product.json", "gates": cf.GATES, "limits": cf.Limits()}),
        "loads": (cf.loads, {"text": text, "gates": cf.GATES, "folder": None, "limits": cf.Limits()}),
        "dumps": (cf.dumps, {"circuit": circuit}),
        "Circuit": (cf.Circuit,
                    {"document": circuit.document, "gates": cf.GATES, "folder": ".", "limits": cf.Limits()}),
        "new": (cf.new, {"text": "f = x * y", "values": {"x": 1}, "shapes": {"y": [2]}, "parameters": ["x"],
                         "outputs": ["f"], "name": "n", "dtype": "float64", "gates": cf.GATES, "folder": "."}),
        "trace": (cf.trace, {"function": np.tanh, "parameters": (), "name": "n", "gates": cf.GATES}),
        "build": (cf.build, {"name": "n", "description": "d", "dtype": "float64", "gates": cf.GATES, "folder": "."}),
        "Builder": (cf.Builder,
                    {"name": "n", "description": "d", "dtype": "float64", "gates": cf.GATES, "folder": "."}),
        "check": (cf.check, {"circuit": circuit, "inputs": {"x": 1.0}, **whole, "upstream": {"f": 1.0}}),
        "diff": (cf.diff, {"old": circuit, "new": array}),
        "fit": (cf.fit, {"circuit": circuit, "data": {"x": [1.0, 2.0]}, "residuals": "f", "sigma": None,
                         "columns": None, "method": "auto", "bounds": {"z": (-9, 9)}, "frozen": (), "start": None,
                         "tolerance": None, "max_evaluations": 10, "seed": 0, "engine": "auto", "callback": None}),
        "draw": (cf.draw, {"subject": circuit, "form": "mmd", "theme": "light", "depth": 0}),
        "widget": (cf.widget, {"circuit": circuit, "inputs": {"x": 1.0}, "depth": 0}),
        "explain": (cf.explain, {"result": executor.run(), "form": "text"}),
        "to_python": (cf.to_python, {"circuit": circuit, **whole, "inputs": {"x": 1.0}, "upstream": {"f": 1.0}}),
        "to_javascript": (cf.to_javascript, {"circuit": circuit, **whole, "inputs": {"x": 1.0}, "upstream": {"f": 1.0},
                                             "dtype": "float32"}),
        "to_c": (cf.to_c, {"circuit": circuit, **whole, "inputs": {"x": 1.0}, "upstream": {"f": 1.0}, "name": "n",
                           "dtype": "float32", "tests": True, "step": None}),
        "native": (cf.native, {"circuit": circuit, **whole}),
        "map_batches": (cf.map_batches, {"circuit": circuit, **whole, "inputs": {"x": 1.0}, "upstream": {"f": 1.0}}),
        "map_files": (cf.map_files, {"circuit": circuit, "tables": ROOT / "circuits/spiral.csv", "folder": "results",
                                     **whole, "inputs": {"x": 1.0}, "upstream": {"f": 1.0}, "engine": "auto",
                                     "keep": ["arm"], "verify": False, "resume": True, "client": None,
                                     "track": lambda steps, _: steps}),
        "Executor": (cf.Executor, {"circuit": circuit, "verify": False, "thresholds": cf.Thresholds()}),
        "Limits.of": (cf.Limits.of, {"nodes": 3}), "Limits": (cf.Limits, {"nodes": 3, "digits": 10}),
        "Thresholds": (cf.Thresholds, {"blocks": 3}),
        "Gate": (cf.Gate, {"formula": "x", "summary": "s", "operands": ("x",), "shape": len, "forward": len,
                           "backward": (None,), "attributes": cf.Attributes, "reads": cf.Reads.INPUTS}),
        "Gate.stating": (cf.GATES["mul"].stating, {"facets": cf.Facets()}),
    }
    for name in ("gradient", "vjp", "jvp"):
        found[name] = getattr(cf, name), {"circuit": circuit, **whole, "values": True}
    for name in ("hvp", "jacobian", "hessian"):
        found[name] = getattr(cf, name), {"circuit": circuit, **whole}
    for kind, made in (("scalar", circuit), ("array", array)):
        runs = cf.Executor(made)
        found |= {
            f"{kind} run": (runs.run, {"inputs": {"x": 1.0}, **whole, "upstream": {"f": 1.0}, "cache": "all",
                                       "track": lambda steps, _: steps, "watch": None}),
            f"{kind} forward": (runs.forward, {"inputs": {"x": 1.0}, "of": "f"}), f"{kind} plan": (runs.plan, whole),
            f"{kind} compile": (runs.compile, {**whole, "engine": "auto", "device": None}),
            f"{kind} vmap": (runs.vmap, {**whole, "engine": "auto", "device": None}),
            f"{kind} function": (runs.function, {"question": Question(runs, "f", "x"), "engine": "auto", "device": None,
                                                 "over_rows": False}),
            f"{kind} with_values": (made.with_values, {"values": {"x": 1.0}}),
            f"{kind} with_gates": (made.with_gates, {"gates": cf.GATES}),
            f"{kind} find": (made.find, {"reference": "x"}), f"{kind} names_of": (made.names_of, {"name": "x"}),
            f"{kind} operand_names": (made.operand_names, {"node": made.nodes["x"]}),
            f"{kind} gradient_name": (made.gradient_name, {"reference": "x"}),
            f"{kind} type_of": (made.type_of, {"output": made.find("f")}),
            f"{kind} suggestion": (made.suggestion, {"reference": "x"}),
            f"{kind} upstream_name": (made.upstream_name, {"reference": "f"}),
            f"{kind} needed": (made.needed, {"names": {"f"}}),
            f"{kind} derived": (made.derived, {"document": made.document}),
        }
        result = runs.run()
        found |= {f"{kind} why": (result.why, {"wrt": "x"}),
                  f"{kind} contribution": (result.contribution, {"source": "x", "target": "q", "port": 0}),
                  f"{kind} to_dict": (result.to_dict,
                                      {"outputs": "f", "values": ["x"], "gradients": ["x"], "contributions": True})}
        for engine in ("interpreter", "staged", *(["tape"] if kind == "scalar" else []), "jax"):
            found[f"{kind} {engine}"] = runs.compile(**whole,
                                                     engine=engine), {"inputs": {"x": 1.0}, "upstream": {"f": 1.0}}
            if engine == "jax" or (engine != "interpreter" and kind == "scalar"):
                found[f"{kind} {engine} over rows"] = runs.vmap(**whole,
                                                                engine=engine), {"inputs": {"x": [1.0]},
                                                                                 "upstream": {"f": 1.0}}
    assert fresh().outputs["f"] == -12
    return found


def authored():
    """Methods of a builder and its wires, new each time: they write into it."""
    c = cf.build("n")
    x, w = c.input("x", [1.0, 2.0]), c.parameter("w", 2.0)
    return {
        "input": (c.input, {"name": "y", "value": 1.0, "shape": [], "dtype": "float64", "label": "l", "metadata": {}}),
        "parameter": (c.parameter, {"name": "y", "value": 1.0, "dtype": "float64"}),
        "constant": (c.constant, {"name": "y", "value": 1.0, "dtype": "float64"}),
        "name": (c.name, {"wire": w, "name": "y"}), "output": (c.output, {"wire": x, "name": "y"}),
        "add": (lambda a, b: c.add(a, b), {"a": x, "b": w}), "+": (lambda b: x + b, {"b": w}),
        "r-": (lambda b: b - x, {"b": 2.0}), "@": (lambda b: x @ b, {"b": x}),
        "sum": (lambda axis, keepdims: x.sum(axis, keepdims=keepdims), {"axis": 0, "keepdims": True}),
        "reshape": (lambda shape: x.reshape(shape), {"shape": [2, 1]}),
        "getitem": (lambda key: x[key], {"key": 0}), "astype": (lambda dtype: x.astype(dtype), {"dtype": "float32"}),
        "clip": (lambda low, high: np.clip(x, low, high), {"low": 0, "high": 1}),
        "moveaxis": (lambda a, b: np.moveaxis(x, a, b), {"a": 0, "b": 0}),
        "einsum": (lambda text, b: np.einsum(text, x, b), {"text": "i,i", "b": x}),
        "tile": (lambda n: np.tile(x, n), {"n": 2}),
        "split": (lambda n: np.split(x, n), {"n": 2}), "pad": (lambda n: np.pad(x, n), {"n": 1}),
        "roll": (lambda n: np.roll(x, n), {"n": 1}), "concatenate": (lambda b: np.concatenate([x, b]), {"b": x}),
        "where": (lambda a, b: np.where(x > 0, a, b), {"a": 0.0, "b": x}),
        "norm": (lambda ord: np.linalg.norm(x, ord), {"ord": 2}),
        "leaky_relu": (lambda alpha: x.leaky_relu(alpha=alpha), {"alpha": 0.1}),
        "ufunc": (lambda b: np.add(x, b), {"b": w}), "take": (lambda i: np.take(x, i), {"i": [0]}),
        "circuit": (lambda name: (c.output(w), setattr(c, "_name", "n"), c.circuit), {"name": 1}),
    }


EXCEPT = {
    "Document": "a pydantic model, whose own errors are pydantic's", "Attributes": "likewise",
    **dict.fromkeys(("ArrayType", "AtLeast", "Facets", "Contribution", "NonFinite", "Result", "Difference", "Fault",
                     "FitResult", "Reads", "Diagnosis"), "a record, which holds what it is given"),
    **dict.fromkeys(("CircuitflowError", "DocumentError", "GateError", "InputError", "MissingExtraError", "ShapeError",
                     "UnknownNameError", "VerificationError"), "an error"), "GATES": "data",
}


def test_every_public_name_is_called():
    called = {function for function, _ in functions().values() if inspect.isfunction(function)
              or inspect.isclass(function)}
    assert [name for name in cf.__all__ if name not in EXCEPT and getattr(cf, name) not in called] == []
    methods = {f"{kind.__name__}.{name}" for kind in (cf.Circuit, cf.Executor, cf.Result, cf.Builder, cf.Limits)
               for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}
    bound = {function.__name__ for function, _ in (*functions().values(), *authored().values())
             if inspect.ismethod(function)}
    # which take nothing
    assert {method for method in methods
            if method.partition(".")[2] not in bound} == {"Circuit.unused", "Result.non_finite"}


def test_no_wrong_type_gives_a_raw_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance, raw, table = random.Random(0), {}, functions()
    for i in range(CALLS):
        if i % 50 == 0:
            values = wrong_values()
        choices = authored() if i % 3 == 0 else table
        name = chance.choice(list(choices))
        function, arguments = choices[name]
        arguments = dict(arguments)
        for argument in chance.sample(sorted(arguments), min(len(arguments), chance.choice([1, 1, 1, 2]))):
            arguments[argument] = chance.choice(values)
            if chance.random() < 0.3 and argument in ("inputs", "upstream", "values"):
                arguments[argument] = {chance.choice(["x", "z", "w", "f"]): arguments[argument]}
        try:
            function(**arguments)
        except cf.CircuitflowError as error:
            assert str(error).replace("\n", "").isprintable(), (name, arguments)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            raw.setdefault(f"{name}: {type(error).__name__}: {error} at {where.filename}:{where.lineno}",
                           sorted(arguments))
    assert not raw, f"{len(raw)}\n" + "\n".join(sorted(raw))
