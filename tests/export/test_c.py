"""Circuits as C: they compile without warnings, run clean under sanitizers, and give the interpreter's numbers."""

from __future__ import annotations

import ctypes
import json
import random
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.c.names import RESERVED, CNames, identifier
from circuitflow.engines.flat.comments import plain
from circuitflow.export.c.exporting import export
from support import c_programs
from support.c_programs import FIRST_AND_LAST, FLAGS, call, compile_c, needs_gcc, programs, shared
from support.chosen_products import CHOSEN
from support.commands import circuitflow  # noqa: F401
from support.documents import circuit, document
from support.edge_points import GIVEN, POINTS, as_array
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES, Example
from support.hostile import HOSTILE, HOSTILE_NAMES
from support.hostile_circuits import TRAPS, hostile_circuit
from support.suite import GUARD, ROOT
from support.unit_circuits import LINEAR, SWAPPED, UNITS

pytestmark = needs_gcc

SANITIZERS = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def agreed(subjects, folder, *flags, **options):
    """As `c_programs.agreed`, of programs compiled with flags."""
    return c_programs.agreed(subjects, lambda subject, i: export(subject, name=f"m{i}", tests=True, **options),
                             lambda exports: programs(folder, exports, *flags))


@pytest.mark.parametrize(("indices", "dtype"), [
    pytest.param(sorted(FIRST_AND_LAST), None, id="two of a gate"),
    pytest.param(sorted(FIRST_AND_LAST), "float32", id="float32"),
    pytest.param(range(0, len(EXAMPLES), 3), None, id="every third")])
@pytest.mark.long
def test_every_gate_and_its_gradient(indices, dtype, tmp_path):
    done, refused = agreed({f"{i} {EXAMPLES[i]}": circuit_of(EXAMPLES[i]) for i in indices}, tmp_path, *SANITIZERS,
                           dtype=dtype)
    assert (len(done), refused) == (len(indices), {})


def test_a_product_that_is_not_read_is_not_computed(tmp_path):
    done, refused = agreed(CHOSEN, tmp_path, *SANITIZERS)
    assert (len(done), refused) == (len(CHOSEN), {})


def test_the_conventions_at_ties_and_edges_are_kept(tmp_path):
    subjects = {f"{i} {gate} {operands}": circuit_of(Example(gate, tuple(map(as_array, operands)), GIVEN.get(gate, {})))
                for i, (gate, operands, *_) in enumerate(POINTS)}
    done, refused = agreed(subjects, tmp_path, "-O0")
    assert (len(done), refused) == (len(subjects), {})


def test_the_examples(tmp_path):
    """Scans, networks and convolutions, values and gradients, as C and as C++."""
    subjects = {path.stem: cf.load(path) for path in [*(ROOT / "circuits").glob("*.json"),
                                                      *(ROOT / "circuits/classics").glob("*.json")]
                if path.stem not in ("mlp", "digits")}
    done, refused = agreed(subjects, tmp_path, *SANITIZERS)
    assert (len(done) > 30, refused) == (True, {})
    text = cf.to_c(subjects["pendulum"], tests=True)
    program = compile_c(tmp_path, f"#define PENDULUM_TEST\n{text}", "-O1", language="c++")
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"3 of 3 vectors, 0 numbers wrong\n"


def test_scans_choices_and_checkpoints(tmp_path):
    """The test vectors take both branches; a scan of matrices, whose carry is swapped with another, is here too."""
    subjects = {"units": cf.loads(json.dumps(UNITS)), "swap": cf.loads(json.dumps(SWAPPED))}
    second = {f"{name}, second": cf.gradient(subject) for name, subject in subjects.items()}
    assert agreed({**subjects, **second}, tmp_path, *SANITIZERS) == ([*subjects, *second], {})
    assert "for (int i = 2; i >= 0; i--)" in cf.to_c(subjects["units"])


