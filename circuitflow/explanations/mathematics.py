"""The formulas of an explanation as LaTeX and as MathML, aligned at their signs, with the numbers beside them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from circuitflow.explanations.explanation import BACKWARD, NOTE, Explanation, Stage, sections
from circuitflow.explanations.formulas import Symbols, numeral
from circuitflow.explanations.latex import broken, latex, prose, width
from circuitflow.explanations.mathml import NAMESPACE, mathml
from circuitflow.explanations.terms import Sign, Term, Word
from circuitflow.text import printable

WIDTH = 74
"""Letters that stand side by side on a page of LaTeX, about."""

_LEFT = '<mtd style="text-align: left">'


def to_latex(content: Explanation) -> Iterator[str]:
    """The lines of a part of a document that loads amsmath."""
    yield r"% \usepackage{amsmath}"
    yield rf"\section*{{{prose(content.title)}}}"
    if content.description:
        yield prose(content.description)
    for heading, blocks in sections(content):
        yield f"\n\\subsection*{{{heading}}}"
        if heading == BACKWARD:
            yield r"$\bar{x}$ is the gradient with respect to $x$, which words call dx. Tensors are bold."
        for block in blocks:
            if block.heading:
                formula = latex(content.symbols.equation(block.names, "=", block.expression))
                yield f"\n\\noindent ${formula}$: {prose(block.words)}."
            yield from _aligned(block.stages, content.symbols)


def _aligned(stages: Sequence[Stage], symbols: Symbols) -> Iterator[str]:
    """Lines that are aligned; where they are wider than a page, long formulas go on below, and remarks stand there."""
    rows = [_Row(latex(left), right, latex(numeral(stage.value)), latex(Word(stage.remark)) if stage.remark else "",
                 latex(Sign(stage.sign))) for stage in stages for left, right in [_sides(stage, symbols)]]
    columns = zip(*((row.left, "" if row.right is None else latex(row.right), row.value, row.remark) for row in rows),
                  strict=True)
    left, right, value, remark = (max(map(width, column)) for column in columns)
    fits = left + right + value + remark + 2 <= WIDTH
    room = right if fits else max(WIDTH - left - value - 2, 20)
    lines = [line for row in rows for line in row.lines(room, beside=fits)]
    yield r"\begin{align*}"
    for i, line in enumerate(lines):
        yield f"  {line}" + (r" \\" if i < len(lines) - 1 else "")
    yield r"\end{align*}"


class _Row(NamedTuple):
    """A stage in LaTeX; `right` is None where a number stands alone."""

    left: str
    right: Term | None
    value: str
    remark: str
    sign: str

    def lines(self, room: int, *, beside: bool) -> Iterator[str]:
        """The lines of an alignment whose formulas have some room, with the remark beside the value or below it."""
        remark = f" &&{'' if self.right is not None else '&&'} {self.remark}" if self.remark and beside else ""
        *parts, last = [self.value] if self.right is None else (
            [latex(self.right)] if width(latex(self.right)) <= room else broken(self.right, room))
        last += remark if self.right is None else f" &&= {self.value}{remark}"
        for i, part in enumerate([*parts, last]):
            yield rf"&\quad {part}" if i else f"{self.left} &{self.sign} {part}"
        if self.remark and not beside:
            yield rf"&\quad \rlap{{{self.remark}}}"


def to_mathml(content: Explanation) -> Iterator[str]:
    """The lines of one element `math`."""
    yield f'<math xmlns="{NAMESPACE}" display="block">\n<mtable columnalign="left">'
    yield _text(content.title)
    if content.description:
        yield _text(content.description)
    for heading, blocks in sections(content):
        yield _text(heading)
        if heading == BACKWARD:
            yield _text(NOTE)
        for block in blocks:
            if block.heading:
                formula = mathml(content.symbols.equation(block.names, "=", block.expression))
                yield _line(f"{formula}{mathml(Word(f': {block.words}.'))}")
            lines = "\n".join(_cells(stage, content.symbols) for stage in block.stages)
            yield _line(f'<mtable columnalign="left" displaystyle="true">\n{lines}\n</mtable>')
    yield "</mtable>\n</math>"


def _text(text: str) -> str:
    return _line(f"<mtext>{html.escape(printable(text, 10_000))}</mtext>")


def _line(content: str) -> str:
    """A row of one cell."""
    return f"<mtr>{_LEFT}{content}</mtd></mtr>"


def _sides(stage: Stage, symbols: Symbols) -> tuple[Term, Term | None]:
    return symbols.term(stage.left), None if stage.expression is None else symbols.formula(stage.expression)


def _cells(stage: Stage, symbols: Symbols) -> str:
    """A stage as a row: left, sign, right, value and remark; a number alone stands on the right."""
    left, right = _sides(stage, symbols)
    value = mathml(numeral(stage.value))
    texts = [mathml(left), mathml(Sign(stage.sign)), mathml(right) if right is not None else value,
             f"<mrow>{mathml(Sign('='))}{value}</mrow>" if right is not None else "",
             mathml(Word(stage.remark)) if stage.remark else ""]
    return f"<mtr>{''.join(f'{_LEFT}{text}</mtd>' for text in texts)}</mtr>"
