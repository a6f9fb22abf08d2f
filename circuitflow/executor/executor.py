"""The executor: forward pass and reverse sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from circuitflow.errors import GateError, InputError, nearest, printable
from circuitflow.executor.binding import Bound, bind, concrete, convert, move
from circuitflow.executor.plan import Plan, Step, make_plan
from circuitflow.executor.result import Contribution, Result
from circuitflow.executor.vocabulary import Vocabulary
from circuitflow.gates.shapes import show
from circuitflow.graph.circuit import Circuit

T = TypeVar("T")
Track = Callable[[Sequence[T], str], Iterable[T]]
"""Wraps the steps of a pass to show how far it is, as `rich.progress.track` does."""


def _untracked(steps: Sequence[T], description: str) -> Iterable[T]:
    return steps


class Executor:
    """Runs a circuit; schedules once for each question and is safe to share between threads.

    It runs on NumPy arrays, and on those of any library with the Python array API (torch, JAX) when they are given as
    inputs; the results are then arrays of that library, on the same device.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self._plans: dict[tuple[tuple[str, ...] | None, tuple[str, ...] | None], Plan] = {}

    def plan(self, of: str | Sequence[str] | None = None, wrt: str | Sequence[str] | None = None) -> Plan:
        """The schedule for a question; see `run` for its terms and errors."""
        key = (None if of is None else (of,) if isinstance(of, str) else tuple(of),
               None if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt))
        if key not in self._plans:
            self._plans[key] = make_plan(self.circuit, *key)
        return self._plans[key]

    def run(self, inputs: Mapping[str, Any] | None = None, *, of: str | Sequence[str] | None = None,
            wrt: str | Sequence[str] | None = None, upstream: Mapping[str, Any] | None = None,
            track: Track[Step] = _untracked) -> Result:
        """Forward pass and reverse sweep.

        Args:
            inputs: values of inputs and parameters, by id; the document's are the defaults. Numbers and lists take the
                declared dtype, arrays must be safe to cast to it.
            of: the outputs to compute and differentiate, any references to nodes; all of the document's by default.
                Several are differentiated together: the gradient is that of their sum, weighted by `upstream`.
            wrt: the nodes to differentiate with respect to; all floating-point inputs and parameters by default.
            upstream: upstream gradients, by output, in the shape of the output; the document's are the defaults, and
                1 for a scalar.
            track: wraps the steps of each pass, for a progress bar.

        Raises:
            InputError: an unknown id, a missing value or upstream gradient, a wrong shape or dtype.
            GateError: a gate could not be applied to the values that reached it.
        """
        plan = self.plan(of, wrt)
        for name in upstream or {}:
            if name not in plan.of:
                raise InputError(f"upstream '{printable(name, 60)}': not one of the outputs asked for"
                                 f"{nearest(name, plan.of) or ', which are ' + ', '.join(list(plan.of)[:8])}")
        bound = bind(self.circuit, plan, inputs or {})
        with np.errstate(all="ignore"):
            seeds = self._seeds(plan, bound, upstream or {}, explicit=of is not None)
            values = _forward(plan, bound, track)
            gradients, contributions = self._sweep(plan, bound, values, seeds, track)
        return self._result(plan, values, gradients, contributions)

    def forward(self, inputs: Mapping[str, Any] | None = None, *, of: str | Sequence[str] | None = None,
                track: Track[Step] = _untracked) -> Result:
        """The forward pass alone; see `run`. The result has no gradients."""
        plan = self.plan(of, ())
        bound = bind(self.circuit, plan, inputs or {})
        with np.errstate(all="ignore"):
            values = _forward(plan, bound, track)
        return self._result(plan, values, [None] * len(values), [])

    def _seeds(self, plan: Plan, bound: Bound, given: Mapping[str, Any], *, explicit: bool) -> dict[int, Any]:
        """The upstream gradients that the sweep begins with, by slot."""
        xp = bound.xp
        like = next(iter(bound.arrays.values()), None)
        seeds: dict[int, Any] = {}
        for text, slot in plan.of.items():
            output = self.circuit.find(text)
            assert output is not None  # noqa: S101
            type_ = self.circuit.type_of(output)
            if not type_.is_float and (explicit or text in given):
                raise InputError(f"'{text}' is {type_.dtype}; integers and booleans have no gradient")
            if not plan.active[slot]:
                continue
            shape = concrete(type_, bound.sizes)
            if text in given:
                seed = convert(xp, like, given[text], type_, f"upstream '{text}'")
            elif text in self.circuit.upstream:
                seed = self.circuit.upstream[text] if xp is np else move(xp, like, self.circuit.upstream[text])
            elif shape == ():
                seed = np.ones((), type_.dtype) if xp is np else move(xp, like, np.ones((), type_.dtype))
            else:
                raise InputError(
                    f"'{text}' has shape {show(shape)}, so its gradients need the upstream gradient on it: give one of "
                    f"that shape as upstream '{text}', here or in the document, or ask for a scalar output")
            if tuple(seed.shape) != shape:
                raise InputError(f"upstream '{text}' has shape {show(tuple(seed.shape))}; expected {show(shape)}, as the "
                                 "output")
            seeds[slot] = seed + seeds[slot] if slot in seeds else seed
        return seeds

    def _sweep(self, plan: Plan, bound: Bound, values: Sequence[Any], seeds: Mapping[int, Any],
               track: Track[Step]) -> tuple[list[Any], list[Contribution]]:
        """Each gate's backward rule turns the gradient on its output into contributions, which add at forks."""
        op = Vocabulary(bound.xp, self.circuit.gates)
        gradients: list[Any] = [None] * len(values)
        contributions: list[Contribution] = []
        for slot, seed in seeds.items():
            gradients[slot] = seed
        for step in track([step for step in reversed(plan.steps) if step.wanted], "reverse sweep"):
            g, out = _upstream(step, op, gradients, values)
            if g is None:
                continue
            operands = [values[slot] for slot in step.operands]
            try:
                sent = step.gate.contributions(op, g, out, operands, step.wanted, step.attributes)
                for i, contribution in enumerate(sent):
                    if contribution is None or not step.wanted[i]:
                        continue
                    fitted = _fit(step, i, op, contribution, operands[i])
                    slot = step.operands[i]
                    gradients[slot] = fitted if gradients[slot] is None else gradients[slot] + fitted
                    contributions.append(Contribution(plan.names[slot], step.node.id, step.node.operands[i].port, fitted))
            except GateError:
                raise
            except Exception as error:
                raise _blame(step, error) from error
        for slot in plan.wrt.values():
            if gradients[slot] is None:
                gradients[slot] = op.zeros_like(values[slot])
        return gradients, contributions

    def _result(self, plan: Plan, values: Sequence[Any], gradients: Sequence[Any],
                contributions: Sequence[Contribution]) -> Result:
        named = zip(plan.names, gradients, strict=True)
        return Result(self.circuit,
                      MappingProxyType({text: values[slot] for text, slot in plan.of.items()}),
                      MappingProxyType(dict(zip(plan.names, values, strict=True))),
                      MappingProxyType({name: gradient for name, gradient in named if gradient is not None}),
                      contributions)