def test_an_input_inside_of_a_call_keeps_its_default(tmp_path):
    """It has another name in the gradient circuit, from which the value is taken where names are the same."""
    inner = document("x = 1.0", "w = 1.0", "b = 0.5", "dot = mul(x, w)", "sum = add(dot, b)", "out = tanh(sum)")
    subject = circuit("x = 0.3", "w = -2.0", {"id": "n", "gate": "call", "circuit": "neuron",
                                              "inputs": {"x": "x", "w": "w"}}, "f = mul(n, x)",
                      circuits={"neuron": json.loads(inner)})
    assert agreed({"call": subject}, tmp_path, "-O0") == (["call"], {})


def test_the_jacobian_and_hessian_products(tmp_path):
    """Of scans and of linear circuits too, whose gradients do not read what moves; a gradient on an inner node."""
    subjects = {path: cf.load(ROOT / f"circuits/{path}.json") for path in ("staged", "rnn")}
    subjects |= {"linear": LINEAR, "units": cf.loads(json.dumps(UNITS))}
    assert agreed(subjects, tmp_path, *SANITIZERS, jacobian=True, hvp=True) == ([*subjects], {})
    assert agreed({"inner": subjects["staged"]}, tmp_path, "-O0", wrt=["num", "y"], hvp=True) == (["inner"], {})
    with pytest.raises(cf.InputError, match="--hvp: there is nothing to differentiate by; name it by --wrt"):
        cf.to_c(LINEAR, wrt=(), hvp=True)


def test_a_hessian_product_is_that_of_the_document(tmp_path):
    subject = cf.load(ROOT / "circuits/staged.json")
    exported = export(subject, name="m", hvp=True, jacobian=True)
    library = shared(tmp_path, [exported])
    expected = cf.Executor(cf.hvp(subject)).forward({"x": 2.0, "x_dot": 0.5, "y_dot": -3.0}).outputs
    _, (products,) = call(library, exported, exported.functions[3], {"x_dot": 9.0, "x": 2.0}, {"x": 0.5, "y": -3.0})
    assert [*map(float, products.values())] == pytest.approx([*map(float, expected.values())], rel=1e-14)
    _, (slopes,) = call(library, exported, exported.functions[2], {"x": 2.0})
    expected = cf.Executor(cf.jacobian(subject)).forward({"x": 2.0}).outputs
    assert [*slopes] == [*expected] == ["df_dx", "df_dy"]
    assert [*map(float, slopes.values())] == pytest.approx([*map(float, expected.values())], rel=1e-14)


def test_sums_products_quotients_and_roots_have_the_bits_of_python(tmp_path):
    subject = cf.new("f = sqrt(a * b + c / (a - d)) / (b + sqrt(c)) - a * d; g = (a + b + c) * f",
                     {"a": 3.3, "b": 0.7, "c": 1e-3, "d": -5.5}, outputs=["f", "g"])
    exported = export(subject, name="bits")
    library = shared(tmp_path, [exported], "-O3", "-march=native")
    run = cf.Executor(subject).compile(engine="interpreter")
    source = random.Random(7)
    for _ in range(200):
        inputs = {name: source.uniform(0, 9) * 10.0 ** source.randint(-9, 9) for name in "abc"} | {"d": -1.5}
        status, (values, gradients) = call(library, exported, exported.functions[1], inputs)
        expected, slopes = run(**inputs)
        assert status == 0
        assert {name: float(x).hex() for name, x in values.items()} == {name: x.hex() for name, x in expected.items()}
        assert {name: float(x).hex() for name, x in gradients.items()} == {name: x.hex() for name, x in slopes.items()}


def test_what_a_gate_refuses_is_a_status(tmp_path):
    """No memory out of range is read before."""
    with cf.build() as c:
        i, n = c.input("i", [0, 2], dtype="int64"), c.input("n", [3, 4], dtype="int8")
        c.output(c.gather(c.input("x", [1.0, 2.0, 3.0]), i), "taken")
        c.output(c.add(n, n), "doubled")
    exported = export(c.circuit, name="m")
    library = shared(tmp_path, [exported])
    for function in exported.functions:
        assert call(library, exported, function)[0] == 0
        assert call(library, exported, function, {"i": [0, 3]})[0] == 1
        assert call(library, exported, function, {"n": [3, 100]})[0] == 2
    assert " *   1: taken\n *   2: doubled\n" in exported.header
    with pytest.raises(cf.GateError, match="node 'f': gather: index 4 is out of bounds for axis 0 with size 1"):
        cf.to_c(circuit({"id": "x", "gate": "input", "value": [1.0]},
                        {"id": "i", "gate": "constant", "value": [4], "dtype": "int64"},
                        {"id": "f", "gate": "gather", "inputs": ["x", "i"]}))
    with pytest.raises(cf.InputError, match="node 'f': mod refuses its operands, whatever the inputs are"):
        cf.to_c(circuit({"id": "x", "gate": "input", "value": 1, "dtype": "int64"},
                        {"id": "i", "gate": "constant", "value": 0, "dtype": "int64"}, "f = mod(x, i)"), wrt=())


