"""The table of engines, and the order in which "auto" prefers them.

An engine is imported when it is first used: a run by the interpreter needs none of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from circuitflow.engines.contract import CompiledFunction, Engine, Interpreted
from circuitflow.engines.thresholds import Thresholds
from circuitflow.interpreter.question import Question


def _compile_staged(question: Question, thresholds: Thresholds) -> CompiledFunction:
    from circuitflow.engines.staged.arrays import Arrays
    from circuitflow.engines.staged.derived import Derived
    from circuitflow.engines.staged.floats import Staged, scalar_program

    derived = Derived(question)
    stages = scalar_program(derived)
    if stages is None:
        return Arrays(question, thresholds, derived)
    return Staged(question, thresholds, derived, stages)


def _compile_rows(question: Question, thresholds: Thresholds) -> CompiledFunction:
    from circuitflow.engines.staged.rows import Rows

    return Rows(question, thresholds)


def _compile_tape(question: Question, thresholds: Thresholds, *, rows: bool = False) -> CompiledFunction:
    from circuitflow.engines.tape.run import Taped, TapedRows

    return (TapedRows if rows else Taped)(question, thresholds)


def _compile_jax(question: Question, thresholds: Thresholds, *, device: Any = None,
                 rows: bool = False) -> CompiledFunction:
    from circuitflow.engines.xla import Jitted

    return Jitted(question, thresholds, device=device, rows=rows)


def _compile_native(question: Question, thresholds: Thresholds) -> CompiledFunction:
    from circuitflow.engines.native import Native

    return Native(question, thresholds)


def _has_compiled_loops() -> bool:
    from circuitflow.engines.numba_loops import is_there

    return is_there()


ENGINES: Mapping[str, Engine] = {
    "interpreter": Engine("the gates one by one", Interpreted),
    "staged": Engine("straight-line code", _compile_staged, _compile_rows),
    "tape": Engine("loops over many scalar gates", _compile_tape, partial(_compile_tape, rows=True)),
    "native": Engine("C, compiled by the compiler of the system", _compile_native),
    "jax": Engine("compiled by XLA", _compile_jax, partial(_compile_jax, rows=True),
                  devices="cpu, gpu, or all, which share the rows of a table"),
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
    "tape": lambda question, limits: (question.scalar and question.operands > limits.looped_operands
                                      and _has_compiled_loops()),
}, "staged")
