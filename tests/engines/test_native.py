"""The engine native: circuits as C, compiled and loaded."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines import compiler, machine_code, native
from circuitflow.gates import GATES
from support.documents import circuit
from support.engines import close
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES
from support.hostile import HOSTILE, HOSTILE_NAMES
from support.hostile_circuits import TRAPS, hostile_circuit
from support.suite import GUARD, ROOT
from support.unit_circuits import SWAPPED, UNITS

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler on this machine (apt-get install gcc)")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty folder for machine code, in a process that has loaded nothing."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiler, "_LOADED", WeakValueDictionary())
    return tmp_path / "circuitflow"


@pytest.fixture
def builds(monkeypatch):
    """The texts that are compiled."""
    texts, build = [], compiler.build
    monkeypatch.setattr(compiler, "build", lambda files, source: texts.append(files[source]) or build(files, source))
    return texts


def agree(subject, *given, **options):
    expected = cf.Executor(subject).compile(**options, engine="interpreter")
    found = cf.native(subject, **options)
    for inputs in given or ({},):
        close(found(inputs), expected(inputs))


@pytest.mark.parametrize("name", ["staged", "rnn", "attention", "conv_net", "newton_step"])
def test_examples(name):
    agree(cf.load(ROOT / f"circuits/{name}.json"))


@pytest.mark.parametrize("example", [x for x in EXAMPLES if x.gate in (
    "svd", "sort", "top_k", "scatter_add", "dropout", "max_pool", "cast", "greater")][::3], ids=str)
def test_gates(example):
    agree(circuit_of(example))


def test_scans_and_choices():
    agree(cf.loads(json.dumps(UNITS)))
    agree(cf.loads(json.dumps(SWAPPED)))


def test_named_dimensions_are_compiled_for_each_size(builds):
    subject = circuit({"id": "x", "gate": "input", "shape": ["n"]}, "y = exp(x)", "f = reduce_sum(y)")
    assert builds == []
    agree(subject, *({"x": np.linspace(0, 1, n)} for n in (3, 2, 3, 1, 0)))
    function = cf.native(subject)
    for n in range(native.Native.KEPT + 2):
        function(x=np.ones(n))
    assert len(function._codes) == native.Native.KEPT


def test_answers_are_python_numbers_or_numpy_s_and_never_views_of_arguments():
    value, gradients = cf.native(cf.load(ROOT / "circuits/staged.json"))()
    assert {type(x) for x in (value, *gradients.values())} == {float}
    x = np.arange(6.0).reshape(2, 3)
    value, _ = cf.native(circuit({"id": "x", "gate": "input", "shape": [3, 2]},
                                 {"id": "f", "gate": "reshape", "inputs": ["x"], "shape": [6]}), wrt=())(x=x.T)
    assert value.tolist() == [0, 3, 1, 4, 2, 5]
    assert not np.shares_memory(value, x)


def test_what_a_gate_refuses_is_refused_in_the_interpreter_s_words():
    subject = circuit("x = [1.0, 2.0]", {"id": "i", "gate": "input", "value": [0], "dtype": "int64"},
                      {"id": "f", "gate": "gather", "inputs": ["x", "i"]}, outputs=["f"])
    function = cf.native(subject, wrt=())
    assert function(i=[1])[0].tolist() == [2.0]
    with pytest.raises(cf.GateError, match="node 'f': gather: index 2 is out of range for axis 0 of size 2"):
        function(i=[2])


def test_what_c_does_not_have_is_refused_or_answered_by_the_interpreter():
    half = {"id": "x", "gate": "input", "dtype": "float16"}
    with pytest.raises(cf.InputError, match="'x' has numbers of float16, which C does not have; choose another engine"):
        cf.native(circuit({**half, "value": 1.0}, "f = exp(x)"))
    agree(circuit({**half, "shape": ["n"]}, "y = exp(x)", "f = reduce_sum(y)"), {"x": [1.0]}, {"x": [2.0]})
    with pytest.raises(cf.InputError, match="the engine native takes one row at a time"):
        cf.Executor(cf.load(ROOT / "circuits/staged.json")).vmap(engine="native")


@pytest.mark.parametrize(("cc", "message"), [
    ("nocc -m32", "there is no C compiler 'nocc'; install one, such as gcc or clang, or name one by the environment"),
    ("'", "the environment variable CC cannot be read: No closing quotation"),
    ("false", "the C compiler '.*false' gives status 1: it says nothing"),
    ("cc -Dint=nothing", "the C compiler '.*cc' gives status 1: .*error"),
    ("BROKEN", "the C compiler '.*broken' cannot be run: Exec format error"),
    ("SILENT", "there is no library of the C compiler '.*silent': No such file or directory; set TMPDIR to a folder"),
    ("EMPTY", "the compiled library cannot be loaded: .*; set TMPDIR to a folder with room, whose files may be exec")])
def test_a_compiler_that_is_none(cc, message, kept, tmp_path, monkeypatch):
    broken, silent, empty = tmp_path / "broken", tmp_path / "silent", tmp_path / "empty"
    broken.write_bytes(b"\x7fELF")
    silent.write_text("#!/bin/sh\n")
    empty.write_text('#!/bin/sh\n[ "$1" = --version ] || : > library\n')
    for path in (broken, silent, empty):
        path.chmod(0o700)
    monkeypatch.setenv("CC", {"BROKEN": str(broken), "SILENT": str(silent), "EMPTY": str(empty)}.get(cc, cc))
    with pytest.raises(cf.InputError, match=message):
        cf.native(circuit("x = 2.0", "f = exp(x)"))


def test_libraries_are_kept_by_what_they_are_made_of(kept, builds, monkeypatch):
    """The words of a document are none of it."""
    assert cf.native(circuit("x = 2.0", "f = exp(x)"))()[0] == pytest.approx(np.exp(2))
    assert cf.native(circuit("other = 3.0", "g = exp(other)"))()[0] == pytest.approx(np.exp(3))
    (file,) = kept.iterdir()
    assert (len(builds), stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(kept.stat().st_mode)) == (1, 0o600, 0o700)
    compiler._LOADED.clear()  # as in another process
    cf.native(circuit("x = 2.0", "f = exp(x)"))
    assert len(builds) == 1
    cf.native(circuit("x = 2.0", "f = sin(x)"))
    monkeypatch.setenv("CC", f"{shutil.which('cc')} -g")
    cf.native(circuit("x = 2.0", "f = sin(x)"))
    assert (len(builds), len([*kept.iterdir()])) == (3, 3)


def linked(file, other):
    file.unlink()
    file.symlink_to(other)


def renamed(file, other):
    """A library of another circuit, which is this user's and whole."""
    other.chmod(0o600)
    os.replace(other, file)


