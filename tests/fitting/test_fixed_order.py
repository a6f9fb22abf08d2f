"""Sums over rows have the same bits however the rows come, and on how many threads they are computed."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from itertools import chain, cycle, islice

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting import data, loss, problem, squares
from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.data import Data
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.loss import Loss
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import Problem
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import durbin_watson, moments
from circuitflow.rows.fixed_order import add, join, join_trees, total
from support.suite import GUARD, ROOT

BLOCK, ROWS = 400, 5 * 400 + 123
"""The rows of a block in these tests, and so many that there are six, the last of them short."""

PARTS = [[ROWS], [1, ROWS - 1], [ROWS // 2, ROWS - ROWS // 2], [5] * 40 + [ROWS - 200], [BLOCK] * 5 + [123],
         [BLOCK - 1] * 5 + [128], [ROWS - 7, 0, 7]]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Rows have three numbers of 8 bytes."""
    monkeypatch.setattr(data, "BLOCK_BYTES", 24 * BLOCK)


def table(rows=ROWS):
    random = np.random.default_rng(0)
    t, s = random.uniform(0, 4, rows), random.uniform(-1, 1, rows)
    return {"t": t, "s": s, "y": 2 * np.exp(-0.7 * t) + 0.3 * s + 0.01 * random.standard_normal(rows)}


def cut(columns, parts):
    ends = np.cumsum(parts)[:-1]
    return [dict(zip(columns, values, strict=True)) for values in zip(*(np.split(x, ends) for x in columns.values()),
                                                                      strict=True)]


def decay(output, shape=()):
    return cf.new(f"r = a * exp(neg(b) * t) + c * s - y; f = {output}", {"a": 1.0, "b": 1.0, "c": 0.0},
                  shapes={"t": [*shape], "s": [*shape], "y": [*shape]}, parameters=["a", "b", "c"])


FITS = {
    "squares": lambda rows: cf.fit(decay("r * r"), rows, residuals="r"),
    "robust": lambda rows: cf.fit(decay("r * r"), rows, residuals="r", method={"name": "trf", "loss": "soft_l1"}),
    "loss": lambda rows: cf.fit(decay("r * r"), rows, loss="f", method="L-BFGS-B"),
    "newton": lambda rows: cf.fit(decay("log1p(r * r)"), rows, loss="f", method="trust-exact", reduction="sum"),
}


def bits(found):
    numbers = [found.x, found.objective, *([] if found.covariance is None else [found.covariance]),
               [] if found.goodness is None else [found.goodness.r_squared, found.goodness.aic]]
    return hashlib.sha256(b"".join(np.asarray(x, np.float64).tobytes() for x in numbers)).hexdigest()


@pytest.mark.sliced
@pytest.mark.parametrize("kind", FITS)
def test_a_fit_has_the_same_bits_however_its_rows_come(kind):
    rows = table()
    whole = FITS[kind](rows)
    np.testing.assert_allclose(whole.x, [2, 0.7, 0.3], rtol=1e-2)
    for parts in PARTS:
        assert bits(FITS[kind](cut(rows, parts))) == bits(whole), parts
    assert bits(FITS[kind](lambda: iter(cut(rows, PARTS[3])))) == bits(whole)
    assert bits(FITS[kind]({name: np.repeat(x, 2)[::2] for name, x in rows.items()})) == bits(whole)


@pytest.mark.parametrize(("name", "number"), [("TOGETHER", 1), ("TOGETHER", 4), ("NUMBERS", 1), ("NUMBERS", 3 * 4**2)])
def test_nor_how_many_blocks_are_computed_at_a_time(name, number, monkeypatch):
    rows = table()
    whole = bits(FITS["squares"](rows))
    monkeypatch.setattr(squares, name, number)
    assert bits(FITS["squares"](rows)) == whole


def test_rows_whose_gradients_take_much_memory_are_computed_in_pieces(monkeypatch):
    rows = table()
    whole = FITS["loss"](rows)
    monkeypatch.setattr(loss, "PIECE", 3 * 150)
    made = decay("r * r")
    question = Loss(made, Parameters.of(made, ["f"]), Data.of(made, rows), "f")
    assert [[piece.rows for piece in question.pieces(block)] for block in question.data.blocks()] == [
        [150, 150, 100]] * 5 + [[123]]
    pieces = FITS["loss"](rows)
    np.testing.assert_allclose(pieces.x, whole.x, rtol=1e-12)
    for parts in PARTS[1::2]:
        assert bits(FITS["loss"](cut(rows, parts))) == bits(pieces)


# Folds that travel ----------------------------------------------------------------------------------------------------

def travelled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.fixture
def workers(monkeypatch):
    """Two copies of every problem compute the branches of its folds, each of the blocks of its own data."""
    copies = {}

    def fold(self, part, arguments, two, together=1):
        self.evaluations += 1
        task = travelled((part, arguments, two, together))
        if self not in copies:
            copies[self] = cycle([travelled(self), travelled(self)])

        def branches(first):
            worker = next(copies[self])
            return travelled(worker.trees(islice(worker.data.blocks(), first, first + 3), *task, first=first))
        return join_trees(chain.from_iterable(map(branches, range(0, len(list(self.data.blocks())), 3))), two)
    monkeypatch.setattr(Problem, "fold", fold)
    return copies


