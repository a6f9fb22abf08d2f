"""One question for every engine: names of arguments, upstream gradients, packing and refusals are the same for all."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re

import numpy as np
import pytest

import circuitflow as cf
from support.documents import circuit
from support.engines import NATIVE, close
from support.suite import ROOT

ENGINES = ["interpreter", "auto", "staged", "tape", "jax", *NATIVE]
ROWS = ["auto", "staged", "tape", "jax"]
on_scalars = pytest.mark.parametrize("engine", ENGINES)
on_arrays = pytest.mark.parametrize("engine", ["interpreter", "auto", "staged", "jax", *NATIVE])
over_rows = pytest.mark.parametrize("engine", ROWS)


def square(name="x", output="f", **keys):
    return circuit({"id": name, "gate": "input", "value": 3.0}, {"id": output, "gate": "square", "inputs": [name]},
                   outputs=[output], **keys)


NAMES = ["self", "upstream", "inputs", "engine", "named", "others", "df", "args", "class", "None", "question", "_",
         "given"]


CALL = circuit({"id": "x", "gate": "input", "value": 3.0},
               {"id": "h", "gate": "call", "circuit": "sq", "inputs": ["x"]}, outputs=["h"],
               circuits={"sq": {"nodes": [{"id": "a", "gate": "input"}, {"id": "b", "gate": "square", "inputs": ["a"]}],
                                "outputs": ["b"]}})


@pytest.mark.parametrize("name", ["h", "h.b"])
@pytest.mark.parametrize("of", [None, "h", "h.b"])
def test_an_upstream_gradient_by_either_name_of_an_output(of, name):
    executor = cf.Executor(CALL, verify=True)
    for engine in ENGINES:
        assert executor.compile(of, engine=engine)(upstream={name: 5.0}) == (9.0, {"x": 30.0})
    for engine in ROWS:
        value, gradients = executor.vmap(of, engine=engine)(x=[1.0, 2.0], upstream={name: [5.0, 7.0]})
        assert (np.asarray(value).tolist(), np.asarray(gradients["x"]).tolist()) == ([1.0, 4.0], [10.0, 28.0])
    assert "5.0" in cf.to_python(CALL, of, upstream={name: 5.0})


@on_scalars
@pytest.mark.parametrize("name", NAMES)
def test_an_input_may_be_called_anything(engine, name):
    compiled = cf.Executor(square(name)).compile(engine=engine)
    assert compiled({name: 2.0}) == (4.0, {name: 4.0})
    assert compiled({name: 2.0}, upstream={"f": 10.0}) == (4.0, {name: 40.0})
    assert compiled() == (9.0, {name: 6.0})
    if name != "upstream":
        assert compiled(**{name: 2.0}) == (4.0, {name: 4.0})


@over_rows
@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_be_called_anything(engine, name):
    values, gradients = cf.Executor(square(name)).vmap(engine=engine)({name: [2.0, 5.0]}, upstream={"f": [10.0, 1.0]})
    assert (np.asarray(values).tolist(), np.asarray(gradients[name]).tolist()) == ([4.0, 25.0], [40.0, 10.0])


@on_arrays
@pytest.mark.parametrize("name", NAMES)
def test_an_array_may_be_called_anything(engine, name):
    made = circuit({"id": name, "gate": "input", "value": [3.0, 1.0]}, {"id": "f", "gate": "square", "inputs": [name]})
    value, gradients = cf.Executor(made).compile(engine=engine)({name: [2.0, 5.0]}, upstream={"f": [10.0, 1.0]})
    assert (np.asarray(value).tolist(), np.asarray(gradients[name]).tolist()) == ([4.0, 25.0], [40.0, 10.0])


COLLIDING = circuit({"id": "x", "gate": "input", "value": 2.0}, {"id": "df", "gate": "input", "value": 3.0},
                    {"id": "f", "gate": "mul", "inputs": ["x", "df"]}, upstream={"f": 10.0})


@on_scalars
def test_an_input_named_like_an_upstream_gradient(engine):
    compiled = cf.Executor(COLLIDING).compile(engine=engine)
    assert compiled(df=5.0) == (10.0, {"x": 50.0, "df": 20.0})
    assert compiled(x=5.0) == (15.0, {"x": 30.0, "df": 50.0})
    assert compiled(x=5.0, upstream={"f": 1.0}) == (15.0, {"x": 3.0, "df": 5.0})


@over_rows
def test_a_column_named_like_an_upstream_gradient(engine):
    value, gradients = cf.Executor(COLLIDING).vmap(engine=engine)(df=[5.0, 1.0])
    close(np.asarray(value), np.array([10.0, 2.0]))
    close([np.asarray(gradients[name]) for name in ("x", "df")], np.array([[50.0, 10.0], [20.0, 20.0]]))


@on_scalars
def test_an_upstream_gradient_of_a_scalar(engine):
    """Of one of two outputs, and of both; it wins over the document's."""
    for upstream in ({}, {"upstream": {"f": 10.0}}):
        made = circuit({"id": "x", "gate": "input", "value": 3.0}, {"id": "f", "gate": "square", "inputs": ["x"]},
                       {"id": "g", "gate": "exp", "inputs": ["x"]}, outputs=["f", "g"], **upstream)
        compiled, interpreter = (cf.Executor(made).compile(engine=which) for which in (engine, "interpreter"))
        for given in ({}, {"f": 2.0}, {"g": 0.0}, {"f": 2.0, "g": 3.0}):
            close(compiled(upstream=given), interpreter(upstream=given))
            result = cf.Executor(made).run(upstream=given)
            close(compiled(upstream=given)[1], {"x": result.gradients["x"]})


