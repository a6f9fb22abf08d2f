"""Mathematical expressions as trees, which `latex` and `mathml` print.

Signs, Greek letters and operators are the characters of Unicode for them. `product`, `power` and the other functions
put parentheses where an operand would fall apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

COMPARISON, SUM, NEGATIVE, PRODUCT, APPLICATION, POWER, ATOM = range(1, 8)
"""How tightly an expression holds together."""

TIMES, APPLY = "\u2062", "\u2061"
"""Invisible signs: of a product by juxtaposition, and of a function applied to what follows."""


class Number(NamedTuple):
    """Digits."""

    text: str


class Name(NamedTuple):
    """A variable: a Greek letter, a Latin one, or a word that is set upright. Tensors are bold."""

    text: str
    bold: bool = False


class Word(NamedTuple):
    """Any text, with the spaces that stand around it. It is never read as markup."""

    text: str


class Operator(NamedTuple):
    """A function or a large operator by its name: sin, Σ."""

    text: str


class Sign(NamedTuple):
    """A sign between terms or factors, or a symbol that stands for itself."""

    text: str


class Row(NamedTuple):
    """Terms side by side, and how tightly they hold together."""

    items: tuple[Term, ...]
    binding: int = ATOM


class Fraction(NamedTuple):
    """A fraction."""

    top: Term
    bottom: Term


class Root(NamedTuple):
    """A square root."""

    inside: Term


class Bar(NamedTuple):
    """A term under a bar: a mean, or the gradient with respect to it."""

    inside: Term


class Scripts(NamedTuple):
    """A term with an index, an exponent, or both."""

    base: Term
    lower: Term | None = None
    upper: Term | None = None


class Fence(NamedTuple):
    """A term in brackets; `right` may be empty."""

    left: str
    inside: Term
    right: str


class Cases(NamedTuple):
    """Values, each with its condition."""

    rows: tuple[tuple[Term, Term], ...]


Term = Number | Name | Word | Operator | Sign | Row | Fraction | Root | Bar | Scripts | Fence | Cases

NOTHING = Row(())


def row(items: Sequence[Term], binding: int = ATOM) -> Term:
    """Terms side by side; one alone is itself."""
    return items[0] if len(items) == 1 else Row(tuple(items), binding)


def binding(term: Term) -> int:
    """How tightly a term holds together."""
    match term:
        case Row(binding=value):
            return value
        case Scripts(upper=upper):
            return ATOM if upper is None else POWER
        case Fraction():
            return POWER
        case Cases():
            return COMPARISON
    return ATOM


def within(term: Term, least: int) -> Term:
    """A term where only one that binds so tightly may stand: in parentheses if it does not."""
    return Fence("(", term, ")") if binding(term) < least else term


def bare(term: Term) -> Term:
    """A term without parentheses around all of it."""
    return term.inside if isinstance(term, Fence) and term.left == "(" else term


def total(terms: Sequence[Term], sign: str = "+") -> Term:
    """A sum, or with the sign "-" what is left of the first term."""
    first, *rest = terms
    items = [within(first, SUM)]
    for term in rest:
        items += [Sign(sign), within(term, PRODUCT)]
    return row(items, SUM)


def negative(term: Term) -> Term:
    """A term with the opposite sign."""
    return Row((Sign("-"), within(term, PRODUCT)), NEGATIVE)


def product(factors: Sequence[Term], sign: str = TIMES) -> Term:
    """A product. The signs of its factors stand before it, equal factors make a power, but for juxtaposed matrices.

    A function needs parentheses before other factors.
    """
    signs, flat = zip(*(_unsigned(factor) for factor in factors), strict=True)
    factors = [part for factor in flat for part in _factors(factor, sign)]
    items: list[Term] = []
    for equal, group in groupby(factors):
        alike = list(group)
        powers = alike if sign == TIMES or len(alike) == 1 else [power(equal, Number(str(len(alike))))]
        for factor in powers:
            items += [Sign(sign), factor] if items else [factor]
    last = len(items) - 1
    fenced = [within(item, POWER if i < last and binding(item) == APPLICATION else PRODUCT)
              for i, item in enumerate(items)]
    result = row(fenced, PRODUCT)
    return negative(result) if sum(signs) % 2 else result


def _unsigned(term: Term) -> tuple[bool, Term]:
    """Whether a term has a minus sign, and the term without it."""
    if isinstance(term, Row) and term.binding == NEGATIVE and term.items[0] == Sign("-"):
        return True, term.items[1]
    return False, term


def _factors(term: Term, sign: str) -> Sequence[Term]:
    """The factors of a product with this sign, and those of a power; any other term by itself."""
    if sign != TIMES and isinstance(term, Scripts) and term.lower is None and isinstance(term.upper, Number) and (
            term.upper.text in "23456789"):
        return [term.base] * int(term.upper.text)
    if isinstance(term, Row) and term.binding == PRODUCT and set(term.items[1::2]) == {Sign(sign)}:
        return term.items[::2]
    return [term]


def power(base: Term, exponent: Term) -> Term:
    """A power."""
    return Scripts(within(base, ATOM), None, bare(exponent))


def compared(left: Term, sign: str, right: Term) -> Term:
    """Two terms with a sign between them that binds less than a sum."""
    return Row((within(left, SUM), Sign(sign), within(right, SUM)), COMPARISON)


def applied(function: Term, arguments: Sequence[Term]) -> Term:
    """A function of arguments in parentheses."""
    return Row((function, Sign(APPLY), Fence("(", listed(arguments), ")")))


def listed(terms: Sequence[Term]) -> Term:
    """Terms with commas between them."""
    items: list[Term] = []
    for term in terms:
        items += [Sign(","), term] if items else [term]
    return row(items) if items else NOTHING


def equation(sides: tuple[Term, Term | None], sign: str) -> Term:
    """Two sides and the sign between them; with nothing on the right, the left one alone, or before a "+=" sign."""
    left, right = sides
    if right is None:
        return left if sign == "=" else Row((left, Sign(sign)), COMPARISON)
    return Row((left, Sign(sign), right), COMPARISON)


def barred(term: Term) -> Term:
    """A variable under a bar, beside which its indices stand."""
    return term._replace(base=barred(term.base)) if isinstance(term, Scripts) else Bar(term)
