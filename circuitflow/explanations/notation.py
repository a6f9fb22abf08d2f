"""Reads the notation of a gate's row, such as `e^x / Σ e^x`, into terms.

A character without a meaning in the notation stands for itself, so every row of a program's own table has a formula as
well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from circuitflow.explanations import terms
from circuitflow.explanations.terms import Fence, Name, Number, Operator, Scripts, Sign, Term, Word

GREEK = {name: letter for letter, name in zip("αβγδεζηθικλμνξπρστυφχψω", (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"), strict=True)}
"""Names that are Greek letters."""

FUNCTIONS = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "ln", "max", "min", "det", "arg", "sign", "erf", "softmax",
             "softplus", "diag", "var", "mean", "avg", "polygamma", "copyltu", "relu", *"σΦφΓψΣΠ"}
"""Names that apply to what follows them."""

SYMBOLS = "…∞∫∠"
BETWEEN_FACTORS = {"·": "·", "@": terms.TIMES, "⋆": "⋆", "∘": "∘", "⊙": "⊙"}
BETWEEN_TERMS = "+-±=≠<>≤≥∧∨⊻¬‖"
PUNCTUATION = ",;:"
CLOSING = {"(": ")", "[": "]", "|": "|", "⌊": "⌋⌉", "⌈": "⌉"}
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣᵀ", "0123456789+-()nx⊤")
LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_NONE: Mapping[str, Term] = MappingProxyType({})

_TOKEN = re.compile(r"(?P<space>\s*)(?:{(?P<port>[\w.]+)}|(?P<number>\d+(?:\.\d+)?)|"
                    r"(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣᵀ]+)|(?P<lowered>[₀-₉]+|_[a-z0-9](?![a-z]))|"
                    r"(?P<name>[α-ωΓΦΣΠ]|[A-Za-z]{2,}(?:[-_][A-Za-z]{2,})*|[A-Za-z]\u0304?)|(?P<sign>\S))")


class _Token(NamedTuple):
    kind: str
    text: str
    space: bool


def symbol(name: str, *, bold: bool = False) -> Term:
    """The name of an operand, an attribute or an output `f.q` in the gate's own notation."""
    if name.endswith("\u0304"):
        return terms.Bar(Name(name[:-1]))
    first, _, index = name.partition(".")
    base = Name(GREEK.get(first, first), bold)
    return Scripts(base, Name(index)) if index else base


