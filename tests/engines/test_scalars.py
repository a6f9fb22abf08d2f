"""Lines of floats give what NumPy gives, or raise where that is an infinity or NaN."""

from __future__ import annotations

import re

import numpy as np
import pytest

from circuitflow.engines.numba_loops import jitted
from circuitflow.engines.program.dialects import COMPILED, FLOATS, NAMES, writable
from circuitflow.engines.program.trace import Trace, Untraceable, Value
from support.special_values import LOGIC, expected, operands, same


def parameters_of(form):
    return [f"x{i}" for i in range(len(set(re.findall(r"\{(\d)\}", form))))]


def wrong(name, function, arity):
    """Operands for which a function gives something else."""
    for xs in operands(name, arity):
        wanted = expected(name, *xs)
        try:
            found = function(*xs)
        except (ArithmeticError, ValueError):
            if np.isfinite(wanted):
                yield xs, "raises", wanted
            continue
        if not same(found, wanted, name):
            yield xs, found, wanted


@pytest.mark.parametrize("name", FLOATS.forms)
def test_a_line_of_python(name):
    parameters = parameters_of(FLOATS.forms[name])
    function = eval(f"lambda {', '.join(parameters)}: {FLOATS.forms[name].format(*parameters)}", dict(NAMES))
    assert list(wrong(name, function, len(parameters))) == []


@pytest.mark.parametrize("over_rows", [False, True])
@pytest.mark.parametrize("name", COMPILED.forms)
def test_a_line_that_is_compiled(name, over_rows):
    parameters = parameters_of(COMPILED.forms[name])
    columns = [f"{x}[i]" for x in parameters]
    loop = jitted(f"def loop(r, {', '.join(parameters)}):\n    for i in range(len(r)):\n        r[i] = "
                  f"{COMPILED.forms[name].format(*columns)}",
                  over_rows=over_rows)
    cases = list(operands(name, len(parameters)))
    given = [np.array(column) for column in zip(*cases, strict=True)]
    result = np.empty(len(cases), bool if name in LOGIC or name.startswith(("is", "equal", "not_", "less", "greater"))
                      else float)
    loop(result, *given)
    found = dict(zip(map(str, cases), result, strict=True))
    assert list(wrong(name, lambda *xs: found[str(xs)], len(parameters))) == []


@pytest.mark.parametrize("rule", [
    lambda xp, x, b: xp.round(x, 1), lambda xp, x, b: np.clip(x, min=0.0, max=1.0), lambda xp, x,
    b: np.add(x, x, dtype=np.float32),
    lambda xp, x, b: xp.where(b, 1, 0), lambda xp, x, b: xp.where(x, x, 0.0), lambda xp, x, b: b + b, lambda xp, x,
    b: b * x,
    lambda xp, x, b: xp.where(b, True, 0.5), lambda xp, x, b: xp.maximum(b, False), lambda xp, x,
    b: x * np.array([1.0]),
    lambda xp, x, b: xp.asarray(x, dtype=np.int64), lambda xp, x, b: xp.asarray(x, dtype=np.float32)])
def test_what_has_no_form(rule):
    trace = Trace(writable)
    with pytest.raises(Untraceable):
        rule(trace.namespace, Value.like(trace, np.float64(0)), Value.like(trace, np.bool_(False)))


def test_a_function_that_only_has_the_name_of_one():
    def exp(x):
        return x

    trace = Trace()
    np.exp(Value.like(trace, np.float64(0)))
    (line,) = trace.lines
    assert writable(line)
    assert not writable(line._replace(function=exp))
