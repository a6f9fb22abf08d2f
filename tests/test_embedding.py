"""Circuits inside of other programs: results as JSON, values stored, documents in documents, tables named at the
terminal."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import pickle
import pydoc
import re
import subprocess
import sys

import array_api_strict
import jax
import jsonschema
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates.operators import BINARY, PREFIXES
from support.documents import circuit
from support.suite import GUARD, ROOT

OWN = '''
import circuitflow as cf
CUBE = cf.Gate("x³", "The cube.", ("x",), lambda x: x, reads=cf.Reads.INPUTS, forward=lambda xp, x: x * x * x,
               backward=(lambda op, g, out, x: 3 * g * x * x,))
TABLE = {**cf.GATES, "cube": CUBE}
class Inside:
    table = TABLE
'''


def product():
    return cf.load(ROOT / "circuits" / "product.json")


# Results as JSON


def test_a_result_is_a_dictionary_that_json_takes():
    result = cf.Executor(product()).run()
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["outputs"] == {"f": -12}
    assert found["values"] == {"x": -2, "y": 5, "z": -4, "q": 3, "f": -12}
    assert len(found["contributions"]) == 4
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "run.schema.json").read_text()))
    assert result.to_dict(outputs=(), values="q", gradients=["x", "q"],
                          contributions=False) == {"circuit": "product", "values": {"q": 3},
                                                   "gradients": {"x": -4, "q": -4}}


def test_a_part_of_a_result_is_asked_for_by_any_reference():
    inner = {"nodes": [{"id": "a", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["a"]}], "outputs": ["y"]}
    calls = circuit("x = 0", {"id": "h", "gate": "call", "circuit": "inner", "inputs": ["x"]}, "f = neg(h)",
                    circuits={"inner": inner})
    assert cf.Executor(calls).run().to_dict(outputs=(), values=["h", "h/y"], gradients=(),
                                            contributions=False)["values"] == {"h": 1, "h/y": 1}


@pytest.mark.parametrize(("asked", "message"), [
    ({"values": "qq"}, "values: the result has none of 'qq'; did you mean 'q'?; there are 'x', 'y', 'z', 'q', 'f'"),
    ({"gradients": ["x", 3]}, "gradients: 3 is no reference to a node; expected its id as a string"),
    ({"outputs": "q"}, "outputs: the result has none of 'q'; there are 'f'"),
    ({"contributions": 1}, "to_dict: contributions is 1; expected True or False"),
])
def test_a_part_that_is_not_there_is_refused(asked, message):
    with pytest.raises(cf.InputError) as error:
        cf.Executor(product()).run().to_dict(**asked)
    assert str(error.value) == message


def test_results_in_other_libraries_and_not_finite_ones_are_json_too():
    made = circuit({"id": "x", "gate": "input", "shape": [2]}, "f = log(x)")
    for x in (np.array([0.0, 1.0]), jax.numpy.array([0.0, 1.0]), array_api_strict.asarray([0.0, 1.0])):
        assert cf.Executor(made).forward({"x": x}).to_dict()["outputs"] == {"f": ["-Infinity", 0.0]}


def test_a_traced_result_is_refused_as_json():
    made = circuit({"id": "x", "gate": "input"}, "f = exp(x)")
    with pytest.raises(cf.InputError, match="a value: a .* cannot become an array of NumPy"):
        jax.jit(lambda x: cf.Executor(made).forward({"x": x}).to_dict()["outputs"]["f"])(jax.numpy.ones(()))


@pytest.mark.parametrize(("options", "keys"), [
    ([], {"outputs": ["f"], "values": ["x", "y", "z", "q", "f"], "gradients": ["x", "y", "z", "q", "f"]}),
    (["--of", "q"], {"outputs": ["q"], "gradients": ["x", "y"]}),
    (["--wrt", "q,x"], {"outputs": ["f"], "gradients": ["q", "x"]}),
    (["--values", "q"], {"outputs": ["f"], "values": ["q"], "gradients": ["x", "y", "z"]}),
    (["--of", "f,q", "--wrt", "x", "--values", "y,z"],
     {"outputs": ["f", "q"], "values": ["y", "z"], "gradients": ["x"]}),
    (["--of", "q", "--forward"], {"outputs": ["q"]}),
    (["--engine", "staged", "--wrt", "x"], {"outputs": ["f"], "gradients": ["x"]}),
    (["--cache", "needed", "--wrt", "x"], {"outputs": ["f"], "gradients": ["x"]}),
    (["--jacobian", "--wrt", "x"], {"outputs": ["df_dx"]}), (["--jvp", "x=1"], {"outputs": ["f_dot"]}),
])
def test_run_prints_what_is_asked_for_as_json(circuitflow, options, keys):
    found = json.loads(circuitflow("run", "circuits/product.json", "--json", *options).out)
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "run.schema.json").read_text()))
    assert {part: list(found[part]) for part in ("outputs", "values", "gradients") if part in found} == keys
    assert ("contributions" in found) == (not options)


@pytest.mark.parametrize("options", [["--values", "q"], ["--json", "--values", "q", "--hessian"],
                                     ["--json", "--values", "q", "--cache", "needed"],
                                     ["--json", "--values", "q", "--engine", "staged"]])
def test_values_go_with_json_and_the_interpreter(circuitflow, options):
    run = circuitflow("run", "circuits/product.json", *options)
    assert run.status == 2
    assert run.err.startswith("error: --values goes with ")


# Values stored


def test_values_are_stored_in_the_document():
    before = product()
    after = before.with_values({"x": 2.99, "y": np.float64(7), "z": "Infinity"})
    assert [node.value for node in after.document.nodes[:3]] == [2.99, 7, "Infinity"]
    assert before == product()
    assert cf.Executor(after).forward(of="q").outputs["q"] == 9.99
    assert cf.loads(cf.dumps(after)) == after


@pytest.mark.parametrize(("node", "value", "written"), [
    ({"gate": "parameter", "value": [1, 2], "dtype": "float32"}, np.float32([0.1, 2]),
     {"value": [0.10000000149011612, 2], "dtype": "float32"}),
    ({"gate": "parameter", "value": {"data": [1, 2], "dtype": "float32"}}, [3, 4],
     {"value": [3, 4], "dtype": "float32"}),
    ({"gate": "constant", "value": [True]}, [False], {"value": [False]}),
    ({"gate": "input", "shape": ["n"], "dtype": "int64"}, [5, 6], {"shape": ["n"], "dtype": "int64", "value": [5, 6]}),
    ({"gate": "input", "shape": ["n"], "dtype": "bool"}, [], {"shape": ["n"], "dtype": "bool", "value": []}),
    ({"gate": "parameter", "value": {"data": [], "shape": [0], "dtype": "bool"}}, [], {"value": [], "dtype": "bool"}),
    ({"gate": "parameter", "value": [0.5, 1]}, {"random": "normal", "shape": [2], "seed": 1},
     {"value": {"random": "normal", "shape": [2], "seed": 1}}),
    ({"gate": "input", "shape": [0, 2]}, np.ones((0, 2)),
     {"shape": [0, 2], "value": {"data": [], "shape": [0, 2], "dtype": "float64"}}),
    ({"gate": "parameter", "value": [1, 2]}, [float("nan"), -0.0], {"value": ["NaN", -0.0]}),
])
def test_a_node_stays_what_it_was_but_for_the_value(node, value, written):
    before = circuit({"id": "p", **node}, "f = identity(p)")
    after = before.with_values({"p": value})
    assert json.loads(cf.dumps(after))["nodes"][0] == {"id": "p", "gate": node["gate"], **written}
    assert after.nodes["p"].types == before.nodes["p"].types


INNER = {"nodes": [{"id": "a", "gate": "input"}, {"id": "w", "gate": "parameter", "value": 2},
                   {"id": "y", "gate": "mul", "inputs": ["a", "w"]}], "outputs": ["y"]}


@pytest.mark.parametrize(("values", "message"), [
    ({"xx": 1}, "there is no 'xx' in the document of circuit 'circuit' itself; did you mean 'x'?"),
    ({"f": 1}, "'f' cannot be given a value: it is computed, by neg; inputs, parameters and constants can"),
    ({"h/w": 1}, "there is no 'h/w' in the document of circuit 'circuit' itself inside a call; store it in the circuit "
                 "that is called"), ({"x": [1, 2, 3]}, "'x' has shape (3,); expected (2,)"),
    ({"x": 1}, "'x' has shape (); expected (2,)"), ({"x": {"random": "normal", "shape": [2, 1], "seed": 1}},
                                                    "'x' would become float64 (2, 1); expected float64 (2,), as "
                                                    "before"),
    ({"x": ["NaN"]}, "'x' would become float64 (1,); expected float64 (2,), as before"),
    ({"x": None}, "'x' is None; expected a number"), ({"x": {"data": object()}}, "an object with 'data' is no value"),
    ([1], "with_values: values is a list of 1; expected a mapping from text to values"),
    ({1: 2}, "with_values: values is an object with '1'; expected a mapping from text to values"),
])
def test_what_cannot_be_stored_is_refused(values, message):
    made = circuit("x = [1, 2]", {"id": "k", "gate": "input", "value": 1},
                   {"id": "h", "gate": "call", "circuit": "inner", "inputs": ["k"]}, "f = neg(x)", outputs=["f", "h"],
                   circuits={"inner": INNER})
    with pytest.raises(cf.InputError) as error:
        made.with_values(values)
    assert str(error.value).startswith(message)


def test_a_stored_value_that_is_none_is_a_fault():
    with pytest.raises(cf.DocumentError, match="value of 'x':1:1: 'random' is missing|expected"):
        product().with_values({"x": {"random": "cauchy", "shape": [], "seed": 1}})


def test_fmt_stores_values(circuitflow, tmp_path):
    file = tmp_path / "product.json"
    file.write_text((ROOT / "circuits" / "product.json").read_text())
    assert circuitflow("fmt", str(file), "--set", "x=2.99", "--set", "z=nan", "--write").status == 0
    assert [node.value for node in cf.load(file).document.nodes[:3]] == [2.99, 5, "NaN"]
    shown = circuitflow("fmt", str(file), "--set", "x=1", "--inputs").out
    assert cf.loads(shown).document.edges == []
    assert cf.load(file).document.nodes[0].value == 2.99
    for options, message in ((["--set", "q=1"], "'q' cannot be given a value"),
                             (["--set", "x=1", "--check"], "--check changes nothing; leave out --set"),
                             (["--set", "x"], "--set x: expected ID=VALUE")):
        run = circuitflow("fmt", str(file), *options)
        assert run.status == 2
        assert message in run.err


# Documents


def test_documents_are_written_and_bytes_are_read():
    text = cf.dumps(product())
    assert cf.dumps(product().document) == text
    assert cf.loads(text.encode()) == product()
    for data, message in ((b"\xff{}", "is not UTF-8 text: byte 0xff at offset 0"),
                          (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
                          (text.encode("utf-16"), "is UTF-16 or UTF-32 text"), (b"", "the document is empty")):
        with pytest.raises(cf.DocumentError, match=message):
            cf.loads(data)
    with pytest.raises(cf.DocumentError, match="limit document_bytes"):
        cf.loads(text.encode(), limits=cf.Limits(document_bytes=10))


def whole(**more):
    return {"circuitflow": "1.0", "$schema": "s", "name": "inner",
            "nodes": [{"id": "a", "gate": "input"}, {"id": "third", "gate": "constant", "value": 0.1},
                      {"id": "y", "gate": "mul", "inputs": ["a", "third"]}], "outputs": ["y"], **more}


def outer(inner, **more):
    return json.dumps({"circuitflow": "1.0", "circuits": {"n": inner, "helper": whole()}, "nodes": [
        {"id": "x", "gate": "input", "value": 3, "dtype": "float64"},
        {"id": "f", "gate": "call", "circuit": "n", "inputs": ["x"]}], "outputs": ["f"], **more})


def test_a_whole_document_may_stand_under_circuits_and_means_there_what_it_means_alone():
    made = cf.loads(outer(whole(), dtype="float32"))
    assert made.nodes["f/third"].types[0].dtype == "float64"
    assert cf.Executor(made).run().outputs["f"] == 3 * 0.1
    assert cf.loads(cf.dumps(made)) == made
    assert cf.dumps(cf.loads(cf.dumps(made))) == cf.dumps(made)
    assert cf.Executor(cf.gradient(made)).run().outputs["dx"] == 0.1
    body = {key: value for key, value in whole().items() if key not in ("circuitflow", "$schema")}
    # what is no whole document takes the dtype of the document that it stands in
    with pytest.raises(cf.DocumentError, match="cannot mix|float32"):
        cf.loads(outer({**body, "nodes": [*body["nodes"], {"id": "d", "gate": "constant", "value": 1, "dtype": "int64"},
                                          {"id": "e", "gate": "mul", "inputs": ["third", "d"]}], "outputs": ["e"]},
                       dtype="float32"))
    with pytest.raises(cf.DocumentError, match="there is no circuit \"helper\""):
        cf.loads(outer(whole(nodes=[{"id": "a", "gate": "input"},
                                    {"id": "y", "gate": "call", "circuit": "helper", "inputs": ["a"]}])))
    with pytest.raises(cf.DocumentError,
                       match="'circuitflow' is \"2.0\"; expected \"1.0\" or \"1.1\", the formats that this "
                             "circuitflow reads"):
        cf.loads(outer(whole(circuitflow="2.0")))


def test_a_program_puts_a_document_under_circuits():
    inner = cf.loads(json.dumps(whole()))
    made = cf.Circuit(cf.Document(circuitflow="1.0", circuits={"n": inner.document},
                                  nodes=[{"id": "x", "gate": "input", "value": 3},
                                         {"id": "f", "gate": "call", "circuit": "n", "inputs": ["x"]}], outputs=["f"]))
    assert cf.loads(cf.dumps(made)) == made
    assert cf.Executor(made).run().outputs["f"] == 3 * 0.1


# Gate tables at the terminal


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_gates.py").write_text(OWN)
    (tmp_path / "broken_gates.py").write_text("1 / 0")
    (tmp_path / "leaving_gates.py").write_text("import sys; sys.exit(0)")
    (tmp_path
     / "c.json").write_text(json.dumps({"circuitflow": "1.0",
                                        "nodes": [{"id": "x", "gate": "input", "value": 2},
                                                  {"id": "f", "gate": "cube", "inputs": ["x"]}], "outputs": ["f"]}))
    (tmp_path / "fit.json").write_text(json.dumps({"circuitflow": "1.0", "nodes": [
        {"id": "x", "gate": "parameter", "value": 1}, {"id": "cube", "gate": "cube", "inputs": ["x"]},
        {"id": "eight", "gate": "constant", "value": 8}, {"id": "r", "gate": "sub", "inputs": ["cube", "eight"]}],
        "outputs": ["r"]}))

    def run(*arguments):
        return subprocess.run([sys.executable, "-P", "-m", "circuitflow", *arguments], cwd=tmp_path,
                              capture_output=True, text=True, timeout=GUARD)

    return run


@pytest.mark.long
def test_every_command_takes_a_gate_table(own):
    from circuitflow.cli.main import COMMANDS

    ways = {"run": ["c.json"], "check": ["c.json"], "explain": ["c.json"], "why": ["c.json"],
            "draw": ["c.json", "--no-values", "-o", "c.mmd"], "grad": ["c.json"], "new": ["f = cube(x)"],
            "export": ["c.json"], "fit": ["fit.json", "-o", "-"],
            "diff": ["c.json", "c.json"], "fmt": ["c.json", "--set", "x=3"], "gates": ["cube"], "schema": []}
    assert ways.keys() == COMMANDS.keys() - {"examples", "import", "lsp"}
    for command, arguments in ways.items():
        run = own(command, *arguments, "--gates", "own_gates:TABLE")
        assert run.returncode == 0, (command, run.stderr)
        assert (command in ("check", "why", "draw", "diff", "schema") or "cube" in run.stdout
                or "x * x * x" in run.stdout)
    assert '"const": "cube"' in own("schema", "--gates", "own_gates:Inside.table").stdout
    assert own("gates", "The cube", "--json", "--gates",
               "own_gates:TABLE").stdout.startswith('{"cube": {"family": "own"')
    assert "own " in own("gates", "--gates", "own_gates:TABLE").stdout


@pytest.mark.sliced(by=["message"], message=lambda message: message.partition(" ")[0])
@pytest.mark.parametrize(("given", "message"), [
    ("own_gates", "expected MODULE:TABLE, such as --gates mygates:TABLE"), ("own gates:TABLE", "expected MODULE:TABLE"),
    ("own_gates:", "expected MODULE:TABLE"),
    ("own_gate:TABLE", "the module 'own_gate' cannot be imported: ModuleNotFoundError: No module named 'own_gate'"),
    ("broken_gates:TABLE", "cannot be imported: ZeroDivisionError: division by zero"),
    ("leaving_gates:TABLE", "cannot be imported: SystemExit: 0"),
    ("own_gates:TABEL", "'own_gates' has no 'TABEL'; did you mean 'TABLE'?"),
    ("own_gates:CUBE", "expected a mapping from names to gates"),
    ("json:loads", "expected a mapping from names to gates"),
])
def test_what_is_no_gate_table_is_refused(own, given, message):
    run = own("run", "c.json", "--gates", given)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: --gates {given}")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_the_page_has_gates_of_ones_own(own):
    page = own("gates", "--page", "--gates", "own_gates:TABLE").stdout
    assert page.startswith("# The gates\n\n172 gates in 15 families;")
    assert "\n## Own\n\n### cube\n\n$$x^{3}$$\n\n" in page


# Notebooks and processes


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import circuitflow as cf
circuit = cf.load("circuits/product.json")
result = cf.Executor(circuit).run()
for thing in (cf.diff(circuit, circuit.with_values({"x": 1})), cf.diff(circuit, circuit), cf.check(circuit),
              *(cf.explain(result, form) for form in ("text", "markdown", "html"))):
    data = shell.display_formatter.format(thing)[0]
    print(sorted(data), repr(data["text/plain"][:60]), repr(data.get("text/html", "")[:60]))
try:
    cf.loads("{")
except cf.DocumentError as error:
    data = shell.display_formatter.format(error)[0]
    print(sorted(data), repr(data["text/plain"][:60]), repr(data["text/html"][:60]))
    data = shell.display_formatter.format(error.faults[0])[0]
    print(sorted(data), repr(data["text/html"][:60]))
shell.run_cell("import circuitflow as cf; cf.load('circuits/broken/several_faults.json')")
"""


