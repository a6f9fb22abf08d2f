"""The two passes over a schedule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from circuitflow.errors import CircuitflowError, GateError, InputError
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.masked import MaskedVocabulary, contributions_of, is_marked, mark, plain
from circuitflow.interpreter.plan import Plan, Step
from circuitflow.text import printable, short

Track = Callable[[Sequence[Any], str], Iterable[Any]]
"""Wraps what a long loop goes over to show how far it is, as `rich.progress.track` does."""


def untracked(steps: Sequence[Any], description: str) -> Iterable[Any]:
    """Shows nothing."""
    return steps


def tracked(track: Track, steps: Sequence[Any], description: str) -> Iterable[Any]:
    """What a loop goes over.

    Raises:
        InputError: `track` cannot be called so, or gives nothing to go over.
    """
    try:
        return iter(track(steps, description))
    except TypeError as error:
        raise InputError(f"track is {short(track)}, which fails: {printable(str(error))}; expected a function of a "
                         "sequence and a text, which gives the same items") from error


@runtime_checkable
class Watch(Protocol):
    """Is told what happens as it happens."""

    def computed(self, name: str, value: Any) -> None:
        """A value: of a source, or that a gate has just computed."""

    def arrived(self, name: str, gradient: Any) -> None:
        """An upstream gradient, which the sweep begins with."""

    def sent(self, contribution: Contribution, total: Any) -> None:
        """What one edge has just sent back, and what has come together at its source so far."""


def forward_pass(plan: Plan, bound: Bound, track: Track = untracked, watch: Watch | None = None) -> list[Any]:
    """The value in every slot.

    Raises:
        GateError: a gate could not be applied to the values that reached it.
    """
    values: list[Any] = [None] * len(plan.names)
    for name, slot in plan.sources.items():
        values[slot] = bound.arrays[name]
        if watch:
            watch.computed(name, values[slot])
    for step in tracked(track, plan.steps, "forward pass"):
        apply(step, bound.xp, values)
        if watch:
            for slot, name in enumerate(step.node.names, step.output):
                watch.computed(name, values[slot])
    return values


def apply(step: Step, xp: Any, values: list[Any]) -> None:
    """Compute the output of one gate; a `GateError` names it if that fails.

    Raises:
        GateError: it could not be applied to the values that reached it.
    """
    try:
        out = step.gate.forward(xp, *[values[slot] for slot in step.operands], **step.attributes)
    except Exception as error:
        raise blame(step, error) from error
    if step.outputs:
        values[step.output : step.output + step.outputs] = out
    else:
        values[step.output] = out


def reverse_sweep(plan: Plan, op: Any, values: Sequence[Any], seeds: Mapping[int, Any],
                  track: Track = untracked, watch: Watch | None = None) -> tuple[list[Any], list[Contribution]]:
    """Each gate's backward rule turns the gradient on its output into contributions, which add at forks.

    Arguments are those of `forward_pass`, the values that it gives, and the upstream gradients by slot. `op` is the
    vocabulary of the gate table, over what the values are: arrays of a namespace, or wires. The results are the
    gradient in every slot, None where none arrived, and the contribution of every edge in sweep order.

    Raises:
        GateError: a backward rule failed, or gave a wrong shape.
    """
    gradients, contributions = marked_sweep(plan, op, values, seeds, track, watch)
    fill_in(plan, op, values, gradients)
    return [*map(plain, gradients)], contributions


def marked_sweep(plan: Plan, op: Any, values: Sequence[Any], seeds: Mapping[int, Any], track: Track = untracked,
                 watch: Watch | None = None, plain_nodes: Collection[str] = ()
                 ) -> tuple[list[Any], list[Contribution]]:
    """A reverse sweep that leaves the marks of `Masked` on gradients, and none where none arrived; see there.

    Nodes in `plain_nodes` do not mark.
    """
    gradients: list[Any] = [None] * len(values)
    contributions: list[Contribution] = []
    for slot, seed in seeds.items():
        gradients[slot] = seed
        if watch:
            watch.arrived(plan.names[slot], seed)
    for step in tracked(track, [step for step in reversed(plan.steps) if step.receivers], "reverse sweep"):
        for i, contribution in send_back(step, op, values, gradients, masks=step.node.id not in plain_nodes):
            contributions.append(Contribution(plan.names[step.operands[i]], step.node.id, step.node.operands[i].port,
                                              contribution))
            if watch:
                watch.sent(contributions[-1], plain(gradients[step.operands[i]]))
    return gradients, contributions


def send_back(step: Step, op: Any, values: Sequence[Any], gradients: list[Any], *,
              masks: bool = True) -> Iterator[tuple[int, Any]]:
    """Add what one gate sends back to the gradients; gives each contribution with the position of its operand.

    A rule that fails, or gives a wrong shape, is a `GateError`; one that needs a built-in gate which no document with
    this table can name, an `InputError`.

    Raises:
        GateError: its backward rule failed, or gave a wrong shape.
        InputError: it needs a built-in gate that no document with this table of gates can name.
    """
    g, out = _upstream(step, op, gradients, values)
    if g is None:
        return
    operands = [values[slot] for slot in step.operands]
    marks = step.gate.facets.masks if masks else None
    try:
        if marks is not None or step.node.gate is None or is_marked(g):
            op = MaskedVocabulary(op)
        parts = (contributions_of(step.node.kind, step.gate, op, g, out, operands, step.receivers, step.attributes)
                if step.node.gate else step.gate.contributions(op, g, out, operands, step.receivers, step.attributes))
        for i, contribution in enumerate(parts):
            if contribution is None or not step.receivers[i]:
                continue
            if marks is not None and marks(i, len(operands), **step.attributes):
                contribution = mark(op, contribution)
            share = fit(step, i, op, contribution, operands[i])
            slot = step.operands[i]
            gradients[slot] = share if gradients[slot] is None else gradients[slot] + share
            yield i, plain(share)
    except Exception as error:
        if isinstance(error, CircuitflowError) and getattr(error, "at", step) is not None:
            raise
        raise blame(step, error) from error


def fill_in(plan: Plan, op: Any, values: Sequence[Any], gradients: list[Any]) -> None:
    """Put zeros where the plan needs a gradient and none arrived."""
    for slot in plan.wrt.values():
        if gradients[slot] is None:
            gradients[slot] = op.zeros_like(values[slot])


def _upstream(step: Step, op: Any, gradients: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """The upstream gradient on a gate's output and the output; None where no gradient arrives.

    Of several outputs of a gate, one without a gradient gets zeros, unless the gate's rule takes None. A node with
    subcircuits gets None for it, so that inside no 0 meets an infinity where no gradient arrives.
    """
    if not step.outputs:
        return gradients[step.output], values[step.output]
    slots = range(step.output, step.output + step.outputs)
    if all(gradients[slot] is None for slot in slots):
        return None, None
    upstream = [gradients[slot] for slot in slots]
    if step.node.gate is not None and not step.node.gate.partial:
        upstream = [op.zeros_like(values[slot]) if g is None else g for slot, g in zip(slots, upstream, strict=True)]
    return tuple(upstream), tuple(values[slot] for slot in slots)


def fit(step: Step, i: int, op: Any, contribution: Any, operand: Any) -> Any:
    """A contribution in its operand's shape and dtype: what broadcasting stretched is summed."""
    if contribution.shape != operand.shape and step.gate.broadcasts:
        contribution = op.sum_to_like(contribution, operand)
    if contribution.shape != operand.shape:
        raise GateError.of(step.node.id, f"the backward rule of {step.node.kind} gives shape "
                           f"{tuple(contribution.shape)} for operand {step.node.operands[i].port!r} of shape "
                           f"{tuple(operand.shape)}; correct the rule")
    return contribution if contribution.dtype == operand.dtype else op.cast_like(contribution, operand)


def blame(step: Step, error: Exception) -> GateError:
    """The error of a rule, with the node that it was applied at; that of a node inside is as it is, with its path."""
    if isinstance(error, GateError) and error.at is not None:
        return GateError.of(*error.at)
    return GateError.of(step.node.id, f"{step.node.kind}: {printable(str(error) or type(error).__name__)}")
