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
    operands = call.all()
    for i, term in enumerate(terms):
        operands[i], terms[i] = _without_repeats(call.w, operands[i], term)
    return call.w.einsum(*operands, equation=f"{','.join(terms)}->{result.replace('...', letters)}")


def _without_repeats(w: Any, x: Any, term: str) -> tuple[Any, str]:
    """An operand and its letters, where the diagonal stands for two axes of one letter."""
    for letter in term:
        while term.count(letter) > 1:
            one, two = [i for i, other in enumerate(term) if other == letter][:2]
            x = w.diagonal(w.transpose(x, axes=[*(i for i in range(len(term)) if i not in (one, two)), one, two]))
            term = "".join(other for i, other in enumerate(term) if i not in (one, two)) + letter
    return x, term


def matmul_integer(call: Call) -> Any:
    """The product of integers less their zero points, as 32-bit integers."""
    w = call.w
    return w.cast(w.matmul(*(shifted(call, i, i + 2, axis) for i, axis in ((0, -2), (1, -1)))), dtype="int32")


def shifted(call: Call, at: int, zero: int, axis: int | None = None) -> Any:
    """Integers less their zero point, as float64, which holds products and sums of them exactly.

    The zero point is one number, or one for each position of an axis.
    """
    w = call.w
    x = w.cast(call[at], dtype="float64")
    if not call.has(zero):
        return x
    y = w.cast(call[zero], dtype="float64")
    if y.ndim == 1 and y.type.shape == (1,):
        y = w.squeeze(y, axis=0)
    elif y.ndim == 1 and axis is not None:
        for _ in range(-1 - axis if axis < 0 else x.ndim - 1 - axis):
            y = w.unsqueeze(y, axis=-1)
    return w.sub(x, y)


LINEAR: Mapping[str, Callable[[Call], Any]] = {"Gemm": gemm, "Einsum": einsum, "MatMul": read,
                                             "MatMulInteger": matmul_integer}
