"""Circuits in which one number chooses between products of matrices and other arrays."""

from __future__ import annotations

import numpy as np

from support.documents import circuit

_RANDOM = np.random.default_rng(5)
_X, _W, _V = (_RANDOM.normal(size=shape).round(2).tolist() for shape in ((3, 4), (4, 5), (4, 5)))
_UNREAD = [["Infinity", "NaN", -1, 0, 2]] * 4

_NODES = {
    "one side": ["m = matmul(x, w)", "y = where(flag, m, u)"],
    "the other side": ["m = matmul(x, w)", "y = where(flag, u, m)"],
    "both sides": ["m = matmul(x, w)", "n = matmul(x, v)", "y = where(flag, m, n)"],
    "the same on both sides": ["m = matmul(x, w)", "y = where(flag, m, m)"],
    "read elsewhere too": ["m = matmul(x, w)", "n = where(flag, m, u)", "y = add(n, m)"],
    "chosen twice": ["m = matmul(x, w)", "n = where(flag, m, u)", "o = where(flag, u, m)", "y = sub(n, o)"],
    "one choice in another": ["m = matmul(x, w)", "n = where(flag, m, u)", "t = transpose(n)", "o = matmul(t, x)",
                              "p = matmul(x, o2)", "y = where(flag, p, u)"],
    "operands that are computed": ["e = exp(x)", "n = neg(w)", "m = matmul(e, n)", "y = where(flag, m, u)"],
    "a choice by a number that comes later": ["m = matmul(x, w)", "s = reduce_sum(x)", "z = sub(s, s)",
                                              "late = greater(s, z)", "y = where(late, m, u)"],
    "a choice by a number that comes before": ["s = reduce_sum(x)", "z = sub(s, s)", "soon = less(s, z)",
                                               "m = matmul(x, w)", "y = where(soon, m, u)"],
    "a choice by element": ["c = greater(u, x0)", "m = matmul(x, w)", "y = where(c, m, u)"],
    "a product that is one number": ["m = matmul(a, a)", "s = where(flag, m, x0)", "y = mul(s, u)"],
    "a row of the result": ["m = matmul(a, w)", "y = where(flag, m, u)"],
}


def _given(unread: str | None) -> dict[str, list]:
    return {"x": _X, "w": _UNREAD if unread == "w" else _W, "v": _UNREAD if unread == "v" else _V, "a": _X[0],
            "u": [[0.5, -1.0, 2.0, 0.25, -3.0]] * 3, "x0": 0.75, "o2": [[0.5] * 5] * 4}


CHOSEN = {
    f"{name}, {flag}, {unread}": circuit(
        {"id": "flag", "gate": "input", "value": flag, "dtype": "bool"},
        *({"id": source, "gate": "parameter", "value": value} for source, value in _given(unread).items()),
        *nodes, "f = reduce_sum(y)", outputs=["f", "y"])
    for name, nodes in _NODES.items() for flag in (True, False) for unread in (None, "w", "v")}
"""By name, each with both choices, and with numbers that are not finite in a product that may not be read."""
