"""Python files made of circuits: they run by themselves, give the same numbers, and hold no text but their own."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import io
import json
import keyword
import math
import re
import subprocess
import sys
import tokenize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.engines.program.dialects import FLOATS
from circuitflow.export.dialect import CALLS, HELPERS, OF_ARRAYS
from circuitflow.export.names import fill_assignment
from circuitflow.gates import GATES
from support.documents import circuit
from support.documents import circuit as written_circuit
from support.engines import close
from support.example_circuits import ON_SCALARS, circuit_of, nodes_of
from support.exported import function_of
from support.gate_examples import EXAMPLES
from support.hostile import HOSTILE_NAMES
from support.random_circuits import SETTINGS
from support.slices import few, gate_of
from support.special_values import expected, operands, same
from support.suite import FILES, ROOT
from support.unit_circuits import NESTED, SWAPPED, UNITS


def agree(loaded, of=None, wrt=None, **given):
    """The exported function gives what the interpreter gives."""
    expected = cf.Executor(loaded).compile(of, wrt, engine="interpreter")(**given)
    close(function_of(cf.to_python(loaded, of, wrt))(**given), expected)


@pytest.mark.parametrize("document", [UNITS, SWAPPED, NESTED], ids=["units", "swapped", "nested"])
def test_scans_choices_and_checkpoints(document):
    """And their gradients' gradients; both branches of a choice."""
    loaded = cf.loads(json.dumps(document))
    agree(loaded)
    if document is UNITS:
        agree(loaded, a=0.7)
        agree(cf.gradient(loaded, of="k", wrt=["a", "w"]))
        text = cf.to_python(loaded)
        assert "def out_step(s, x, w_2):\n" in text
        assert "e_then(out_t) if c else e_else(out_t)  # if(c, out)" in text
    if document is NESTED:
        agree(loaded, n=0.25)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example(path):
    loaded = cf.load(path)
    of = "dx" if loaded.name == "gradient_of_staged" else None
    large = {name: value for name, value in loaded.values.items() if value.size > 1000}
    if of or loaded.upstream or all(loaded.type_of(output).shape == () for output in loaded.outputs.values()):
        agree(loaded, of, **large)
    agree(loaded, wrt=(), **large)


@pytest.mark.sliced(example=gate_of)
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate(example):
    agree(circuit_of(example))


@pytest.mark.sliced(example=gate_of)
@pytest.mark.parametrize("example", ON_SCALARS, ids=str)
def test_every_gate_on_scalars(example):
    agree(circuit(*nodes_of(example)))


def test_a_file_runs_by_itself(circuitflow, tmp_path):
    path = tmp_path / "staged.py"
    outcome = circuitflow("export", "circuits/staged.json", "--set", "x=1", "-o", str(path))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    alone = f"import runpy, sys; sys.modules['circuitflow'] = None; runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", alone], capture_output=True, text=True, check=True)
    value, gradients = cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile()(x=1.0)
    assert done.stdout == f"{value}\n{gradients}\n"


def test_arguments():
    logistic = cf.load(ROOT / "circuits/matrix_product.json")
    function = function_of(cf.to_python(logistic, inputs={"X": np.ones((10, 3))}))
    value, gradients = function(W=np.ones((5, 10)))
    np.testing.assert_array_equal(value, np.full((5, 3), 10.0))
    assert list(gradients) == ["W", "X"]
    with pytest.raises(ValueError, match=re.escape("W has shape (2,); expected (5, 10)")):
        function(W=[1, 2])


def test_defaults_that_are_missing_or_large():
    made = circuit({"id": "x", "gate": "input", "shape": [2]},
                   {"id": "w", "gate": "parameter", "value": {"data": 2, "shape": [2000]}},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["w"]}, {"id": "f", "gate": "mul", "inputs": ["x", "s"]})
    text = cf.to_python(made)
    assert "def value_and_grad(*, x, w, df):" in text
    assert "__main__" not in text
    value, gradients = function_of(text)(x=[1, 2], w=np.full(2000, 0.5), df=[1, 1])
    close(value, np.array([1000.0, 2000.0]))
    close(gradients["x"], np.array([1000.0, 1000.0]))


def _named(*sizes):
    return {"id": "x", "gate": "input", "shape": list(sizes)}


