"""Prints terms as MathML Core, which browsers draw themselves.

Bold letters are those of Unicode's mathematical alphabets: browsers take no other account of boldness.
"""

from __future__ import annotations

import html

from circuitflow.explanations import terms
from circuitflow.explanations.terms import Term
from circuitflow.text import printable

NAMESPACE = "http://www.w3.org/1998/Math/MathML"

_BOLD = {character: chr(start + i) for first, count, start in (
    ("A", 26, 0x1D400), ("a", 26, 0x1D41A), ("0", 10, 0x1D7CE), ("α", 25, 0x1D6C2), ("Α", 25, 0x1D6A8))
    for i, character in enumerate(chr(ord(first) + i) for i in range(count))}
_OPERATORS = {"Σ": "∑", "Π": "∏"}


def mathml(term: Term) -> str:
    """A term as elements of MathML; a formula has `<math>` around them."""
    match term:
        case terms.Number(text):
            return f"<mn>{_text(text)}</mn>"
        case terms.Name(text, bold):
            return f"<mi>{_text(''.join(_BOLD.get(c, c) for c in text) if bold else text)}</mi>"
        case terms.Word(text):
            return f"<mtext>{_text(text).replace(' ', '&#xA0;')}</mtext>"
        case terms.Operator(text) if text in _OPERATORS:
            return f'<mo movablelimits="false">{_OPERATORS[text]}</mo>'
        case terms.Operator(text):
            return f'<mi mathvariant="normal">{_text(text)}</mi>'
        case terms.Sign(terms.TIMES):
            return '<mo lspace="0.17em">&#x2062;</mo>'
        case terms.Sign(terms.APPLY):
            return "<mo>&#x2061;</mo>"
        case terms.Sign(text):
            return f"<mo>{_text(text.replace('-', '−'))}</mo>"
        case terms.Row(items):
            return f"<mrow>{_items(items)}</mrow>"
        case terms.Fraction(top, bottom):
            return f"<mfrac>{mathml(top)}{mathml(bottom)}</mfrac>"
        case terms.Root(inside):
            return f"<msqrt>{mathml(inside)}</msqrt>"
        case terms.Bar(inside):
            return f'<mover accent="true">{mathml(inside)}<mo stretchy="true">‾</mo></mover>'
        case terms.Scripts():
            return _scripts(term)
        case terms.Fence(left, inside, right):
            return f"<mrow>{_bracket(left)}{mathml(inside)}{_bracket(right)}</mrow>"
        case terms.Cases(rows):
            lines = "".join(f"<mtr><mtd>{mathml(value)}</mtd><mtd>{mathml(condition)}</mtd></mtr>"
                            for value, condition in rows)
            return f"<mrow>{_bracket('{')}<mtable>{lines}</mtable></mrow>"


def inline(term: Term) -> str:
    """A term as a formula in a line of HTML."""
    return f'<math displaystyle="true">{mathml(term)}</math>'


def _bracket(text: str) -> str:
    return f'<mo fence="true" stretchy="true">{_text(text)}</mo>' if text else ""


def _items(items: tuple[Term, ...]) -> str:
    text = ""
    for i, item in enumerate(items):
        prefix = not i and isinstance(item, terms.Sign) and len(items) == 2
        text += mathml(item).replace("<mo>", '<mo form="prefix">') if prefix else mathml(item)
        if _is_function(item) and i + 1 < len(items) and not isinstance(items[i + 1], terms.Sign | terms.Fence):
            text += '<mspace width="0.17em"/>'
    return text


def _is_function(term: Term) -> bool:
    return isinstance(term.base if isinstance(term, terms.Scripts) else term, terms.Operator)


def _scripts(term: terms.Scripts) -> str:
    large = isinstance(term.base, terms.Operator) and term.base.text in (*_OPERATORS, "max", "min")
    parts = [term.base, *(script for script in (term.lower, term.upper) if script is not None)]
    tag = {(True, True): "subsup", (True, False): "sub", (False, True): "sup", (False, False): "row"}[
        term.lower is not None, term.upper is not None]
    if large and tag == "sub":
        tag = "under"
    return f"<m{tag}>{''.join(map(mathml, parts))}</m{tag}>"


def _text(text: str) -> str:
    return html.escape(printable(text, 10_000))