def test_no_text_leaves_a_comment_and_no_name_means_anything_else(tmp_path):
    """Names of C, of its libraries and of exported functions are names of nodes here; texts try to end comments."""
    names = [*HOSTILE_NAMES, *"ijxw", "double", "restrict", "inline", "y0", "NAN", "INFINITY", "sinf", "linux", "bool",
             "true", "main", "uint8_t", "work", "total", "outputs", "parameters", "_Bool", "__x", "x__y",
             "EOF", "errno", "new", "this", "namespace", "alignas", "m_default_inputs", "isnan", "NULL", "fmin", "at",
             "m_at_most", "I", "math_errhandling", "M_PIl", "M_SQRT1", "M_SQRT1_", "L_tmpnam", "m_table", "m_table_"]
    exported = export(hostile_circuit(names, [*TRAPS, *HOSTILE]), name="m", tests=True)
    for language in ("c", "c++"):
        text = f"#include <stdio.h>\n{'#include <complex.h>' * (language == 'c')}\n#define M_TEST\n{exported.header}"
        program = compile_c(tmp_path, text, "-O0", "-trigraphs", "-D_GNU_SOURCE", language=language)
        assert b"3 of 3 vectors, 0 numbers wrong" in subprocess.run([program], capture_output=True, check=True).stdout
    comments = re.sub(r"/\*.*?\*/", "", exported.header, flags=re.DOTALL)
    assert "evil" not in comments
    assert exported.header.isascii()


def test_names_are_predictable_and_tell_what_they_were():
    assert [*map(identifier, ("w0", "class", "sin", "NAN", "int8_t", "3d", "_x", "W1", "h/dot", "a.b"))] == [
        "w0", "class_", "sin_", "NAN_", "int8_t_", "n3d", "n_x", "W1", "h_dot", "a_b"]
    names = CNames("m")
    assert [names.new(text) for text in ("a-b", "a.b", "class", "class_", "a_b_2", "M_SQRT1", "M_SQRT1_", "m_table",
                                         "m_table_", "x" * 61, "x" * 62)] == [
        "a_b", "a_b_2", "class_", "class_2", "a_b_2_2", "M_SQRT1_", "M_SQRT1_2_", "m_table_", "m_table_2_", "x" * 60,
        "x" * 60 + "_2"]
    assert "    double class_; /* the input class */\n" in cf.to_c(circuit("class = 2.0", "f = exp(class)"))
    assert all(identifier(word) == f"{word}_" for word in RESERVED)


def test_any_text_is_plain_in_a_comment():
    source = random.Random(3)
    for _ in range(2000):
        text = "".join(source.choice("*/?\\ \n<>ä\u2028\x00x") for _ in range(source.randint(0, 12)))
        shown = plain(text)
        assert shown.isascii()
        assert shown.isprintable()
        assert not re.search(r"\*/|/\*|\?\?|\\|\*$|^/", shown), (text, shown)


