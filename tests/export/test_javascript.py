"""Circuits as JavaScript: modules run in Node without code from strings, and give the interpreter's numbers."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess

import mpmath
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.flat.vectors import vectors
from circuitflow.export.javascript.exporting import export
from circuitflow.export.javascript.names import RESERVED, JavaScriptNames, identifier
from support import c_programs
from support.c_programs import FIRST_AND_LAST
from support.chosen_products import CHOSEN
from support.commands import circuitflow  # noqa: F401
from support.documents import circuit
from support.edge_points import GIVEN, POINTS, as_array
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES, Example
from support.hostile import HOSTILE, HOSTILE_NAMES
from support.hostile_circuits import TRAPS, hostile_circuit
from support.js_programs import differences, is_module, needs_node, node
from support.suite import ROOT
from support.unit_circuits import LINEAR, SWAPPED, UNITS

pytestmark = needs_node


def agreed(subjects, folder, rtol=1e-12, **options):
    """As `c_programs.agreed`, of modules."""
    def wrong(exports):
        assert all(is_module(x.module) for x in exports)
        return differences(folder, exports, rtol)

    return c_programs.agreed(subjects, lambda subject, i: export(subject, **options), wrong)


@pytest.mark.parametrize(("indices", "dtype"), [
    pytest.param(sorted(FIRST_AND_LAST), None, id="two of a gate"),
    pytest.param(sorted(FIRST_AND_LAST), "float32", id="float32", marks=pytest.mark.long),
    pytest.param(range(0, len(EXAMPLES), 3), None, id="every third", marks=pytest.mark.long)])
def test_every_gate_and_its_gradient(indices, dtype, tmp_path):
    done, refused = agreed({f"{i} {EXAMPLES[i]}": circuit_of(EXAMPLES[i]) for i in indices}, tmp_path,
                           1e-12 if dtype is None else 1e-4, dtype=dtype)
    assert (len(done), refused) == (len(indices), {})


def test_a_product_that_is_not_read_is_not_computed(tmp_path):
    done, refused = agreed(CHOSEN, tmp_path)
    assert (len(done), refused) == (len(CHOSEN), {})
    products = {name: cf.to_javascript(CHOSEN[f"{name}, True, None"], wrt=()).count("if (")
                for name in ("one side", "both sides", "read elsewhere too", "a choice by element")}
    least = products["a choice by element"]
    assert products == {"one side": least + 1, "both sides": least + 2, "read elsewhere too": least,
                        "a choice by element": least}


def test_the_conventions_at_ties_and_edges_are_kept(tmp_path):
    subjects = {f"{i} {gate} {operands}": circuit_of(Example(gate, tuple(map(as_array, operands)), GIVEN.get(gate, {})))
                for i, (gate, operands, *_) in enumerate(POINTS)}
    done, refused = agreed(subjects, tmp_path)
    assert (len(done), refused) == (len(subjects), {})


def test_the_examples(tmp_path):
    paths = [*(ROOT / "circuits").glob("*.json"), *(ROOT / "circuits/classics").glob("*.json")]
    subjects = {path.stem: cf.load(path) for path in paths if path.stem not in ("mlp", "digits")}
    units = {"units": cf.loads(json.dumps(UNITS)), "swapped": cf.loads(json.dumps(SWAPPED))}
    second = {f"gradient of {name}": cf.gradient(subject) for name, subject in units.items()}
    done, refused = agreed({**subjects, **units, **second}, tmp_path)
    assert (len(done) > 30, refused) == (True, {})


def test_the_jacobian_and_hessian_products(tmp_path):
    subjects = {path: cf.load(ROOT / f"circuits/{path}.json") for path in ("staged", "rnn", "spiral")}
    assert agreed({**subjects, "linear": LINEAR, "units": cf.loads(json.dumps(UNITS))}, tmp_path, jacobian=True,
                  hvp=True) == ([*subjects, "linear", "units"], {})
    declared = export(subjects["staged"], jacobian=True, hvp=True).declarations
    assert "export interface Tangents {\n  x: number;\n  y: number;\n}" in declared
    takes = "inputs?: Inputs, parameters?: Parameters"
    assert f"export function jacobian({takes}): {{ derivatives: Derivatives }};" in declared
    assert f"export function hvp(tangents: Tangents, {takes}): {{ products: Products }};" in declared


def test_the_error_function_is_that_of_python(tmp_path):
    """Within 2 ulps, and what it leaves of 1 within 3; Python's own are those of the C library, within 1."""
    exported = export(cf.new("f = erf(x); g = erfc(x)", {"x": 1.0}, outputs=["f", "g"]), wrt=())
    points = [*np.linspace(-6, 6, 401), *np.geomspace(1e-300, 26, 200), *-np.geomspace(1e-300, 26, 200), 0.0, -0.0,
              math.inf, -math.inf, math.nan]
    results = node(tmp_path, [(exported, exported.functions[0], {"x": x}) for x in points])
    for x, (values,) in zip(points, results, strict=True):
        for name, expected, ulps in (("f", math.erf(x), 2), ("g", math.erfc(x), 3)):
            found = float(values[name][0])
            assert found == expected or (math.isnan(found) and math.isnan(expected)) or (
                abs(found - expected) <= ulps * math.ulp(expected)), (x, found, expected)


