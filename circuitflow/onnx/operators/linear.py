"""Matrix products."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any

from circuitflow.onnx.calls import Call, Refusal
from circuitflow.onnx.mapped import read


def gemm(call: Call) -> Any:
    """The general product; of integers there is no gate."""
    alpha, beta = call.attribute("alpha"), call.attribute("beta")
    options = {name: value for name, value, default in (
        ("alpha", alpha, 1.0), ("beta", beta, 1.0), ("trans_a", bool(call.attribute("transA")), False),
        ("trans_b", bool(call.attribute("transB")), False)) if value != default}
    more = [call[2]] if call.has(2) else []
    return call.w.gemm(call[0], call[1], *more, **options)


def einsum(call: Call) -> Any:
    """A sum of products; an ellipsis has letters of its own, and what is not said is in alphabetic order."""
    equation = call.attribute("equation").replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(call):
        raise Refusal(f"has {len(call)} inputs for the equation {equation}")
    free = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in equation]
    ranks = [len(call.shape(i)) - len(term.replace("...", "")) if "..." in term else 0 for i, term in enumerate(terms)]
    most = max(ranks)
    if min(ranks) < 0 or most > len(free):
        raise Refusal(f"has an equation, {equation}, with more letters than axes")
    letters = "".join(free[:most])
    terms = [term.replace("...", letters[most - rank :] if rank else "")
             for term, rank in zip(terms, ranks, strict=True)]
    if not arrow:
        plain = left.replace(",", "").replace("...", "")
        result = ("..." if "..." in left else "") + "".join(
            letter for letter in sorted(set(plain)) if plain.count(letter) == 1)
    return call.w.einsum(*call.all(), equation=f"{','.join(terms)}->{result.replace('...', letters)}")


LINEAR: Mapping[str, Callable[[Call], Any]] = {"Gemm": gemm, "Einsum": einsum, "MatMul": read}
