"""The executor: the interpreter, and what is faster than it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.arrays import Arrays
from circuitflow.engines.derived import Derived
from circuitflow.engines.kernel import Untaped
from circuitflow.engines.native import is_there
from circuitflow.engines.rows import Rows
from circuitflow.engines.staged import scalar_program, staged
from circuitflow.engines.tape import is_scalar
from circuitflow.engines.taped import Taped, TapedRows
from circuitflow.engines.xla import Jitted
from circuitflow.errors import InputError, nearest, printable
from circuitflow.executor.interpreter import Interpreter

ENGINES = ("auto", "interpreter", "staged", "tape", "jax")

STAGED = 2000
"""With more operands, or 20 times as many that are arrays, straight-line code takes longer to make than it saves."""

LOOPED = 600
"""With more operands numba takes longer than a few seconds to compile one loop over rows."""

Compiled = Callable[..., tuple[Any, dict[str, Any]]]
References = str | Sequence[str] | None

_LOG = logging.getLogger("circuitflow")


class Executor(Interpreter):
    """Runs a circuit, gate by gate or compiled; schedules once for each question and may be shared between threads."""

    def compile(self, of: References = None, wrt: References = None, *, engine: str = "auto",
                device: Any = None) -> Compiled:
        """A plain function of values and gradients: the fast path.

        It takes inputs and parameters by name, each with the document's value as its default, and the upstream gradient
        `df` on an output `f` that is no scalar. It gives the output, or where there are several a dictionary of them,
        and a dictionary of gradients, in the order of `wrt`. Of a circuit of float64 scalars these are Python floats,
        of others NumPy arrays; under JAX they are JAX arrays. The function may be shared between threads.

        Args:
            of: the outputs to compute and differentiate; all of the document's by default.
            wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
            engine: "interpreter" runs the gates one by one; "staged" straight-line code made of the gradient document;
                "tape" loops over flat arrays of scalar gates, compiled where the extra `fast` is installed; "jax" the
                passes under `jax.jit`. "auto" is the interpreter until the others are proved; the logger
                `circuitflow` has what it chose.
            device: of the engine jax: "cpu", "gpu" or a JAX device.

        Raises:
            InputError: an unknown reference, engine or device, or a circuit that the engine cannot take.
            MissingExtraError: the engine needs a package that is not installed.
        """
        of, wrt, chosen = self._question(of, wrt, "interpreter" if engine == "auto" else engine, device, STAGED)
        if chosen == "jax":
            return _logged(Jitted(self, of, wrt, device=device), "jax")
        if chosen == "tape":
            try:
                taped = Taped(self, of, wrt)
            except Untaped as error:
                _untaped(error, engine)
                chosen = "interpreter"
            else:
                how = "compiled" if taped.fast else "in Python; `pip install 'circuitflow[fast]'` compiles it"
                return _logged(taped, f"tape, {how}")
        if chosen == "staged":
            derived = Derived(self, of, wrt)
            stages = scalar_program(derived)
            if stages is None:
                return _logged(Arrays(derived), "staged, on arrays")
            return _logged(staged(derived, stages), "staged, on floats")
        return _logged(self._interpreted(of, wrt), "interpreter")

    def vmap(self, of: References = None, wrt: References = None, *, engine: str = "auto",
             device: Any = None) -> Compiled:
        """A function of values and gradients over rows, as `jax.vmap` makes one of `jax.value_and_grad`.

        An argument with one more axis in front than it has in the document is a column, the others are the same in
        every row; the output and all gradients are columns, of the gradients that each row has. A circuit of float64
        scalars is run in blocks that stay in cache, on all cores; others need the engine jax.

        Arguments and errors are those of `compile`.
        """
        of, wrt, chosen = self._question(of, wrt, engine, device, LOOPED)
        if chosen == "jax":
            return _logged(Jitted(self, of, wrt, device=device, rows=True), "jax, over rows")
        if chosen == "tape" and (is_there() or engine == "tape"):
            try:
                return _logged(TapedRows(self, of, wrt), "tape, compiled, over rows")
            except Untaped as error:
                _untaped(error, engine)
        if engine == "interpreter":
            raise InputError("the engine interpreter takes one row at a time; use run or compile, or another engine")
        rows = Rows(Derived(self, of, wrt))
        return _logged(rows, f"staged, {'compiled' if rows.fast else 'in blocks'}, over rows")

    def _question(self, of: References, wrt: References, engine: str, device: Any,
                  limit: int) -> tuple[Sequence[str] | None, Sequence[str] | None, str]:
        """The references as lists, and the engine chosen: staged code up to a limit of scalar operands."""
        if engine not in ENGINES:
            raise InputError(f"there is no engine '{printable(engine, 60)}'{nearest(engine, ENGINES)}; there are "
                             f"{', '.join(ENGINES)}")
        if device is not None and engine != "jax":
            raise InputError(f"the engine {engine} runs on the CPU; a device goes with the engine jax")
        of, wrt = ([x] if isinstance(x, str) else x for x in (of, wrt))
        plan, nodes = self.plan(of, wrt), self.circuit.nodes
        if engine == "auto":
            scalar = is_scalar(plan, (nodes[name].types[0] for name in plan.sources))
            large = sum(len(step.operands) for step in plan.steps) > (limit if scalar else 20 * STAGED)
            engine = "staged" if not large else "tape" if scalar else "interpreter"
        return of, wrt, engine

    def _interpreted(self, of: Sequence[str] | None, wrt: Sequence[str] | None) -> Compiled:
        """The reference interpreter as a function."""
        plan = self.plan(of, wrt)
        seeds = {f"d{text}": text for text in plan.of}
        scalar = is_scalar(plan, (self.circuit.nodes[name].types[0] for name in plan.sources))

        def value_and_grad(**given: Any) -> tuple[Any, dict[str, Any]]:
            upstream = {seeds[name]: value for name, value in given.items() if name in seeds}
            inputs = {name: value for name, value in given.items() if name not in seeds}
            result = (self.run(inputs, of=of, wrt=wrt, upstream=upstream, cache="needed") if plan.wrt else
                      self.forward(inputs, of=of))
            values, gradients = dict(result.outputs), {name: result.gradients[name] for name in plan.wrt}
            if scalar:
                values, gradients = ({name: np.asarray(x).item() for name, x in found.items()}
                                     for found in (values, gradients))
            return next(iter(values.values())) if len(values) == 1 else values, gradients

        return value_and_grad


def _logged(made: Compiled, engine: str) -> Compiled:
    _LOG.info("engine: %s", engine)
    return made


def _untaped(error: Untaped, engine: str) -> None:
    """A gate that a tape cannot take is an error where a tape was asked for."""
    if engine == "tape":
        raise InputError(f"the tape cannot take {error}, which is no operation on floats; choose another engine")