@over_rows
def test_upstream_columns_and_numbers_beside_one_another(engine):
    made = circuit({"id": "x", "gate": "input", "value": 3.0}, {"id": "f", "gate": "square", "inputs": ["x"]},
                   {"id": "g", "gate": "exp", "inputs": ["x"]}, outputs=["f", "g"])
    x, weights = np.array([1.0, 2.0, -1.0]), np.array([1.0, 0.0, 4.0])
    vmap = cf.Executor(made).vmap(engine=engine)
    close(np.asarray(vmap(x=x, upstream={"f": weights, "g": 2.0})[1]["x"]), 2 * x * weights + 2 * np.exp(x))
    close(np.asarray(vmap(x=0.5, upstream={"f": weights})[1]["x"]), weights + np.exp(0.5))


@on_scalars
def test_one_node_as_two_outputs(engine):
    """Both references, each with an upstream gradient, which add."""
    inner = {"C": {"nodes": [{"id": "p", "gate": "input"}, {"id": "a", "gate": "exp", "inputs": ["p"]}],
                   "outputs": ["a"]}}
    made = circuit({"id": "x", "gate": "input", "value": 1.0},
                   {"id": "k", "gate": "call", "circuit": "C", "inputs": {"p": "x"}},
                   {"id": "f", "gate": "neg", "inputs": ["k"]}, outputs=["f", "k"], circuits=inner)
    values, gradients = cf.Executor(made).compile(engine=engine)(upstream={"k": 3.0})
    assert list(values) == ["f", "k"]
    close(gradients["x"], 2 * np.e)


@on_scalars
@pytest.mark.parametrize("shape", [[], [2]])
def test_an_upstream_gradient_beside_a_row_of_ones_own(engine, shape):
    """Where a circuit with a gradient on every output cannot be written down, the interpreter answers."""
    if engine == "tape" and shape:
        return
    own = dataclasses.replace(cf.GATES["identity"], forward=lambda xp, x: 2 * x,
                              backward=(lambda op, g, out, x: 2 * g,))
    made = circuit({"id": "x", "gate": "parameter", "value": {"data": 3.0, "shape": shape}},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["x"]},
                   outputs=["s", "x"], upstream={"x": {"data": 5.0, "shape": shape}},
                   gates={**cf.GATES, "identity": own}) if shape else circuit(
        {"id": "x", "gate": "parameter", "value": 3.0}, outputs=["x"], gates={**cf.GATES, "identity": own})
    try:
        compiled = cf.Executor(made).compile(engine=engine)
    except cf.InputError as error:
        assert engine == "staged"
        assert "needs the built-in gate 'identity'" in str(error)
        return
    _, gradients = compiled(upstream={"s": 7.0} if shape else {"x": 7.0})
    close(np.asarray(gradients["x"]), np.full(shape, 12.0 if shape else 7.0))