class Reader:
    """Reads the notation once, from left to right.

    `names` are the words that stand for a number or a tensor, with their terms; `functions` has the terms of those that
    are more than their name. In prose, a word stands outside of a
    formula, unless brackets are open.
    """

    def __init__(self, text: str, names: Mapping[str, Term], functions: Mapping[str, Term] = _NONE, *,
                 prose: bool = False) -> None:
        self.functions, self.names, self.prose, self.depth, self.at = functions, names, prose, 0, 0
        self.tokens = [_Token(match.lastgroup or "", match[match.lastgroup or ""], bool(match["space"]))
                       for match in _TOKEN.finditer(text)]

    def peek(self, at: int) -> _Token:
        at += self.at
        return self.tokens[at] if at < len(self.tokens) else _Token("end", "", space=False)

    @property
    def next(self) -> _Token:
        return self.peek(0)

    def take(self) -> _Token:
        token = self.next
        self.at += 1
        return token

    def sentence(self) -> Iterator[str | Term]:
        """Words, and the formulas between them."""
        while self.next.kind != "end":
            space = " " if self.next.space else ""
            if self.is_word() or self.next.text in PUNCTUATION:
                yield space + self.take().text
            else:
                if space:
                    yield space
                yield self.expression()

    def is_word(self, at: int = 0) -> bool:
        """Whether the next name, or a later one, is a word of a language: no letter, no function of what follows."""
        token = self.peek(at)
        if token.kind != "name" or token.text in self.names or token.text == "dt":
            return False
        if token.text in FUNCTIONS:
            return self.prose and len(token.text) > 1 and not (self.starts_factor(at + 1) or self.raises(at + 1))
        return not self.raises(at + 1) and (token.text == "a" or (len(token.text) > 1 and token.text[-1] != "\u0304"))

    def raises(self, at: int) -> bool:
        return self.peek(at).kind == "raised" and not self.peek(at).space

    def expression(self, closing: str = "") -> Term:
        """Terms up to a closing bracket; in prose and outside of brackets, up to a word or a comma."""
        items: list[Term] = []
        while self.next.kind != "end" and (self.next.text not in closing or not closing):
            if self.prose and not self.depth and (self.is_word() or self.next.text in PUNCTUATION):
                break
            if self.next.text in BETWEEN_TERMS or self.next.text in PUNCTUATION:
                items.append(Sign(self.take().text))
            elif self.is_word():
                items.append(self.words("" if not items or isinstance(items[-1], Sign) else " "))
            else:
                least = terms.PRODUCT if items and items[-1] == Sign("-") else terms.SUM
                items.append(terms.within(self.product(), least))
        signs = {item.text for item in items if isinstance(item, Sign)}
        loose = signs & set(BETWEEN_TERMS) - {"+", "-"} or any(isinstance(item, Word) for item in items)
        return terms.row(items, terms.COMPARISON if loose else terms.SUM) if items else terms.NOTHING

    def words(self, before: str) -> Term:
        words = [self.take().text]
        while self.is_word():
            words.append(self.take().text)
        after = " " if self.starts_factor() else ""
        return Word(f"{before}{' '.join(words)}{after}")

    def product(self) -> Term:
        """Factors side by side, or with signs between them; a fraction has everything before its stroke on top."""
        items = [self.factor()]
        while True:
            if self.next.text in BETWEEN_FACTORS:
                sign = Sign(BETWEEN_FACTORS[self.take().text])
                items += [self.scripted(sign) if self.next.kind == "raised" else sign, self.operand()]
            elif self.next.text == "/" and self.next.space:
                self.take()
                items = [terms.Fraction(terms.bare(_product(items)), terms.bare(self.operand()))]
            elif self.next.text == "/":
                self.take()
                items += [Sign("/"), self.operand()]
            elif self.starts_factor():
                items += [Sign(terms.TIMES), self.factor()]
            else:
                return _product(items)

    def starts_factor(self, at: int = 0) -> bool:
        token = self.peek(at)
        return (token.kind in ("port", "number") or (token.kind == "name" and not self.is_word(at))
                or (token.kind == "sign" and token.text in SYMBOLS) or token.text == "√"
                or (token.text in CLOSING and (token.text != "|" or token.space)))

    def operand(self) -> Term:
        """What stands behind a sign, where a word is a name."""
        return self.scripted(Word(self.take().text)) if self.is_word() else self.factor()

    def factor(self) -> Term:
        token = self.take()
        if token.text == "√":
            return terms.Root(terms.bare(self.factor()))
        if token.text in CLOSING and token.kind == "sign":
            return self.bracket(token.text)
        if token.kind == "name" and token.text in FUNCTIONS and (
                token.text not in self.names or self.starts_factor()):
            function = self.scripted(self.functions.get(token.text, Operator(token.text)))
            if not self.starts_factor():
                return function
            argument = self.factor()
            if isinstance(argument, Fence) and token.text not in "ΣΠ":
                return terms.Row((function, Sign(terms.APPLY), argument))
            return terms.Row((function, terms.within(argument, terms.APPLICATION)), terms.APPLICATION)
        if token.kind == "number":
            return self.scripted(Number(token.text))
        if token.text == "dt":
            return terms.Row((Operator("d"), Name("t")))
        if token.text in self.names:
            return self.scripted(self.names[token.text])
        if token.kind == "port" or (token.kind == "name" and (
                len(token.text) == 1 or token.text[-1] == "\u0304" or token.text in GREEK)):
            return self.scripted(symbol(token.text))
        return self.scripted(Word(token.text) if token.kind == "name" else Sign(token.text))

    def bracket(self, opening: str) -> Term:
        self.depth += 1
        inside = self.expression(CLOSING[opening])
        self.depth -= 1
        return self.scripted(Fence(opening, inside, self.take().text))

    def scripted(self, term: Term) -> Term:
        """A term with the exponents, indices and subscripts that follow it."""
        while True:
            if self.raises(0):
                term = _script(term, upper=_raised(self.take().text.translate(RAISED)))
            elif self.next.kind == "lowered" and not self.next.space:
                index = self.take().text.translate(LOWERED).removeprefix("_")
                term = _script(term, lower=Number(index) if index.isdigit() else Name(index))
            elif self.next.text == "^":
                self.take()
                sign = [Sign(self.take().text)] if self.next.text == "-" else []
                term = _script(term, upper=terms.row([*sign, terms.bare(self.factor())]))
            elif self.next.text == "[" and not self.next.space:
                self.take()
                term = terms.Row((terms.within(term, terms.ATOM), self.bracket("[")))
            else:
                return term


def _script(term: Term, lower: Term | None = None, upper: Term | None = None) -> Term:
    """A term with one more index or exponent; a second one stands behind the first."""
    if isinstance(term, Scripts):
        if (lower is None or term.lower is None) and (upper is None or term.upper is None):
            return Scripts(term.base, lower or term.lower, upper or term.upper)
        return terms.Row((term, Scripts(terms.NOTHING, lower, upper)))
    return Scripts(term if isinstance(term, Sign | Operator) else terms.within(term, terms.ATOM), lower, upper)


def _raised(text: str) -> Term:
    items = [Number(part) if part.isdigit() else Name(part) if part.isalpha() else Sign(part)
             for part in re.findall(r"\d+|.", text)]
    if text[0] == "(" and text[-1] == ")":
        return Fence("(", terms.row(items[1:-1]), ")")
    return terms.row(items)


def _product(items: list[Term]) -> Term:
    """Factors and the signs between them, in parentheses where they would fall apart."""
    if len(items) == 1:
        return items[0]
    return terms.Row(tuple(terms.within(item, terms.PRODUCT) for item in items), terms.PRODUCT)
