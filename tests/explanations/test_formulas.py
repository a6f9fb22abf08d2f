"""Formulas of explanations as LaTeX and as MathML: what a person would write, and text that stays text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

import circuitflow as cf
from circuitflow.explanations.catalogue import example
from circuitflow.explanations.explanation import explanation
from circuitflow.explanations.expressions import Application, Leaf
from circuitflow.explanations.formulas import Symbols, numeral, shown
from circuitflow.explanations.latex import latex, prose, width
from circuitflow.explanations.mathml import NAMESPACE, mathml
from circuitflow.explanations.notation import Reader
from circuitflow.explanations.terms import Name, Operator, Word, total
from circuitflow.gates import GATES
from circuitflow.text import printable
from support.documents import circuit
from support.hostile import HOSTILE
from support.suite import GUARD, ROOT

PARSER = MathTextParser("path")
CHILDREN = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3}


def run(name):
    return cf.Executor(cf.load(ROOT / f"circuits/{name}.json")).run()


def formulas(result):
    told = explanation(result)
    stages = [*told.sources, *told.forward, *(stage for block in told.backward for stage in block.stages)]
    return [told.symbols.equation([stage.left], stage.sign, stage.expression) for stage in stages]


def right_of(*nodes):
    """The formula of the last node, the names x, y and z being inputs."""
    told = explanation(cf.Executor(circuit(*nodes)).forward())
    return latex(told.symbols.formula(told.forward[-1].expression))


def node(gate, *inputs, **attributes):
    return {"id": "f", "gate": gate, "inputs": list(inputs), **attributes}


VECTORS = ("x = [1, 2]", "y = [3, 4]")
MATRICES = ("A = [[1, 2], [3, 4]]", "b = [1, 2]")


@pytest.mark.parametrize(("nodes", "formula"), [
    (("w_0 = 2", "h1 = 3", "f = mul(w_0, h1)"), r"w_{0} \cdot h_{1}"),
    (("x = 2", "y = 3", "f = div(x, y)"), r"\frac{x}{y}"),
    (("x = 2", "y = 3", "f = pow(x, y)"), "x^{y}"),
    (("x = 2", "y = 3", "f = hypot(x, y)"), r"\sqrt{x^{2} + y^{2}}"),
    (("alpha = 2", "f = sigmoid(alpha)"), r"\sigma(\alpha)"),
    (("e = 2", "f = exp(e)"), r"\mathrm{e}^{e}"),
    (("x = 2", "f = reciprocal(x)"), r"\frac{1}{x}"),
    (("loss_rate = 2", "f = neg(loss_rate)"), r"-\mathrm{loss\_rate}"),
    (("w_hidden = 2", "f = log(w_hidden)"), r"\ln w_{\mathrm{hidden}}"),
    (("x = 2", "y = 1", "f = less(x, y)"), "[x < y]"),
    (("x1 = 2", "x_1 = 3", "f = add(x1, x_1)"), r"\mathrm{x1} + \mathrm{x\_1}"),
    ((*VECTORS, "f = mul(x, y)"), r"\mathbf{x} \odot \mathbf{y}"),
    ((*MATRICES, "f = matmul(A, b)"), r"\mathbf{A} \, \mathbf{b}"),
    ((*MATRICES, "f = matrix_transpose(A)"), r"\mathbf{A}^{\top}"),
    ((*MATRICES, "f = solve(A, b)"), r"\mathbf{A}^{-1} \, \mathbf{b}"),
    ((*MATRICES, node("reduce_sum", "A", axis=[0])), r"\sum_{\text{axis }0} \mathbf{A}"),
    ((*MATRICES, node("reduce_log_sum_exp", "A", axis=[0, 1])),
     r"\ln \sum_{\text{axes }0,\; 1} \mathrm{e}^{\mathbf{A}}"),
    ((*MATRICES, node("softmax", "A", axis=0)), r"\operatorname{softmax}_{\text{axis }0}(\mathbf{A})"),
    ((*MATRICES, node("reshape", "A", shape=[4])), r"\operatorname{reshape}(\mathbf{A},\; \text{shape} = \text{[4]})"),
    ((*MATRICES, node("reduce_max", "A", keepdims=True)), r"\max \mathbf{A}"),
    ((*MATRICES, node("arg_max", "A")), r"\arg \max_{\text{axis }0} \mathbf{A}"),
    ((*MATRICES, {"id": "k", "gate": "input", "value": 1, "dtype": "int64"}, node("gather", "A", "k", axis=1)),
     r"\operatorname{gather}(\mathbf{A},\; k,\; \text{axis} = 1)"),
    ((*VECTORS, node("arg_max", "x")), r"\arg \max \mathbf{x}"),
    (("x = 2", node("gelu", "x")), r"x \, \Phi(x)"),
    (("x = 2", node("gelu", "x", approximate="tanh")), r"\operatorname{gelu}(x,\; \text{approximate} = \text{tanh})"),
    (("x = 2", node("clip", "x", min=0, max=1)), r"\min(\max(x,\; 0),\; 1)"),
    (("x = 2", node("elu", "x", alpha=0.5)),
     r"\begin{cases} x & \text{if }x > 0 \\ 0.5 \, (\mathrm{e}^{x} - 1) & \text{otherwise} \end{cases}"),
    (("c = [true, false]", *VECTORS, "f = where(c, x, y)"),
     r"\begin{cases} \mathbf{x} & \text{if }\mathbf{c} \\ \mathbf{y} & \text{otherwise} \end{cases}"),
])
def test_a_stage_is_written_as_a_person_writes_it(nodes, formula):
    assert right_of(*nodes) == formula


def applied(name, *operands):
    return Application(name, GATES[name], operands, {}, 0)


A, B, C = map(Leaf, "abc")


@pytest.mark.parametrize(("tree", "formula"), [
    (applied("sub", A, applied("sub", B, C)), "a - (b - c)"), (applied("sub", applied("sub", A, B), C), "a - b - c"),
    (applied("sub", A, applied("neg", B)), "a - (-b)"), (applied("mul", A, applied("add", B, C)), r"a \cdot (b + c)"),
    (applied("mul", applied("neg", A), applied("neg", B)), r"a \cdot b"),
    (applied("mul", A, applied("mul", A, applied("neg", A))), "-a^{3}"),
    (applied("neg", applied("add", A, B)), "-(a + b)"), (applied("neg", applied("mul", A, B)), r"-a \cdot b"),
    (applied("pow", applied("neg", A), B), "(-a)^{b}"), (applied("pow", applied("pow", A, B), C), "(a^{b})^{c}"),
    (applied("pow", applied("div", A, B), C), r"\left(\frac{a}{b}\right)^{c}"),
    (applied("pow", A, applied("add", B, C)), "a^{b + c}"), (applied("square", applied("sin", A)), r"(\sin a)^{2}"),
    (applied("mul", applied("sin", A), B), r"(\sin a) \cdot b"),
    (applied("mul", B, applied("sin", A)), r"b \cdot \sin a"),
    (applied("matmul", A, applied("matmul", A, B)), r"a \, a \, b"),
    (applied("log", applied("mul", A, B)), r"\ln(a \cdot b)"), (applied("exp", applied("neg", A)), r"\mathrm{e}^{-a}"),
    (applied("div", applied("add", A, B), applied("sub", A, B)), r"\frac{a + b}{a - b}"),
    (applied("mul_div_no_nan", A, applied("add", B, C), C), r"\frac{a \cdot (b + c)}{c}"),
    (applied("matmul", applied("add", A, B), applied("matrix_transpose", C)), r"(a + b) \, c^{\top}"),
    (applied("mod", A, applied("mod", B, C)), r"a\text{ mod }(b\text{ mod }c)"),
    (applied("mul", applied("less", A, B), C), r"[a < b] \cdot c"),
    (applied("add", applied("where", A, B, C), C),
     r"\left(\begin{cases} b & \text{if }a \\ c & \text{otherwise} \end{cases}\right) + c"),
])
def test_parentheses_stand_where_terms_would_fall_apart(tree, formula):
    symbols = Symbols(dict.fromkeys("abc", 0), lambda name: f"d{name}")
    assert latex(symbols.formula(tree)) == formula


def test_gradients_are_under_bars_and_signs_stand_before_products():
    lines = [line.strip() for line in cf.explain(run("staged"), "latex").splitlines()]
    assert r"\overline{\mathrm{den}} &= -\overline{\mathrm{invden}} \cdot \mathrm{invden}^{2} &&= -0.791593" in lines
    assert r"\bar{x} &\mathrel{+}= \overline{\mathrm{num}} &&= 0.512144 && \text{x forks, its contributions add " \
           r"up: 2.05957} \\" in lines


def test_a_row_of_ones_own_is_a_function_by_its_name():
    """Whatever the table has for a gate of that name."""
    cube = cf.Gate("x³", "The cube.", ("x",), lambda x: x, reads=cf.Reads.INPUTS,
                   forward=lambda xp, x: x * x * x, backward=(lambda op, g, out, x: 3 * g * x * x,))
    subject = circuit("x = 2", "f = sigmoid(x)", gates={**cf.GATES, "sigmoid": cube})
    told = explanation(cf.Executor(subject).run())
    assert latex(told.symbols.formula(told.forward[0].expression)) == r"\operatorname{sigmoid}(x)"
    assert latex(told.symbols.formula(told.backward[1].stages[0].expression)) == r"3 \cdot \bar{f} \cdot x^{2}"


def test_a_gate_of_the_table_is_told_by_names_that_it_has():
    with_formula = {name: gate for name, gate in GATES.items() if shown(gate)}
    assert len(with_formula) > 50
    for name, gate in with_formula.items():
        words = set(re.findall(r"(?<![\w])[a-z](?![\w(])|[a-z]{3,}(?=\b)", shown(gate))) - {"if", "else", "e"}
        functions = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min", "sign", "erf", "relu", "softplus",
                     "softmax", "mean", "var", "det", "arg"}
        assert words - functions <= {*gate.operands, *gate.attributes.model_fields}, name


@pytest.mark.parametrize(("text", "written"), [
    ("-1.5", "-1.5"), ("1e-07", "10^{-7}"), ("-2.5e+20", r"-2.5 \cdot 10^{20}"), ("inf", r"\infty"),
    ("-inf", r"-\infty"), ("nan", r"\text{nan}"), ("[1, -2]", r"\text{[1, $-$2]}"),
])
def test_numbers(text, written):
    assert latex(numeral(text)) == written


def check_mathml(text):
    root = ET.fromstring(text)
    assert root.tag == f"{{{NAMESPACE}}}math"
    for element in root.iter():
        tag = element.tag.partition("}")[2]
        assert len(element) == CHILDREN.get(tag, len(element)), ET.tostring(element)
        assert set(element.attrib) <= {"display", "displaystyle", "columnalign", "style", "mathvariant", "accent",
                                       "form", "stretchy", "fence", "lspace", "movablelimits", "width"}
    return root


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_has_formulas_in_both_forms(gate):
    subject = cf.loads(example(gate))
    upstream = {name: np.ones(subject.type_of(output).shape) for name, output in subject.outputs.items()
                if subject.type_of(output).is_float}
    executor = cf.Executor(subject)
    result = executor.run(of=list(upstream), upstream=upstream) if upstream else executor.forward()
    for term in formulas(result):
        written = latex(term)
        if r"\begin" not in written:  # mathtext has no cases
            plain = written.replace(r"\mathrel{+}", "+")
            PARSER.parse(f"${plain}$")
    check_latex(cf.explain(result, "latex"))
    check_mathml(cf.explain(result, "mathml"))


COMMANDS = set(r"""section subsection begin end noindent frac sqrt sum prod sin cos tan sinh cosh tanh ln max min
    det arg mathrm mathbf boldsymbol operatorname text bar overline cdot odot star circ pm neq leq geq wedge vee veebar
    neg Vert ldots infty int angle top partial mathrel left right lfloor rfloor lceil rceil vert times to textbackslash
    textasciicircum textasciitilde textless textgreater textbar textquotedbl textasciigrave alpha beta gamma delta sigma
    lambda Sigma Phi Gamma psi pi varphi epsilon usepackage theta mu quad rlap""".split())


def check_latex(text):
    """Only commands of this list; groups and mathematics that close; no comment but the first line."""
    first, _, rest = text.partition("\n")
    assert first == r"% \usepackage{amsmath}"
    assert set(re.findall(r"(?<!\\)(?:\\\\)*\\([A-Za-z]+)", rest)) <= COMMANDS
    depth, dollars, environments = 0, 0, []
    for sign in re.findall(r"\\begin{[a-z*]+}|\\end{[a-z*]+}|\\.|[{}$%#~^_&\n]|[^\\]", rest):
        if sign.startswith(r"\begin"):
            environments.append(sign[6:])
        elif sign.startswith(r"\end"):
            assert environments.pop() == sign[4:]
        depth += (sign == "{") - (sign == "}")
        dollars += sign == "$"
        assert depth >= 0
        assert sign not in ("%", "#", "~")
        assert sign != "&" or environments
        assert sign not in ("^", "_") or environments or dollars % 2
        if sign == "\n":
            assert depth == 0
            assert dollars % 2 == 0
    assert (depth, environments) == (0, [])


def hostile_circuit(text):
    return circuit({"id": "x", "gate": "input", "value": 1, "label": text},
                   {"id": "f", "gate": "neg", "inputs": ["x"], "label": text}, name=text, description=text)


EVIL = [r"\input{/etc/passwd}", r"\write18{rm}", r"}\end{align*}\immediate", "% & $ # _ ^ ~ {", "^^5cinput",
        "</mtext></math><script>", "--''`", *HOSTILE]


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_leaves_no_group(text):
    result = cf.Executor(hostile_circuit(text)).run()
    check_latex(cf.explain(result, "latex"))
    root = check_mathml(cf.explain(result, "mathml"))
    assert not [element for element in root.iter() if not element.tag.startswith(f"{{{NAMESPACE}}}m")]


UNESCAPED = {r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<",
             r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\textasciigrave{}": "`", "$-$": "-",
             r"-{}": "-", **{rf"\{sign}": sign for sign in "{}$%#&_"}}


@given(st.text(st.sampled_from("\\{}$%#&_^~<>|\"`'-1ab \n\u2028é") | st.characters(max_codepoint=0x7f), max_size=20))
def test_any_text_is_told_whole_and_nothing_else(text):
    written = prose(text)
    pattern = "|".join(map(re.escape, sorted(UNESCAPED, key=len, reverse=True)))
    assert re.sub(pattern, lambda match: UNESCAPED[match[0]], written) == printable(text, 10_000)
    assert not re.sub(pattern, "", written).strip("".join(c for c in written if c not in "\\{}$%#&^~_"))
    for term in (Word(text), Name(text), Name(text, bold=True), Operator(text)):
        element = ET.fromstring(mathml(term))
        if isinstance(term, Word):
            assert (element.text or "").replace("\xa0", " ") == printable(text, 10_000)
        depth = 0
        for sign in re.findall(r"\\.|[{}]", latex(term)):
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0
        assert depth == 0


@pytest.mark.parametrize("name", ["sigmoid_neuron", "staged", "attention", "mlp", "rnn"])
def test_latex_compiles(name, tmp_path):
    """Where there is a compiler; elsewhere commands and groups are checked."""
    text = cf.explain(run(name), "latex")
    check_latex(text)
    compiler = shutil.which("tectonic") or shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("neither tectonic nor pdflatex is installed")
    path = tmp_path / "formulas.tex"
    path.write_text("\\documentclass{article}\n\\usepackage{amsmath}\n\\begin{document}\n" + text + "\\end{document}\n",
                    encoding="utf-8")
    options = [] if "tectonic" in compiler else ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run([compiler, *options, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=GUARD,
                          check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_long_formulas_go_on_below():
    """Sums, products and arguments are broken before a sign or behind a comma, and nothing is lost."""
    names = [f"partial_quantity_{i}" for i in range(9)]
    subject = circuit(*({"id": name, "gate": "input", "value": i + 1} for i, name in enumerate(names)),
                      {"id": "s", "gate": "add", "inputs": names}, {"id": "p", "gate": "mul", "inputs": names},
                      {"id": "m", "gate": "max", "inputs": names}, "f = add(s, p, m)", outputs=["f"])
    told = cf.explain(cf.Executor(subject).run(), "latex")
    check_latex(told)
    lines = [line for line in told.splitlines() if line.startswith("  ")]
    assert max(map(width, lines)) < 100
    joined = re.sub(r"\\\\|&\\quad|\{\}|\s", "", "".join(lines))
    for sign in ("+", r"\cdot", r",\;"):
        assert sign.join(rf"\mathrm{{partial\_quantity\_{i}}}" for i in range(9)) in joined


def test_notebooks_show_the_source_of_latex_and_the_formulas_of_mathml():
    result = run("staged")
    shown = cf.explain(result, "latex")._repr_mimebundle_()["text/html"]
    assert shown.startswith("<pre>% \\usepackage{amsmath}")
    shown = cf.explain(result, "mathml")._repr_mimebundle_()["text/html"]
    assert shown.startswith("<math ")
    assert json.dumps(shown)


def test_the_notation_of_rows_takes_any_term_for_a_name():
    both = total([Name("a"), Name("b")])
    for notation, formula in {
            "1 - x": "1 - (a + b)", "x - 1": "a + b - 1", "2 x": r"2 \, (a + b)", "ln x": r"\ln(a + b)",
            "x²": "(a + b)^{2}",
            "x / 2": r"\frac{a + b}{2}", "e^x": "e^{a + b}", "x[i]": "(a + b)[i]", "(x)": "(a + b)",
            "|x|": r"\left\vert a + b \right\vert"}.items():
        assert latex(Reader(notation, {"x": both}).expression()) == formula
