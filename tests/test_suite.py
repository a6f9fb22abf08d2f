"""The tests themselves: they pass on a busy machine, and say what they leave out."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter

import pytest
from hypothesis import settings

from support.skips import summary
from support.slices import choose
from support.suite import GUARD, ROOT

MODULES = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "fuzz"
                 and path.name != "test_suite.py")
CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"}
WAITS = {"alarm", "wait", "join", "result", "communicate", "run", "get", "acquire"}


def of_the_clock(source):
    """Where a test reads the clock, or sets a limit of time by a number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value,
                                                          ast.Name) and (node.value.id == "timeit"
                                                                         or (node.value.id == "time"
                                                                             and node.attr in CLOCKS)):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "timeit"):
            yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Constant) and isinstance(node.value,
                                                           str) and any(f"time.{clock}()" in node.value
                                                                        for clock in CLOCKS):
            yield node.lineno, "a program that reads the clock"
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            numbers = [(keyword.arg, keyword.value)
                       for keyword in node.keywords] + [(None, argument) for argument in node.args if name in WAITS]
            yield from ((node.lineno, f"{name}(… {value.value})") for keyword, value in numbers
                        if keyword in (None, "timeout") and isinstance(value, ast.Constant)
                        and type(value.value) in (int, float) and 1 < value.value < GUARD)
            if name == "settings" and any(keyword.arg == "deadline" and ast.unparse(keyword.value) != "None"
                                          for keyword in node.keywords):
                yield node.lineno, "settings with a deadline"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_nothing_is_about_the_clock(path):
    """Work is counted: steps, bytes, seconds of the processor. A limit of time is a guard against hanging alone."""
    assert list(of_the_clock(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("source", ["start = time.perf_counter()", "subprocess.run(x, timeout=60)", "process.wait(20)",
                                    "signal.alarm(20)", "from time import monotonic",
                                    "P = 'import time; time.time()'", "@settings(deadline=500)\ndef f(): ...",
                                    "timeit.timeit(f)"])
def test_what_is_about_the_clock_is_found(source):
    assert len(list(of_the_clock(source))) == 1


def test_hypothesis_goes_by_no_clock_and_no_chance():
    assert settings.default.deadline is None
    assert settings.default.derandomize


def test_what_is_not_about_the_clock_is_not_found():
    assert list(of_the_clock("subprocess.run(x, timeout=GUARD); e.wait(0.01); time.process_time(); "
                             "settings(deadline=None); np.random.default_rng(7)")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_tests_share_stands_in_support(path):
    modules = {node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.ImportFrom)}
    assert not [name for name in modules if re.match(r"test_|conftest$", name)]


def cases(**parameters):
    return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]


def test_a_slice_has_every_value_of_every_parameter_and_engines_take_turns():
    everything = cases(gate=range(40), engine="abcd", dtype="xyz")
    chosen = [everything[i] for i in choose(everything)]
    assert len(chosen) == 40
    assert Counter(case["gate"] for case in chosen) == dict.fromkeys(range(40), 1)
    assert Counter(case["engine"] for case in chosen) == dict.fromkeys("abcd", 10)
    assert set(Counter(case["dtype"] for case in chosen).values()) <= {13, 14}
    assert len({(case["engine"], case["dtype"]) for case in chosen}) == 12
    assert choose(everything) == choose(everything)


def test_a_slice_of_an_irregular_product_has_every_value():
    everything = [case for case in cases(gate=range(12), way="abcdefghijklmnopqr") if case["gate"] < 2
                  or case["way"] in "abr"]
    chosen = [everything[i] for i in choose(everything, times=2)]
    assert {case["gate"] for case in chosen} == set(range(12))
    assert min(Counter(case["way"] for case in chosen).values()) >= 2


def test_what_was_skipped_is_summed_with_what_brings_it_back():
    assert summary(["Skipped: could not import 'torch': No module named 'torch'",
                    "Skipped: torch is not installed: it is too large to be a dependency of the tests",
                    "Skipped: no Chromium on this machine (apt-get install chromium)", "Skipped: no gate of scalars",
                    "Skipped: fork", "could not import 'cupy'"]) == [
        "2 skipped: torch is not installed: pip install torch",
        "1 skipped: no Chromium on this machine: apt-get install chromium",
        "1 skipped: cupy is not installed: pip install cupy",
        "2 skipped: what they test has no meaning for their parameters or this system"]
