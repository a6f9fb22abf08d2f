"""The executor: the interpreter, and the engines that are faster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from circuitflow.arguments import checked
from circuitflow.engines.contract import Engine, Interpreted
from circuitflow.engines.native import is_there
from circuitflow.engines.staged.arrays import Arrays
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.staged.floats import Staged, scalar_program
from circuitflow.engines.staged.rows import Rows
from circuitflow.engines.tape.loops import Untaped
from circuitflow.engines.tape.run import Taped, TapedRows
from circuitflow.engines.thresholds import Thresholds
from circuitflow.engines.verified import Verified
from circuitflow.engines.xla import Jitted
from circuitflow.errors import GateError, InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question, References
from circuitflow.text import nearest, printable

ENGINES = ("auto", "interpreter", "staged", "tape", "jax")

CompiledFunction = Callable[..., tuple[Any, dict[str, Any]]]
_LOG = logging.getLogger("circuitflow")


class Executor(Interpreter):
    """Runs a circuit, gate by gate or compiled; schedules once for each question and may be shared between threads.

    Attributes:
        verify: whether compiled functions are compared with the interpreter at every call.
        thresholds: the sizes at which engines change their ways.
    """

    @checked
    def __init__(self, circuit: Circuit, *, verify: bool = False, thresholds: Thresholds = Thresholds()) -> None:  # noqa: B008
        """Set up.

        Args:
            circuit: the circuit.
            verify: whether every call of a compiled function runs the interpreter beside it, over rows for every row,
                and raises a `VerificationError` at the first difference above rounding; it takes the interpreter's
                time.
            thresholds: the sizes at which engines change their ways.

        Raises:
            InputError: thresholds is something else.
        """
        super().__init__(circuit)
        self.verify, self.thresholds = verify, thresholds

    @checked
    def compile(self, of: References = None, wrt: References = None, *, engine: str = "auto",
                device: Any = None) -> CompiledFunction:
        """A function of values and gradients: the fast path.

        It takes inputs and parameters by name, each with the document's value as its default, or as a mapping; and
        upstream gradients as a mapping `upstream`, by output. It gives the output, or where there are several a
        dictionary of them, and a dictionary of gradients, in the order of `wrt`. Of a circuit of float64 scalars these
        are Python floats, of others arrays or scalars of NumPy; under JAX they are JAX arrays. Arrays of other
        libraries are computed by the interpreter, on their device. The function may be shared between threads, and
        pickled.

        Args:
            of: the outputs to compute and differentiate; all of the document's by default.
            wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
            engine: "interpreter" runs the gates one by one; "staged" straight-line code made of the gradient document;
                "tape" loops over flat arrays of scalar gates, compiled where the extra `fast` is installed; "jax" the
                passes under `jax.jit`. "auto" chooses among the first three, and the logger `circuitflow` has what it
                chose.
            device: of the engine jax: "cpu", "gpu" or a JAX device.

        Raises:
            InputError: an unknown reference, engine or device, or a circuit that the engine cannot take.
            MissingExtraError: the engine needs a package that is not installed.
        """
        question, chosen, limits = self._question(of, wrt, engine, device), engine, self.thresholds
        if chosen == "auto":
            large = _operands(question) > (limits.staged_operands if question.scalar else limits.staged_array_operands)
            chosen = "staged" if not large else "tape" if question.scalar else "interpreter"
        return self._function(self._engine(question, chosen, device, is_auto=engine == "auto"))

    def _engine(self, question: Question, chosen: str, device: Any, *, is_auto: bool) -> Engine:
        if chosen == "jax":
            return Jitted(question, self.thresholds, device=device)
        try:
            if chosen == "tape":
                return Taped(question, self.thresholds)
            if chosen == "staged":
                derived = Derived(question)
                stages = scalar_program(derived)
                if stages is None:
                    return Arrays(question, self.thresholds, derived)
                return Staged(question, self.thresholds, derived, stages)
        except (InputError, GateError) as reason:
            # Auto is never refused what the interpreter can do: a gate that a tape cannot take, a rule that cannot be
            # written down for sizes that are not known or for a row of the table.
            if not is_auto:
                raise
            _LOG.debug("no %s: %s", chosen, reason)
        return Interpreted(question, self.thresholds)

    @checked
    def vmap(self, of: References = None, wrt: References = None, *, engine: str = "auto",
             device: Any = None) -> CompiledFunction:
        """A function of values and gradients over rows, as `jax.vmap` makes one of `jax.value_and_grad`.

        An argument with one more axis in front than it has in the document is a column, the others are the same in
        every row; the output and all gradients are columns, of the gradients that each row has. A circuit of float64
        scalars is run in blocks that stay in cache, on all cores; others need the engine jax, and the interpreter takes
        no rows. Upstream gradients may be columns as well.

        Arguments and errors are those of `compile`.
        """
        question = self._question(of, wrt, engine, device)
        if engine == "interpreter":
            raise InputError("the engine interpreter takes one row at a time; choose another engine, or give one row")
        if engine == "jax":
            return self._function(Jitted(question, self.thresholds, device=device, rows=True))
        is_large = question.scalar and _operands(question) > self.thresholds.looped_operands
        if engine == "tape" or (engine == "auto" and is_large and is_there()):
            try:
                return self._function(TapedRows(question, self.thresholds))
            except Untaped:
                if engine == "tape":
                    raise
        return self._function(Rows(question, self.thresholds))

    def _question(self, of: References, wrt: References, engine: str, device: Any) -> Question:
        if engine not in ENGINES:
            raise InputError(f"there is no engine '{printable(engine, 60)}'{nearest(engine, ENGINES)}; there are "
                             f"{', '.join(ENGINES)}")
        if device is not None and engine != "jax":
            raise InputError(f"the engine {engine} runs on the CPU; a device goes with the engine jax")
        return Question(self, of, wrt)

    def _function(self, engine: Engine) -> CompiledFunction:
        if self.verify:
            engine = Verified(engine)
        _LOG.info("engine: %s", engine.way)
        return engine.value_and_grad if isinstance(engine, Staged) else engine


def _operands(question: Question) -> int:
    return sum(len(step.operands) for step in question.plan.steps)
