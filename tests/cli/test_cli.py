"""The command line: what it prints, where, and with which status."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import jsonschema
import numpy as np
import pytest
import typer

import circuitflow as cf
from circuitflow.cli.main import COMMANDS, _app
from support.commands import golden, outputs
from support.documents import document
from support.suite import GUARD, ROOT


@pytest.mark.parametrize(("name", "arguments"), [
    *[(f"run_{name}", ["run", f"circuits/{name}.json"]) for name in (
        "product", "patterns", "sigmoid_neuron", "sigmoid_neuron_fused", "staged", "fork", "square", "tie",
        "matrix_product", "neuron_layer", "rnn", "conv_net")],
    ("grad_product", ["grad", "circuits/product.json"]),
    ("grad_staged", ["grad", "circuits/staged.json", "--values"]),
    ("grad_neuron_layer", ["grad", "circuits/neuron_layer.json", "--wrt", "w1,b1,x"]),
    ("export_staged", ["export", "circuits/staged.json"]),
    ("export_logistic_regression", ["export", "circuits/logistic_regression.json"]),
    *[(f"explain_{name}", ["explain", f"circuits/{name}.json"]) for name in (
        "sigmoid_neuron", "staged", "patterns", "matrix_product", "neuron_layer", "rnn", "tie")],
    ("explain_staged_markdown", ["explain", "circuits/staged.json", "--format", "markdown"]),
    ("explain_patterns_html", ["explain", "circuits/patterns.json", "--format", "html"]),
    *[(f"explain_{name}_{form}", ["explain", f"circuits/{name}.json", "--format", form])
      for name in ("sigmoid_neuron", "staged", "attention") for form in ("latex", "mathml")],
    ("why_staged", ["why", "circuits/staged.json"]),
    ("why_conv_net", ["why", "circuits/conv_net.json"]),
    ("trace_staged", ["run", "circuits/staged.json", "--trace"]),
    ("new_staged", ["new", "f = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)", "--set", "x=3", "--set", "y=-4"]),
    ("new_mlp", ["new", "h = relu(x @ W1 + b1)  # hidden\nloss = softmax_cross_entropy_loss(h @ W2, label)", "--name",
                 "mlp", "--dtype", "float32",
                 "--parameters", "W1,W2", "--parameters", "b1", "--shape", "x=batch,784", "--shape", "label=batch",
                 "--set", 'W1={"random": "he_normal", "shape": [784, 16], "seed": 0}', "--set",
                 'b1={"data": 0, "shape": [16]}',
                 "--set", 'W2={"random": "he_normal", "shape": [16, 10], "seed": 1}', "--set",
                 'label={"data": [1, 2], "dtype": "int64"}']),
    ("check_staged", ["check", "circuits/staged.json"]),
    ("check_tie", ["check", "circuits/tie.json"]),
    ("gates", ["gates"]),
    ("gates_reduce_max", ["gates", "reduce_max"]),
    ("gates_pool", ["gates", "pool"]),
    ("gates_split", ["gates", "split"]),
    ("gates_mul", ["gates", "mul"]),
])
def test_what_people_see(circuitflow, monkeypatch, name, arguments):
    monkeypatch.setenv("COLUMNS", "100")
    outcome = circuitflow(*arguments)
    assert (outcome.status, outcome.err) == (0, "")
    golden(f"{name}.txt", outcome.out)


def test_help_shows_every_command_and_an_example_of_each(circuitflow):
    program = circuitflow("--help").out
    assert "Usage: circuitflow" in program
    assert "Start with: circuitflow run circuits/sigmoid_neuron.json" in program
    for name, option in [("run", "--debug-nans"), ("check", "--upstream"), ("explain", "--format"), ("why", "--wrt"),
                         ("draw", "--theme"),
                         ("new", "--parameters"), ("diff", "--json"), ("grad", "--values"), ("export", "--to"),
                         ("fmt", "--check"), ("examples", "--output"), ("gates", "--json"),
                         ("fit", "--residuals"), ("schema", "run")]:
        assert f"  {name} " in program
        out = circuitflow(name, "--help").out
        assert f"Example: circuitflow {name} " in out
        assert option in out


def test_run_as_json_follows_the_schema_and_carries_the_figures(circuitflow):
    schema = json.loads((ROOT / "schemas/run.schema.json").read_text())
    for file in sorted((ROOT / "circuits").glob("*.json")):
        outcome = circuitflow("run", str(file), "--json")
        jsonschema.validate(json.loads(outcome.out), schema)
        assert outcome.out.count("\n") == 1
    found = json.loads(circuitflow("run", "circuits/sigmoid_neuron.json", "--json").out)
    assert list(found) == ["circuit", "outputs", "values", "gradients", "contributions"]
    assert found["circuit"] == "sigmoid_neuron"
    assert found["outputs"] == {"f": 0.7310585786300049}
    assert found["gradients"]["x0"] == pytest.approx(0.3932238664829637, rel=1e-15)
    assert {"source": "w0", "target": "w0x0", "port": 0, "value": found["gradients"]["w0"]} in found["contributions"]


def test_numbers_that_json_has_not(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document('x = ["NaN", "Infinity", "-Infinity", 1]', {"id": "e", "gate": "input", "value": [[], []]},
                             "f = neg(x)", "g = neg(e)", outputs=["f", "g"]))
    found = json.loads(circuitflow("run", str(path), "--json", "--forward").out)
    assert found["outputs"] == {"f": ["NaN", "-Infinity", "Infinity", -1],
                                "g": {"data": [], "shape": [2, 0], "dtype": "float64"}}
    jsonschema.validate(found, json.loads((ROOT / "schemas/run.schema.json").read_text()))
    shown = circuitflow("run", str(path), "--forward").out
    assert "[nan, -inf, inf, -1]" in shown
    assert "(2, 0) empty" in shown


def test_values_can_be_given(circuitflow, tmp_path):
    product = "circuits/product.json"
    assert outputs(circuitflow("run", product, "--json", "--set", "x=-3", "--set", "y=.5")) == {"f": 10}
    assert outputs(circuitflow("run", product, "--json", "--set", "x=inf")) == {"f": "-Infinity"}
    assert outputs(circuitflow("run", product, "--json", "--set", '{"x"=1'.replace('{"x"', "x"))) == {"f": -24}
    (tmp_path / "x.json").write_text("7")
    (tmp_path / "in.json").write_text('{"x": 1, "y": {"data": 2}}')
    assert outputs(circuitflow("run", product, "--json", "--set", f"x={tmp_path}/x.json")) == {"f": -48}
    assert outputs(circuitflow("run", product, "--json", "--inputs", f"{tmp_path}/in.json")) == {"f": -12}
    assert outputs(circuitflow("run", product, "--json", "--inputs", f"{tmp_path}/in.json", "--set",
                               "y=3")) == {"f": -16}
    assert outputs(circuitflow("run", product, "--json", "--of", "q,f")) == {"q": 3, "f": -12}
    found = json.loads(circuitflow("run", product, "--json", "--of", "q", "--wrt", "x", "--upstream", "q=10").out)
    assert found["gradients"] == {"x": 10}
    assert set(found) == {"circuit", "outputs", "gradients"}
    matrix = json.loads(circuitflow("run", "circuits/matrix_product.json", "--json", "--upstream",
                                    'D={"data": 1, "shape": [5, 3]}', "--set", 'X={"data": 2, "shape": [10, 3]}').out)
    assert matrix["gradients"]["W"] == [[6.0] * 10] * 5
    given = json.loads(circuitflow("run", "circuits/fork.json", "--json", "--set",
                                   'x={"data": 1, "dtype": "float64"}').out)
    assert given["values"]["x"] == 1


def test_standard_input_is_a_file(circuitflow):
    text = (ROOT / "circuits/product.json").read_text()
    assert outputs(circuitflow("run", "-", "--json", stdin=text)) == {"f": -12}
    outcome = circuitflow("run", "-", stdin="{")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("<stdin>:1:2: the text ends in the middle of the document")


@pytest.mark.parametrize(("arguments", "message"), [
    (["run", "nowhere.json"], "nowhere.json: no such file\n"),
    (["run", "circuits"], "circuits: is a folder; expected a circuit document\n"),
    (["run", "circuits/product.json", "--set", "x"], "error: --set x: expected ID=VALUE, such as --set x=3\n"),
    (["run", "circuits/product.json", "--set", "x=hello"],
     "error: --set x=hello: 'hello' is no number, no JSON and no file\n"),
    (["run", "circuits/product.json", "--set", "x=[1,"],
     "--set x:1:4: the text ends in the middle of the document; a bracket "
                                                         "is not closed\n    [1,\n       ^\n"),
    (["run", "circuits/product.json", "--set", "x=[1, [2]]"],
     "--set x:1:5: 'x': a list of 1 stands beside a number; expected "
                                                             "lists of equal length\n    [1, [2]]\n        ^\n"),
    (["run", "circuits/product.json", "--set", "x=[1]"], "error: 'x' has shape (1,); expected ()\n"),
    (["run", "circuits/product.json", "--set", "w=1"],
     "error: there is no input 'w' in circuit 'product'; it has x, y, z\n"),
    (["run", "circuits/product.json", "--set", "q=1"],
     "error: 'q' cannot be given a value: it is computed, by add; inputs and "
                                                       "parameters can\n"),
    (["run", "circuits/product.json", "--inputs", "nowhere.json"], "nowhere.json: no such file\n"),
    (["run", "circuits/product.json", "--inputs", "circuits/broken/not_an_object.json"],
     "circuits/broken/not_an_object.json:1:1: the document is a list of 3; expected an object\n    [1, 2, 3]\n    ^\n"),
    (["run", "circuits/product.json", "--of", "g"], "error: of: there is no 'g' in circuit 'product'\n"),
    (["run", "circuits/product.json", "--upstream", "g=1"],
     "error: upstream 'g': not one of the outputs asked for, which are f\n"),
    (["run", "circuits/product.json", "--upstream", "f=[1]"],
     "error: upstream 'f' has shape (1,); expected (), as the output\n"),
    (["gates", "mull"], "error: there is no gate 'mull', and no gate whose description has it; did you mean 'mul'?\n"),
    (["gates", "\x1b[31m"],
     "error: there is no gate '\\x1b[31m', and no gate whose description has it; `circuitflow gates` lists them\n"),
    (["fmt", "circuits/product.json", "--edges", "--inputs"],
     "error: --edges and --inputs exclude one another; give one\n"),
    (["fmt", "-", "--write"],
     "error: --write needs a file that it can replace; without it the result goes to standard output\n"),
    (["fmt", "/dev/stdin", "--write"],
     "error: --write needs a file that it can replace; without it the result goes to standard output\n"),
    (["fmt", "/dev/fd/0", "--write"],
     "error: --write needs a file that it can replace; without it the result goes to standard output\n"),
])
def test_bad_input_ends_with_status_2_and_a_sentence(circuitflow, arguments, message):
    outcome = circuitflow(*arguments)
    assert (outcome.status, outcome.out, outcome.err) == (2, "", message)


@pytest.mark.parametrize("arguments",
                         [["rnu"], ["run"], ["run", "circuits/product.json", "--seet", "x=1"], ["schema", "x"]])
def test_wrong_usage_ends_with_status_2(circuitflow, arguments):
    outcome = circuitflow(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert "Usage:" in outcome.err
    assert "Traceback" not in outcome.err


def test_without_arguments_it_says_what_it_is(circuitflow):
    outcome = circuitflow()
    assert "Commands:" in outcome.out + outcome.err


def test_version(circuitflow):
    assert circuitflow("--version").out == f"circuitflow {cf.__version__}\n"


def test_debug_nans(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = 0", "r = reciprocal(x)", "f = neg(r)"))
    assert circuitflow("run", str(path)).status == 0
    outcome = circuitflow("run", str(path), "--debug-nans")
    assert (outcome.status, outcome.err) == (1,
                                             "first number that is not finite: node 'r': in the forward pass, "
                                             "reciprocal "
                                                "gives inf from x = 0\n")
    assert circuitflow("run", str(path), "--debug-nans", "--set", "x=2").status == 0


def test_check_says_no_to_a_wrong_gradient_and_names_the_gate(circuitflow, monkeypatch):
    import dataclasses

    wrong = {**cf.GATES,
             "mul": dataclasses.replace(cf.GATES["mul"], backward=lambda op, g, out, *xs: tuple(g * x for x in xs))}
    monkeypatch.setattr(cf, "load", lambda path, **_: cf.loads((ROOT / path).read_text(), gates=wrong))
    outcome = circuitflow("check", "circuits/product.json")
    assert outcome.status == 1
    golden("check_wrong.txt", outcome.out)
    found = json.loads(circuitflow("check", "circuits/product.json", "--json").out)
    assert found["ok"] is False
    assert [(b["node"], b["gate"], b["port"]) for b in found["blamed"]] == [("f", "mul", 0), ("f", "mul", 1)]
    assert {row["verdict"] for row in found["compared"]} == {"wrong"}


def test_check_blames_a_node_that_applies_a_circuit_for_what_is_inside(circuitflow, monkeypatch):
    import dataclasses

    wrong = {**cf.GATES, "tanh": dataclasses.replace(cf.GATES["tanh"], backward=(lambda op, g, out, x: g,))}
    monkeypatch.setattr(cf, "load", lambda path, **_: cf.loads((ROOT / path).read_text(), gates=wrong))
    outcome = circuitflow("check", "circuits/rnn.json")
    assert outcome.status == 1
    assert ("node 'run': a backward rule inside of scan is wrong for operand 'h': along a random direction it gives"
            in outcome.out)


def test_check_warns_of_nodes_that_reach_no_output(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = 1", *[f"n{i} = neg(x)" for i in range(25)], "f = neg(x)"))
    outcome = circuitflow("check", str(path))
    assert outcome.status == 0
    assert outcome.err.startswith("warning: node 'n0' reaches no output\n")
    assert outcome.err.endswith("warning: node 'n19' reaches no output\nwarning: 5 more nodes reach no output\n")
    assert json.loads(circuitflow("check", str(path), "--json").out)["unused"][0] == "n0"


def test_check_of_what_cannot_be_compared(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = 0", "f = sqrt(x)"))
    outcome = circuitflow("check", str(path))
    assert outcome.status == 0
    assert "x: a value or gradient near here is not finite, so there is nothing to compare" in outcome.out
    path.write_text(document({"id": "c", "gate": "constant", "value": 1}, "f = neg(c)"))
    assert "ok: there was nothing that could be compared" in circuitflow("check", str(path)).out


def test_a_long_table_is_printed_in_part(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("n0 = 1", *[f"n{i + 1} = neg(n{i})" for i in range(999)],
                             {"id": "many", "gate": "add", "inputs": [f"n{i}" for i in range(50)]},
                             outputs=["many", "n999"]))
    lines = circuitflow("run", str(path)).out.splitlines()
    assert len(lines) < 420
    assert any("… 601 more; --json has them all" in line for line in lines)
    assert any("add(n0, n1, n2, n3, …)" in line for line in lines)
    path.write_text(document("x = 1", *[f"n{i} = neg(x)" for i in range(6)],
                             {"id": "f", "gate": "add", "inputs": [f"n{i}" for i in range(6)], "label": "the sum"}))
    out = circuitflow("run", str(path)).out
    assert "-1 from n5 + -1 from n4 + -1 from n3 + -1 from n2 + …" in out
    assert "f (the sum)" in out


def test_fmt_writes_checks_and_prints(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    loose = document("x = 1", "f = neg(x)")
    path.write_text(loose)
    outcome = circuitflow("fmt", "--check", str(path))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"{path}: not in canonical layout; circuitflow fmt --write mends it\n"
    printed = circuitflow("fmt", str(path)).out
    assert path.read_text() == loose
    assert circuitflow("fmt", "--write", str(path)).out == ""
    assert path.read_text() == printed
    before = path.stat().st_mtime_ns
    assert circuitflow("fmt", "-w", str(path)).status == 0
    assert path.stat().st_mtime_ns == before
    assert circuitflow("fmt", "--check", str(path)).status == 0
    assert circuitflow("fmt", "-", stdin=loose).out == printed
    edges = circuitflow("fmt", "--edges", str(path)).out
    assert '{"source": "x", "target": "f"}' in edges
    assert circuitflow("fmt", "--inputs", "-", stdin=edges).out == printed
    assert circuitflow("fmt", "-", stdin="{").status == 2


def test_a_gradient_is_written_whole_and_can_be_run(circuitflow, tmp_path):
    file = tmp_path / "gradient.json"
    outcome = circuitflow("grad", "circuits/staged.json", "-o", str(file))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert circuitflow("fmt", "--check", str(file)).status == 0
    assert outputs(circuitflow("run", str(file), "--json", "--of", "dx")) == {"dx": 2.0595697955721652}
    again = circuitflow("grad", "-", "--of", "dx", "--wrt", "x", stdin=file.read_text())
    assert outputs(circuitflow("run", "-", "--json", stdin=again.out)) == {"dx_2": 2.573067127410913}


def test_a_gradient_stays_beside_the_files_it_reads(circuitflow, tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.array([1.0, 2.0])}, tmp_path / "w.safetensors")
    w = {"id": "w", "gate": "parameter", "value": {"file": "w.safetensors", "tensor": "w"}}
    inner = {"nodes": [{"id": "x", "gate": "input"}, w, {"id": "y", "gate": "mul", "inputs": ["x", "w"]}],
             "outputs": ["y"]}
    call = {"id": "c", "gate": "call", "circuit": "inner", "inputs": ["x"]}
    (tmp_path / "main.json").write_text(document("x = 3", call, "f = reduce_sum(c)", circuits={"inner": inner}))
    (tmp_path / "other").mkdir()
    outcome = circuitflow("grad", str(tmp_path / "main.json"), "-o", str(tmp_path / "other" / "gradient.json"))
    assert (outcome.status, list((tmp_path / "other").iterdir())) == (2, [])
    assert outcome.err.endswith("write it to that folder\n")
    assert circuitflow("grad", str(tmp_path / "main.json"), "-o", str(tmp_path / "gradient.json")).status == 0
    assert outputs(circuitflow("run", str(tmp_path / "gradient.json"), "--json",
                               "--forward")) == {"dx": 3, "dc_w": [3, 3]}


def test_derivatives_of_every_kind(circuitflow, tmp_path):
    staged = "circuits/staged.json"
    assert circuitflow("run", staged, "--jacobian").out == "df_dx = 2.05957\ndf_dy = 1.59223\n"
    assert circuitflow("run", staged, "--hessian", "--wrt", "x").out == "ddx_dx = 2.57307\n"
    assert outputs(circuitflow("run", staged, "--json", "--jvp", "x=1")) == {"f_dot": 2.059569795572165}
    assert outputs(circuitflow("run", staged, "--json", "--jvp", "x=1", "--jvp", "y=0")) == {"f_dot": 2.059569795572165}
    matrix = circuitflow("run", "circuits/neuron_layer.json", "--hessian", "--wrt", "w1").out
    assert matrix == "ddw1_dw1 = (2, 2)\n[[-0.0908577,  -0.181715],\n [ -0.181715,  -0.363431]]\n"
    for wrong, message in [(["--jvp", "x=1", "--wrt", "x"], "--jvp names what moves; leave out --wrt"),
                           (["--jvp", "q=1"], "wrt: there is no 'q' in circuit 'staged'"),
                           (["--jvp", "x=1", "--hessian"], "--hessian and --jvp exclude one another; give one")]:
        outcome = circuitflow("run", staged, *wrong)
        assert (outcome.status, outcome.err) == (2, f"error: {message}\n")


def test_gates_as_json(circuitflow):
    every = json.loads(circuitflow("gates", "--json").out)
    assert every.keys() == cf.GATES.keys()
    assert every["add"]["operands"] == {"at_least": 2}
    one = json.loads(circuitflow("gates", "softmax", "--json").out)["softmax"]
    assert one["operands"] == ["x"]
    assert one["family"] == "activations"
    assert one["attributes"]["axis"]["default"] == -1


def test_every_gate_has_its_page(circuitflow):
    for name, gate in cf.GATES.items():
        out = circuitflow("gates", name).out
        assert out.startswith(f"{name}: {gate.formula}\n{gate.summary}\n")


def test_the_page_of_gates_is_current(circuitflow):
    outcome = circuitflow("gates", "--page")
    page = ROOT / "docs" / "gates.md"
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        page.write_text(outcome.out, encoding="utf-8")
    assert (outcome.status, outcome.err, outcome.out) == (0, "", page.read_text(encoding="utf-8"))


def test_every_gate_of_the_catalogue_has_words_and_an_example_that_runs():
    from circuitflow.explanations.catalogue import example
    from circuitflow.gates import GATES

    for name, gate in GATES.items():
        assert gate.facets.note.gradient
        result = cf.Executor(cf.loads(example(name))).run()
        assert all(np.all(np.isfinite(x)) for x in [*result.values.values(), *result.gradients.values()]), name


def test_no_memory_is_a_sentence(circuitflow, monkeypatch):
    def none_left(path, **_):
        raise MemoryError

    monkeypatch.setattr(cf, "load", none_left)
    outcome = circuitflow("run", "circuits/product.json")
    assert (outcome.status, outcome.err) == (2, "error: not enough memory for this circuit\n")


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "circuitflow", *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=GUARD, check=False, **options)


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("n0 = 1", *[f"n{i + 1} = neg(n{i})" for i in range(5000)]))
    process = subprocess.Popen([sys.executable, "-m", "circuitflow", "run", "--json", str(path)],
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(GUARD) == -signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal that is both its output and its error."""
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    env.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
    process = subprocess.Popen([sys.executable, "-m", "circuitflow", *arguments], cwd=ROOT, stdout=follower,
                               stderr=follower,
                               env=env)
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    process.wait(GUARD)
    os.close(leader)
    return written.decode()