def test_the_logarithm_of_the_gamma_function_keeps_its_digits(tmp_path):
    """Within 2 ulps from 0 on, beside its zeros at 1 and 2 as well."""
    points = np.array([*np.linspace(0.01, 12, 300), *np.geomspace(1e-300, 1e300, 60), 5e-324, 1.0, 2.0, 0.9,
                       *(1 + np.array([-1, 1]) * 1e-9), *(2 + np.array([-1, 1]) * 1e-9)])
    exported = export(circuit({"id": "x", "gate": "input", "value": points.tolist()}, "f = lgamma(x)"), wrt=())
    ((values,),) = node(tmp_path, [(exported, exported.functions[0], {"x": points})])
    with mpmath.workprec(120):
        expected = [float(mpmath.loggamma(x)) for x in map(float, points)]
    wrong = [(x, found, right) for x, found, right in zip(points, map(float, values["f"]), expected, strict=True)
             if abs(found - right) > 2 * math.ulp(right)]
    assert wrong == []


def test_sums_products_quotients_and_roots_have_the_bits_of_python(tmp_path):
    subject = cf.new("f = sqrt(a * b + c / (a - d)) / (b + sqrt(c)) - a * d; g = (a + b + c) * f",
                     {"a": 3.3, "b": 0.7, "c": 1e-3, "d": -5.5}, outputs=["f", "g"])
    for dtype, factor in ((None, 1.0), ("float32", 0.1)):
        exported = export(subject, dtype=dtype)
        run = cf.Executor(subject).compile(engine="interpreter")
        source, calls, expected = random.Random(7), [], []
        for _ in range(100):
            inputs = {name: source.uniform(0, 9) * 10.0 ** (factor * source.randint(-9, 9)) for name in "abc"}
            calls.append((exported, exported.functions[1], {**inputs, "d": -1.5}))
            expected.append(run(**inputs, d=-1.5))
        results = node(tmp_path, calls)
        for (values, slopes), (wanted, gradients) in zip(results, expected, strict=True):
            if dtype is None:
                for found, numbers in ((values, wanted), (slopes, gradients)):
                    assert {name: float(x[0]).hex() for name, x in found.items()} == {
                        name: x.hex() for name, x in numbers.items()}
            else:
                assert all(x[0] == float(np.float32(x[0])) for x in [*values.values(), *slopes.values()])


def test_a_number_of_the_caller_is_rounded_to_single_precision(tmp_path):
    exported = export(cf.new("f = a * b", {"a": 1.0, "b": 1.0}), dtype="float32")
    arguments = {"a": 0.1, "b": 3.3}
    ((values, slopes),) = node(tmp_path, [(exported, exported.functions[1], arguments)])
    assert values["f"] == [float(np.float32(0.1) * np.float32(3.3))]
    assert slopes == {"a": [float(np.float32(3.3))], "b": [float(np.float32(0.1))]}


