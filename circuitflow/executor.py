"""The executor: the interpreter, and the engines that are faster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from circuitflow.arguments import checked, need_choice
from circuitflow.engines.contract import CompiledFunction, ValueAndGrad
from circuitflow.engines.table import ENGINES, PREFERRED, PREFERRED_OVER_ROWS
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question, References

_LOG = logging.getLogger("circuitflow")


@checked
def native(circuit: Circuit, of: References = None, wrt: References = None) -> ValueAndGrad:
    """`Executor(circuit).compile(of, wrt, engine="native")`: a function that is C, by the compiler of the system.

    Raises:
        InputError: an unknown reference, no compiler, or a gate that C has no form for.
    """
    return Executor(circuit).compile(of, wrt, engine="native")


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
                device: Any = None) -> ValueAndGrad:
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
                "tape" loops over flat arrays of scalar gates, compiled where the extra `fast` is installed; "native" C,
                compiled by the `cc` of the system, or the compiler that the environment variable `CC` names; "jax" the
                passes under `jax.jit`. "auto" chooses among the first three, and the logger `circuitflow` has what it
                chose.
            device: of the engine jax: "cpu", "gpu" or a JAX device; of `vmap` also "all", which share the rows.

        Raises:
            InputError: an unknown reference, engine or device, or a circuit that the engine cannot take.
            MissingExtraError: the engine needs a package that is not installed.
        """
        return self.function(Question(self, of, wrt), engine, device).value_and_grad

    @checked
    def vmap(self, of: References = None, wrt: References = None, *, engine: str = "auto",
             device: Any = None) -> ValueAndGrad:
        """A function of values and gradients over rows, as `jax.vmap` makes one of `jax.value_and_grad`.

        An argument with one more axis in front than it has in the document is a column, the others are the same in
        every row; the output and all gradients are columns, of the gradients that each row has. A circuit of float64
        scalars is run in blocks that stay in cache, on all cores; others need the engine jax, and the interpreter takes
        no rows. Upstream gradients may be columns as well.

        Arguments and errors are those of `compile`.
        """
        return self.function(Question(self, of, wrt), engine, device, over_rows=True).value_and_grad

    @checked
    def function(self, question: Question, engine: str = "auto", device: Any = None, *,
                 over_rows: bool = False) -> CompiledFunction:
        """What `compile` or `vmap` makes of a question, as an object; its `answer` has lists instead of dictionaries.

        Raises:
            InputError, MissingExtraError: see `compile`.
        """
        need_choice("engine", engine, ("auto", *ENGINES))
        with_devices = [name for name, row in ENGINES.items() if row.devices]
        if device is not None and engine not in with_devices:
            raise InputError(f"the engine {engine} runs on the CPU; a device goes with the engine "
                             f"{' or '.join(with_devices)}")

        def make(name: str) -> CompiledFunction:
            maker = ENGINES[name].vmap if over_rows else ENGINES[name].compile
            if maker is None:
                raise InputError(f"the engine {name} takes one row at a time; choose another engine, or give one row")
            return maker(question, self.thresholds, **({"device": device} if name in with_devices else {}))

        function = make(engine) if engine != "auto" else self._preferred(question, make, over_rows=over_rows)
        if self.verify:
            from circuitflow.engines.verified import Verified

            function = Verified(function)
        _LOG.info("engine: %s", function.way)
        return function

    def _preferred(self, question: Question, make: Callable[[str], CompiledFunction], *,
                   over_rows: bool) -> CompiledFunction:
        """The function that "auto" chooses."""
        conditions, last = PREFERRED_OVER_ROWS if over_rows else PREFERRED
        choice = next((name for name, suits in conditions.items() if suits(question, self.thresholds)), last)
        if choice != last:
            try:
                return make(choice)
            except (InputError, GateError) as reason:  # a rule that cannot be written down, or be of floats
                _LOG.debug("no %s: %s", choice, reason)
        return make(last)