def open_to_others(file, other):
    shutil.copyfile(other, file)
    file.chmod(0o602)


def damaged(file, other):
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def truncated(file, other):
    file.write_bytes(file.read_bytes()[:1000])


def no_library(file, other):
    machine_code.write(file.name, b"no library")


@pytest.mark.parametrize("spoil", [linked, renamed, open_to_others, damaged, truncated, no_library])
def test_a_library_of_someone_else_is_not_loaded(spoil, kept, builds, tmp_path):
    """Neither one behind a link, nor one in a file that others can write to, nor what is no library of the circuit: it
    is compiled anew."""
    subject = circuit("x = 2.0", "f = exp(x)")
    cf.native(circuit("x = 2.0", "f = sin(x)"))
    (other,) = kept.iterdir()
    evil = tmp_path / "evil"
    os.rename(other, evil)
    evil.chmod(0o666)
    cf.native(subject)
    (file,) = kept.iterdir()
    spoil(file, evil)
    compiler._LOADED.clear()
    assert cf.native(subject)()[0] == pytest.approx(np.exp(2))
    assert len(builds) == 3


def test_a_folder_that_others_can_write_to_is_not_used(kept, builds):
    kept.mkdir()
    kept.chmod(0o777)
    cf.native(circuit("x = 2.0", "f = exp(x)"))
    assert (len(builds), [*kept.iterdir()]) == (1, [])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_someone_else_is_not_used(kept, builds):
    kept.mkdir()
    os.chown(kept, 12345, -1)
    for _ in range(2):
        cf.native(circuit("x = 2.0", "f = exp(x)"))
        compiler._LOADED.clear()
    assert (len(builds), [*kept.iterdir()]) == (2, [])