NAMED = {
    "a mean": (_named("n"), "f = reduce_mean(x)"),
    "rows that are spread over": (_named("n", 3), "m = reduce_mean(x)", "s = square(m)", "f = mul(s, x)"),
    "softmax": (_named("n", 3), "f = softmax(x)"), "two names": (_named("n", "m"), "f = matrix_transpose(x)"),
    "deviation": (_named("n"), {"id": "f", "gate": "reduce_std", "inputs": ["x"]}),
    "a reshape": (_named("n", 2, 3), {"id": "f", "gate": "reshape", "inputs": ["x"], "shape": [-1, 6]}),
    "a size in a shape": (_named("n", 1), {"id": "f", "gate": "expand", "inputs": ["x"], "shape": [1, 4]}),
    "a layer": (_named("n", 3), {"id": "w", "gate": "parameter", "value": [[1, 2], [3, 4], [5, 6]]}, "y = matmul(x, w)",
                "s = sigmoid(y)", "f = reduce_sum(s)"),
    "one name twice": (_named("n", 3), {"id": "y", "gate": "input", "shape": ["n"]},
                       {"id": "s", "gate": "reduce_sum", "inputs": ["x"], "axis": 1}, "p = mul(s, y)",
                       "f = reduce_mean(p)"),
    "names of variables": (_named("x"), {"id": "sizes", "gate": "input", "shape": ["sizes"]},
                           {"id": "np_1", "gate": "input", "shape": ["np"]}, "a = reduce_mean(x)",
                           "b = reduce_mean(sizes)", "c = reduce_mean(np_1)", "f = mul(a, b, c)"),
}


def test_an_input_that_is_not_needed_gives_no_size():
    """Its default may have another size of the same name; the question does not read it."""
    made = written_circuit({"id": "x", "gate": "input", "shape": ["n", 2]},
                           {"id": "unread", "gate": "input", "value": np.ones((5, 2)).tolist(), "shape": ["n", 2]},
                           "f = reduce_sum(x)")
    for question in (made, cf.loads(cf.dumps(made).replace('"outputs": ["f"]', '"outputs": ["x"]'))):
        text = cf.to_python(question, inputs={"x": np.ones((3, 2))})
        names = {}
        exec(text, names)
        upstream = {"dx": np.ones((3, 2))} if question is not made else {}
        assert names["value_and_grad"](x=np.ones((3, 2)), **upstream)[1]["x"].shape == (3, 2)


@pytest.mark.parametrize("case", NAMED)
def test_named_dimensions_stay_names(case):
    """One file for all sizes, 1 too; what it gives for nothing at all is what the interpreter gives, if it gives
    anything."""
    made = written_circuit(*NAMED[case])
    function, executor, random = function_of(cf.to_python(made)), cf.Executor(made), np.random.default_rng(0)
    for sizes in ((5, 2), (1, 1), (2, 7), (7, 1), (0, 3)):
        number = dict(zip(("n", "m"), sizes, strict=True))
        inputs = {name: random.standard_normal([size if isinstance(size, int) else number.get(str(size), sizes[0])
                                                for size in made.nodes[name].types[0].shape])
                  for name in made.nodes if made.nodes[name].kind == "input"}
        value = executor.forward(inputs).outputs["f"]
        upstream = {"f": random.standard_normal(value.shape)} if value.ndim else {}
        result = executor.run(inputs, upstream=upstream)
        try:
            found = function(**inputs, **{f"d{name}": seed for name, seed in upstream.items()})
        except ValueError:
            assert 0 in sizes
            continue
        close(found, (result.outputs["f"], {name: result.gradients[name] for name in found[1]}))
        assert np.shape(found[0]) == value.shape


def test_the_batch_of_the_examples_is_free():
    made = cf.load(ROOT / "circuits" / "mlp.json")
    function, random = function_of(cf.to_python(made)), np.random.default_rng(0)
    weights = {key: made.values[key] for key in ("W1", "W2")}
    for batch in (1, 2, 33):
        inputs = {"image": random.random((batch, 784)), "label": random.integers(0, 10, batch)}
        result = cf.Executor(made).run(inputs)
        close(function(**inputs, **weights),
              (result.outputs["loss"], {key: result.gradients[key] for key in ("image", "W1", "b1", "W2", "b2")}))
    with pytest.raises(ValueError, match=re.escape("label has shape (2,); expected ('batch',), where {'batch': 3}")):
        function(image=np.ones((3, 784)), label=[1, 2], **weights)
    with pytest.raises(ValueError, match=re.escape("image has shape (784,); expected ('batch', 784)")):
        function(image=np.ones(784), label=[1, 2], **weights)


