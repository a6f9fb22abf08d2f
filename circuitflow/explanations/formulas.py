"""Expressions as a person writes them: `σ(x)`, fractions, powers, sums over axes, tensors in bold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.explanations import terms
from circuitflow.explanations.expressions import Application, Constant, Expression, Leaf
from circuitflow.explanations.notation import GREEK, Reader
from circuitflow.explanations.terms import Fence, Name, Number, Operator, Scripts, Sign, Term, Word
from circuitflow.gates import AtLeast, Gate
from circuitflow.text import printable

OPERANDS = 12
"""The most operands that a formula shows of one gate."""

_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "|": "∨", "^": "⊻", "&": "∧"}
_LOOSE = ("==", "<", "<=", ">", ">=", "|", "^", "&")
_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?|inf)(?:e([+-]?\d+))?")
_REDUCERS = ("Σ", "Π", "max", "min", "mean", "var", "softmax")
_INDEXED = re.compile(r"([A-Za-z]+?)_?(\d+)")
_SUBSCRIPT = re.compile(r"([A-Za-z])_(\w+)")


class _Symbol(NamedTuple):
    term: Term
    tensor: bool


def numeral(text: str) -> Term:
    """A number as `text.number` writes it; any other text stands for itself."""
    if not (match := _NUMBER.fullmatch(text)):
        return Word(text)
    sign, digits, exponent = match.groups()
    term: Term = Sign("∞") if digits == "inf" else Number(digits)
    if exponent:
        ten = Scripts(Number("10"), None, numeral(str(int(exponent))))
        term = ten if digits == "1" else terms.product([term, ten], "·")
    return terms.negative(term) if sign else term


def identifier(name: str, *, bold: bool) -> Term:
    """The id of a node: w_0 and h1 have subscripts, alpha is a letter; the calls that it is in stand above it."""
    path, _, last = name.rpartition("/")
    stem, _, output = last.partition(".")
    lower: Term | None = None
    if match := _INDEXED.fullmatch(stem):
        stem, lower = match[1], Number(match[2])
    elif match := _SUBSCRIPT.fullmatch(stem):
        stem, lower = match[1], Name(match[2])
    if output:
        lower = Name(output) if lower is None else terms.listed([lower, Name(output)])
    base = Name(GREEK.get(stem, stem), bold)
    upper = Fence("(", Name(path), ")") if path else None
    return base if lower is None and upper is None else Scripts(base, lower, upper)


class Symbols:
    """The terms of a circuit's names. Two names have two terms.

    `dimensions` has every value by name, `gradient_name` gives what expressions call the gradient on one.
    """

    def __init__(self, dimensions: Mapping[str, int], gradient_name: Callable[[str], str]) -> None:
        plain = {name: identifier(name, bold=False) for name in dimensions}
        times = Counter(plain.values())
        self._symbols: dict[str, _Symbol] = {}
        for name, count in dimensions.items():
            unique = times[plain[name]] == 1
            term = identifier(name, bold=count > 0) if unique else Name(name, count > 0)
            self._symbols[name] = _Symbol(term, count > 0)
            self._symbols[gradient_name(name)] = _Symbol(terms.barred(term), count > 0)

    def equation(self, names: Sequence[str], sign: str, right: Expression | None) -> Term:
        """Names, the sign behind them and an expression; with nothing on the right, as in `terms.equation`."""
        left = terms.listed([self.term(name) for name in names])
        return terms.equation((left, None if right is None else self.formula(right)), sign)

    def term(self, name: str) -> Term:
        """A value, or the gradient with respect to one, by the name that expressions have for it."""
        return self._symbols[name].term

    def formula(self, expression: Expression) -> Term:
        """An expression as a term."""
        if isinstance(expression, Leaf):
            return self.term(expression.name)
        if isinstance(expression, Constant):
            return numeral(expression.text)
        term = self._application(expression)
        return Scripts(terms.within(term, terms.ATOM), Name(expression.output)) if expression.output else term

    def _application(self, expression: Application) -> Term:
        gate, attributes = expression.gate, expression.attributes
        operands = [self.formula(operand) for operand in expression.operands]
        if gate is not None:
            notation = gate.facets.note.notation
            if notation and not attributes and (term := self._operator(notation, operands, expression)) is not None:
                return term
            if (term := _by_notation(gate, operands, expression)) is not None:
                return term
        if len(operands) > OPERANDS:
            operands = [*operands[:OPERANDS - 2], Sign("…"), operands[-1]]
        if not operands and not attributes:
            return Word(expression.name)
        function = Operator(printable(expression.name, 60))
        return terms.applied(function, [*operands, *(_attribute(key, value) for key, value in attributes.items())])

    def _operator(self, notation: str, operands: list[Term], expression: Application) -> Term | None:
        """The application of an operator of Python, or None where it is no operator."""
        if len(operands) > OPERANDS:
            operands = [*operands[:OPERANDS - 2], Sign("…"), operands[-1]]
        first, last = operands[0], operands[-1]
        if notation in ("+", "-"):
            return terms.total(operands, notation)
        if notation == "*":
            hadamard = sum(map(self._is_tensor, expression.operands)) > 1
            return terms.product(operands, "⊙" if hadamard else "·")
        if notation == "@":
            return terms.product(operands)
        if notation in ("/", "1 / {}"):
            return terms.Fraction(Number("1") if notation[0] == "1" else first, last)
        if notation == "**":
            return terms.power(first, last)
        if notation == "%":
            return terms.Row((terms.within(first, terms.PRODUCT), Word(" mod "), terms.within(last, terms.POWER)),
                             terms.PRODUCT)
        if notation in _LOOSE:
            items: list[Term] = [terms.within(first, terms.SUM)]
            for operand in operands[1:]:
                items += [Sign(_SIGNS.get(notation, notation)), terms.within(operand, terms.SUM)]
            return Fence("[", terms.row(items, terms.COMPARISON), "]")
        if notation in ("-{}", "~{}"):
            return terms.negative(first) if notation[0] == "-" else terms.Row(
                (Sign("¬"), terms.within(first, terms.POWER)), terms.NEGATIVE)
        if notation == "{}.mT":
            return terms.power(first, Sign("⊤"))
        return first if notation == "{}" else None

    def _is_tensor(self, expression: Expression) -> bool:
        if isinstance(expression, Leaf):
            return self._symbols[expression.name].tensor
        return isinstance(expression, Application) and expression.dimensions > 0


def shown(gate: Gate) -> str:
    """What formulas show of a gate, by its row; "" where that is a function of its operands and attributes."""
    formula = gate.facets.note.formula
    return gate.formula if formula == "own" else formula


def _by_notation(gate: Gate, operands: list[Term], expression: Application) -> Term | None:
    """The formula of a row with these operands; None where it has none, or none for these attributes."""
    notation = shown(gate)
    if not notation or isinstance(gate.operands, AtLeast):
        return None
    if "ᵀ" in notation and expression.dimensions != 2:  # that of a matrix
        return None
    words = set(re.findall(r"\w+", notation))
    names: dict[str, Term] = {"e": Operator("e")} | dict(zip(gate.operands, operands, strict=False))
    lower = None
    for key, value in {**gate.defaults, **expression.attributes}.items():
        if key in words:
            if not isinstance(value, int | float) or isinstance(value, bool):
                return None
            names[key] = numeral(f"{value:.6g}")
        elif key in ("axis", "axes") and words & set(_REDUCERS):
            is_plain = value in (None, -1) or not expression.dimensions  # a default that a person leaves out
            lower = _axes(value) if key in expression.attributes or not is_plain else None
        elif key != "keepdims" and key in expression.attributes:
            return None
    functions = {} if lower is None else {function: Scripts(Operator(function), lower) for function in _REDUCERS}

    def read(text: str) -> Term:
        return Reader(text, names, functions).expression()

    value, conditional, rest = notation.partition(" if ")
    if not conditional:
        return read(notation)
    condition, _, other = rest.partition(" else ")
    test = read(condition)
    test = test.inside if isinstance(test, Fence) and test.left == "[" else test
    return terms.Cases(((read(value), terms.row([Word("if "), test])), (read(other), Word("otherwise"))))


def _axes(value: Any) -> Term | None:
    if value is None:
        return None
    axes = value if isinstance(value, list | tuple) else [value]
    numbers = terms.listed([numeral(str(axis)) for axis in axes])
    return terms.row([Word("axis " if len(axes) == 1 else "axes "), numbers])


def _attribute(key: str, value: Any) -> Term:
    text = printable(str(value), 60)
    return terms.compared(Word(key), "=", numeral(text))