def test_colour_on_a_terminal_only_and_not_against_no_color():
    assert "\x1b[32m" in on_a_terminal("run", "circuits/product.json")
    assert "\x1b[3" not in on_a_terminal("run", "circuits/product.json", NO_COLOR="1")
    assert "\x1b" not in command("run", "circuits/product.json").stdout


def test_nothing_heavy_is_imported_before_the_command_is_known():
    heavy = ("numpy", "networkx", "pydantic")
    for arguments in ([], ["--help"], ["--version"]):
        modules = imported(*arguments)
        assert not [module for module in heavy if module in modules], arguments


def test_a_plain_run_imports_nothing_that_it_does_not_need():
    modules = imported("run", "circuits/product.json")
    assert "numpy" in modules
    for needless in ("networkx", "scipy", "jax", "torch", "array_api_compat", "safetensors", "matplotlib", "pandas",
                     "rich.progress", "unittest",
                     "circuitflow.interpreter.check", "circuitflow.document.schema", "circuitflow.transforms",
                     "circuitflow.tables", "circuitflow.engines.numba_loops", "circuitflow.engines.staged",
                     "circuitflow.engines.tape", "circuitflow.engines.xla", "circuitflow.engines.verified"):
        assert needless not in modules


def imported(*arguments: str) -> set[str]:
    result = subprocess.run([sys.executable, "-X", "importtime", "-m", "circuitflow", *arguments], cwd=ROOT,
                            capture_output=True, text=True, timeout=GUARD, check=False)
    return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}