def test_a_trouble_that_passes_is_not_remembered(kept, builds, tmp_path, monkeypatch):
    """The interpreter answers meanwhile; a gate that C has no form for is looked at once."""
    killed, calls = tmp_path / "killed", tmp_path / "calls"
    killed.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit\n[ -e {calls} ] && exec cc "$@"\n: > {calls}; '
                      "kill -9 $$\n")
    killed.chmod(0o700)
    monkeypatch.setenv("CC", str(killed))
    function = cf.native(circuit({"id": "x", "gate": "input", "shape": ["n"]}, "y = exp(x)", "f = reduce_sum(y)"))
    for _ in range(3):
        assert function(x=[0.0, 0.0])[0] == 2
    assert (len(builds), len(function._codes)) == (2, 1)
    written, lower = [], native.lower
    monkeypatch.setattr(native, "lower", lambda *given, **options: written.append(0) or lower(*given, **options))
    half = cf.native(circuit({"id": "x", "gate": "input", "dtype": "float16", "shape": ["n"]}, "f = reduce_sum(x)"))
    for _ in range(2):
        half(x=[1.0])
    assert (len(written), len(builds)) == (1, 2)


def test_a_library_is_unloaded_with_its_last_function(kept):
    function = cf.native(circuit("x = 2.0", "f = exp(x)"))
    (library,) = compiler._LOADED.values()
    dropped = weakref.ref(library)
    del library
    gc.collect()
    assert dropped() is not None
    assert function(x=0.0)[0] == 1
    del function
    gc.collect()
    assert (dropped(), len(compiler._LOADED)) == (None, 0)


def test_two_processes_compile_the_same_at_once(kept):
    program = ("import circuitflow as cf; f = cf.native(cf.load('circuits/staged.json')); print(f(x=1.0, y=2.0)[0])")
    running = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
               for _ in range(2)]
    expected = cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile(engine="interpreter")(x=1.0, y=2.0)[0]
    assert [float(process.communicate(timeout=GUARD)[0]) for process in running] == pytest.approx([expected] * 2)
    assert len([*kept.iterdir()]) == 1


def test_gates_of_another_table_compute_what_they_say(kept):
    """One that looks at values has no form in C, and is refused with the reason."""
    twice = {**GATES, "exp": replace(GATES["exp"], forward=lambda xp, x: x + x)}
    subject = circuit("x = 2.0", "f = exp(x)", gates=twice)
    assert cf.native(subject, wrt=())() == cf.Executor(subject).compile(wrt=(), engine="interpreter")() == (4.0, {})
    looking = {**GATES, "exp": replace(GATES["exp"], forward=lambda xp, x: x if x > 0 else -x)}
    with pytest.raises(cf.InputError, match="node 'f': exp comes to <lambda>, which has no form; choose an"):
        cf.native(circuit("x = 2.0", "f = exp(x)", gates=looking), wrt=())


def test_no_word_of_a_document_comes_to_the_compiler(kept, builds):
    names = [*HOSTILE_NAMES, "double", "main", "x__y", "__attribute__", "m_inputs"]
    subject = hostile_circuit(names, [*TRAPS, *HOSTILE])
    agree(subject)
    text = builds[-1]
    assert text.isascii()
    code = re.sub(r"/\*.*?\*/|^#.*$", "", text, flags=re.DOTALL | re.MULTILINE)
    words = set(re.findall(r"[A-Za-z_]\w*", code))
    ours = {"typedef", "struct", "const", "double", "int", "return", "static", "inline", "void", "if", "for", "bool",
            "m_parameters", "m_inputs", "m_outputs", "m_gradients", "m_work", "work", "float64s", "parameters",
            "inputs", "outputs", "gradients", "m_value_and_grad", "i", "a", "b", "x", "e", "NAN", "INFINITY"}
    known = {word for word in words if re.fullmatch(r"v\d+", word)} | set(compiler_functions(text)) | ours
    assert words <= known, words - known


def compiler_functions(text):
    """Helpers, and the functions of `math.h`."""
    return {*re.findall(r"\bm_\w+(?=\()", text), "exp", "log", "sin", "cos", "tanh", "fabs", "pow", "sqrt"}


def test_threads_call_and_compile_at_once(kept):
    """A function keeps nothing between calls, and two that compile the same do not meet."""
    subject = cf.load(ROOT / "circuits/rnn.json")
    expected = cf.Executor(subject).compile(engine="interpreter")()
    wrong, barrier = [], threading.Barrier(8)

    def work():
        barrier.wait()
        function = cf.native(subject)
        for _ in range(20):
            try:
                close(function(), expected)
            except AssertionError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, len([*kept.iterdir()])) == ([], 1)


def test_a_pickle_carries_the_question():
    function = cf.native(cf.load(ROOT / "circuits/staged.json"), "f", "x")
    assert pickle.loads(pickle.dumps(function))(x=1.0) == function(x=1.0)