def test_a_gate_that_needs_a_size_has_that_of_the_default():
    made = written_circuit(_named("rows"), {"id": "c", "gate": "cum_sum", "inputs": ["x"]}, "f = reduce_sum(c)")
    with pytest.raises(cf.InputError, match=re.escape("dimension 'rows' has no size, and code for any size cannot be "
                                                      "written (c: cum_sum: cumulative_sum); give a value to an input "
                                                      "that has it (--set)")):
        cf.to_python(made)
    text = cf.to_python(made, inputs={"x": [1.0, 2.0, 6.0]})
    assert "Named dimensions have the sizes of the defaults: c: cum_sum: cumulative_sum." in text
    close(function_of(text)(), (np.float64(13), {"x": np.array([3.0, 2.0, 1.0])}))
    with pytest.raises(ValueError, match=re.escape("x has shape (2,); expected (3,)")):
        function_of(text)(x=[1, 2])
    argmax = written_circuit(_named("rows"), {"id": "c", "gate": "is_first_max", "inputs": ["x"]}, "f = where(c, x, x)")
    text = cf.to_python(argmax, inputs={"x": [1.0, 2.0, 6.0]})
    assert "Named dimensions have the sizes of the defaults: c: is_first_max: its rule needs sizes as numbers." in text


def test_own_gates_have_the_sizes_of_the_defaults():
    own = cf.Gate("x", "Own.", ("x",), lambda x: x, lambda xp, x: x * 2.0, (lambda op, g, out, x: g * 2.0,))
    made = written_circuit(_named("n"), {"id": "o", "gate": "own", "inputs": ["x"]}, "f = reduce_sum(o)",
                           gates={**cf.GATES, "own": own})
    with pytest.raises(cf.InputError, match=re.escape("(the gate table has rows of its own: own)")):
        cf.to_python(made)
    close(function_of(cf.to_python(made, inputs={"x": [1.0, 2.0]}))(), (np.float64(6), {"x": np.array([2.0, 2.0])}))


def test_indices_out_of_range():
    made = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]},
                   {"id": "i", "gate": "input", "value": {"data": [0, -1], "dtype": "int64"}},
                   {"id": "g", "gate": "gather", "inputs": ["x", "i"]},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["g"]})
    function = function_of(cf.to_python(made, wrt=()))
    assert function()[0] == 4
    with pytest.raises(IndexError, match="g: gather: index -4 is out of range for axis 0 of size 3"):
        function(i=[0, -4])


TEXTS = ["\n\nimport os\nmarker_q()", '"""\nmarker_q()\n"""', "'''", "coding: utf-7", "\\", "\r\nmarker_q()",
         "\x0cmarker_q()",
         "\u2028marker_q()", "\x00", "\u202emarker_q", "x" * 10_000]


@pytest.mark.parametrize("shape", [[], [2]])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:12]))
def test_no_text_of_a_document_is_code(text, shape):
    """Whatever it says stands in comments; ids are names, or text between quotes."""
    nodes = [{"id": name, "gate": "input", "value": {"data": 0.25, "shape": shape}, "label": text, "description": text,
              "metadata": {"x": text}} for name in [*HOSTILE_NAMES, "math", "np", "as_array", "default_math",
                                                    "constant_1", "ValueError", "_"]]
    names = [node["id"] for node in nodes]
    made = circuit(*nodes, {"id": "def", "gate": "add", "inputs": names, "description": text},
                   {"id": "import", "gate": "softplus", "inputs": ["def"], "label": text},
                   {"id": "f", "gate": "reduce_sum" if shape else "tanh", "inputs": ["import"]}, name=text,
                   description=text)
    exported = cf.to_python(made)
    assert exported.startswith('"""Straight-line code, a stage a line.\n\nWritten by circuitflow ')
    assert exported.isascii() or all(c.isprintable() or c == "\n" for c in exported)
    tokens = list(tokenize.generate_tokens(io.StringIO(exported).readline))
    strings = {token.string for token in tokens if token.type == tokenize.STRING}
    assert not any("marker_q()" in token.string for token in tokens if token.type != tokenize.COMMENT)
    arguments = {argument.arg for node in ast.walk(ast.parse(exported)) if isinstance(node, ast.arguments)
                 for argument in node.kwonlyargs}
    assert {ast.literal_eval(string) for string in strings if string.startswith("'")} <= {*names, *arguments}
    words = {node.id for node in ast.walk(ast.parse(exported)) if isinstance(node, ast.Name)}
    assert {word for word in words if hasattr(builtins, word)} <= {"print", "ValueError", "OverflowError", "map",
                                                                   "float",
                                                                        "max", "__name__", *names}
    close(function_of(exported)(), cf.Executor(made).compile(engine="interpreter")())
    assert list(function_of(exported)()[1]) == names