REFUSED = {
    "unknown input": (({"y": 1.0},), {}, "there is no input 'y' in circuit 'circuit'; it has x"),
    "unknown name": ((), {"df": 1.0}, "there is no input 'df' in circuit 'circuit'"),
    "computed": (({"f": 1.0},), {},
                 "'f' cannot be given a value: it is computed, by square; inputs and parameters can"),
    "twice": (({"x": 1.0},), {"x": 2.0}, "'x' is given twice: in the mapping and by name; give it once"),
    "no mapping": ((1.0,), {}, "inputs is 1.0; expected a mapping by id, such as {'x': 1.0}"),
    "upstream that is no mapping": ((), {"upstream": 1.0},
                                    "upstream is 1.0; expected a mapping by id, such as {'f': 1.0}"),
    "unknown output": ((), {"upstream": {"x": 1.0}}, "upstream 'x': not one of the outputs asked for"),
    "shape": (({"x": [1.0, 2.0]},), {}, "'x' has shape (2,); expected ()"),
    "upstream of another shape": ((), {"upstream": {"f": [1.0, 2.0]}},
                                  "upstream 'f' has shape (2,); expected (), as the output"),
    "text": (({"x": "three"},), {}, "'x' is \"three\"; expected numbers of dtype float64"),
}


@on_scalars
@pytest.mark.parametrize("case", REFUSED)
def test_every_engine_refuses_in_the_same_words(engine, case):
    positional, named, message = REFUSED[case]
    compiled = cf.Executor(square()).compile(engine=engine)
    with pytest.raises(cf.InputError, match=re.escape(message)):
        compiled(*positional, **named)


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_a_missing_value_is_asked_for(engine):
    made = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "square", "inputs": ["x"]})
    with pytest.raises(cf.InputError,
                       match=re.escape("no value for input 'x' (a float64); it has no default, so give it one")):
        cf.Executor(made).compile(engine=engine)()


@on_arrays
def test_an_upstream_gradient_of_a_composed_size(engine):
    """An input of the gradient circuit cannot declare twice a dimension, so auto lets the interpreter answer."""
    made = circuit({"id": "x", "gate": "input", "shape": ["batch"]},
                   {"id": "f", "gate": "concat", "inputs": ["x", "x"], "axis": 0})
    if engine in ("staged", "native"):
        with pytest.raises(cf.InputError, match=re.escape("needs an input with the dimension 2*batch")):
            cf.Executor(made).compile(engine=engine)
        return
    value, gradients = cf.Executor(made).compile(engine=engine)(x=np.arange(3.0), upstream={"f": np.arange(6.0)})
    close((np.asarray(value), np.asarray(gradients["x"])), (np.tile(np.arange(3.0), 2), np.array([3.0, 5.0, 7.0])))


@on_arrays
def test_scalars_made_of_arrays(engine):
    """Gates may give scalars where the inputs are arrays."""
    made = circuit({"id": "x", "gate": "input", "value": [1.0, 2.0, 3.0]},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["x"]},
                   {"id": "g", "gate": "reciprocal", "inputs": ["f"]}, outputs=["f", "g"])
    for wrt in ((), None, ["f"]):
        found = cf.Executor(made).compile(wrt=wrt, engine=engine)(x=[1.0, 2.0, -3.0])
        expected = cf.Executor(made).compile(wrt=wrt, engine="interpreter")(x=[1.0, 2.0, -3.0])
        close([np.asarray(found[0]["f"]), np.asarray(found[0]["g"])], [expected[0]["f"], expected[0]["g"]])
        close({name: np.asarray(x) for name, x in found[1].items()}, expected[1])


def test_what_is_not_needed_needs_no_value():
    """Not even its shape is looked at, though a needed input has the same dimension."""
    nodes = [{"id": "x", "gate": "input", "shape": ["batch"]}, {"id": "b", "gate": "parameter", "value": 2.0},
             {"id": "p", "gate": "add", "inputs": ["x", "b"]}, {"id": "f", "gate": "reduce_sum", "inputs": ["p"]},
             {"id": "l", "gate": "sub", "inputs": ["p", "u"]}, {"id": "loss", "gate": "reduce_sum", "inputs": ["l"]}]
    for unneeded in ({"value": [0.5] * 5}, {}):
        made = circuit({"id": "u", "gate": "input", "shape": ["batch"], **unneeded}, *nodes, outputs=["f", "loss"])
        for engine in ("interpreter", "auto", "staged", "jax"):
            value, gradients = cf.Executor(made).compile("f", engine=engine)(x=np.arange(3.0))
            close((np.asarray(value), np.asarray(gradients["b"]), np.asarray(gradients["x"])),
                  (np.float64(9), np.float64(3), np.ones(3)))