BATCHES = [7, ROWS // 2, 500, ROWS - ROWS // 2 - 507]

TRAVELLING = {
    **FITS,
    "weighted": lambda rows: cf.fit(decay("r * r"), rows, residuals="r", sigma={"column": "t"}),
    "constrained": lambda rows: cf.fit(decay("reduce_mean(r * r)", ["N"]), cut(rows, BATCHES), loss="f",
                                       constraints={"f": "nonnegative"}, method="trust-constr", max_evaluations=9),
    "batches": lambda rows: cf.fit(decay("reduce_mean(r * r)", ["N"]), cut(rows, BATCHES), loss="f", method="L-BFGS-B"),
    "rows of batches": lambda rows: cf.fit(decay("r * r", ["N"]), cut(rows, BATCHES), loss="f", reduction="sum"),
    "vectors": lambda rows: cf.fit(
        cf.new("r = w * x - z", {"w": [1.0, 2.0]}, shapes={"x": [2], "z": []}, parameters=["w"]),
        {"x": np.stack([rows["t"], rows["s"]], axis=1), "z": rows["y"]}, residuals="r"),
}


@pytest.mark.parametrize("kind", TRAVELLING)
def test_a_fit_has_the_same_bits_where_others_compute_the_branches(kind, request):
    here = TRAVELLING[kind](table())
    copies = request.getfixturevalue("workers")
    there = TRAVELLING[kind](table())
    assert copies
    assert bits(there) == bits(here)
    assert (there.evaluations, there.warnings) == (here.evaluations, here.warnings)


QUESTIONS = {
    "squares": lambda made, free, rows: SumOfSquares(made, free, rows, "r"),
    "robust": lambda made, free, rows: SumOfSquares(made, free, rows, "r", robust="cauchy", scale=0.1),
    "rows": lambda made, free, rows: Loss(made, free, rows, "f"),
    "sum": lambda made, free, rows: Loss(made, free, rows, "f", reduction="sum"),
}


def asked(question, x):
    return [question.objective(x), question.gradient(x), question.hessian(x), question.hvp(x, x),
            *([question.influence(x), question.plain.objective(x)] if isinstance(question, SumOfSquares) else [])]


@pytest.mark.parametrize("source", ["memory", "file", "batch"])
@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_copy_of_a_problem_has_its_bits_and_nothing_that_it_remembers(kind, source, tmp_path):
    made, rows = decay("r * r", ["N"] if source == "batch" else []), table()
    if source == "file":
        np.savetxt(tmp_path / "rows.csv", np.stack([*rows.values()], axis=1), delimiter=",", header=",".join(rows),
                   comments="")
    read = Data.of(made, {"memory": rows, "file": tmp_path / "rows.csv", "batch": cut(rows, BATCHES)}[source])
    question = QUESTIONS[kind](made, Parameters.of(made, ["f"]), read)
    before, x = pickle.dumps(question), question.parameters.start + 0.1
    with Journal(tmp_path / "journal") as question.journal:
        answers = asked(question, x)
        again = travelled(question)
        assert again.journal is None
        assert set(again.__dict__) == set(pickle.loads(before).__dict__)
        np.testing.assert_equal(asked(again, x), answers)
    assert again.evaluations == 2 * question.evaluations


def test_a_copy_of_constraints_has_their_bits():
    made, rows = decay("reduce_sum(r * r)", ["N"]), cut(table(), BATCHES)
    free = Parameters.of(made, ["f"])
    stated = Constraints.of(made, free, Data.of(made, rows), {"r": "zero", "f": "nonnegative"}, "auto")
    x, random = free.start + 0.1, np.random.default_rng(2)
    for part, again in zip(stated.parts, travelled(stated).parts, strict=True):
        weights = random.standard_normal(len(part.values(x)))
        for name, arguments in (("values", [x]), ("jacobian", [x]), ("hessian", [x, weights])):
            np.testing.assert_array_equal(getattr(again, name)(*arguments), getattr(part, name)(*arguments))


def test_the_hessian_of_a_constraint_is_that_of_every_row_by_its_multiplier():
    made, rows = decay("r * r", ["N"]), table()
    stated = Constraints.of(made, Parameters.of(made, ["r"]), Data.of(made, cut(rows, BATCHES)), {"r": "zero"}, "auto")
    a, b = x = np.array([1.5, 0.8, 0.1])[:2]
    x, weights, t = np.array([a, b, 0.1]), np.random.default_rng(2).standard_normal(ROWS), rows["t"]
    ab, bb = -weights @ (t * np.exp(-b * t)), weights @ (a * t**2 * np.exp(-b * t))
    np.testing.assert_allclose(stated.parts[0].hessian(x, weights), [[0, ab, 0], [ab, bb, 0], [0, 0, 0]], rtol=1e-11,
                               atol=1e-11)


def test_the_first_standard_deviation_that_is_wrong_is_named():
    rows = table() | {"sigma": np.ones(ROWS)}
    rows["sigma"][[2 * BLOCK + 7, 2 * BLOCK + 9, ROWS - 1]] = -3, -4, 0
    with pytest.raises(cf.InputError, match=f"sigma: column 'sigma' is -3.0 in row {2 * BLOCK + 8};"):
        cf.fit(decay("r * r"), rows, residuals="r", sigma={"column": "sigma"})


def test_statistics_are_those_of_all_rows(monkeypatch):
    made, rows = decay("1 + s * s"), table()
    question = SumOfSquares(made, Parameters.of(made, ["r"]), Data.of(made, rows), "r")
    x, y = question.parameters.start, rows["y"]
    e = question.residuals(x)
    compiled = []
    monkeypatch.setattr(problem, "Evaluation", lambda *arguments, made=problem.Evaluation: (
        compiled.append(arguments[1]), made(*arguments))[1])
    for _ in range(2):
        np.testing.assert_allclose(durbin_watson(question, x), np.sum(np.diff(e)**2) / np.sum(e**2), rtol=1e-13)
        for sigma, weights in ((None, np.ones(ROWS)), ("f", 1 / (1 + rows["s"]**2)**2)):
            found = moments(question, "y", sigma)
            mean = np.average(y, weights=weights)
            np.testing.assert_allclose(found, [ROWS, weights.sum(), mean, weights @ (y - mean)**2, y.min(), y.max()],
                                       rtol=1e-13)
    assert compiled == [("y",), ("y", "f")]


PROGRAM = """
import os, sys
sys.path[:0] = ["tests", "tests/fitting"]
if sys.argv[1:]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import test_fixed_order as here
rows = here.table(60_000)
print([here.bits(here.FITS[kind](rows)) for kind in ("squares", "loss")], here.wide())
"""


def wide():
    """The bits of a fit whose decompositions LAPACK shares between threads."""
    random, names = np.random.default_rng(1), [f"x{i}" for i in range(80)]
    rows = dict(zip(names, random.standard_normal((80, 4_000)), strict=True))
    rows["y"] = sum(rows[name] * i for i, name in enumerate(names)) + random.standard_normal(4_000)
    weights = {f"w{i}": 0.0 for i in range(80)}
    made = cf.new(f"r = {' + '.join(f'w{i} * x{i}' for i in range(80))} - y", weights,
                  shapes={name: [] for name in rows}, parameters=list(weights))
    return bits(cf.fit(made, rows, residuals="r"))


@pytest.mark.long
def test_a_fit_has_the_same_bits_on_any_number_of_threads():
    answers = set()
    for threads, alone in (("1", []), ("2", []), ("2", ["alone"])):
        found = subprocess.run([sys.executable, "-c", PROGRAM, *alone], cwd=ROOT, capture_output=True, text=True,
                               timeout=GUARD, check=True, env={**os.environ, "OMP_NUM_THREADS": threads,
                                                               "OPENBLAS_NUM_THREADS": threads})
        answers.add(found.stdout)
    assert len(answers) == 1


def test_blocks_end_where_they_end_however_the_rows_come():
    made, rows = decay("r * r"), table()
    blocks = list(Data.of(made, rows).blocks())
    assert [block.rows for block in blocks] == [BLOCK] * 5 + [123]
    for parts in PARTS:
        for again, block in zip(Data.of(made, cut(rows, parts)).blocks(), blocks, strict=True):
            assert (again.first, again.rows) == (block.first, block.rows)
            for name, column in block.columns.items():
                np.testing.assert_array_equal(again.columns[name], column)


def test_tables_of_a_batch_stay_whole():
    made = cf.new("f = reduce_sum(square(w - x))", {"w": 1.0}, shapes={"x": ["N"]}, parameters=["w"])
    assert [block.rows for block in Data.of(made, cut({"x": np.arange(9.0)}, [2, 7])).blocks()] == [2, 7]


@pytest.mark.parametrize("count", range(1, 34))
def test_the_tree_is_that_of_the_numbers(count):
    def half(first, last):
        if last - first == 1:
            return str(first)
        middle = first + 2 ** math.ceil(math.log2(last - first) - 1)
        return f"({half(first, middle)} {half(middle, last)})"
    assert join(map(str, range(count)), lambda x, y: f"({x} {y})") == half(0, count)


def test_what_is_rounded_away_is_added_up():
    random = np.random.default_rng(0)
    parts = [random.standard_normal(3) * 10.0 ** random.integers(-8, 9, 3) for _ in range(501)]
    exact = [float(sum(Fraction(part[i]) for part in parts)) for i in range(3)]
    np.testing.assert_array_equal(add(parts), exact)
    assert add([np.array(1e16), np.array(1.0), np.array(-1e16)]) == 1.0


@pytest.mark.parametrize(("numbers", "expected"), [
    ([1e308, 1e308], np.inf), ([np.inf, 1.0], np.inf), ([np.inf, -np.inf], np.nan), ([1.0, np.nan], np.nan)])
def test_what_is_not_finite_is_as_ieee_754_has_it(numbers, expected):
    for found in (total(numbers), add(map(np.asarray, numbers))):
        np.testing.assert_equal(float(found), expected)
