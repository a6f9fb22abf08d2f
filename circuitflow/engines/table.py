"""The table of engines, and the order in which "auto" prefers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from circuitflow.engines.contract import CompiledFunction, Engine, Interpreted
from circuitflow.engines.native import is_there
from circuitflow.engines.staged.arrays import Arrays
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.staged.floats import Staged, scalar_program
from circuitflow.engines.staged.rows import Rows
from circuitflow.engines.tape.run import Taped, TapedRows
from circuitflow.engines.thresholds import Thresholds
from circuitflow.engines.xla import Jitted
from circuitflow.interpreter.question import Question


def _compile_staged(question: Question, thresholds: Thresholds) -> CompiledFunction:
    derived = Derived(question)
    stages = scalar_program(derived)
    if stages is None:
        return Arrays(question, thresholds, derived)
    return Staged(question, thresholds, derived, stages)


ENGINES: Mapping[str, Engine] = {
    "interpreter": Engine("the gates one by one", Interpreted),
    "staged": Engine("straight-line code", _compile_staged, Rows),
    "tape": Engine("loops over many scalar gates", Taped, TapedRows),
    "jax": Engine("compiled by XLA", Jitted, partial(Jitted, rows=True), devices="cpu or gpu"),
}
"""A new engine is a row here."""


Preference = tuple[Mapping[str, Callable[[Question, Thresholds], bool]], str]
"""The order in which "auto" chooses: engines with what a question must fulfil, best first; and the engine for every
other question, and for one that the engine chosen refuses."""

PREFERRED: Preference = ({
    "staged": lambda question, limits: question.operands <= (limits.staged_operands if question.scalar else
                                                             limits.staged_array_operands),
    "tape": lambda question, _: question.scalar,
}, "interpreter")

PREFERRED_OVER_ROWS: Preference = ({
    "tape": lambda question, limits: question.scalar and question.operands > limits.looped_operands and is_there(),
}, "staged")
