"""References to the outputs of calls: `h`, `h.NAME` and `outer/h.NAME`, everywhere that a reference is taken."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import circuitflow as cf
from support.commands import outputs
from support.documents import circuit

ENGINES = ("interpreter", "staged", "tape", "jax")
LEAF = {"nodes": [{"id": "p", "gate": "input"}, {"id": "w", "gate": "parameter", "value": 1.5},
                  {"id": "a", "gate": "exp", "inputs": ["p"]},
                  {"id": "b", "gate": "mul", "inputs": ["a", "w"]}], "outputs": ["a", "b"]}
SINE = {"nodes": [{"id": "q", "gate": "input"}, {"id": "s", "gate": "sin", "inputs": ["q"]}], "outputs": ["s"]}
OUTER = {"nodes": [{"id": "p", "gate": "input"}, {"id": "h", "gate": "call", "circuit": "leaf", "inputs": ["p"]},
                   {"id": "g", "gate": "call", "circuit": "sine", "inputs": ["h.a"]},
                   {"id": "t", "gate": "add", "inputs": ["g", "h.b"]}],
         "outputs": ["t", "h.a"]}
CIRCUITS = {"leaf": LEAF, "sine": SINE, "outer": OUTER}
NODES = ("x = 0.5", {"id": "o", "gate": "call", "circuit": "outer", "inputs": ["x"]},
         {"id": "one", "gate": "call", "circuit": "sine", "inputs": ["o.t"]},
         "f = mul(one, o.h.a)")
MEANT = {"one": "one/s", "one.s": "one/s", "o.t": "o/t", "o.h.a": "o/h/a", "o/h.a": "o/h/a", "o/h.b": "o/h/b",
         "o/g": "o/g/s", "o/g.s": "o/g/s"}
"""Every spelling, and the node of the expanded circuit that it means."""

X = 0.75


def _circuit(outputs=("f",), **rest):
    return circuit(*NODES, outputs=list(outputs), circuits=CIRCUITS, **rest)


def _expected(node):
    """As the node inside the call, which has a name of its own."""
    executor = cf.Executor(_circuit())
    return (float(executor.forward({"x": X}, of=node).outputs[node]),
            float(executor.run({"x": X}, of=node, wrt="x").gradients["x"]),
            float(executor.run({"x": X}, wrt=node).gradients[node]))


@pytest.mark.parametrize("reference", MEANT)
def test_a_run_takes_every_spelling_and_answers_by_it(reference):
    c = _circuit()
    value, slope, gradient = _expected(MEANT[reference])
    executor = cf.Executor(c)
    assert c.find(reference) == c.find(MEANT[reference])
    for cache in ("all", "needed", "recompute"):
        result = executor.run({"x": X}, of=reference, upstream={reference: 2}, cache=cache)
        assert dict(result.outputs) == {reference: value}
        assert result.gradients["x"] == pytest.approx(2 * slope, rel=1e-14)
        assert executor.run({"x": X}, wrt=[reference],
                            cache=cache).gradients[reference] == pytest.approx(gradient, rel=1e-14)
    assert dict(executor.forward({"x": X}, of=reference).outputs) == {reference: value}
    result = executor.run({"x": X}, wrt=["x", reference])
    assert result.gradients[reference] is result.gradients[MEANT[reference]]
    assert cf.check(c, {"x": X}, of=reference).ok
    assert cf.check(c, {"x": X}, wrt=[reference]).ok


def test_an_edge_is_found_by_any_spelling_of_its_ends():
    result = cf.Executor(_circuit()).run(wrt=["x", "one"])
    assert result.contribution("one", "f") == result.contribution("one/s", "f") == result.contribution("one.s", "f")
    assert result.contribution("o/h.a", "o/h/b") == result.contribution("o/h/a", "o/h.b")


@pytest.mark.sliced
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reference", MEANT)
def test_every_engine_takes_every_spelling(reference, engine):
    value, slope, gradient = _expected(MEANT[reference])
    executor = cf.Executor(_circuit())
    found, gradients = executor.compile(reference, "x", engine=engine)(x=X)
    assert (float(found), list(gradients)) == (pytest.approx(value, rel=1e-14), ["x"])
    assert float(gradients["x"]) == pytest.approx(slope, rel=1e-14)
    assert float(executor.compile(reference, (), engine=engine)(x=X)[0]) == pytest.approx(value, rel=1e-14)
    _, gradients = executor.compile(wrt=[reference, "x"], engine=engine)(x=X)
    assert list(gradients) == [reference, "x"]
    assert float(gradients[reference]) == pytest.approx(gradient, rel=1e-14)
    if engine != "interpreter":
        found, gradients = executor.vmap(reference, [reference, "x"], engine=engine)(x=np.array([X, X]))
        np.testing.assert_allclose(np.asarray(found), [value] * 2, rtol=1e-14)
        np.testing.assert_allclose(np.asarray(gradients["x"]), [slope] * 2, rtol=1e-14)
        np.testing.assert_array_equal(np.asarray(gradients[reference]), [1, 1])


@pytest.mark.parametrize("reference", MEANT)
def test_derivatives_and_exported_code_take_every_spelling(reference):
    value, slope, gradient = _expected(MEANT[reference])
    c = _circuit()

    def outputs_of(made, **more):
        return [float(x) for x in cf.Executor(made).forward({"x": X, **more}).outputs.values()]

    assert outputs_of(cf.gradient(c, reference, "x", values=True)) == pytest.approx([value, slope], rel=1e-14)
    assert outputs_of(cf.gradient(c, wrt=[reference])) == pytest.approx([gradient], rel=1e-14)
    assert outputs_of(cf.jacobian(c, [reference], ["x"])) == pytest.approx([slope], rel=1e-14)
    assert outputs_of(cf.jacobian(c, wrt=[reference])) == pytest.approx([gradient], rel=1e-14)
    forward_mode = cf.jvp(c, wrt=[reference])
    (tangent,) = [node for node in forward_mode.nodes if node.endswith("_dot") and forward_mode.nodes[node].kind
                  == "input"]
    assert outputs_of(forward_mode, **{tangent: 2.0}) == pytest.approx([2 * gradient], rel=1e-14)
    assert len(cf.hvp(c, wrt=[reference]).outputs) == 1
    assert len(cf.hessian(c, wrt=[reference]).outputs) == 1
    for of, wrt, expected in ((reference, "x", (value, {"x": slope})),
                              (None, [reference], (None, {reference: gradient}))):
        namespace = {"__name__": "exported"}
        exec(cf.to_python(c, of, wrt), namespace)
        found, gradients = namespace["value_and_grad"](x=X)
        assert gradients == pytest.approx(expected[1], rel=1e-14)
        assert expected[0] is None or found == pytest.approx(expected[0], rel=1e-14)


@pytest.mark.parametrize("reference", MEANT)
def test_the_commands_take_every_spelling(circuitflow, tmp_path, reference):
    value, slope, gradient = _expected(MEANT[reference])
    path = str(tmp_path / "c.json")
    (tmp_path / "c.json").write_text(cf.dumps(_circuit()))
    near = pytest.approx
    for engine in ENGINES:
        outcome = circuitflow("run", path, "--set", f"x={X}", "--of", reference, "--wrt", f"x,{reference}", "--json",
                              "--engine", engine)
        told = json.loads(outcome.out)
        assert (told["outputs"], told["gradients"]["x"],
                told["gradients"][reference]) == ({reference: near(value)}, near(slope), 1)
    told = json.loads(circuitflow("run", path, "--set", f"x={X}", "--of", reference, "--upstream", f"{reference}=2",
                                  "--json").out)
    assert told["gradients"]["x"] == near(2 * slope)
    pa.csv.write_csv(pa.table({"x": [X, X]}), tmp_path / "rows.csv")
    outcome = circuitflow("run", path, "--table", str(tmp_path / "rows.csv"), "--of", reference, "--wrt", "x")
    assert pa.csv.read_csv(pa.py_buffer(outcome.out.encode())).to_pydict() == {reference: [near(value)] * 2,
                                                                               "dx": [near(slope)] * 2}
    outcome = circuitflow("run", path, "--table", str(tmp_path / "rows.csv"), "--wrt", reference)
    assert pa.csv.read_csv(pa.py_buffer(outcome.out.encode())).to_pydict()[f"d{reference}"] == [near(gradient)] * 2
    assert circuitflow("export", path, "--of", reference, "--wrt", f"{reference},x").status == 0
    assert circuitflow("grad", path, "--wrt", reference, "--of", reference).status == 0
    assert circuitflow("check", path, "--of", reference).status == 0
    assert circuitflow("explain", path, "--of", reference, "--wrt", reference).status == 0
    outcome = circuitflow("run", path, "--set", f"x={X}", "--jvp", f"{reference}=2", "--json")
    assert list(outputs(outcome).values()) == [near(2 * gradient)]


@pytest.mark.parametrize("listed", [["o.t", "o.h.a"], ["one"], ["one.s", "o.t"]])
def test_outputs_of_calls_are_outputs_of_the_document_on_every_engine(listed):
    c = _circuit(listed)
    expected = cf.Executor(c).run({"x": X})
    for engine in ENGINES:
        value, gradients = cf.Executor(c).compile(engine=engine)(x=X)
        value = value if len(listed) > 1 else {listed[0]: value}
        assert {name: float(x) for name,
                x in value.items()} == pytest.approx({name: float(x) for name, x in expected.outputs.items()},
                                                     rel=1e-14)
        assert list(value) == listed
        assert float(gradients["x"]) == pytest.approx(float(expected.gradients["x"]), rel=1e-14)
        if engine != "interpreter":
            value, _ = cf.Executor(c).vmap(engine=engine)(x=[X, X])
            assert list(value if len(listed) > 1 else {listed[0]: value}) == listed
    gradient = cf.gradient(c, values=True)
    assert float(list(cf.Executor(gradient).forward({"x": X}).outputs.values())[-2]) == pytest.approx(
        float(expected.gradients["x"]), rel=1e-14)
    assert "o.t" not in listed or "o.t" in cf.to_python(c)


@pytest.mark.parametrize("wrt", [["k.a"], ["k.a", "x"], ["k.b", "k.a"]])
def test_the_gradient_on_an_output_that_its_call_reads_too(wrt):
    """What the call makes of it flows back into it, on every engine and in documents."""
    c = circuit("x = 0.5", {"id": "k", "gate": "call", "circuit": "leaf", "inputs": ["x"]}, outputs=["k.a", "k.b"],
                circuits=CIRCUITS)
    expected = [{"k.a": 2.5, "k.b": 1.0, "x": 2.5 * np.exp(0.5)}[name] for name in wrt]
    for engine in ENGINES:
        assert [float(x)
                for x in cf.Executor(c).compile(wrt=wrt,
                                                engine=engine)()[1].values()] == pytest.approx(expected, rel=1e-14)
    assert [float(x)
            for x in cf.Executor(cf.gradient(c, wrt=wrt)).forward().outputs.values()] == pytest.approx(expected,
                                                                                                       rel=1e-14)


def test_an_upstream_gradient_belongs_to_an_output_under_every_name():
    c = _circuit(["one"], upstream={"one": 3})
    executor = cf.Executor(c)
    slope = executor.run(of="one.s", upstream={"one.s": 1}).gradients["x"]
    for of in ("one", "one.s", "one/s"):
        assert executor.run(of=of).gradients["x"] == pytest.approx(3 * slope, rel=1e-14)
        assert executor.run(of=of, upstream={"one": 2}).gradients["x"] == pytest.approx(2 * slope, rel=1e-14)
    assert executor.run(upstream={"one.s": 2}).gradients["x"] == pytest.approx(2 * slope, rel=1e-14)
    assert cf.Executor(cf.gradient(c, "one.s", "x")).forward().outputs["dx"] == pytest.approx(3 * slope, rel=1e-14)
    with pytest.raises(cf.InputError,
                       match=r"upstream 'one': it is the output 'one.s', which is given one too; give one"):
        executor.run(upstream={"one.s": 2, "one": 3})
    with pytest.raises(cf.InputError, match="upstream 'o.t': not one of the outputs asked for, which are one"):
        executor.run(upstream={"o.t": 2})


@pytest.mark.parametrize(("reference", "message"), [
    ("o", "'o' has several outputs; name one of its outputs: o.t, o.h.a"),
    ("o/h", "'o/h' has several outputs; name one of its outputs: o/h.a, o/h.b"),
    ("o.x", "there is no 'o.x' in circuit 'c'"), ("o/h.c", "there is no 'o/h.c' in circuit 'c'"),
    ("one/s.t", "there is no 'one/s.t'"), ("o/", "there is no 'o/'"),
    ("/o", "there is no '/o'"), ("", "there is no ''"), (".", "there is no '.'"), ("f/h.a", "there is no 'f/h.a'"),
    ("one.", "there is no 'one.' in circuit 'c'")])
def test_what_is_no_reference(reference, message):
    executor = cf.Executor(_circuit(name="c"))
    for option in ("of", "wrt"):
        for ask in (executor.run, executor.compile, executor.vmap,
                    lambda **asked: cf.gradient(executor.circuit, **asked)):
            with pytest.raises(cf.InputError) as error:
                ask(**{option: [reference]})
            assert str(error.value).startswith(f"{option}: {message}")
