r"""Formulas of gates as TeX: the notation of a row, `e^x / Σ e^x`, becomes `\frac{e^{x}}{\sum e^{x}}`.

The commands are those that KaTeX, MathJax and matplotlib's mathtext share. A character without a meaning in the
notation stands for itself, so every row of a program's own table has a formula as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from circuitflow.gates import AtLeast, Gate

GREEK = {"α": "alpha", "λ": "lambda", "π": "pi", "σ": "sigma", "φ": "varphi", "Φ": "Phi", "ψ": "psi", "Γ": "Gamma",
         **{name: name for name in ("alpha", "beta", "gamma", "delta", "epsilon", "lambda")}}
"""Greek letters and the names of attributes that are one."""

FUNCTIONS = {
    **{name: rf"\{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "ln", "max", "min", "det", "arg")},
    **{name: rf"\operatorname{{{name}}}" for name in (
        "sign", "erf", "softmax", "softplus", "diag", "var", "mean", "avg", "polygamma", "copyltu")},
    "σ": r"\sigma", "Φ": r"\Phi", "φ": r"\varphi", "Γ": r"\Gamma", "ψ": r"\psi", "Σ": r"\sum", "Π": r"\prod"}
"""Names that apply to what follows them."""

SYMBOLS = {"…": r"\ldots", "∞": r"\infty", "∫": r"\int", "∠": r"\angle"}
BETWEEN_FACTORS = {"·": r"\cdot", "@": r"\,", "⋆": r"\star", "∘": r"\circ"}
BETWEEN_TERMS = {"+": "+", "-": "-", "±": r"\pm", "=": "=", "≠": r"\neq", "<": "<", ">": ">", "≤": r"\leq",
                 "≥": r"\geq", "∧": r"\wedge", "∨": r"\vee", "⊻": r"\veebar", "¬": r"\neg", "‖": r"\,\Vert\,"}
PUNCTUATION = {",": r",\;", ";": r";\;", ":": "{:}"}
CLOSING = {"(": ")", "[": "]", "|": "|", "⌊": "⌋⌉", "⌈": "⌉"}
FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil"}
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣ", "0123456789+-()nx") | {ord("ᵀ"): r"\top "}
LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
ESCAPES = {"\\": r"\backslash", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "#": r"\#", "&": r"\&", "_": r"\_",
           "^": r"\hat{}", "~": r"\sim"}

_TOKEN = re.compile(r"(?P<space>\s*)(?:{(?P<port>[\w.]+)}|(?P<number>\d+(?:\.\d+)?)|"
                    r"(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣᵀ]+)|(?P<lowered>[₀-₉]+|_[a-z0-9](?![a-z]))|"
                    r"(?P<name>[α-ωΓΦΣΠ]|[A-Za-z]{2,}(?:[-_][A-Za-z]{2,})*|[A-Za-z]\u0304?)|(?P<sign>\S))")


class _Token(NamedTuple):
    kind: str
    text: str
    space: bool


class _Factor(NamedTuple):
    """TeX, and what stands in the parentheses if it is nothing else."""

    tex: str
    inner: str | None = None

    @property
    def bare(self) -> str:
        return self.tex if self.inner is None else self.inner


def formula(gate: Gate) -> str:
    """What a gate computes, as TeX."""
    return _Reader(gate.formula, _names(gate)).expression()


def gradient(gate: Gate) -> str:
    """The backward rule of a gate as Markdown: words, and TeX between dollar signs."""
    text = gate.facets.note.gradient.replace("{operands}", "every operand").replace("{all}", "the operands")
    return "".join(_Reader(text, {name for name in _outputs(gate) if len(name) < 3}, prose=True).sentence())


def _names(gate: Gate) -> set[str]:
    """What stands for a number or a tensor in a formula; a flag does not."""
    operands = () if isinstance(gate.operands, AtLeast) else gate.operands
    fields = gate.attributes.model_fields.items()
    return {*operands, *(name for name, field in fields if field.annotation is not bool), *_outputs(gate)}


def _outputs(gate: Gate) -> tuple[str, ...]:
    return gate.output_names({**gate.defaults, **gate.facets.note.example})


def _identifier(name: str) -> str:
    if name.endswith("\u0304"):
        return rf"\bar{{{name[:-1]}}}"
    first, _, index = name.partition(".")
    tex = rf"\{GREEK[first]}" if first in GREEK else first if len(first) == 1 else rf"\mathrm{{{_escaped(first)}}}"
    return rf"{tex}_{{\mathrm{{{_escaped(index)}}}}}" if index else tex


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in text)


class _Reader:
    """Reads the notation once, from left to right.

    In prose, a word stands outside of a formula, unless brackets are open.
    """

    def __init__(self, text: str, names: set[str], *, prose: bool = False) -> None:
        self.names, self.prose, self.depth, self.at = names, prose, 0, 0
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

    def sentence(self) -> Iterator[str]:
        """Words, with formulas between dollar signs."""
        while self.next.kind != "end":
            space = " " if self.next.space else ""
            if self.is_word() or self.next.text in PUNCTUATION:
                yield space + self.take().text
            else:
                yield f"{space}${self.expression()}$"

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

    def expression(self, closing: str = "") -> str:
        """Terms up to a closing bracket; in prose and outside of brackets, up to a word or a comma."""
        tex = ""
        while self.next.kind != "end" and (self.next.text not in closing or not closing):
            if self.prose and not self.depth and (self.is_word() or self.next.text in PUNCTUATION):
                break
            if self.next.text in BETWEEN_TERMS:
                sign = BETWEEN_TERMS[self.take().text]
                tex += f" {sign} " if tex else sign if sign in "+-" else f"{sign} "
            elif self.next.text in PUNCTUATION:
                tex += PUNCTUATION[self.take().text] + " "
            elif self.is_word():
                tex += self.words(" " if tex and tex[-1] != " " else "")
            else:
                tex += self.product()
        return tex.strip()

    def words(self, before: str) -> str:
        words = [self.take().text]
        while self.is_word():
            words.append(self.take().text)
        after = " " if self.starts_factor() else ""
        return rf"\text{{{before}{_escaped(' '.join(words))}{after}}}"

    def product(self) -> str:
        """Factors side by side, or with signs between them; a fraction has everything before its stroke on top."""
        tex = [self.factor()]
        while True:
            if self.next.text in BETWEEN_FACTORS:
                sign = BETWEEN_FACTORS[self.take().text]
                sign += self.scripts() if self.next.kind == "raised" else ""
                tex += [_Factor(sign), self.operand()]
            elif self.next.text == "/" and self.next.space:
                self.take()
                top = tex[0].bare if len(tex) == 1 else " ".join(factor.tex for factor in tex)
                tex = [_Factor(rf"\frac{{{top}}}{{{self.operand().bare}}}")]
            elif self.next.text == "/":
                self.take()
                tex += [_Factor("/"), self.operand()]
            elif self.starts_factor():
                tex += [_Factor(r"\,"), self.factor()]
            else:
                return " ".join(factor.tex for factor in tex)

    def starts_factor(self, at: int = 0) -> bool:
        token = self.peek(at)
        return (token.kind in ("port", "number") or (token.kind == "name" and not self.is_word(at))
                or token.text in SYMBOLS or token.text == "√"
                or (token.text in CLOSING and (token.text != "|" or token.space)))

    def operand(self) -> _Factor:
        """What stands behind a sign, where a word is a name."""
        return _Factor(rf"\text{{{self.take().text}}}{self.scripts()}") if self.is_word() else self.factor()

    def factor(self) -> _Factor:
        token = self.take()
        if token.text == "√":
            return _Factor(rf"\sqrt{{{self.factor().bare}}}")
        if token.text in CLOSING and token.kind == "sign":
            return self.bracket(token.text)
        if token.kind == "name" and token.text in FUNCTIONS and (
                token.text not in self.names or self.starts_factor()):
            function = FUNCTIONS[token.text] + self.scripts()
            if not self.starts_factor():
                return _Factor(function)
            space = "" if self.next.text == "(" else " "
            return _Factor(function + space + self.factor().tex)
        if token.kind == "name" and len(token.text) > 1 and token.text not in {*self.names, "dt"} and (
                token.text[-1] != "\u0304" and token.text not in GREEK):
            tex = rf"\text{{{_escaped(token.text)}}}"
        elif token.kind in ("port", "name"):
            tex = r"\mathrm{d} t" if token.text == "dt" else _identifier(token.text)
        else:
            tex = SYMBOLS.get(token.text) or _escaped(token.text)
        return _Factor(tex + self.scripts())

    def bracket(self, opening: str) -> _Factor:
        self.depth += 1
        inner = self.expression(CLOSING[opening])
        self.depth -= 1
        closing = self.take().text
        if opening == "|":
            return _Factor(rf"\left\vert {inner} \right\vert{self.scripts()}")
        left, right = FENCES[opening], FENCES.get(closing, "")
        if r"\frac" in inner and right:
            left, right = rf"\left{left}", rf"\right{right}"
        scripts = self.scripts()
        space = " " if left[-1].isalpha() else ""
        tex = f"{left}{space}{inner}{space}{right}{scripts}"
        return _Factor(tex, inner if opening == "(" and not scripts else None)

    def scripts(self) -> str:
        """Exponents, indices and subscripts that belong to what was read."""
        scripts: list[str] = []
        while True:
            if self.raises(0):
                scripts.append(f"^{{{self.take().text.translate(RAISED).strip()}}}")
            elif self.next.kind == "lowered" and not self.next.space:
                scripts.append(f"_{{{self.take().text.translate(LOWERED).removeprefix('_')}}}")
            elif self.next.text == "^":
                self.take()
                sign = self.take().text if self.next.text == "-" else ""
                scripts.append(f"^{{{sign}{self.factor().bare}}}")
            elif self.next.text == "[" and not self.next.space:
                self.take()
                scripts.append(self.bracket("[").tex)
            else:
                twice = len({script[0] for script in scripts}) < len(scripts)  # TeX has one exponent on one thing
                return "{}".join(scripts) if twice else "".join(scripts)