def test_progress_is_shown_on_a_terminal_after_a_second(monkeypatch):
    from circuitflow.cli import progress

    monkeypatch.setattr(progress, "DELAY", 0.0)
    assert list(progress.track(range(3), "steps")) == [0, 1, 2]
    shown = []

    class Terminal:
        encoding = "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            shown.append(text)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.track(range(10), "forward pass")) == list(range(10))
    assert "forward pass" in "".join(shown)
    with progress.waiting("loading"):
        while "loading …" not in "".join(shown):
            threading.Event().wait(0.01)
    monkeypatch.setattr(progress, "DELAY", 3600.0)
    assert list(progress.track(range(3), "too quick to show")) == [0, 1, 2]
    with progress.waiting("never shown"):
        pass
    assert "too quick" not in "".join(shown)
    assert "never" not in "".join(shown)


def test_numbers_in_a_table():
    from circuitflow.text import number

    assert [number(x) for x in (1.0, -0.5346446645, 1e-12, np.int64(3), np.bool_(True), np.ones((2, 2)),
                                np.ones((4, 4)), np.arange(13.0), -0.0)] == [
        "1", "-0.534645", "1e-12", "3", "True", "[[1, 1], [1, 1]]", "(4, 4) all 1", "(13,) 0 to 12", "0"]


