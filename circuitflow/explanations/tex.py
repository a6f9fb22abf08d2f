r"""Formulas of gates as TeX, for the reference pages: `e^x / Σ e^x` becomes `\frac{e^{x}}{\sum e^{x}}`."""

from __future__ import annotations

from circuitflow.explanations.latex import latex
from circuitflow.explanations.notation import Reader, symbol
from circuitflow.explanations.terms import Term
from circuitflow.gates import AtLeast, Gate


def formula(gate: Gate) -> str:
    """What a gate computes, as TeX."""
    return latex(Reader(gate.formula, _names(gate)).expression())


def gradient(gate: Gate) -> str:
    """The backward rule of a gate as Markdown: words, and TeX between dollar signs."""
    text = gate.facets.note.gradient.replace("{operands}", "every operand").replace("{all}", "the operands")
    names = {name: symbol(name) for name in _outputs(gate) if len(name) < 3}
    return "".join(part if isinstance(part, str) else f"${latex(part)}$"
                   for part in Reader(text, names, prose=True).sentence())


def _names(gate: Gate) -> dict[str, Term]:
    """What stands for a number or a tensor in a formula; a flag does not."""
    operands = () if isinstance(gate.operands, AtLeast) else gate.operands
    fields = gate.attributes.model_fields.items()
    names = {*operands, *(name for name, field in fields if field.annotation is not bool), *_outputs(gate)}
    return {name: symbol(name) for name in names}


def _outputs(gate: Gate) -> tuple[str, ...]:
    return gate.output_names({**gate.defaults, **gate.facets.note.example})
