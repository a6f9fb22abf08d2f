"""Engines with the interpreter beside them."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.contract import CompiledFunction
from circuitflow.engines.verified import Verified
from circuitflow.interpreter.question import Question
from support.documents import circuit
from support.engines import close
from support.suite import ROOT

SCALARS = cf.load(ROOT / "circuits/staged.json")
ARRAYS = cf.load(ROOT / "circuits/mlp.json")


class Wrong(CompiledFunction):
    """Adds to one of the numbers of an engine."""

    def __init__(self, engine, at, amount):
        super().__init__(engine.question, engine.thresholds)
        self.engine, self.at, self.amount = engine, at, amount
        self.way, self.over_rows = "wrong", engine.over_rows

    def answer(self, inputs, upstream):
        values, gradients = self.engine.answer(inputs, upstream)
        found = [np.array(x) for x in (*values, *gradients)]
        found[self.at].reshape(-1)[-1:] += self.amount
        return found[: len(values)], found[len(values) :]


def engine_of(compiled):
    return getattr(compiled, "__self__", compiled)


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_a_number_that_is_right_passes(engine):
    close(cf.Executor(SCALARS, verify=True).compile(engine=engine)(x=1.5),
          cf.Executor(SCALARS).compile(engine="interpreter")(x=1.5))
    if engine != "tape":
        close(cf.Executor(ARRAYS, verify=True).compile(engine=engine)()[1],
              cf.Executor(ARRAYS).compile(engine="interpreter")()[1])


@pytest.mark.parametrize(("at", "what"), [(0, "output 'f'"), (1, "the gradient on 'x'"), (2, "the gradient on 'y'")])
def test_a_wrong_number_is_told(at, what):
    engine = engine_of(cf.Executor(SCALARS).compile())
    verified = Verified(Wrong(engine, at, 1e-6))
    with pytest.raises(cf.VerificationError, match=re.escape("the engine 'wrong' gives ") + r"[\d.]+ for " + re.escape(
            what) + r", where the interpreter gives [\d.]+; that is a fault of circuitflow"):
        verified(x=1.5)
    Verified(Wrong(engine, at, 1e-13))(x=1.5)  # rounding


def test_the_element_and_the_row_are_told():
    made = circuit({"id": "x", "gate": "input", "shape": [2, 3]}, {"id": "f", "gate": "exp", "inputs": ["x"]})
    verified = Verified(Wrong(engine_of(cf.Executor(made).compile(wrt=())), 0, 1e-3))
    with pytest.raises(cf.VerificationError,
                       match=re.escape("for output 'f' at [1, 2], where the interpreter gives 1.0;")):
        verified(x=np.zeros((2, 3)))
    verified = Verified(Wrong(engine_of(cf.Executor(SCALARS).vmap()), 1, np.nan))
    with pytest.raises(cf.VerificationError, match=re.escape("gives nan for the gradient on 'x' in row 2, where")):
        verified(x=[1.0, 2.0, 3.0], y=0.5)


@pytest.mark.parametrize("engine", ["staged", "tape", "jax"])
def test_rows(engine):
    vmap = cf.Executor(SCALARS, verify=True).vmap(engine=engine)
    values, _ = vmap(x=[1.0, 2.0], y=0.5, upstream={"f": [1.0, 3.0]})
    assert len(values) == 2


def test_cancellation_is_rounding():
    """A sum of large terms that cancel is known to the last digits of the terms alone."""
    made = circuit({"id": "x", "gate": "input", "value": 1e9}, {"id": "y", "gate": "input", "value": -1e9},
                   {"id": "e", "gate": "mul", "inputs": ["x", "x"]}, {"id": "g", "gate": "mul", "inputs": ["y", "x"]},
                   {"id": "f", "gate": "add", "inputs": ["e", "g"]})
    Verified(Wrong(engine_of(cf.Executor(made).compile()), 0, 100.0))()
    with pytest.raises(cf.VerificationError):
        Verified(Wrong(engine_of(cf.Executor(made).compile()), 0, 1e10))()


def test_it_is_kept_in_a_pickle():
    executor = pickle.loads(pickle.dumps(cf.Executor(SCALARS, verify=True,
                                                     thresholds=cf.Thresholds(staged_operands=1))))
    assert executor.verify
    assert executor.thresholds.staged_operands == 1
    assert isinstance(pickle.loads(pickle.dumps(executor.compile())), Verified)
    assert isinstance(copy.deepcopy(Question(executor, None, None)), Question)


def test_a_wrong_number_at_the_terminal(circuitflow, monkeypatch):
    monkeypatch.setattr("circuitflow.engines.staged.floats.Staged.answer", lambda self, inputs,
                        upstream: ([1.5], [2.0, 3.0]))
    outcome = circuitflow("run", "circuits/staged.json", "--engine", "staged", "--verify")
    assert outcome.status == 1
    assert outcome.err.startswith("error: the engine 'staged, on floats' gives 1.5 for output 'f', where the "
                                  "interpreter gives 1.54")


def test_at_the_terminal(circuitflow):
    outcome = circuitflow("run", "circuits/staged.json", "--engine", "staged", "--verify")
    assert (outcome.status, outcome.out) == (0, "f = 1.54564\ndx = 2.05957\ndy = 1.59223\n")
    outcome = circuitflow("run", "circuits/staged.json", "--verify")
    assert (outcome.status, outcome.err) == (
        2, "error: --verify compares an engine with the interpreter; choose one by --engine, or give a --table\n")