def test_notebooks_show_explanations_differences_reports_and_faults():
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], cwd=ROOT, capture_output=True, text=True, check=False)
    change, same, report, text, markdown, page, error, fault, *shown = done.stdout.splitlines()
    assert done.stderr == ""
    assert change == ("['text/html', 'text/plain'] '~ x: value: -2 → 1' "
                      r"'<table>\n<tr><th>circuit</th><th>node</th><th>change</th><th>'")
    assert same == "['text/html', 'text/plain'] 'no difference' '<p>no difference</p>'"
    assert report.startswith("['text/html', 'text/plain'] 'x at []: -4, by differences -4: ok\\n")
    assert text.startswith("['text/html', 'text/plain'] 'product\\n")
    assert "'<pre>product" in text
    assert markdown.startswith("['text/markdown', 'text/plain'] '# product")
    assert page.endswith("""'<iframe sandbox width="100%" height="600" srcdoc="&lt;!docty'""")
    assert error.startswith("['text/html', 'text/plain'] '<document>:1:2: ")
    assert "'<pre>&lt;document&gt;:1:2: " in error
    assert "<pre>&lt;document&gt;" in fault
    assert shown[0] == "DocumentError: 7 faults"
    assert not [line for line in shown if "Traceback" in line or ".py" in line]
    assert len(shown) == 22


