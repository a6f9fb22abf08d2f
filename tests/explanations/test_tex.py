"""Formulas of gates as TeX: what is written for a notation, and that a reader of TeX takes all of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

import circuitflow as cf
from circuitflow.explanations import tex
from circuitflow.gates import GATES, Note
from circuitflow.gates.record import family
from circuitflow.gates.shapes import elementwise

PARSER = MathTextParser("path")


def row(formula, gradient="{g} to {x}"):
    gate = cf.Gate(formula, "", ("x",), elementwise, forward=lambda xp, x: x, backward=(lambda op, g, out, x: g,))
    return family({"own": gate}, {"own": Note(gradient)})["own"]


@pytest.mark.parametrize(("name", "formula"), {
    "add": r"x + y + \ldots",
    "sigmoid": r"\frac{1}{1 + e^{-x}}",
    "softmax": r"\frac{e^{x}}{\sum e^{x}}",
    "erf": r"2 / \sqrt{\pi} \, \int_{0}^{x} \, e^{-t^{2}} \, \mathrm{d} t",
    "reduce_std": r"\sqrt{\frac{\sum (x - \bar{x})^{2}}{n - \mathrm{ddof}}}",
    "atanh": r"\frac{\ln\left(\frac{1 + x}{1 - x}\right)}{2}",
    "clip": r"\min(\max(x,\; \mathrm{min}),\; \mathrm{max})",
    "celu": r"x\text{ if }x > 0\text{ else }\alpha \, (e^{x / \alpha} - 1)",
    "inv": "x^{-1}",
    "solve": r"a^{-1} \, b",
    "round": r"\lfloor x \rceil",
    "is_inf": r"\left\vert x \right\vert = \infty",
    "polygamma": r"\psi^{(n)}(x)",
    "top_k": r"\text{the }k\text{ largest of }x",
    "gather_nd": r"x[\mathrm{indices}[0],\; \mathrm{indices}[1],\; \ldots]",
}.items())
def test_a_formula(name, formula):
    assert tex.formula(GATES[name]) == formula


@pytest.mark.parametrize(("name", "rule"), {
    "div": r"$\frac{g}{y}$ to $x$, $-\frac{g \cdot \mathrm{out}}{y}$ to $y$",
    "max": r"$g$ to the one of the operands that equals $\mathrm{out}$",
    "relu": "$g$ to $x$ where it is above $0$, else $0$",
    "attention_weights": "$g$ through the softmax and the scores to $q$ and $k$",
    "reduce_var": r"$\frac{2 \, g \, (x - \text{its mean})}{n - \mathrm{ddof}}$ to $x$",
    "huber": r"$g$ times $x - \mathrm{target}$, clipped to $\pm \delta$, to $x$; the opposite to $\mathrm{target}$",
    "cast": "$g$ in the dtype of $x$, if both are floating-point",
    "slogdet": r"the inverse of $x$, transposed, times $g_{\mathrm{logabsdet}}$",
    "einsum_no_nan": "as einsum, by the same gate",
}.items())
def test_a_rule(name, rule):
    assert tex.gradient(GATES[name]) == rule


def test_every_formula_is_read_by_a_reader_of_tex():
    """A strict one: it refuses commands that it does not know, and braces that do not close."""
    for name, gate in GATES.items():
        formulas = re.findall(r"\$([^$]+)\$", tex.gradient(gate))
        assert formulas or "{" not in gate.facets.note.gradient, name
        for formula in [tex.formula(gate), *formulas]:
            PARSER.parse(f"${formula}$")


def test_no_sign_of_a_formula_is_left_as_it_is():
    """What the notation does not know stays a letter of no alphabet of TeX."""
    for name, gate in GATES.items():
        assert tex.formula(gate).isascii(), name
        assert tex.gradient(gate).isascii(), name


@given(st.text(r"ax1²⁻ᵀₙ_^√Σ∫·/+-=(|[⌊)]⌋⌉,; {}\$%&#~é", max_size=12))
def test_any_text_of_a_row_gives_braces_that_close(text):
    for written in (tex.formula(row(text)), tex.gradient(row("", text))):
        depth = 0
        for sign in re.findall(r"\\.|[{}]", written):
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0
        assert depth == 0


def test_a_row_has_one_exponent_on_one_thing():
    assert tex.formula(row("x²^y")) == "x^{2}{}^{y}"