def test_names_of_calls_and_of_several_outputs():
    text = cf.to_python(cf.load(ROOT / "circuits/neuron_layer.json"))
    assert "h1_dot = x @ w1  # matmul(h1/x, h1/w)" in text
    made = circuit({"id": "x", "gate": "input", "value": [[2, 1], [1, 3]]},
                   {"id": "e", "gate": "eigh", "inputs": ["x"]},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["e.eigenvalues"]}, outputs=["s", "e.eigenvectors"],
                   upstream={"e.eigenvectors": [[1, 2], [3, 4]]})
    agree(made)


def test_bad_questions(circuitflow):
    for arguments, message in [
        (["circuits/staged.json", "--set", "q=1"], "there is no input 'q' in circuit 'staged'; it has x, y"),
        (["circuits/staged.json", "--of", "q"], "of: there is no 'q' in circuit 'staged'"),
        (["circuits/staged.json", "-o", "nowhere/staged.py"],
         "'nowhere/staged.py' cannot be written: No such file or directory"),
    ]:
        outcome = circuitflow("export", *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert message in outcome.err
    assert "def value(*, x=3.0, y=-4.0):" in circuitflow("export", "circuits/staged.json", "--forward").out


def test_an_array_without_elements_is_written_by_its_shape():
    subject = circuit({"id": "x", "gate": "input", "value": {"data": 1, "shape": [2**40, 0]}},
                      {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    assert "np.empty((1099511627776, 0), np.float64)" in cf.to_python(subject)


IDS = [*sorted({*keyword.kwlist, *keyword.softkwlist, *HELPERS, *dir(builtins)}), "math", "np", "scipy", "default_x",
       "default_np", "constant_1",
       "constant_2", "x_part", "f_part", "unused_part", "value", "gradients", "value_and_grad", "name", "shape",
       "dtype", "array", "df", "dx", "x",
       "self", "inputs", "upstream", "__debug__", "__file__", "__class__", "__builtins__", "_", "__", "x" * 128]
NUMBERS = ["NaN", "Infinity", "-Infinity", 0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 0.5, -0.5, 3.0, 5e-324, -5e-324, 1e200,
           -1e200, 1e308, 710.0, -710.0]
OF_TWO = ["sub", "mul", "div", "pow", "hypot", "mod", "max", "min", "log_add_exp", "atan2", "add", "mul_no_nan", "less",
          "equal", "prelu"]
OF_TRUTHS = ["and", "or", "xor", "is_first_max"]
OF_ONE = ["neg", "reciprocal", "sqrt", "square", "floor", "ceil", "round", "abs", "sign", "identity", "stop_gradient",
          "exp", "expm1", "log",
          "log1p", "erf", "erfc", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
          "atanh", "sinc", "sigmoid",
          "relu", "softplus", "log_sigmoid", "leaky_relu", "elu", "gelu", "softsign", "swish", "mish", "hard_sigmoid",
          "is_nan", "is_inf", "not",
          "reduce_sum", "reduce_prod", "reduce_max"]


@st.composite
def strange_circuits(draw):
    """A circuit of scalars, or of scalars and small arrays, at special values, with ids that mean something to
    Python."""
    ids = iter(draw(st.permutations(list(dict.fromkeys(IDS)))))
    shapes = draw(st.sampled_from([[()], [()], [(), (2,)], [(2,), (2, 0)]]))
    nodes, kinds = [], {}

    def add(node, shape, dtype):
        nodes.append({"id": next(ids), **node})
        kinds[nodes[-1]["id"]] = shape, dtype
        return nodes[-1]["id"]

    def source(shape, dtype="float64"):
        data = [draw(st.sampled_from(NUMBERS if dtype == "float64" else [True, False]))
                for _ in range(math.prod(shape))]
        kind = draw(st.sampled_from(["input", "parameter", "constant"]))
        return add({"gate": kind, "value": {"data": data, "shape": list(shape), "dtype": dtype}}, shape, dtype)

    def operand(shape, dtype):
        found = [name for name, kind in kinds.items() if kind == (shape, dtype)]
        return draw(st.sampled_from(found)) if found else source(shape, dtype)

    for _ in range(draw(st.integers(1, 3))):
        source(draw(st.sampled_from(shapes)))
    for _ in range(draw(st.integers(0, 8))):
        gate, shape = draw(st.sampled_from(OF_ONE + OF_TWO + OF_TRUTHS + ["where"])), draw(st.sampled_from(shapes))
        dtype = "bool" if gate in ("and", "or", "xor", "not") else "float64"
        count = 2 if gate in [*OF_TWO, "and", "or", "xor"] else 1
        if gate in ("reduce_max", "is_first_max") and not math.prod(shape):
            continue
        names = [operand(shape, "bool")] * (gate == "where") + [operand(shape, dtype)
                                                                for _ in range(2 if gate == "where" else count)]
        add({"gate": gate, "inputs": names}, () if gate.startswith("reduce") else shape,
            "bool" if gate in ("less", "equal", "and", "or", "xor", "not", "is_nan", "is_inf", "is_first_max")
            else "float64")
    add({"gate": "input", "value": {"data": draw(st.sampled_from(["NaN", "Infinity", -0.0, 1.5])),
                                    "shape": draw(st.sampled_from([[], [3]])),
                                    "dtype": draw(st.sampled_from(["float64", "float32"]))}}, None, "")
    outputs = draw(st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=3, unique=True))
    upstream = {name: {"data": 1.5,
                       "shape": list(kinds[name][0] if kinds[name][0] is not None else nodes[-1]["value"]["shape"])}
                for name in outputs if kinds[name][1] != "bool"}
    wrt = draw(st.sampled_from([None, ()]))
    return circuit(*nodes, outputs=outputs), wrt, upstream if draw(st.booleans()) else {}


@settings(parent=SETTINGS, max_examples=few(400))
@given(strange_circuits())
def test_strange_circuits(drawn):
    made, wrt, upstream = drawn
    upstream = {name: np.full(x["shape"], x["data"]).tolist() for name, x in upstream.items()} if wrt is None else {}
    question = cf.Executor(made).compile(None, wrt, engine="interpreter")
    try:
        expected = question(upstream=upstream)
    except cf.InputError as error:  # an upstream gradient of an array is not there
        assert "need the upstream gradient" in str(error)
        return
    close(function_of(cf.to_python(made, None, wrt, upstream=upstream))(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in HELPERS if name not in OF_ARRAYS])
def test_a_helper(name):
    """It gives what NumPy gives, as a float, and has a docstring of one sentence."""
    namespace = {"math": math}
    exec(compile(HELPERS[name], "helper.py", "exec"), namespace)
    helper = namespace[name]
    assert re.fullmatch(r"[^\n]+\.", helper.__doc__)
    (called,) = [called for called, call in CALLS.items() if call == name]
    arity = helper.__code__.co_argcount
    for xs in operands(called, arity):
        found = helper(*xs)
        assert type(found) is float
        assert same(found, expected(called, *xs), called), (xs, found)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.startswith("math.")])