def test_arrays_are_shown_whole_where_they_are_small_and_in_full_on_demand(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    big = np.random.RandomState(0).standard_normal((30, 20))
    path.write_text(document({"id": "x", "gate": "input", "value": [[1, -2], [0.5, -0.0]]},
                             {"id": "w", "gate": "input", "value": big.tolist()},
                             "g = reduce_sum(x)", "h = neg(w)", {"id": "f", "gate": "mul", "inputs": ["g", "h"]},
                             upstream={"f": np.ones((30, 20)).tolist()}))
    short, full = circuitflow("run", str(path)).out, circuitflow("run", str(path), "--full").out
    for text in (short, full):
        assert re.search(r"\[\[ +1, +-2\],.*\n +\[ *0\.5, +0\]\]", text)
        assert re.search(r"w +input +\(30, 20\) -?[\d.]+ to [\d.]+", text)
    assert " … 10 more rows\n" in short
    assert ", … 8 more]" in short
    assert "more" not in full
    for name in ("w", "h", "f"):
        numbers = re.search(rf"^{name} = \(30, 20\)\n(\[.*?\]\])$", full, re.M | re.S)[1]
        columns, *others = [[comma.start() for comma in re.finditer(",", line)] for line in numbers.splitlines()]
        assert all(set(commas[:-1]) <= set(columns) for commas in others)  # numbers stand one below the other
        assert max(map(len, numbers.splitlines())) <= 102
        np.testing.assert_allclose(json.loads(numbers), big if name == "w" else -big if name == "h"
                                   else -big * -0.5 * 1.0, rtol=1e-5)
    asked = circuitflow("run", str(path), "--full", "--wrt", "w", "--cache", "needed").out
    assert "more" not in asked
    assert "dw = (30, 20)\n" in asked


def test_run_names_the_nodes_that_reach_no_output(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = 1", "lost = neg(x)", "f = neg(x)"))
    for arguments in ([], ["--json"], ["--forward"], ["--engine", "staged"]):
        outcome = circuitflow("run", str(path), *arguments)
        assert (outcome.status, outcome.err) == (0, "warning: node 'lost' reaches no output\n")
        assert outcome.err == circuitflow("check", str(path)).err


@pytest.mark.parametrize("kind", ["input", "parameter", "constant", "call", "checkpoint", "scan", "if"])
def test_every_kind_of_nodes_has_its_page_with_an_example_that_runs(circuitflow, kind):
    from circuitflow.document.model import MODELS

    out = circuitflow("gates", kind).out
    assert out.startswith(f"{kind}: a kind of nodes\n{MODELS[kind].__doc__.splitlines()[0][:60]}")
    circuit = cf.loads(out[out.index("{\n"):])
    assert any(node.gate == kind for node in circuit.document.nodes)
    assert cf.Executor(circuit).run().gradients
    keys = json.loads(circuitflow("gates", kind, "--json").out)[kind]["keys"]
    assert set(keys) == {field.alias or name for name,
                         field in MODELS[kind].model_fields.items()} - {"id", "label", "description", "metadata",
                                                                        "gate"}
    assert all(re.search(rf"^{key} +\w", out, re.M) for key in keys)
    assert "None" not in out


def test_gates_finds_by_other_names(circuitflow):
    assert circuitflow("gates", "np.arcsin").out.startswith("np.arcsin: here it is called 'asin'\n")
    assert circuitflow("gates", "log10").out.splitlines()[0] == "log10: write log(x) / 2.302585092994046"
    assert circuitflow("gates", "placeholder").out == "placeholder: here it is called 'input'\n"
    assert list(json.loads(circuitflow("gates", "log10", "--json").out)) == ["log"]
    assert "{" not in json.dumps(json.loads(circuitflow("gates", "add", "--json").out)["add"]["gradient"])


# Pictures and explanations --------------------------------------------------------------------------------------------

def test_draw_writes_the_picture_that_the_ending_names(circuitflow, tmp_path):
    for ending, start in [("svg", b"<svg "), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("html", b"<!doctype html>"),
                          ("dot", b"// staged"), ("mmd", b"---"), ("SVG", b"<svg ")]:
        path = tmp_path / f"picture.{ending}"
        outcome = circuitflow("draw", "circuits/staged.json", "-o", str(path), "--theme", "dark")
        assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
        assert path.read_bytes().startswith(start)


def test_draw_to_standard_output_is_svg_with_the_values_asked_for(circuitflow):
    outcome = circuitflow("draw", "circuits/product.json", "--set", "x=7", "--wrt", "x")
    assert ">7.00</tspan>" in outcome.out
    assert outcome.out.count('class="gradient"') == 3  # x, q and f
    outcome = circuitflow("draw", "circuits/product.json", "--values-only")
    assert 'class="gradient"' not in outcome.out
    assert 'class="value"' in outcome.out
    outcome = circuitflow("draw", "circuits/product.json", "--no-values")
    assert 'class="value"' not in outcome.out


def test_draw_refuses_what_it_cannot_draw(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document({"id": "x", "gate": "input", "shape": ["n"]}, "f = neg(x)"))
    outcome = circuitflow("draw", str(path))
    assert outcome.status == 2
    assert "'x'" in outcome.err
    assert outcome.err.endswith("; --no-values draws the structure alone\n")
    assert circuitflow("draw", str(path), "--no-values").status == 0
    outcome = circuitflow("draw", str(path), "-o", "picture.jpg")
    assert (outcome.status,
            outcome.err) == (2, "error: picture.jpg: expected a picture as .svg, .png, .pdf, .html, .dot, .mmd\n")
    outcome = circuitflow("draw", "circuits/product.json", "-o", str(tmp_path / "no" / "picture.svg"))
    assert outcome.status == 2
    assert "cannot be written: No such file or directory" in outcome.err


def test_explain_writes_a_file_and_can_do_without_gradients(circuitflow, tmp_path):
    path = tmp_path / "told.md"
    outcome = circuitflow("explain", "circuits/staged.json", "--format", "markdown", "-o", str(path), "--forward",
                          "--set", "x=1")
    assert (outcome.status, outcome.out) == (0, "")
    assert "## Forward pass" in path.read_text()
    assert "## Reverse sweep" not in path.read_text()
    assert "| x | 1 | input |" in path.read_text()
    assert circuitflow("explain", "circuits/staged.json", "--format", "xml").status == 2


def test_trace_prints_as_it_goes_and_stops_where_a_gate_fails(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = [1, 2]", {"id": "i", "gate": "input", "value": [5], "dtype": "int64"}, "y = neg(x)",
                             "f = gather(y, i)"))
    outcome = circuitflow("run", str(path), "--trace", "--upstream", "f=[1]")
    assert outcome.status == 2
    assert outcome.out.endswith("y = neg(x) = [-1, -2]\n")
    assert "node 'f': gather" in outcome.err
    outcome = circuitflow("run", "circuits/product.json", "--trace", "--json")
    assert (outcome.status, outcome.err) == (2, "error: --trace goes with a single run of the interpreter that keeps "
                                                "all values and prints a table\n")


# Expressions ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "expression"), [
    (["-x**2"], "-x**2"), (["--x"], "--x"), (["-(x + y)"], "-(x + y)"), (["-o*x"], "-o*x"), (["-o.json*x"], None),
    (["--", "-x"], "-x"), (["--set", "x=3", "-x"], "-x"),
    (["-x", "--set=x=3", "--dtype", "float32"], "-x"), (["-x == -3"], "-x == -3"), (["-h * x"], "-h * x"),
    (["x", "-xy"], None), (["-x", "--nmae", "f"], None),
])
def test_an_expression_may_begin_with_a_minus_sign(circuitflow, arguments, expression):
    outcome = circuitflow("new", *arguments)
    if expression is None:
        assert outcome.status == 2
    else:
        written = cf.loads(outcome.out)
        given = {"x": 3} if "x=3" in " ".join(arguments) else {}
        assert written == cf.new(expression, given, dtype="float32" if "float32" in arguments else "float64")


