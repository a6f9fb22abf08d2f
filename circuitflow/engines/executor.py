"""The executor: the interpreter, and what is faster than it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from circuitflow.engines.arrays import Arrays
from circuitflow.engines.derived import Derived
from circuitflow.engines.kernel import Untaped
from circuitflow.engines.staged import scalar_program, staged
from circuitflow.engines.taped import Taped
from circuitflow.errors import InputError, nearest, printable
from circuitflow.executor.interpreter import Interpreter

ENGINES = ("auto", "interpreter", "staged", "tape")
STAGED = 1000
"""Straight-line code of more gates than this takes longer to make than it saves."""

_LOG = logging.getLogger("circuitflow")


class Executor(Interpreter):
    """Runs a circuit, gate by gate or compiled; schedules once for each question and may be shared between threads."""

    def compile(self, of: str | Sequence[str] | None = None, wrt: str | Sequence[str] | None = None, *,
                engine: str = "auto") -> Callable[..., tuple[Any, dict[str, Any]]]:
        """A plain function of values and gradients: the fast path.

        It takes inputs and parameters by name, each with the document's value as its default, and the upstream gradient
        `df` on an output `f` that is no scalar. It gives the output, or where there are several a dictionary of them,
        and a dictionary of gradients, in the order of `wrt`. Of a circuit of float64 scalars these are Python floats,
        of others NumPy arrays. The function may be shared between threads.

        Args:
            of: the outputs to compute and differentiate; all of the document's by default.
            wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
            engine: "interpreter" runs the gates one by one; "staged" straight-line code made of the gradient document;
                "tape" loops over flat arrays of scalar gates, compiled where the extra `fast` is installed; "auto"
                chooses among them, and the logger `circuitflow` has what it chose.

        Raises:
            InputError: an unknown reference or engine.
        """
        if engine not in ENGINES:
            raise InputError(f"there is no engine '{printable(engine, 60)}'{nearest(engine, ENGINES)}; there are "
                             f"{', '.join(ENGINES)}")
        if engine == "tape" or (engine == "auto" and len(self.plan(of, wrt).steps) > STAGED):
            taped = self._taped(of, wrt, strict=engine == "tape")
            if taped:
                return taped
            engine = "interpreter"
        derived = Derived(self, of, wrt)
        if engine == "interpreter":
            _LOG.info("engine: the interpreter")
            return lambda **given: derived.interpret(given)
        stages = scalar_program(derived)
        _LOG.info("engine: staged code of %s", "arrays" if stages is None else "floats")
        return Arrays(derived) if stages is None else staged(derived, stages)

    def _taped(self, of: Any, wrt: Any, *, strict: bool) -> Taped | None:
        """The question on a tape; where that cannot be, an error or None."""
        try:
            taped = Taped(self, of, wrt)
        except Untaped as error:
            if strict:
                raise InputError(f"the tape cannot take {error}, which is no operation on floats; choose another "
                                 "engine") from None
            return None
        except InputError:
            if strict:
                raise
            return None
        _LOG.info("engine: a tape of %d gates, %s", len(self.plan(of, wrt).steps),
                  "compiled by numba" if taped.fast else "in Python (pip install 'circuitflow[fast]' compiles it)")
        return taped