def test_a_function_that_never_raises(name):
    function = getattr(math, CALLS[name].removeprefix("math."))
    for xs in operands(name, 2 if name in ("arctan2", "hypot") else 1):
        assert same(function(*xs), expected(name, *xs), name), xs


def test_every_form_is_an_expression_or_a_call():
    """What raises is called by a helper; what is not called uses no name."""
    for name, form in FLOATS.forms.items():
        if name not in CALLS:
            names = {node.id for node in ast.walk(ast.parse(form.format("x", "y", "z"))) if isinstance(node, ast.Name)}
            assert names <= {"x", "y", "z"}, form
            assert "/" not in form


def test_a_divisor_that_is_not_0_needs_no_helper():
    made = circuit({"id": "x", "gate": "input", "value": 2}, {"id": "h", "gate": "constant", "value": 4},
                   {"id": "s", "gate": "sigmoid", "inputs": ["x"]}, {"id": "q", "gate": "div", "inputs": ["s", "h"]},
                   {"id": "e", "gate": "exp", "inputs": ["x"]}, {"id": "o", "gate": "constant", "value": -1},
                   {"id": "d", "gate": "add", "inputs": ["o", "e"]}, {"id": "f", "gate": "div", "inputs": ["q", "d"]})
    text = cf.to_python(made, wrt=())
    assert re.findall(r"(?<!def )divide\(.*?\)|\S+ / \S+",
                      text[text.index("def value"):]) == ["s_part / (1.0", "s / 4.0", "divide(q, d)"]


