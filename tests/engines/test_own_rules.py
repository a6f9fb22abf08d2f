"""Gates of a program's own, whose rules do what those of the table never do: every engine still gives the interpreter's
numbers."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from support.documents import circuit
from support.engines import close

SMALL = cf.Thresholds(selected_size=1, block_bytes=1, block_rows=2, blocks=1)
TABLE = np.array([1.0, 2.0, 3.0])
NO = (None,)


def scalar(x):
    return cf.ArrayType((), x.dtype)


def same(x):
    return x


RULES = {
    "as many as are positive": (scalar, lambda xp, x: xp.sum(xp.exp(x[x > 0]))),
    "a mean of those": (scalar, lambda xp, x: xp.sum(x[x > 0]) / max(1, x[x > 0].shape[0])),
    "one operand of where": (scalar, lambda xp, x: xp.sum(xp.where(x > 0)[0]) * 1.0),
    "unique ones": (scalar, lambda xp, x: xp.sum(xp.unique_values(x)) if hasattr(xp, "unique_values") else xp.sum(x)),
    "a size that is compared": (same, lambda xp, x: x * 2 if x.shape[0] == 8 else x * 3),
    "two results": (same, lambda xp, x: xp.modf(x)[0]),
    "the second of two": (same, lambda xp, x: xp.modf(x)[1] + 0),
    "a truth of an array": (same, lambda xp, x: x if bool(xp.all(x > 0)) else -x),
    "a loop over the rows": (same, lambda xp, x: xp.stack([x[i] * i for i in range(x.shape[0])])),
}
GIVEN = [[1.0, 2.5, 3.0], [1.0, -2.0, -3.0], [1.0, -2.0, 5.0], list(np.linspace(-3, 3, 8)), [4.0],
         [1.0, 2.5, 2.5, 2.5, -1.0, 0.0, 0.0, 7.25, 8.0]]


@pytest.mark.parametrize("thresholds", [cf.Thresholds(), SMALL], ids=["default", "small"])
@pytest.mark.parametrize("rule", RULES)
def test_rules_that_go_by_values_and_sizes(rule, thresholds):
    shape, forward = RULES[rule]
    own = cf.Gate("own", "Own.", ("x",), shape, forward, NO)
    made = circuit({"id": "x", "gate": "input", "shape": ["batch"]}, {"id": "f", "gate": "own", "inputs": ["x"]},
                   gates={**cf.GATES, "own": own})
    compiled = cf.Executor(made, thresholds=thresholds).compile(wrt=())
    interpreter = cf.Executor(made).compile(wrt=(), engine="interpreter")
    for x in GIVEN:
        close(compiled(x=x)[0], interpreter(x=x)[0])


def test_an_array_of_a_rule_stays_its_own():
    """It can be changed afterwards, and no result is it."""
    for forward in (lambda xp, x: x * TABLE, lambda xp, x: TABLE):
        own = cf.Gate("own", "Own.", ("x",), same, forward, NO)
        made = circuit({"id": "x", "gate": "input", "shape": [3]}, {"id": "f", "gate": "own", "inputs": ["x"]},
                       gates={**cf.GATES, "own": own})
        compiled = cf.Executor(made).compile(wrt=(), engine="staged")
        value = compiled(x=[1.0, 1.0, 1.0])[0]
        assert TABLE.flags.writeable
        if value.flags.writeable:
            value[...] = 0
        close(compiled(x=[1.0, 1.0, 1.0])[0], np.array([1.0, 2.0, 3.0]))
        close(TABLE, np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("thresholds", [cf.Thresholds(), SMALL], ids=["default", "small"])
def test_truth_values_of_any_byte(thresholds):
    """NumPy takes every byte but 0 for true."""
    made = circuit({"id": "m", "gate": "input", "shape": ["batch"], "dtype": "bool"},
                   {"id": "x", "gate": "input", "shape": ["batch"]},
                   {"id": "zero", "gate": "constant", "value": 0.0}, {"id": "one", "gate": "constant", "value": 1.0},
                   *({"id": name, "gate": "where", "inputs": operands} for name, operands in
                     {"a": ["m", "x", "zero"], "b": ["m", "zero", "x"], "c": ["m", "x", "one"]}.items()),
                   {"id": "f", "gate": "add", "inputs": ["a", "b", "c"]}, outputs=["f"])
    given = {"m": (np.arange(5000) % 3).astype(np.uint8).view(bool), "x": np.linspace(1, 2, 5000)}
    close(cf.Executor(made, thresholds=thresholds).compile(wrt=())(**given)[0],
          cf.Executor(made).compile(wrt=(), engine="interpreter")(**given)[0])


def test_columns_of_other_libraries():
    torch = pytest.importorskip("torch")
    made = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "square", "inputs": ["x"]})
    for engine in ("staged", "tape", "jax"):
        x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        value, gradients = cf.Executor(made).vmap(engine=engine)(x=x)
        close((np.asarray(value), np.asarray(gradients["x"])), (np.array([1.0, 4.0]), np.array([2.0, 4.0])))


def test_a_failure_of_staged_code_is_told(monkeypatch):
    """The interpreter answers, and a warning says so."""
    made = circuit({"id": "x", "gate": "input", "shape": [3]}, {"id": "f", "gate": "exp", "inputs": ["x"]})
    compiled = cf.Executor(made).compile(wrt=(), engine="staged")
    monkeypatch.setattr(type(compiled), "_stage", lambda self, arrays: lambda given: 1 / 0)
    with pytest.warns(RuntimeWarning,
                      match="staged code failed where the interpreter did not .ZeroDivisionError: division by zero."):
        close(compiled(x=[0.0, 0.0, 0.0])[0], np.ones(3))