def test_threads_and_two_models_in_one_program(tmp_path):
    """Functions share nothing: a model that is called by eight threads gives each its own results."""
    subjects = [cf.load(ROOT / f"circuits/{name}.json") for name in ("rnn", "staged")]
    exports = [export(subject, name=f"m{i}") for i, subject in enumerate(subjects)]
    library = shared(tmp_path, exports, "-O2")
    inputs = [{"x": 0.25 * i, "y": 1.0 - i} for i in range(8)]
    run = cf.Executor(subjects[1]).compile()
    expected = [run(**values)[1] for values in inputs]
    alone = call(library, exports[0], exports[0].functions[1])[1]
    wrong = []

    def work(i):
        for _ in range(50):
            _, (_, slopes) = call(library, exports[1], exports[1].functions[1], inputs[i])
            _, both = call(library, exports[0], exports[0].functions[1])
            if not (np.allclose(list(slopes.values()), list(expected[i].values()), rtol=1e-14)
                    and all(np.array_equal(both[1][name], alone[1][name]) for name in alone[1])):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_large_circuit_is_split_into_functions(tmp_path):
    """Numbers cross from one function to the next in the workspace; ten thousand gates come to no longer lines."""
    source = random.Random(5)
    nodes = ["x = 0.5", "y = 0.25", *(f"n{i} = {source.choice(['add', 'mul', 'sub'])}(n{source.randint(0, i - 1)}, "
                                      f"n{source.randint(max(0, i - 9), i - 1)})" if i > 1 else
                                      f"n{i} = tanh({'xy'[i]})" for i in range(1500))]
    nodes.append("f = tanh(n1499)")
    subject = circuit(*nodes)
    exported = export(subject, name="m", tests=True)
    assert exported.header.count("static int m_value_and_grad_part_") > 5
    assert programs(tmp_path, [exported], "-O0") == {}


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed (apt-get install valgrind)")
def test_valgrind_finds_no_fault(tmp_path):
    """Nothing is read before it is written, which the sanitizers of gcc do not see."""
    subject = cf.load(ROOT / "circuits/rnn.json")
    text = cf.to_c(subject, name="m", tests=True, step="adam", hvp=True)
    program = compile_c(tmp_path, f"#define M_TEST\n{text}", "-O1", "-g")
    done = subprocess.run(["valgrind", "--error-exitcode=9", "--leak-check=full", "--quiet", program], text=True,
                          capture_output=True, timeout=GUARD, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 of 3 vectors, 0 numbers wrong\n"


def test_a_function_may_own_its_workspace(tmp_path):
    """On the stack: it takes none, and the bytes that the header states are those that the compiler counts."""
    subjects = {name: cf.load(ROOT / f"circuits/{name}.json") for name in ("rnn", "staged")}
    assert agreed(subjects, tmp_path, *SANITIZERS, on_stack=True) == ([*subjects], {})
    exported = export(subjects["rnn"], name="m", header="m.h", on_stack=True)
    assert "m_gradients *gradients)" in exported.source
    assert "m_work *const work = &memory;" in exported.source
    (tmp_path / "m.h").write_text(exported.header)
    (tmp_path / "m.c").write_text(exported.source)
    (stated,) = re.findall(r"([\d,]+) of stack", exported.header)
    assert measured(tmp_path, "gcc", "-O2")[1] < int(stated.replace(",", ""))
    large = circuit("x = [1, 2]", *(f"n{i} = sin({'x' if i == 0 else f'n{i - 1}'})" for i in range(300)))
    assert agreed({"large": large}, tmp_path, "-O0", on_stack=True) == (["large"], {})


def test_two_models_whose_names_differ_in_capitals_go_together(tmp_path):
    exports = [export(circuit("x = 2.0", f"f = {gate}(x)"), name=name, tests=True) for name, gate in (
        ("net", "exp"), ("Net", "sin"), ("nET", "cos"))]
    assert [x.file.macros for x in exports] == ["NET", "Net", "nET"]
    text = "".join(x.header for x in exports) + """int main(void)
{
    net_outputs a;
    Net_outputs b;
    nET_outputs c;
    net_value(&net_default_inputs, &a);
    Net_value(&Net_default_inputs, &b);
    nET_value(&nET_default_inputs, &c);
    return !(a.f > 7.3 && b.f > 0.9 && c.f < -0.4);
}
"""
    assert subprocess.run([compile_c(tmp_path, text)], check=False).returncode == 0


def test_tests_allow_for_the_digits_of_the_circuit(tmp_path):
    """The interpreter has those of the circuit, however many the file has."""
    subjects = {(old, new): circuit({"id": "x", "gate": "input", "value": 0.7, "dtype": old},
                                    {"id": "w", "gate": "parameter", "value": 1.3, "dtype": old},
                                    "y = exp(x)", "z = mul(y, w)")
                for old, new in (("float32", "float64"), ("float16", "float32"))}
    done, refused = c_programs.agreed(
        subjects, lambda subject, i: export(subject, name=f"m{i}", tests=True, dtype=[*subjects][i][1]),
        lambda exports: programs(tmp_path, exports, "-O0"))
    assert (len(done), refused) == (2, {})


def test_tests_without_a_vector_do_not_pass(tmp_path):
    subject = circuit({"id": "x", "gate": "input", "shape": [2, 2]}, {"id": "f", "gate": "cholesky", "inputs": ["x"]})
    text = cf.to_c(subject, wrt=(), name="m", tests=True)
    done = subprocess.run([compile_c(tmp_path, f"#define M_TEST\n{text}")], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"0 of 0 vectors, 0 numbers wrong\n", 1)


def test_the_command_writes_a_pair_of_files(tmp_path, circuitflow):  # noqa: F811
    path = tmp_path / "neuron.c"
    done = circuitflow("export", "circuits/sigmoid_neuron.json", "--to", "c", "--name", "neuron", "--tests", "--dtype",
                       "float32", "-o", str(path))
    assert (done.status, done.out, done.err) == (0, "", "")
    program = tmp_path / "neuron"
    subprocess.run(["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-DNEURON_TEST", str(path), "-o",
                    program, "-lm"], check=True)
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"3 of 3 vectors, 0 numbers wrong\n"
    assert "float w0;" in (tmp_path / "neuron.h").read_text()
    for arguments, message in {
            ("--tests",): "--tests is of --to c; it has no meaning beside --to python",
            ("--to", "c", "--dtype", "float16"): "dtype 'float16' is not written; expected one of float64, float32",
            ("--to", "c", "-o", str(tmp_path / "a b.c")): "'a b.h' cannot stand in an #include"}.items():
        done = circuitflow("export", "circuits/sigmoid_neuron.json", *arguments)
        assert (done.status, done.out) == (2, "")
        assert message in done.err


def test_the_command_compiles_a_library(tmp_path, circuitflow, monkeypatch):  # noqa: F811
    command = ("export", "circuits/staged.json", "--to", "c", "--compile")
    library = tmp_path / "staged.so"
    done = circuitflow(*command, "-o", str(library))
    assert (done.status, done.out, done.err) == (0, "", "")
    results = (ctypes.c_double * 1)(), (ctypes.c_double * 2)()
    assert ctypes.CDLL(str(library)).staged_value_and_grad((ctypes.c_double * 2)(3.0, -4.0), *results) == 0
    value, gradients = cf.native(cf.load(ROOT / "circuits/staged.json"))()
    assert [x for xs in results for x in xs] == [value, *gradients.values()]
    assert "int staged_value(" in (tmp_path / "staged.h").read_text()
    for more, message in {(): "error: a compiled library is not text; write it to a file with -o", (
            "-o", str(tmp_path / "m.h")): "'m.h' is the header beside a compiled library; name the library"}.items():
        done = circuitflow(*command, *more)
        assert (done.status, done.out, message in done.err) == (2, "", True)
    monkeypatch.setenv("CC", "no-cc")
    done = circuitflow(*command, "-o", str(tmp_path / "other.so"))
    assert (done.status, [*tmp_path.glob("other*")]) == (2, [])
    assert "there is no C compiler 'no-cc'; install one" in done.err


def test_a_file_beside_the_output_is_replaced_only_if_an_export_wrote_it(tmp_path, circuitflow):  # noqa: F811
    for language, name, other in (("c", "neuron.c", "neuron.h"), ("javascript", "neuron.js", "neuron.d.ts")):
        command = ("export", "circuits/sigmoid_neuron.json", "--to", language, "-o", str(tmp_path / name))
        (tmp_path / other).write_text("of the user\n")
        done = circuitflow(*command)
        assert done.status == 2
        assert f"{other}', which goes with " in done.err
        assert (tmp_path / other).read_text() == "of the user\n"
        assert not (tmp_path / name).exists()
        (tmp_path / other).write_text("")
        assert [circuitflow(*command).status for _ in range(2)] == [0, 0]
        assert "Written by circuitflow" in (tmp_path / other).read_text()
    (tmp_path / "folder.c").mkdir()
    done = circuitflow("export", "circuits/sigmoid_neuron.json", "--to", "c", "-o", str(tmp_path / "folder.c"))
    assert (done.status, (tmp_path / "folder.h").exists()) == (2, False)


def test_what_has_no_size_or_no_type_is_refused():
    with pytest.raises(cf.InputError, match=r"dimension 'batch' has no size, and C needs one; give a value to "):
        cf.to_c(circuit({"id": "x", "gate": "input", "shape": ["batch"]}, "f = reduce_sum(x)"))
    half = circuit({"id": "x", "gate": "input", "dtype": "float16", "value": 1.0}, "f = exp(x)")
    with pytest.raises(cf.InputError, match="'x' has numbers of float16, which C does not have; choose --dtype"):
        cf.to_c(half)
    assert "float x;" in cf.to_c(half, dtype="float32")


def test_the_guide_leads_to_a_program(tmp_path, circuitflow):  # noqa: F811
    """The program of the page prints what the page says, and the page shows parts of the file as it is."""
    page = (ROOT / "docs/guides/export_code.md").read_text()
    command, = re.findall(r"^\$ circuitflow (export .*-o neuron\.h)$", page, re.MULTILINE)
    assert circuitflow(*command.replace("neuron.h", str(tmp_path / "neuron.h")).split()).status == 0
    shown, program = re.findall(r"^```c\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    header = (tmp_path / "neuron.h").read_text()
    assert all(line in header.splitlines() for line in shown.splitlines())
    done = subprocess.run([compile_c(tmp_path, program)], capture_output=True, text=True, check=True)
    assert f"```text\n{done.stdout}```" in page


MEASURED = ["sigmoid_neuron", "staged", "rnn", "attention", "spiral", "conv_net", "hessian_of_staged", "newton_step"]


def measured(folder, compiler, *flags):
    """The bytes of code and numbers of a file, and the most of the stack that one of its functions takes."""
    subprocess.run([compiler, *FLAGS, *flags, "-fstack-usage", "-c", folder / "m.c", "-o", folder / "m.o"], check=True)
    size = subprocess.run([compiler.replace("gcc", "size"), folder / "m.o"], capture_output=True, text=True, check=True)
    stack = [int(line.split("\t")[1]) for line in (folder / "m.su").read_text().splitlines()]
    return sum(map(int, size.stdout.splitlines()[1].split()[:3])), max(stack)


@pytest.mark.long
def test_sizes_are_below_those_that_the_header_states(tmp_path):
    """On x86-64, and on a Cortex-M4 where there is a compiler for it; the neuron takes less than 2 kB there."""
    subjects = {name: cf.load(ROOT / f"circuits/{name}.json") for name in MEASURED}
    subjects |= {f"helpers of {gate}": circuit({"id": "x", "gate": "input", "value": 1.5},
                                               {"id": "f", "gate": gate, "inputs": ["x"], **attributes})
                 for gate, attributes in (("lgamma", {}), ("polygamma", {"n": 3}))}
    for name, subject in subjects.items():
        exported = export(subject, name="m", dtype="float32", header="m.h")
        (tmp_path / "m.h").write_text(exported.header)
        (tmp_path / "m.c").write_text(exported.source)
        code, stack, constants, work = (int(text.replace(",", "")) for text in re.search(
            r"less than ([\d,]+) bytes of code and\W+([\d,]+) of stack, beside those of math.h. There are ([\d,]+) "
            r"bytes of constants and ([\d,]+) of workspace", exported.header).groups())
        used = measured(tmp_path, "gcc", "-O2")
        assert (used[0] < code + constants, used[1] < stack) == (True, True), (name, used, code, stack)
        assert sum(size * dtype.itemsize for dtype, size in exported.file.pools.sizes.items()) == work
        if shutil.which("arm-none-eabi-gcc"):
            used = measured(tmp_path, "arm-none-eabi-gcc", "-Os", *CORTEX_M4)
            assert (used[0] < code + constants, used[1] < stack) == (True, True), (name, used, code, stack)
            assert name != "sigmoid_neuron" or used[0] < 2000


CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]


@pytest.mark.skipif(not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-arm")),
                    reason="gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-user are not installed")
def test_programs_run_on_arm(tmp_path):
    """For a Cortex-M4 they are linked; they run under the emulator for a Cortex-A9, which has its system calls."""
    (tmp_path / "m.c").write_text(cf.to_c(cf.load(ROOT / "circuits/rnn.json"), name="m", dtype="float32", tests=True))
    for target in (CORTEX_M4, ["-mcpu=cortex-a9", "-marm"]):
        subprocess.run(["arm-none-eabi-gcc", *FLAGS, "-Os", *target, "--specs=rdimon.specs", "-DM_TEST",
                        tmp_path / "m.c", "-o", tmp_path / "m", "-lm"], check=True)
    done = subprocess.run(["qemu-arm", tmp_path / "m"], capture_output=True, check=True, timeout=GUARD)
    assert b" vectors, 0 numbers wrong\n" in done.stdout


def test_matrices_that_a_routine_cannot_take_are_refused_and_large_ones_keep_their_digits(tmp_path):
    """The routines against NumPy's on 24 rows; a singular matrix ends the function with the number of its node."""
    source = np.random.default_rng(4)
    with cf.build() as c:
        x = c.input("x", source.standard_normal((24, 24)))
        b = c.input("b", source.standard_normal((24, 3)))
        c.output(c.solve(x, b), "solved")
        c.output(c.cholesky(x @ c.matrix_transpose(x)), "root")
        for name, wire in zip(("q", "r"), c.qr(x), strict=True):
            c.output(wire, name)
        for name, wire in zip(("u", "s", "vh"), c.svd(x), strict=True):
            c.output(wire, name)
        for name, wire in zip(("values", "vectors"), c.eigh(x), strict=True):
            c.output(wire, name)
    exported = export(c.circuit, wrt=(), name="m")
    library = shared(tmp_path, [exported], "-O2")
    status, (values,) = call(library, exported, exported.functions[0])
    expected = cf.Executor(c.circuit).forward().outputs
    assert status == 0
    for name, found in values.items():
        assert np.allclose(found, expected[name], rtol=0, atol=1e-11 * np.abs(expected[name]).max()), name
    assert call(library, exported, exported.functions[0], {"x": np.ones((24, 24))})[0] == 1
    assert " *   1: solved\n *   2: root\n" in exported.header


def test_a_step_of_learning_on_the_device(tmp_path):
    """Ten steps of each method, beside those of Optax in Python; the files are a pair."""
    jax = pytest.importorskip("jax", reason="the extra jax is not installed")
    optax = pytest.importorskip("optax", reason="the extra train is not installed")
    subject = cf.load(ROOT / "circuits/neuron_layer.json")
    names = [node.id for node in subject.nodes.values() if node.kind == "parameter"]
    run = cf.Executor(subject).compile(wrt=names)
    for method, state in (("sgd", ""), ("adam", "static m_adam state;")):
        exported = export(subject, wrt=names, name="m", step=method, header="m.h")
        (tmp_path / "m.h").write_text(exported.header)
        (tmp_path / "m.c").write_text(exported.source)
        prints = "\n".join(
            f'    for (int i = 0; i < {max(1, subject.values[name].size)}; i++) {{ printf("%.17g\\n", '
            f"(&parameters.{name}{'[0]' if subject.values[name].ndim else ''})[i]); }}" for name in names)
        main = f"""#include <stdio.h>
#include "m.c"
int main(void)
{{
    m_parameters parameters = m_default_parameters;
    static m_outputs outputs;
    static m_gradients gradients;
    {state}
    for (int i = 0; i < 10; i++) {{
        m_value_and_grad(&parameters, &m_default_inputs, &outputs, &gradients);
        m_{method}_step(&parameters, &gradients, {"&state, " if state else ""}0.125);
    }}
{prints}
    return 0;
}}
"""
        done = subprocess.run([compile_c(tmp_path, main)], capture_output=True, text=True, check=True)
        found = done.stdout.split()
        optimiser = getattr(optax, method)(0.125)
        values = {name: np.asarray(subject.values[name], float) for name in names}
        with jax.enable_x64(True):
            kept = optimiser.init(values)
            for _ in range(10):
                slopes = {name: np.asarray(x) for name, x in run(**values)[1].items()}
                updates, kept = optimiser.update(slopes, kept, values)
                values = {name: np.asarray(values[name] + np.asarray(updates[name])) for name in names}
        expected = np.concatenate([values[name].reshape(-1) for name in names])
        assert np.allclose(np.array(found, float), expected, rtol=1e-9)
    with pytest.raises(cf.InputError, match="a step needs parameters with gradients; there are none"):
        cf.to_c(circuit("x = 1.0", "f = exp(x)"), step="sgd")
    with pytest.raises(cf.InputError, match="step 'momentum' is not written; expected one of sgd, adam"):
        cf.to_c(subject, step="momentum")


def test_stricter_compilers_find_no_fault_either(tmp_path):
    """Floats become doubles only where the code says so, which counts where a device has no instructions for these."""
    subject = cf.load(ROOT / "circuits/rnn.json")
    text = "".join(cf.to_c(subject, name=step, step=step, dtype="float32") for step in ("sgd", "adam"))
    compile_c(tmp_path, f"{text}int main(void)\n{{\n    (void)sgd_default_parameters;\n    (void)adam_default_inputs;\n"
              "    (void)adam_default_parameters;\n    (void)sgd_default_inputs;\n    return 0;\n}\n", "-Wshadow",
              "-Wconversion", "-Wno-sign-conversion", "-Wdouble-promotion", "-Wcast-qual", "-fsyntax-only")


def test_comparisons_of_integers_that_are_always_true_give_no_warning(tmp_path):
    """Of an unsigned one with a negative number, of one with a number that it does not reach, and with itself."""
    nodes = [{"id": "x", "gate": "input", "dtype": "uint8", "value": [0, 7, 255]},
             {"id": "q", "gate": "input", "dtype": "int32", "value": 5},
             {"id": "b", "gate": "input", "dtype": "bool", "value": True},
             *({"id": f"c{n}".replace("-", "_"), "gate": "constant", "dtype": "int16", "value": n}
               for n in (-1, 0, 255, 256)),
             {"id": "cast", "gate": "cast", "inputs": ["q"], "dtype": "uint16"}]
    outputs = ["cast"]
    for gate in ("less", "less_or_equal", "greater", "greater_or_equal", "equal"):
        pairs = [*(("x", f"c{n}") for n in ("_1", "0", "255", "256")), ("c0", "x"), ("c256", "x"),
                 ("q", "q"), ("x", "x"), *([("b", "b")] * (gate == "equal"))]
        for i, pair in enumerate(pairs):
            nodes.append({"id": f"{gate}_{i}", "gate": gate, "inputs": [*pair]})
            outputs.append(f"{gate}_{i}")
    subject = circuit(*nodes, outputs=outputs)
    assert agreed({0: subject}, tmp_path, "-O0") == ([0], {})
    program = compile_c(tmp_path, f"#define CIRCUIT_TEST\n{cf.to_c(subject, tests=True)}", "-O1", language="c++")
    assert subprocess.run([program], check=False).returncode == 0


def test_what_nothing_reads_gives_no_warning(tmp_path):
    """An id that is the name of a struct, and a carry that no step of a gradient reads."""
    subject = circuit("x = 2", {"id": "w", "gate": "parameter", "value": 3}, "inputs = sin(w)")
    body = {"nodes": [{"id": "h", "gate": "input"}, {"id": "x", "gate": "input"},
                      {"id": "after", "gate": "tanh", "inputs": ["x"]}], "outputs": ["after"]}
    scan = circuit("h = 1", "x = [1, 2]", {"id": "f", "gate": "scan", "circuit": "b", "carry": {"h": "after"},
                                           "over": ["x"], "inputs": {"h": "h", "x": "x"}}, circuits={"b": body})
    done, refused = agreed({"struct": subject, "carry": scan, "again": cf.gradient(scan)}, tmp_path, "-O0")
    assert (len(done), refused) == (3, {})