@on_scalars
@pytest.mark.parametrize("several", [iter, dict.fromkeys, tuple, list], ids=lambda f: f.__name__)
def test_references_may_be_anything_that_gives_them(engine, several):
    """An iterator is read once."""
    compiled = cf.Executor(COLLIDING).compile(several(["f"]), several(["x", "df"]), engine=engine)
    assert compiled() == (6.0, {"x": 30.0, "df": 20.0})
    assert pickle.loads(pickle.dumps(compiled))() == (6.0, {"x": 30.0, "df": 20.0})
    assert "'df':" in cf.to_python(COLLIDING, wrt=several(["df"]))


@pytest.mark.parametrize(("given", "message"), [
    ({"engine": None}, "engine is null; expected text"), ({"engine": 3}, "engine is 3; expected text"),
    ({"of": 3}, "of is 3; expected a reference to a node, or several"),
    ({"wrt": [1]}, "wrt: 1 is no reference to a node"),
])
def test_a_question_that_is_none(given, message):
    for make in (cf.Executor(square()).compile, cf.Executor(square()).vmap):
        with pytest.raises(cf.InputError, match=re.escape(message)):
            make(**given)


def test_what_an_export_is_given():
    with pytest.raises(cf.InputError, match="inputs is 3; expected a mapping by id"):
        cf.to_python(square(), inputs=3)
    with pytest.raises(cf.InputError, match="upstream is 3; expected a mapping by id"):
        cf.to_python(square(), upstream=3)


@pytest.mark.parametrize("size", [0, -1, 1.5, "a", True, None])
def test_thresholds_are_whole_numbers(size):
    with pytest.raises(cf.InputError, match=r"thresholds: column_rows is .*; expected a whole number from 1"):
        cf.Thresholds(column_rows=size)
    with pytest.raises(cf.InputError, match=r"thresholds is 3; expected cf.Thresholds"):
        cf.Executor(square(), thresholds=3)


def test_the_signature_tells_the_defaults():
    signature = inspect.signature(cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile())
    assert str(signature) == "(inputs=None, /, *, x=3.0, y=-4.0, upstream=None, **named)"


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("gate", ["add", "mul"])
@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_signs_of_zeros_of_many_operands(engine, gate, zero):
    """A sum of nothing but -0 is -0: a loop that adds must not begin with 0."""
    executor = cf.Executor(circuit({"id": "x", "gate": "input"}, {"id": "s", "gate": gate, "inputs": ["x"] * 9},
                                   outputs=["s"]))
    expected = executor.run({"x": zero}).values["s"]
    assert np.signbit(np.asarray(executor.compile("s", engine=engine)(x=zero)[0])) == np.signbit(expected)
    columns = executor.vmap("s", engine=engine)(x=np.full(3, zero))[0] if engine != "interpreter" else expected
    assert (np.signbit(np.asarray(columns)) == np.signbit(expected)).all()


@pytest.mark.parametrize("way", ["interpreter", "staged", "jax", "export"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("equation", ["i,i->", "i,j->", "i,i->i"])
def test_gradients_of_einsum_have_the_dtype_of_the_operand(equation, dtype, way):
    """The upstream gradient 1 of a scalar is a plain number beside arrays, of which einsum would make a float64."""
    document = circuit({"id": "x", "gate": "input", "dtype": dtype, "value": {"data": [1.0, 2.0], "dtype": dtype}},
                       {"id": "e", "gate": "einsum", "inputs": ["x", "x"], "equation": equation},
                       {"id": "f", "gate": "reduce_sum", "inputs": ["e"]})
    if way == "export":
        names = {}
        exec(cf.to_python(document), names)
        gradients = names["value_and_grad"](x=np.array([1, 2], dtype))[1]
    else:
        gradients = cf.Executor(document).compile(engine=way)(x=np.array([1, 2], dtype))[1]
    assert str(gradients["x"].dtype) == dtype