def errors():
    with pytest.raises(cf.DocumentError) as document:
        cf.loads('{"nodes": 3}')
    with pytest.raises(cf.InputError) as given:
        cf.Executor(product()).run({"x": None})
    with pytest.raises(cf.UnknownNameError) as name:
        cf.build().sigmod  # noqa: B018
    return [document.value, given.value, name.value, cf.GateError("node 'f'"), cf.VerificationError("staged"),
            cf.MissingExtraError("jax"), cf.ShapeError("needs"), cf.CircuitflowError("x")]


def raised(i):
    raise errors()[i]


def test_errors_survive_pickles_and_processes():
    made = errors()
    assert {type(error).__name__ for error in made} == {name for name in cf.__all__
                                                        if isinstance(getattr(cf, name), type)
                                                        and issubclass(getattr(cf, name), Exception)}
    for error in made:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for i, error in enumerate(made):
            found = pool.submit(raised, i).exception()
            assert type(found) is type(error)
            assert getattr(found, "faults", None) == getattr(error, "faults", None)


def test_an_explanation_is_a_text_also_after_a_pickle():
    told = cf.explain(cf.Executor(product()).run(), "markdown")
    again = pickle.loads(pickle.dumps(told))
    assert again == told
    assert again._repr_mimebundle_() == {"text/plain": told, "text/markdown": told}