@pytest.mark.parametrize("number", [3, np.float64(3), np.float32(3), np.array(3), True])
def test_numbers_of_any_kind_give_floats(number):
    made = circuit({"id": "x", "gate": "input", "value": 2}, {"id": "b", "gate": "input", "value": True},
                   {"id": "h", "gate": "where", "inputs": ["b", "x", "s"]},
                   {"id": "s", "gate": "square", "inputs": ["x"]},
                   {"id": "f", "gate": "div", "inputs": ["h", "x"]}, outputs=["f", "x", "b"])
    value, gradients = function_of(cf.to_python(made))(x=number, b=np.bool_(True))
    assert value == {"f": 1.0, "x": float(number), "b": True}
    assert [type(x) for x in (*value.values(), *gradients.values())] == [float, float, bool, float]


def test_names_that_had_to_be_changed_are_told():
    made = circuit({"id": "lambda", "gate": "input", "value": [1, 2]},
                   {"id": "df", "gate": "parameter", "value": [1, 2]},
                   {"id": "f", "gate": "mul", "inputs": ["lambda", "df"]})
    text = cf.to_python(made)
    assert """df.

    lambda_2 is the input lambda.
    df_2 is the upstream gradient on f.
    \"\"\"""" in text
    value, gradients = function_of(text)(df_2=[10, 20])
    close((value, gradients), (np.array([1.0, 4.0]), {"lambda": np.array([10.0, 40.0]), "df": np.array([10.0, 40.0])}))
    with pytest.raises(TypeError, match="df_2"):
        function_of(text)()
    close(function_of(cf.to_python(made, upstream={"f": [10, 20]}))(), (value, gradients))


def test_upstream_gradients_of_numbers_in_the_document():
    made = circuit({"id": "x", "gate": "input", "value": 3}, {"id": "f", "gate": "square", "inputs": ["x"]},
                   upstream={"f": 10})
    assert function_of(cf.to_python(made))() == (9.0, {"x": 60.0})
    assert function_of(cf.to_python(made))(df=1) == (9.0, {"x": 6.0})


def test_upstream_gradients_that_are_given_on_numbers():
    made = circuit({"id": "x", "gate": "input", "value": 3}, {"id": "f", "gate": "square", "inputs": ["x"]})
    assert function_of(cf.to_python(made, upstream={"f": 10}))() == (9.0, {"x": 60.0})


def test_an_output_that_nothing_is_differentiated_through_takes_no_gradient():
    made = circuit({"id": "x", "gate": "input", "value": [1, 2]}, {"id": "k", "gate": "stop_gradient", "inputs": ["x"]},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["x"]}, outputs=["s", "k"])
    expected = cf.Executor(made).compile(engine="interpreter")()
    close(function_of(cf.to_python(made))(), expected)


def test_a_result_is_never_what_the_file_keeps():
    made = circuit({"id": "x", "gate": "input", "value": 3}, {"id": "k", "gate": "constant", "value": [1, 2]},
                   outputs=["x", "k"])
    call = function_of(cf.to_python(made, wrt=()))
    call()[0]["k"][:] = 7
    close(call()[0]["k"], np.array([1.0, 2.0]))


def test_signs_of_zeros_in_constants():
    made = circuit({"id": "k", "gate": "constant", "value": [0.0, -0.0]},
                   {"id": "j", "gate": "constant", "value": [0.0, 0.0]},
                   {"id": "x", "gate": "input", "value": [1, 1]}, {"id": "f", "gate": "div", "inputs": ["x", "k"]},
                   {"id": "g", "gate": "div", "inputs": ["x", "j"]}, outputs=["f", "g"])
    close(function_of(cf.to_python(made, wrt=()))()[0],
          {"f": np.array([np.inf, -np.inf]), "g": np.array([np.inf, np.inf])})