def test_what_a_gate_refuses_is_an_error(tmp_path):
    with cf.build() as c:
        i, n = c.input("i", [0, 2], dtype="int64"), c.input("n", [3, 4], dtype="int64")
        c.output(c.gather(c.input("x", [1.0, 2.0, 3.0]), i), "taken")
        c.output(c.add(n, n), "doubled")
    exported = export(c.circuit)
    function, low = exported.functions[0], exported.lowered
    (vector, *_) = vectors(low)
    cases = [vector.arguments, {**vector.arguments, "i": [0, 3]}, {**vector.arguments, "n": [3, 2**52]}]
    done, index, size = node(tmp_path, [(exported, function, arguments) for arguments in cases])
    assert done == [{"taken": [1, 3], "doubled": [6, 8]}]
    assert index == "RangeError: taken: gather refuses its operands"
    assert size == "RangeError: an integer beyond 2^53, which a number does not hold"


def test_an_argument_of_another_type_or_size_is_an_error(tmp_path):
    with cf.build() as c:
        i, b = c.input("at", [0, 2], dtype="int64"), c.input("b", True, dtype="bool")
        c.output(c.gather(c.input("x", [1.0, 2.0, 3.0]), i), "taken")
        c.output(c.where(b, c.input("y", 1.0), 0.0), "chosen")
    (tmp_path / "m.mjs").write_text(cf.to_javascript(c.circuit, wrt=()))
    given = {"x": "new Float64Array(4)", "at": "[0, 1]", "b": "1", "y": "'2'"}
    cases = {**{f"{{...d, {name}: {text}}}": name for name, text in given.items()},
             "{...d, at: new Float64Array([0.5, 1])}": "at", "{}": "at", "{...d, y: undefined}": "y"}
    text = (f"import('{tmp_path}/m.mjs').then((m) => {{ const d = {{...m.defaultInputs}}; for (const x of ["
            f"{', '.join(cases)}]) {{ try {{ m.value(x); }} catch (e) {{ console.log(String(e)); }}}}}})")
    done = subprocess.run(["node", "-e", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "RangeError: inputs.x has 4 numbers; expected 3", "TypeError: inputs.at is no Float64Array",
        "TypeError: inputs.b is no boolean", "TypeError: inputs.y is no number",
        "RangeError: inputs.at has the number 0.5; expected whole numbers up to 2^53",
        "TypeError: inputs.at is no Float64Array", "TypeError: inputs.y is no number"]


def test_no_text_leaves_a_comment_and_no_name_means_anything_else(tmp_path):
    names = [*HOSTILE_NAMES, *"ijxw", *sorted(RESERVED - {*"ijklmnpqrstuv"}), "at_most", "at_most_", "table_1_",
             "__proto__", "then", "float64s", "a_", "a"]
    names = list(dict.fromkeys(names))
    exported = export(hostile_circuit(names, [*TRAPS, *HOSTILE]))
    assert differences(tmp_path, [exported], 1e-12) == {}
    assert is_module(exported.module)
    assert "evil" not in re.sub(r"/\*.*?\*/", "", exported.module, flags=re.DOTALL)
    assert [identifier(text) for text in ("w0", "class", "a_", "3d", "_x", "h/dot")] == [
        "w0", "class_", "a__", "n3d", "n_x", "h_dot"]
    new = JavaScriptNames()
    assert [new.new(text) for text in ("a/b", "a.b", "class", "class_")] == ["a_b", "a_b_2", "class_", "class__"]


def test_truth_values_are_those_of_javascript(tmp_path):
    """A number that stands for one inside of a function comes out as true or false."""
    exported = export(circuit({"id": "b", "gate": "input", "value": True, "dtype": "bool"}, "f = xor(b, b)"))
    (tmp_path / "m.mjs").write_text(exported.module)
    text = f"import('{tmp_path}/m.mjs').then((m) => console.log(m.value().outputs.f === false))"
    done = subprocess.run(["node", "-e", text], capture_output=True, text=True, check=True)
    assert done.stdout == "true\n"
    assert "  f: boolean;\n" in exported.declarations


def test_the_value_needs_no_upstream_gradient():
    exported = export(circuit({"id": "x", "gate": "input", "value": [1, 2]}, "f = sin(x)"))
    assert "value(inputs: Omit<Inputs, 'df'> & Partial<Inputs>, parameters?: Parameters)" in exported.declarations
    assert "valueAndGrad(inputs: Inputs, parameters?: Parameters)" in exported.declarations
    assert " * @typedef {object} Inputs\n * @property {Float64Array} x\n * @property {Float64Array} df\n */" in (
        exported.module)
    assert " * @param {Omit<Inputs, 'df'> & Partial<Inputs>} inputs\n" in exported.module


def test_the_command_writes_a_module_and_its_types(tmp_path, circuitflow):  # noqa: F811
    path = tmp_path / "rnn.mjs"
    done = circuitflow("export", "circuits/rnn.json", "--to", "javascript", "--dtype", "float32", "-o", str(path))
    assert (done.status, done.out, done.err) == (0, "", "")
    assert "export function valueAndGrad(inputs = defaultInputs, parameters = defaultParameters) {" in path.read_text()
    types = (tmp_path / "rnn.d.mts").read_text()
    assert "export interface Gradients {\n" in types
    assert re.search(r"\n  \w+: Float32Array; /\* .*\d+ x \d+ \*/\n", types)
    assert "Math.fround" in path.read_text()
    shown = circuitflow("export", "circuits/staged.json", "--to", "javascript")
    assert (shown.status, shown.out) == (0, cf.to_javascript(cf.load(ROOT / "circuits/staged.json")))
    refusal = circuitflow("export", "circuits/staged.json", "--to", "javascript", "--name", "x")
    assert refusal.err.startswith("error: --name is of --to c; it has no meaning beside --to javascript")


def test_the_largest_of_integers_of_64_bits_is_written(tmp_path):
    """It starts with the first, as the least of all is a number that JavaScript does not have."""
    x = {"id": "x", "gate": "input", "dtype": "int64", "value": [[-5, -3, -4], [2**53 - 1, 1, -(2**53) + 1]]}
    subject = circuit(x, "a = reduce_max(x)", {"id": "b", "gate": "reduce_min", "inputs": ["x"], "axis": 1},
                      {"id": "c", "gate": "reduce_max", "inputs": ["x"], "axis": 0, "keepdims": True},
                      outputs=["a", "b", "c"])
    assert agreed({0: subject}, tmp_path) == ([0], {})


def test_what_javascript_does_not_have_is_refused():
    big = circuit({"id": "x", "gate": "input", "value": 2**60, "dtype": "int64"},
                  {"id": "y", "gate": "constant", "value": 2**60, "dtype": "int64"}, "f = less(x, y)")
    with pytest.raises(cf.InputError, match="which a number of JavaScript does not hold"):
        cf.to_javascript(big)


def test_the_page_of_the_guide_runs(tmp_path, circuitflow):  # noqa: F811
    """Its script, with a line that prints instead of the page."""
    page = (ROOT / "docs/guides/export_code.md").read_text()
    command, = re.findall(r"^\$ circuitflow (export .*-o neuron\.js)$", page, re.MULTILINE)
    assert circuitflow(*command.replace("neuron.js", str(tmp_path / "neuron.js")).split()).status == 0
    script, = re.findall(r'<script type="module">\n(.*?)</script>', page, re.DOTALL)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "page.js").write_text(script.replace("document.body.textContent =", "const text =")
                                      + "console.log(text);")
    done = subprocess.run(["node", tmp_path / "page.js"], capture_output=True, text=True, check=True)
    value, gradients = cf.Executor(cf.load(ROOT / "circuits/sigmoid_neuron_fused.json")).compile()(w0=1.5)
    f, slope = (float(x) for x in re.fullmatch(r"f = (\S+), df/dw0 = (\S+)\n", done.stdout).groups())
    assert (f, slope) == pytest.approx((value, gradients["w0"]), rel=1e-14)
