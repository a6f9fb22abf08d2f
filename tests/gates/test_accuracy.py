"""Values and slopes of every element-wise gate, over the whole range of floats, within their bounds of mpmath's."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import FAMILIES
from support.accuracy import EXACT, HEADING, MANY, ROWS, bounds, errors, exact, measured, points, said, table
from support.suite import ROOT

PAGE = ROOT / "docs" / "conventions.md"
DTYPES = [np.float64, np.float32]
FEW = 400


def test_every_element_wise_gate_has_a_row():
    gates = {name for family in ("arithmetic", "exponential", "trigonometric", "activations")
             for name in FAMILIES[family]}
    # of several elements; a product and a quotient
    assert {name.partition(",")[0] for name in ROWS} | set(EXACT) == gates - {"softmax", "log_softmax",
                                                                              "mul_div_no_nan"}


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_the_error_is_within_the_bound(name, count, dtype):
    for bound, (error, where) in zip(bounds(ROWS[name], dtype), measured(name, count, dtype), strict=True):
        assert error <= bound, f"{error:.3g} ulps at {where}"


@pytest.mark.parametrize("name", ROWS)
def test_staged_code_of_floats_is_within_the_bound(name):
    """By `math` instead of NumPy."""
    row = ROWS[name]
    xs = tuple(x[::3] for x in points(row, FEW, np.float64))
    names = [f"x{i}" for i in range(len(xs))]
    nodes = [*({"id": x, "gate": "input", "shape": []} for x in names),
             {"id": "f", "gate": name.partition(",")[0], "inputs": names, **row.attributes}]
    call = cf.Executor(cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes,
                                            "outputs": ["f"]}))).compile(wrt=names)
    answers = [call(**dict(zip(names, operands, strict=True)))
               for operands in zip(*(x.tolist() for x in xs), strict=True)]
    wanted = exact(row, xs, float(np.finfo(np.float64).tiny))
    scale = wanted.pop()[0] if row.scale else None
    found = [[value for value, _ in answers], *([slopes[x] for _, slopes in answers] for x in names)]
    for numbers, right, bound in zip(found, wanted, bounds(row, np.float64), strict=True):
        error = errors(numbers, right, scale, np.float64)
        worst = int(np.argmax(error))
        assert error[worst] <= bound, f"{error[worst]:.3g} ulps at {[x[worst] for x in xs]}"


def test_the_page_says_what_is_allowed_and_measured():
    points, _, here = PAGE.read_text(encoding="utf-8").partition(HEADING)
    write = os.environ.get("CIRCUITFLOW_GOLDEN") == "write"
    if write:
        cells = {name: tuple(said([error for error, _ in measured(name, MANY, dtype)]) for dtype in DTYPES)
                 for name in ROWS}
        PAGE.write_text("\n".join([points.rstrip(), "", *table(cells), ""]), encoding="utf-8")
        return
    cells = {name: (wide, narrow) for name, wide,
             narrow in re.findall(r"^\| ([^|]+) \| [^|]+ \| ([\d.;, ]+) \| ([\d.;, ]+) \|", here, re.MULTILINE)}
    assert HEADING + here == "\n".join([*table(cells), ""])
    for name, row in ROWS.items():
        for cell, dtype in zip(cells[name], DTYPES, strict=True):
            assert all(float(x) <= bound for x,
                       bound in zip(re.split("[;,] ", cell), bounds(row, dtype), strict=True)), name