def test_a_report_in_words():
    own = cf.Gate("2x", "Wrong.", ("x",), lambda x: x, lambda xp, x: x * 2.0, (lambda op, g, out, x: g * 3.0,))
    made = circuit({"id": "x", "gate": "input", "value": 1}, {"id": "u", "gate": "input", "value": 1},
                   "unused = exp(u)", {"id": "f", "gate": "own", "inputs": ["x"]}, outputs=["f"],
                   gates={**cf.GATES, "own": own})
    assert str(cf.check(made)).splitlines() == ["x at []: 3, by differences 2: wrong",
                                                "node 'f': the backward rule of own is wrong for operand 'x'",
                                                "node 'u' reaches no output",
                                                "node 'unused' reaches no output", "wrong"]
    from circuitflow.pictures.notebook import report_as_html

    assert "<td>wrong</td></tr>\n</table>\n<p>node &#x27;f&#x27;: the backward rule of own" in report_as_html(
        cf.check(made))


# Types


def checked_by_mypy(folder, sources):
    pytest.importorskip("mypy")
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    done = subprocess.run([sys.executable, "-m", "mypy", "--config-file=",
                           "--disable-error-code=import-untyped", "--cache-dir", str(ROOT / ".mypy_cache"),
                           *(f"{name}.py" for name in sources)], cwd=folder,
                          env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    return done.stdout


OF_OTHERS = re.compile(r"^(?:from|import) (?:dask|duckdb|polars|pyspark|ray)\b", re.MULTILINE)
"""Programs that are not installed everywhere, and whose types are their own."""


def scripts():
    """Those of README and the guides, a page at a time, without blocks that need programs of others."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
    blocks = {page.stem: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in pages}
    return {f"script_{name}": "\n\n".join(text for text in texts if not OF_OTHERS.search(text))
            for name, texts in blocks.items() if texts}


@pytest.mark.long
def test_the_scripts_of_the_pages_and_every_operator_type_check(tmp_path):
    lines = [f"reveal_type(x {sign} y)\nreveal_type({'x' if operator.binding == 1 else '2.0'} {sign} x)" for sign,
             operator in BINARY.items()]
    lines += [f"reveal_type({sign}x)" for sign in PREFIXES] + ["reveal_type(abs(x))", "reveal_type(x != y)"]
    text = "import circuitflow as cf\nc = cf.build()\nx, y = c.input('x'), c.input('y')\n" + "\n".join(
        lines) + "\nx[0].sigmoid().sum(axis=0).T\n"
    found = checked_by_mypy(tmp_path, {**scripts(), "operators": text})
    assert found.count('Revealed type is "circuitflow.authoring.wires.AuthoredWire"') == text.count("reveal_type")
    assert re.search(r"error:.*|Success", found).group() == "Success", found


@pytest.mark.long
def test_pyright_takes_the_scripts_of_the_pages(tmp_path):
    program = pathlib.Path(sys.executable).with_name("basedpyright")
    if not program.exists():
        pytest.skip("basedpyright is not installed: pip install 'circuitflow[lint]'")
    for name, source in scripts().items():
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path
     / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}))
    done = subprocess.run([program, "--pythonpath", sys.executable, "."], cwd=tmp_path, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout


# Help


@pytest.mark.parametrize("name", sorted({*cf.__all__} - {"GATES"}))
def test_help_fits_a_screen(name):
    thing = getattr(cf, name)
    functions = [thing] if not isinstance(thing, type) else [member for key, member in vars(thing).items()
                                                             if callable(member) and not key.startswith("_")]
    for function in functions:
        text = pydoc.plain(pydoc.render_doc(function))
        assert max(len(text) / 4_000, len(text.splitlines()) / 40) < 1, (name, function)


def test_the_built_in_table_is_one_word_and_stays_as_it_is():
    assert repr(cf.GATES) == "GATES"
    assert repr(cf.Limits()) == "Limits()"
    assert repr(cf.Limits(nodes=3)) == "Limits(nodes=3)"
    assert repr(cf.Thresholds(blocks=2)) == "Thresholds(blocks=2)"
    for change in (lambda: cf.GATES.update(x=1), lambda: cf.GATES.__setitem__("x", 1), lambda: cf.GATES.pop("mul"),
                   lambda: cf.GATES.__ior__({"x": 1}), lambda: cf.GATES.clear()):
        with pytest.raises(TypeError, match="make a table of your own"):
            change()
    assert type({**cf.GATES, "x": 1}) is dict
