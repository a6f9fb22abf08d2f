r"""Prints terms as LaTeX, for its package amsmath.

All commands but `cases` are those that KaTeX, MathJax and matplotlib's mathtext share. No text can leave its group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from circuitflow.explanations import terms
from circuitflow.explanations.terms import Sign, Term
from circuitflow.text import printable

GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
         "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho",
         "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma",
         "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi",
         "Ω": "Omega"}
"""Greek letters and their names."""

_OPERATORS = {"Σ": r"\sum", "Π": r"\prod", "d": r"\mathrm{d}", "e": r"\mathrm{e}"} | {
    name: rf"\{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "ln", "max", "min", "det", "arg")}
_SIGNS = {terms.TIMES: r"\,", terms.APPLY: "", "·": r"\cdot", "⊙": r"\odot", "⋆": r"\star", "∘": r"\circ", "±": r"\pm",
          "≠": r"\neq", "≤": r"\leq", "≥": r"\geq", "∧": r"\wedge", "∨": r"\vee", "⊻": r"\veebar", "¬": r"\neg",
          "‖": r"\,\Vert\,", "…": r"\ldots", "∞": r"\infty", "∫": r"\int", "∠": r"\angle", "⊤": r"\top", ",": r",\;",
          ";": r";\;", ":": "{:}", "∂": r"\partial", "+=": r"\mathrel{+}=", "\\": r"\backslash",
          "{": r"\{", "}": r"\}", "$": r"\$",
          "%": r"\%", "#": r"\#", "&": r"\&", "_": r"\_", "^": r"\hat{}", "~": r"\sim"}
_FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil",
           "|": r"\vert"}
_ESCAPES = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "#": r"\#", "&": r"\&",
            "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
            ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}"}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿˣ", "0123456789+-nx", strict=True)) | {"ᵀ": r"\top"}
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_BREAKS = ("+", "-", "·", "⊙")
"""Signs that a line may begin with."""

_GLYPH = re.compile(rf"\\(?:{'|'.join(GREEK.values())}|cdot|odot|sum|prod|ldots|infty|partial|vert|times|top)\b")

_SILENT = re.compile(r"\\(?:left|right|frac|sqrt|text|bar|overline|math\w+|operatorname|boldsymbol)\b|[{}\s^_]|\\[,;]")

_SYMBOLS = {"−": "-", "×": r"\times", "√": r"\sqrt{}", "→": r"\to", "Σ": r"\sum", "Π": r"\prod"}
"""What the words of gates use beside ASCII."""


def latex(term: Term) -> str:
    """A term as LaTeX, for mathematics."""
    match term:
        case terms.Number(text):
            return text
        case terms.Name(text, bold):
            return _name(text, bold=bold)
        case terms.Word(text):
            return rf"\text{{{prose(text)}}}"
        case terms.Operator(text):
            return _OPERATORS.get(text) or (rf"\{GREEK[text]}" if text in GREEK
                                            else rf"\operatorname{{{_upright(text)}}}")
        case terms.Sign(text):
            return _SIGNS[text] if text in _SIGNS else text if text.isascii() else rf"\text{{{prose(text)}}}"
        case terms.Row(items):
            return _side_by_side(items)
        case terms.Fraction(top, bottom):
            return rf"\frac{{{latex(top)}}}{{{latex(bottom)}}}"
        case terms.Root(inside):
            return rf"\sqrt{{{latex(inside)}}}"
        case terms.Bar(inside):
            wide = isinstance(inside, terms.Name) and len(inside.text) > 1
            return rf"\{'overline' if wide else 'bar'}{{{latex(inside)}}}"
        case terms.Scripts(base, lower, upper):
            below = f"_{{{latex(lower)}}}" if lower is not None else ""
            above = f"^{{{latex(upper)}}}" if upper is not None else ""
            return (latex(base) if base != terms.NOTHING else "{}") + below + above
        case terms.Fence():
            return _fence(term)
        case terms.Cases(rows):
            lines = r" \\ ".join(f"{latex(value)} & {latex(condition)}" for value, condition in rows)
            return rf"\begin{{cases}} {lines} \end{{cases}}"


def width(text: str) -> int:
    """How many letters stand side by side in LaTeX, about; those of a fraction and of scripts count in full."""
    return len(_SILENT.sub("", _GLYPH.sub("x", text)))


def broken(term: Term, room: int) -> list[str]:
    """A term in lines of about so many letters, as far as there are signs to break it at; each is valid by itself."""
    lines, line = list[str](), ""
    for piece in _pieces(term):
        if line and width(line + piece) > room:
            lines.append(line)
            line = "{}"
        line += f" {piece}" if line else piece
    return [*lines, line]


def _pieces(term: Term) -> list[str]:
    """A term in pieces that begin with a sign, or follow a comma; those of parentheses stand by themselves."""
    if not isinstance(term, terms.Row):
        return [latex(term)]
    groups: list[list[Term]] = [[]]
    for i, item in enumerate(term.items):
        after = i and term.items[i - 1] == Sign(",")
        if i and (after or (isinstance(item, Sign) and item.text in _BREAKS)):
            groups.append([])
        groups[-1].append(item)
    return [piece for group in groups for piece in _of_group(group)]


def _of_group(group: Sequence[Term]) -> list[str]:
    """A piece, or several where parentheses at its end have some."""
    signed = len(group) > 1 and isinstance(group[0], Sign)
    whole, last = f"{latex(group[0])} {_side_by_side(group[1:])}" if signed else _side_by_side(group), group[-1]
    inside = _pieces(last.inside) if isinstance(last, terms.Fence) and last.left == "(" else []
    if len(inside) < 2 or r"\left" in whole:
        return [whole]
    before = whole.removesuffix(latex(last))
    return [f"{before}({inside[0]}", *inside[1:-1], f"{inside[-1]})"]


def prose(text: str) -> str:
    """Any text as LaTeX outside of mathematics: printable, without markup."""
    letters = "".join(_letter(character) for character in printable(text, 10_000))
    return re.sub(r"-(?=\d)", "$-$", re.sub("-(?=-)", "-{}", letters))  # minus signs, and no dash of several hyphens


def _letter(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character in _RAISED:
        return f"$^{{{_RAISED[character]}}}$"
    if character in _LOWERED:
        return f"$_{{{_LOWERED[character]}}}$"
    sign = _SYMBOLS.get(character) or (rf"\{GREEK[character]}" if character in GREEK else
                                       _SIGNS.get(character, "") if not character.isascii() else "")
    return f"${sign}$" if sign else character


def _name(text: str, *, bold: bool) -> str:
    if text in GREEK:
        return rf"\boldsymbol{{\{GREEK[text]}}}" if bold else rf"\{GREEK[text]}"
    if bold:
        return rf"\mathbf{{{_upright(text)}}}"
    return text if len(text) == 1 and text.isascii() and text.isalpha() else rf"\mathrm{{{_upright(text)}}}"


def _upright(text: str) -> str:
    """A word in an upright font of mathematics."""
    if re.fullmatch(r"[A-Za-z0-9_./]*", text):
        return text.replace("_", r"\_")
    return rf"\text{{{prose(text)}}}"


def _side_by_side(items: Sequence[Term]) -> str:
    text = ""
    for i, item in enumerate(items):
        part = latex(item)
        before = items[i - 1] if i else None
        prefix = i == 1 and isinstance(before, terms.Sign) and before.text in ("+", "-")
        application = isinstance(item, terms.Fence) and (not isinstance(before, terms.Sign)
                                                         or before.text == terms.APPLY)
        spaced = ((isinstance(item, terms.Word) and item.text.startswith(" "))
                  or (isinstance(before, terms.Word) and before.text.endswith(" ")))
        punctuation = isinstance(item, terms.Sign) and item.text in (",", ";")
        closed = prefix or application or spaced or punctuation or part.startswith("{}")
        text += part if closed or not text or not part else f" {part}"
    return text


def _fence(fence: terms.Fence) -> str:
    inside = latex(fence.inside)
    left, right = _FENCES[fence.left], _FENCES.get(fence.right, "")
    if right and (fence.left == "|" or r"\frac" in inside or r"\begin" in inside):
        left, right = rf"\left{left}", rf"\right{right}"
    space = " " if left[-1].isalpha() else ""
    return f"{left}{space}{inside}{space}{right}"
