"""What we promise of integers: a rule for each kind of edge, and a point that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
    """A gate, operands by dtype, attributes; and its value, or what the refusal says."""

    gate: str
    operands: tuple[tuple[str, Any], ...]
    outcome: Any
    attributes: Mapping[str, Any] = MappingProxyType({})


FITS = "does not fit int8, -128 to 127; cast the operands to int64"
CLIP = "does not fit int8, -128 to 127; clip it, or select another number by where"
RULES: dict[str, list[Point]] = {
    "A sum, difference, product, negative or absolute value is exact, or refused where its dtype does not hold it. "
    "Sums and products on the "
    "way to it do not count.": [
        Point("add", (("int8", [100]), ("int8", [100])), f"200 {FITS}"),
        Point("neg", (("uint8", [5]),), "-5 does not fit uint8, 0 to 255; cast the operands to int64"),
        Point("abs", (("int8", [-128]),), f"128 {FITS}"),
        Point("mul", (("int64", [2**62]), ("int64", [2])),
              "9.2233720368547758e+18 does not fit int64, -9223372036854775808 to 9223372036854775807; "
                                                           "cast the operands to float64"),
        Point("reduce_sum", (("int8", [100, 100]),), f"200 {FITS}"),
        Point("reduce_sum", (("int8", [100, 100, -100]),), 100),
        Point("reduce_prod", (("int64", [2**40, 2**40, 0]),), 0),
    ],
    "The operands have the dtype of the result before they are added.": [
        Point("add", (("int8", [100]), ("int8", [100]), ("int16", [1])), [201]),
    ],
    "A remainder has the sign of the divisor. A divisor of 0 is refused.": [
        Point("mod", (("int64", [-7, 7]), ("int64", [3, -3])), [2, -2]),
        Point("mod", (("int8", [-128]), ("int8", [-1])), [0]),
        Point("mod", (("int64", [7]), ("int64", [0])),
              "division by 0; give it another divisor, also where the result is not used"),
    ],
    "A cast to integers cuts fractions off. NaN, infinity and what is out of range are refused.": [
        Point("cast", (("float64", [2.9, -2.9]),), [2, -2], {"dtype": "int64"}),
        Point("cast", (("float64", [300.7]),), f"300.7 {CLIP}", {"dtype": "int8"}),
        Point("cast", (("float64", [np.nan]),), f"nan {CLIP}", {"dtype": "int8"}),
        Point("cast", (("int64", [-1]),), "-1 does not fit uint8, 0 to 255; cast it to int64", {"dtype": "uint8"}),
    ],
    "A cast of integers to floats is exact, or refused: integers above 2^53 are not rounded.": [
        Point("cast", (("int64", [2**53]),), [2.0**53], {"dtype": "float64"}),
        Point("cast", (("int64", [2**53 + 1]),), "9007199254740993 is no float64 exactly; keep it an integer",
              {"dtype": "float64"}),
        Point("cast", (("int32", [2**24 + 1]),),
              "16777217 is no float32 exactly; cast it to float64, where it is exact, and that to float32, "
                                                 "which rounds it", {"dtype": "float32"}),
    ],
    "A cast to bool is true for all but 0.": [
        Point("cast", (("float64", [0.0, 0.5, np.nan]),), [False, True, True], {"dtype": "bool"}),
    ],
    "Indices are positions in int64, whatever their dtype. One out of range is refused; `one_hot` gives zeros for "
    "it.": [
        Point("gather", (("float64", list(range(200))), ("int8", [-1])), [199.0]),
        Point("gather", (("float64", [1, 2, 3]), ("uint64", [2**64 - 1])),
              "index 18446744073709551615 is out of range for axis 0 of size 3"),
        Point("one_hot", (("int8", [-1, 2]),), [[0.0, 1.0], [0.0, 0.0]], {"depth": 2}),
    ],
    "Indices may not repeat if elements are replaced. They may repeat if elements are added.": [
        Point("scatter_elements", (("float64", [0, 0, 0]), ("int64", [1, -2]), ("float64", [5, 7])),
              "index 1 repeats, so it is not said which update stays; leave one, or add them (reduction: add)"),
        Point("scatter_elements", (("float64", [0, 0, 0]), ("int64", [1, -2]), ("float64", [5, 7])), [0.0, 12.0, 0.0],
              {"reduction": "add"}),
    ],
    "All 64 bits of the seed of `dropout` count; a seed is the same number in every dtype.": [
        Point("dropout", (("float64", [1] * 8), ("int64", 1)), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 2.0, 2.0]),
        Point("dropout", (("float64", [1] * 8), ("int64", 2**32 + 1)), [2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 2.0, 2.0]),
    ],
}


def section() -> Iterator[str]:
    """The rules, with their points."""
    yield "## Integers"
    yield ""
    yield ("These rules hold on every engine, with arrays of every library, and in exported files. A refusal names "
           "the node.")
    yield ""
    yield "| gate | operands | attributes | value, or refusal |"
    yield "|---|---|---|---|"
    for rule, points in RULES.items():
        yield f"| **{rule}** | | | |"
        for point in points:
            operands = "; ".join(f"{dtype} {_said(x)}" for dtype, x in point.operands)
            attributes = ", ".join(f"{name}: {x}" for name, x in point.attributes.items())
            outcome = f"refused: {point.outcome}" if isinstance(point.outcome, str) else _said(point.outcome)
            yield f"| {point.gate} | {operands} | {attributes} | {outcome} |"


def _said(x: Any) -> str:
    if isinstance(x, list):
        return f"[{_said(x[0])}, {_said(x[1])}, …, {_said(x[-1])}]" if len(x) > 8 else "[" + ", ".join(map(_said,
                                                                                                           x)) + "]"
    return str(x).lower() if isinstance(x, bool) else repr(x)
