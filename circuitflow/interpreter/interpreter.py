"""The reference interpreter: schedules, binds values, runs the two passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.arguments import checked, need_choice
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.binding import bind, bind_call, library_of
from circuitflow.interpreter.cache import CACHES, FrugalPasses
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.libraries import precise
from circuitflow.interpreter.passes import Track, Watch, forward_pass, reverse_sweep, untracked
from circuitflow.interpreter.plan import Plan, make_plan, references
from circuitflow.interpreter.result import Result
from circuitflow.interpreter.units import unit_gate
from circuitflow.interpreter.vocabulary import Vocabulary


class Interpreter:
    """Runs a circuit gate by gate; schedules once for each question and is safe to share between threads.

    It runs on NumPy arrays, and on those of any library with the Python array API (torch, JAX) when they are given as
    inputs; the results are then arrays of that library, on the same device.
    """

    @checked
    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self._plans: dict[tuple[tuple[str, ...] | None, tuple[str, ...] | None], Plan] = {}
        self._frugal: dict[tuple[Plan, str], FrugalPasses] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the schedules, which are made again at the next question."""
        return {**self.__dict__, "_plans": {}, "_frugal": {}}

    @checked
    def plan(self, of: str | Sequence[str] | None = None, wrt: str | Sequence[str] | None = None) -> Plan:
        """The schedule for a question; see `run` for its terms and errors."""
        key = references(of, "of"), references(wrt, "wrt")
        if key not in self._plans:
            with collector_paused():
                self._plans[key] = make_plan(self.circuit, *key, unit_gate)
        return self._plans[key]

    @checked
    def run(self, inputs: Mapping[str, Any] | None = None, *, of: str | Sequence[str] | None = None,
            wrt: str | Sequence[str] | None = None, upstream: Mapping[str, Any] | None = None,
            cache: str = "all", track: Track = untracked, watch: Watch | None = None) -> Result:
        """Forward pass and reverse sweep.

        Args:
            inputs: values of inputs and parameters, by id; the document's are the defaults. Numbers and lists take the
                declared dtype, arrays must be safe to cast to it.
            of: the outputs to compute and differentiate, any references to nodes; all of the document's by default.
                Several are differentiated together: the gradient is that of their sum, weighted by `upstream`.
            wrt: the nodes to differentiate with respect to; all floating-point inputs and parameters by default.
            upstream: upstream gradients, by output, in the shape of the output; the document's are the defaults, and
                1 for a scalar.
            cache: what is kept of the forward pass for the reverse sweep: "all" values, for looking; those "needed" by
                a backward rule; or about the square root of so many, to "recompute" the others. With less than all the
                result has only the outputs in `of` and the gradients in `wrt`.
            track: wraps the steps of each pass, for a progress bar.
            watch: is told every value and contribution as it comes about, where all are kept.

        Raises:
            InputError: an unknown id or cache, a missing value or upstream gradient, a wrong shape or dtype.
            GateError: a gate could not be applied to the values that reached it.
        """
        need_choice("cache", cache, CACHES)
        plan = self.plan(of, wrt)
        library, bound, seeds = bind_call(self.circuit, plan, inputs, upstream, explicit=of is not None)
        with precise(library.xp), np.errstate(all="ignore"):
            op = Vocabulary(bound.xp, self.circuit.gates)
            if cache != "all":
                if (plan, cache) not in self._frugal:
                    self._frugal[plan, cache] = FrugalPasses(plan, cache)
                values, gradients = self._frugal[plan, cache].run(bound, op, seeds, track)
                outputs = {text: values[slot] for text, slot in plan.of.items()}
                return Result(self.circuit, outputs, outputs,
                              {name: gradients[slot] for name, slot in plan.wrt.items()}, ())
            values = forward_pass(plan, bound, track, watch)
            gradients, contributions = reverse_sweep(plan, op, values, seeds, track, watch)
        return self._result(plan, values, gradients, contributions, seeds)

    @checked
    def forward(self, inputs: Mapping[str, Any] | None = None, *, of: str | Sequence[str] | None = None,
                track: Track = untracked) -> Result:
        """The forward pass alone; see `run`. The result has no gradients."""
        plan = self.plan(of, ())
        library = library_of(inputs)
        with precise(library.xp), np.errstate(all="ignore"):
            bound = bind(self.circuit, plan, library, inputs or {})
            values = forward_pass(plan, bound, track)
        return self._result(plan, values, [None] * len(values), [], {})

    def _result(self, plan: Plan, values: Sequence[Any], gradients: Sequence[Any],
                contributions: Sequence[Contribution], seeds: Mapping[int, Any]) -> Result:
        by_name = dict(zip(plan.names, gradients, strict=True)) | {
            text: gradients[slot] for text, slot in plan.wrt.items()}
        return Result(self.circuit, {text: values[slot] for text, slot in plan.of.items()},
                      dict(zip(plan.names, values, strict=True)),
                      {name: gradient for name, gradient in by_name.items() if gradient is not None}, contributions,
                      {plan.names[slot]: seed for slot, seed in seeds.items()})