def test_an_input_that_nobody_reads_takes_anything():
    made = circuit({"id": "x", "gate": "input", "shape": ["rows"], "value": [1, 2]},
                   {"id": "n", "gate": "input", "shape": [3]},
                   {"id": "y", "gate": "input", "shape": ["rows"], "value": [1, 2]},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    assert function_of(cf.to_python(made, wrt="x"))(y=[1, 2, 3], n=None)[0] == 3

ROWS = {
    "other mathematics": lambda xp, *xs: xs[0] + 2 * xs[-1], "rounded": lambda xp, *xs: xp.round(xs[0] * xs[-1], 1),
    "whole": lambda xp, *xs: xp.asarray(xp.asarray(xs[0] * xs[-1], dtype=xp.int64), dtype=xp.float64),
    "narrow": lambda xp, *xs: xp.asarray(xp.asarray(xs[0] / 3, dtype=xp.float32), dtype=xp.float64),
    "clipped": lambda xp, *xs: xp.clip(xs[0] * xs[-1], min=-1.0, max=1.0), "truths": lambda xp,
    *xs: xp.where((xs[0] > 0) + (xs[-1] > 0), xs[0], 2.0),
    "of numbers": lambda xp, *xs: xp.asarray([math.cosh(x) for x in np.ravel(xs[0])]).reshape(xs[0].shape),
}


@pytest.mark.parametrize("shape", [[], [3]])
@pytest.mark.parametrize("rule", ROWS)
@pytest.mark.parametrize("gate", ["mul", "add", "exp", "neg", "sub", "less"])
def test_rows_that_a_program_overrides(gate, rule, shape):
    """What is written computes what the interpreter does, or is refused in words."""
    row = GATES[gate]
    changed = {gate: dataclasses.replace(row, forward=ROWS[rule] if gate != "less" else lambda xp, x,
                                         y: ROWS[rule](xp, x, y) > 0.5)}
    data = 0.777 if not shape else [0.777, -2.345, 1.0]
    made = cf.loads(json.dumps({"circuitflow": "1.0", "outputs": ["f"],
                                "upstream": {"f": {"data": 1.0, "shape": shape}}, "nodes": [
        {"id": "x", "gate": "input", "value": data},
        {"id": "o", "gate": "constant", "value": {"data": 1.0, "shape": shape}},
        *({"id": name, "gate": gate, "inputs": [name[1:], "o"][:1 if gate in ("exp", "neg") else 2]}
          for name in ("hx",)),
        {"id": "c", "gate": "cast", "inputs": ["hx"], "dtype": "float64"},
        {"id": "s", "gate": "sigmoid", "inputs": ["c"]},
        {"id": "f", "gate": "mul", "inputs": ["s", "x"]}]}), gates={**GATES, **changed})
    for wrt in ((), None):
        try:
            text = cf.to_python(made, wrt=wrt)
        except cf.InputError as error:
            assert "is no line of Python" in str(error) or gate in str(error)
            continue
        close(function_of(text)(), cf.Executor(made).compile(None, wrt, engine="interpreter")(), rtol=1e-12)


def test_long_names_are_not_broken():
    names = [f"{letter}" * 128 for letter in "abc"]
    for shape in ([], [2]):
        made = circuit(*({"id": name, "gate": "input", "value": {"data": 2, "shape": shape}} for name in names),
                       {"id": "f" * 128, "gate": "mul", "inputs": names}, outputs=["f" * 128])
        assert function_of(cf.to_python(made, upstream={"f" * 128: np.ones(shape)} if shape
                                        else {}))()[1].keys() == set(names)


@pytest.mark.parametrize("document", [UNITS, SWAPPED, NESTED, {
    "circuitflow": "1.0", "description": "Words. " * 40, "outputs": ["f"], "nodes": [
        *({"id": f"a_very_long_name_of_a_node_{i}", "gate": "parameter", "value": i} for i in range(9)),
        {"id": "s", "gate": "stack", "axis": 0, "inputs": [f"a_very_long_name_of_a_node_{i}" for i in range(9)]},
        {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}]}], ids=["units", "swapped", "nested", "stack"])
def test_no_line_is_wide(document):
    """Statements, arguments, results, comments and docstrings are broken, and give the same numbers."""
    loaded = cf.loads(json.dumps(document))
    agree(loaded)
    assert max(map(len, cf.to_python(loaded).splitlines())) <= 120


@pytest.mark.parametrize(("statement", "lines"), [
    (f"{'x' * 90} = f('a  b (') + {'z' * 20} * 2", [f"{'x' * 90} = (f('a  b (') +", f"    {'z' * 20} * 2)"]),
    (f"{'x' * 60}, {'y' * 60} = f(z)", [f"({'x' * 60},", f"    {'y' * 60}) = (f(z))"]),
    (f"    raise E({'[' + 'x' * 90 + ']'}, \"it's (\\\" here\", y)",
     [f"    raise E([{'x' * 90}],", "        \"it's (\\\" here\", y)"])], ids=["sum", "names", "text"])
def test_statements_are_broken_in_brackets_and_never_in_texts(statement, lines):
    assert fill_assignment(statement) == lines
    assert ast.dump(ast.parse("\n".join(lines).strip())) == ast.dump(ast.parse(statement.strip()))


def test_long_constants_are_broken_into_lines():
    made = circuit({"id": "x", "gate": "input", "value": list(np.linspace(-1, 1, 100))},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    text = cf.to_python(made)
    assert max(map(len, text.splitlines())) <= 120
    assert function_of(text)()[0] == cf.Executor(made).compile()()[0]


@pytest.mark.parametrize("indices", [[1, 0], []])
def test_a_check_of_what_no_output_needs(indices):
    """A gather from a constant cannot be written down, and here need not be."""
    made = circuit({"id": "k", "gate": "constant", "value": [1.0, 2.0]}, {"id": "w", "gate": "input", "value": 1.0},
                   {"id": "i", "gate": "input", "value": {"data": indices, "shape": [len(indices)], "dtype": "int64"}},
                   {"id": "g", "gate": "gather", "inputs": ["k", "i"]}, outputs=["w"])
    assert function_of(cf.to_python(made, wrt=["g"]))()[0] == 1.0


def test_indices_that_are_given_pick_from_a_constant():
    """NumPy's protocol for functions looks at the array of `take`, not at the indices."""
    made = circuit({"id": "t", "gate": "constant", "value": [1.5, 2.5, 3.5]},
                   {"id": "i", "gate": "input", "dtype": "int64", "value": [2, 0]}, {"id": "w", "gate": "parameter",
                                                                                     "value": 2},
                   "g = gather(t, i)", "p = mul(g, w)", "f = reduce_sum(p)")
    assert function_of(cf.to_python(made))(i=[1, 1]) == (10, {"w": 5})
    assert cf.Executor(made).compile(engine="staged")(i=[1, 1]) == (10, {"w": 5})


def test_what_is_not_read_has_the_sizes_of_its_names():
    made = circuit({"id": "x", "gate": "input", "shape": ["n"], "value": [1, 2]},
                   {"id": "unused", "gate": "input", "shape": ["n"]}, "f = reduce_sum(x)")
    assert "double unused[2];" in cf.to_c(made)


@pytest.mark.parametrize("count", [64, 65, 200])
def test_many_floats_that_are_added_at_positions_keep_their_digits(count):
    """On both sides of the number from which the helpers of a file add up in float64, as the interpreter does."""
    made = cf.loads(json.dumps({"circuitflow": "1.0", "dtype": "float32", "nodes": [
        {"id": "x", "gate": "input", "value": [1e4, 1.0]},
        {"id": "i", "gate": "input", "dtype": "int64", "value": [0] * count},
        {"id": "u", "gate": "input", "value": [0.1] * count},
        {"id": "f", "gate": "scatter_add", "inputs": ["x", "i", "u"]}], "outputs": ["f"]}))
    windows = cf.loads(json.dumps({"circuitflow": "1.0", "dtype": "float32", "nodes": [
        {"id": "x", "gate": "input", "value": {"data": 0.1, "shape": [1, 1, count, 1]}},
        {"id": "like", "gate": "input", "value": {"data": 0, "shape": [1, 1, count]}},
        {"id": "f", "gate": "fold", "inputs": ["x", "like"], "kernel_shape": [count]}], "outputs": ["f"]}))
    for one in (made, windows):
        expected, _ = cf.Executor(one).compile(wrt=(), engine="interpreter")()
        value, _ = function_of(cf.to_python(one, wrt=()))()
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected)
