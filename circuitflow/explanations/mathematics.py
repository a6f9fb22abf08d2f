"""The formulas of an explanation as LaTeX and as MathML, aligned at their signs, with the numbers beside them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from circuitflow.explanations.explanation import BACKWARD, NOTE, Explanation, Stage, sections
from circuitflow.explanations.formulas import Symbols, numeral
from circuitflow.explanations.latex import latex, prose
from circuitflow.explanations.mathml import NAMESPACE, mathml
from circuitflow.explanations.terms import Sign, Term, Word
from circuitflow.text import printable

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
    yield r"\begin{align*}"
    for i, stage in enumerate(stages):
        left, right = _sides(stage, symbols)
        value = latex(numeral(stage.value))
        sides = f"{latex(right)} &&= {value}" if right is not None else value
        remark = f" &&{'' if right is not None else '&&'} {latex(Word(stage.remark))}" if stage.remark else ""
        yield f"  {latex(left)} &{latex(Sign(stage.sign))} {sides}{remark}" + (r" \\" if i < len(stages) - 1 else "")
    yield r"\end{align*}"


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
