"""The page on ONNX: every operator, what it is read and written as, and how its own tests end."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from typing import Any

import onnx

from circuitflow.gates import GATES
from circuitflow.gates.record import Onnx
from circuitflow.onnx.mapped import gates_by_operator
from circuitflow.onnx.operators.table import KNOWN, OPERATORS
from support.onnx_cases import cases, outcomes

BODIES = "(bodies)"
"""Stands for the tests of what operators come to by their own bodies."""


def operator_of(case: Any) -> str:
    """The operator that a case tests."""
    operators = {node.op_type for node in case.model.graph.node}
    return operators.pop() if len(operators) == 1 else BODIES


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    results = outcomes()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    reasons: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for case in cases():
        result, operator = results[case.name], operator_of(case)
        counts[operator][result.status] += 1
        if result.status == "refused":
            reasons[operator][_reason(result.reason)] += 1
    total = sum(counts.values(), collections.Counter())
    yield "# ONNX, operator by operator"
    yield ""
    yield ("`circuitflow import` reads opsets 7 to the newest of the package onnx, `circuitflow export --to onnx` "
           "writes opset 18 and later. Of the "
           f"{total.total():,} tests of operators that come with onnx {onnx.__version__}, {total['passed']:,} give the "
           f"values that they state, {total['rounded']} in bfloat16 agree to its digits, since it is read as float32, "
           f"{total['refused']} are refused, and {total['wrong']} are wrong; their tolerances "
           "are those of ONNX's own runner. Inputs that sizes or bits depend on are given before the run, as `--set` "
           "does. Every refusal names the node, the operator and the reason, below by its "
           "most frequent one. An attribute that is not understood is refused, never passed over. Written by "
           "`python tests/fuzz/onnx_nodes.py --page`.")
    yield ""
    yield ("An operator is read as a gate, as a composition of gates, or by its own body as ONNX defines it. A gate is "
           "written as its operator for the floats named here; for others, and for gates without an operator, the "
           "lines of its rule are written. So conventions at ties and edges are kept in ONNX Runtime too.")
    yield ""
    yield "| operator | read as | written for | tests passed | refused | because |"
    yield "|---|---|---|---|---|---|"
    names = sorted({description.name for description in onnx.defs.get_all_schemas() if description.domain == ""})
    for name in names:
        count = counts[name]
        refusals = reasons[name].most_common(1)
        because = refusals[0][0] if refusals else ""
        yield f"| {name} | {_read_as(name)} | {_written(name)} | {_passed(count)} | {count['refused']} | {because} |"
    count = counts[BODIES]
    yield f"| bodies of operators | their operators | | {_passed(count)} | {count['refused']} | as above |"


def _passed(count: Any) -> str:
    return str(count["passed"]) + (f", {count['rounded']} rounded" if count["rounded"] else "")


def _reason(text: str) -> str:
    """A reason without the names of nodes and values, for a cell of a table."""
    text = re.sub(r"^node '[^']*' \((\w+)\) ", "", text)
    text = re.sub(r"node '[^']*' ", "", text)
    text = re.sub(r"'[^']*'", "…", text.split("; ")[0])
    return text.replace("|", "\\|")


def _read_as(name: str) -> str:
    gate = gates_by_operator().get(name)
    if gate is not None:
        return f"`{gate}`" + (", or a composition" if name in OPERATORS else "")
    if name in OPERATORS:
        return "known values alone" if name in KNOWN else "a composition"
    description = onnx.defs.get_schema(name)
    has_body = description.has_function or description.has_context_dependent_function
    return "its own body" if has_body else "a branch, if known" if name == "If" else ""


def _written(name: str) -> str:
    gate = gates_by_operator().get(name)
    note = GATES[gate].facets.note.onnx if gate is not None else ""
    if not isinstance(note, Onnx) or not note.written:
        return ""
    return {"f": "float32", "d": "float64", "fd": "float32, float64"}[note.written]