@pytest.mark.parametrize("expression", ["2 * x", "-2 * x"])
def test_an_option_right_before_its_value_stays_one(circuitflow, tmp_path, expression):
    assert circuitflow("new", f"-o{tmp_path}/c.json", expression).status == 0
    assert not cf.diff(cf.load(tmp_path / "c.json"), cf.new(expression))


def test_new_writes_a_file_that_runs(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    outcome = circuitflow("new", "-", "-o", str(path), "--set", "x=2", "--of", "q,f", stdin="q = x * 3\nf = exp(q)\n")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    found = json.loads(circuitflow("run", str(path), "--json").out)
    assert list(found["outputs"]) == ["q", "f"]
    assert found["outputs"]["q"] == 6
    assert circuitflow("fmt", "--check", str(path)).status == 0


@pytest.mark.parametrize(("arguments", "err"), [
    (["f = sigmod(x) + x.y"],
     "<expression>:1:5: there is no gate \"sigmod\"; did you mean 'sigmoid'?\n    f = sigmod(x) + x.y\n        ^\n"),
    (["f = lambda: x"], "<expression>:1:5: this has no meaning in a circuit; a circuit has no functions; name a stage\n"
                        "    f = lambda: x\n        ^\n"),
    (["f = \x1b[31m"], "<expression>:1:5: invalid non-printable character U+001B; expected expressions as Python "
                       "writes them\n    f = \ufffd[31m\n        ^\n"),
    (["f = x", "--set", "y=1"], "error: value: the expression has no input 'y'; it has x\n"),
    (["f = x", "--shape", "x=a b"], "error: --shape x=a b: expected ID=SIZE,… such as --shape x=batch,784\n"),
    (["f = x", "--set", "x=[1, \"a\"]"], "value of 'x':1:"),
])
def test_new_refuses_with_a_caret(circuitflow, arguments, err):
    outcome = circuitflow("new", *arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith(err)


def test_values_given_to_a_circuit_are_within_its_limits(circuitflow, tmp_path):
    (tmp_path / "c.json").write_text(document({"id": "x", "gate": "input", "shape": ["n"]},
                                              {"id": "y", "gate": "input", "shape": ["n"]}, "z = add(x, y)",
                                              "f = reduce_sum(z)"))
    value = {"data": 0, "shape": [2**33]}
    (tmp_path / "values.json").write_text(json.dumps({"x": {"data": 0, "shape": [60]}, "y": {"data": 0, "shape": [60]}})
                                          + " " * 1000)
    for arguments, message in [(["--inputs", str(tmp_path / "values.json"), "--limit", "run_bytes=900"],
                                "'y': with a float64 tensor of shape (60,) the values so far take 960 bytes; at most "
                                "900 bytes are allowed (limit run_bytes)"),
                               (["--set", f"x={json.dumps(value)}"],
                                "'x': a float64 tensor of shape (8589934592,) takes 64 GiB; at most 4 GiB are allowed "
                                "(limit tensor_bytes)"),
                               (["--set", "x=[1234567]", "--limit", "digits=5"],
                                "a number of 7 digits; at most 5 are read (limit digits)"),
                               (["--inputs", str(tmp_path / "values.json"), "--limit", "document_bytes=1000"],
                                "values.json: is larger than 1000 bytes"),
                               (["--inputs", str(tmp_path / "values.json")], "")]:
        outcome = circuitflow("run", str(tmp_path / "c.json"), *arguments)
        assert (outcome.status, message in outcome.err) == (2 if message else 0, True), outcome.err


def options():
    """Every option of every command that takes a value, with whether it is a list."""
    for name in COMMANDS:
        parser = _app([name])
        command = typer.main.get_command(parser).commands[name]
        for option in command.params:
            if option.param_type_name == "option" and not option.is_flag and option.opts:
                yield name, option.opts[0], option.multiple, option.metavar or ""


@pytest.mark.parametrize(("name", "option", "is_list", "metavar"), list(options()))
def test_what_is_given_twice_is_an_error_and_lists_may_be(circuitflow, name, option, is_list, metavar):
    value = "x=1" if "=" in metavar else "1"
    outcome = circuitflow(name, option, value, option, value)
    if not is_list:
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == f"error: {option} is given twice; it takes one value, so give it once\n"
    elif "=" in metavar:
        assert outcome.err == f"error: {option} x=… is given twice; give it once\n"
        assert "given twice" not in circuitflow(name, option, value, option, "y=1").err
    else:
        assert "given twice" not in outcome.err


def test_flags_may_be_repeated(circuitflow):
    assert circuitflow("run", "circuits/product.json", "--json", "--json", "--of", "q", "--of", "f").status == 0


# The line of an editor ----------------------------------------------------------------------------------------------


def schema_of(path):
    """Where an editor finds the schema of a document."""
    return (path.parent / json.loads(path.read_text())["$schema"]).resolve()


def test_new_and_grad_write_a_schema_that_resolves(circuitflow, tmp_path):
    file = tmp_path / "f.json"
    outcome = circuitflow("new", "f = x * y", "--set", "x=1", "--set", "y=2", "-o", str(file))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    schema = tmp_path / "circuit.schema.json"
    assert schema_of(file) == schema
    assert schema.read_text() == (ROOT / "schemas/circuit.schema.json").read_text()
    jsonschema.validate(json.loads(file.read_text()), json.loads(schema.read_text()))

    schema.write_text(schema.read_text().replace("input", "input "))  # the one that is there is used, and left as it is
    (tmp_path / "below").mkdir()
    gradient = tmp_path / "below/gradient.json"
    assert circuitflow("grad", str(file), "-o", str(gradient)).err == ""
    assert json.loads(gradient.read_text())["$schema"] == "../circuit.schema.json"
    assert not (tmp_path / "below/circuit.schema.json").exists()
    assert "input " in schema.read_text()


def test_a_schema_may_lie_in_a_folder_of_its_own(circuitflow, tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "circuits").mkdir()
    assert circuitflow("schema", "-o", str(tmp_path / "schemas/circuit.schema.json")).out == ""
    gradient = tmp_path / "circuits/gradient.json"
    assert circuitflow("grad", "circuits/product.json", "-o", str(gradient)).status == 0
    assert schema_of(gradient) == tmp_path / "schemas/circuit.schema.json"


@pytest.mark.parametrize("contents", ["{}", "", None])
def test_another_file_of_that_name_is_left_alone(circuitflow, tmp_path, contents):
    """Also one that leads nowhere; then no line is written, as it would not lead to a schema."""
    other = tmp_path / "circuit.schema.json"
    if contents is None:
        other.symlink_to("nowhere")
    else:
        other.write_text(contents)
    for _ in range(2):
        assert circuitflow("grad", "circuits/product.json", "-o", str(tmp_path / "g.json")).err == ""
        assert "$schema" not in json.loads((tmp_path / "g.json").read_text())
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "g.json"]
    assert os.path.islink(other) or other.read_text() == contents


def test_a_schema_that_cannot_be_read_is_passed_over(circuitflow, tmp_path, monkeypatch):
    import builtins

    (tmp_path / "schemas").mkdir()
    hidden = tmp_path / "schemas/circuit.schema.json"
    circuitflow("schema", "-o", str(hidden))
    real = builtins.open

    def refusing(file, *arguments, **options):
        if file == str(hidden):
            raise PermissionError
        return real(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    assert circuitflow("grad", "circuits/product.json", "-o", str(tmp_path / "g.json")).status == 0
    assert schema_of(tmp_path / "g.json") == tmp_path / "circuit.schema.json"


def test_a_document_in_the_place_of_the_schema_names_none(circuitflow, tmp_path):
    for _ in range(2):
        assert circuitflow("new", "f = x", "-o", str(tmp_path / "circuit.schema.json")).status == 0
        assert "$schema" not in json.loads((tmp_path / "circuit.schema.json").read_text())


def test_a_url_leads_to_the_same_place_from_every_folder(circuitflow, tmp_path):
    assert "$schema" not in json.loads(circuitflow("new", "f = x").out)
    source = json.loads((ROOT / "circuits/product.json").read_text())
    file = tmp_path / "f.json"
    file.write_text(json.dumps({**source, "$schema": "https://example.org/circuit.schema.json"}))
    assert json.loads(circuitflow("grad", str(file)).out)["$schema"] == "https://example.org/circuit.schema.json"
    assert circuitflow("grad", str(file), "-o", str(tmp_path / "g.json")).err == ""
    assert json.loads((tmp_path / "g.json").read_text())["$schema"] == "https://example.org/circuit.schema.json"


def test_no_schema_is_left_where_the_document_cannot_be_written(circuitflow, tmp_path):
    (tmp_path / "g.json").mkdir()
    assert circuitflow("grad", "circuits/product.json", "-o", str(tmp_path / "g.json")).status == 2
    assert not (tmp_path / "circuit.schema.json").exists()


# Completion in the shell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "completed"), [
    ("gr", ["grad"]),
    ("run --jac", ["--jacobian"]),
    ("schema ", ["document", "run"]),
    ("gates reduce_l", ["reduce_l1", "reduce_l2", "reduce_log_sum_exp"]),
    ("gates sigm", ["sigmoid"]),
    ("run circ", []),
])
def test_a_shell_completes_commands_options_and_gates(words, completed):
    typed = f"circuitflow {words}"
    result = subprocess.run([sys.executable, "-m", "circuitflow"], cwd=ROOT, capture_output=True, text=True,
                            timeout=GUARD, check=False, env={
        **os.environ, "_CIRCUITFLOW_COMPLETE": "complete_bash", "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" "))})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == completed


def test_zsh_completes_with_what_a_gate_computes():
    result = subprocess.run([sys.executable, "-m", "circuitflow"], cwd=ROOT, capture_output=True, text=True,
                            timeout=GUARD, check=False, env={
        **os.environ, "_CIRCUITFLOW_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "circuitflow gates sigm"})
    assert f'"sigmoid":"{cf.GATES["sigmoid"].formula}"' in result.stdout


def test_completion_is_installed_for_a_shell(tmp_path):
    result = subprocess.run([sys.executable, "-m", "circuitflow", "--install-completion", "bash"], capture_output=True,
                            text=True, timeout=GUARD, check=False,
                            env={**os.environ, "HOME": str(tmp_path),
                                 "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert result.returncode == 0, result.stderr
    script = tmp_path / ".bash_completions/circuitflow.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert "_CIRCUITFLOW_COMPLETE=complete_bash" in script.read_text()


@pytest.mark.parametrize("command", ["run", "explain", "export"])
@pytest.mark.parametrize("option", [("--wrt", "x"), ("--upstream", "f=2")])
def test_what_has_no_meaning_beside_forward_is_refused(circuitflow, command, option):
    outcome = circuitflow(command, "circuits/product.json", "--forward", *option)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == ("error: --forward leaves gradients out, so --wrt and --upstream have no meaning beside it; "
                           "leave out one or the other\n")