def _forward(plan: Plan, bound: Bound, track: Track[Step]) -> list[Any]:
    """The value in every slot."""
    values: list[Any] = [None] * len(plan.names)
    for name, slot in plan.sources.items():
        values[slot] = bound.arrays[name]
    xp = bound.xp
    for step in track(plan.steps, "forward pass"):
        try:
            out = step.gate.forward(xp, *[values[slot] for slot in step.operands], **step.attributes)
        except Exception as error:
            raise _blame(step, error) from error
        if step.gate.outputs:
            values[step.output : step.output + len(step.gate.outputs)] = out
        else:
            values[step.output] = out
    return values


def _upstream(step: Step, op: Vocabulary, gradients: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """The upstream gradient on a gate's output and the output; None where no gradient arrives.

    Of several outputs, one without a gradient gets zeros.
    """
    if not step.gate.outputs:
        return gradients[step.output], values[step.output]
    slots = range(step.output, step.output + len(step.gate.outputs))
    if all(gradients[slot] is None for slot in slots):
        return None, None
    return (tuple(op.zeros_like(values[slot]) if gradients[slot] is None else gradients[slot] for slot in slots),
            tuple(values[slot] for slot in slots))


def _fit(step: Step, i: int, op: Vocabulary, contribution: Any, operand: Any) -> Any:
    """A contribution in its operand's shape and dtype: what broadcasting stretched is summed."""
    if contribution.shape != operand.shape and step.gate.broadcasts:
        contribution = op.sum_to_like(contribution, operand)
    if contribution.shape != operand.shape:
        raise GateError(f"node '{step.node.id}': the backward rule of {step.node.kind} gives shape "
                        f"{tuple(contribution.shape)} for operand {step.node.operands[i].port!r} of shape "
                        f"{tuple(operand.shape)}; correct the rule")
    return contribution if contribution.dtype == operand.dtype else op.cast_like(contribution, operand)


def _blame(step: Step, error: Exception) -> GateError:
    return GateError(f"node '{step.node.id}': {step.node.kind}: {printable(str(error) or type(error).__name__)}")
