"""A scan as a loop of an array library, which compiles the body once: `lax.scan` of JAX, forward and back.

The namespace has the loop as `scan(step, carry, stacks, reverse=…)`. What a loop carries has a fixed structure, so a
carry on which a gradient arrives at some positions carries zeros of a mask at the others, and one on which none arrives
at any position is left out; so it is in the gradient of a document. If every carry is kept, the values that the body's
reverse sweep reads are kept too. Else the reverse sweep computes them again, segment by segment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.gates import Reads
from circuitflow.gates.special import Check, Namespace
from circuitflow.interpreter.application import Application
from circuitflow.interpreter.masked import mark, plain
from circuitflow.interpreter.plan import Plan

Arrays = Mapping[str, Any]
"""Arrays by name."""

Stacks = Mapping[str, Any]
"""Arrays by name, with an axis of positions in front; and a mapping of such."""


def has_loop(xp: Any) -> bool:
    """Whether a namespace has the loop, and its rules look at no values."""
    return isinstance(xp, Namespace) and xp.checks is not None and hasattr(xp, "scan")


class Loop(NamedTuple):
    """A scan.

    Attributes:
        application: the body.
        carry: inputs that are carried, each with the output that is its next value.
        over: inputs that take a position at a time.
        from_end: whether the last position comes first.
        every: how many positions there are for a carry that is kept.
        targets: inputs whose gradients are asked for.
    """

    application: Application
    carry: Mapping[str, str]
    over: Collection[str]
    from_end: bool
    every: int
    targets: Collection[str]

    def forward(self, xp: Any, operands: Arrays) -> tuple[Arrays, Any]:
        """The outputs, and what the reverse sweep needs."""
        carry, stacks, fixed = self._parted(operands)
        if self.every == 1 or not self.targets:
            carry, (stacked, kept) = self._ahead(xp, fixed, carry, stacks, keeps=bool(self.targets))
            return {**self._ends(carry), **stacked}, kept

        def segment(start: Arrays, here: Stacks) -> tuple[Arrays, Any]:
            carry, (stacked, _) = self._ahead(xp, fixed, start, here, keeps=False)
            return carry, (stacked, start)

        parts, starts, length = [], [], self._length(stacks)
        for segments in self._cut(xp, stacks, length):
            carry, (stacked, start) = _looped(xp, segment, carry, segments, reverse=self.from_end)
            parts.append(stacked)
            starts.append(start)
        return {**self._ends(carry), **self._joined(xp, parts)}, starts

    def backward(self, op: Any, operands: Arrays, kept: Any, upstream: Arrays, arriving: Collection[str], *,
                 masked: bool) -> dict[str, Any]:
        """The gradients on the operands, without marks; None, or no entry, where none arrives at any position.

        Args:
            op: the vocabulary.
            operands: the operands.
            kept: what the forward pass gives for the reverse sweep; None computes it again.
            upstream: the gradients on outputs, without marks; None where there is none.
            arriving: the carries on which a gradient arrives.
            masked: whether gradients may have zeros of a mask.
        """
        xp = op.xp
        carry, stacks, fixed = self._parted(operands)
        along = {name: g for name, g in upstream.items() if g is not None and name not in self.carry.values()}
        ends = {name: upstream[self.carry[name]] for name in arriving}
        state = ({name: op.zeros_like(carry[name]) if g is None else g for name, g in ends.items()},
                 {name: op.zeros_like(fixed[name]) for name in self.targets if name in fixed})
        reached: set[str] = set()  # the operands that add up, and that a gradient reaches

        def segment(state: Any, here: Any) -> tuple[Any, Stacks]:
            stacks, start, along = here
            _, (_, kept) = self._ahead(xp, fixed, start, stacks, keeps=True)
            return back(state, stacks, kept, along)

        def back(state: Any, *stacks: Any) -> tuple[Any, Stacks]:
            return _looped(xp, step, state, stacks, reverse=not self.from_end)

        def step(state: Any, here: Any) -> tuple[Any, Arrays]:
            (gradients, sums), (at, kept, along) = state, here
            carried, slots = kept
            seeds = {**{self.carry[name]: g for name, g in gradients.items()}, **along}
            if masked:
                seeds = {name: mark(op, g) for name, g in seeds.items()}
            sent = {name: plain(g) for name, g in
                    self.application.backward(op, {**fixed, **carried, **at}, seeds, slots).items()}
            reached.update(name for name in sums if sent[name] is not None)
            return (({name: op.zeros_like(carried[name]) if sent[name] is None else sent[name] for name in gradients},
                     {name: total + sent[name] if name in reached else total for name, total in sums.items()}),
                    {name: sent[name] for name in self.over if name in self.targets and sent[name] is not None})

        if self.every == 1 and kept is not None:
            state, sent = back(state, stacks, kept, along)
        elif self.every == 1:
            state, sent = segment(state, (stacks, carry, along))
        else:
            parts, length = list[Stacks](), self._length(stacks)
            cut = zip(self._cut(xp, stacks, length), kept, self._cut(xp, along, length), strict=True)
            for here in reversed([*cut]):
                state, sent = _looped(xp, segment, state, here, reverse=not self.from_end)
                parts.insert(0, sent)
            sent = self._joined(xp, parts)
        gradients, sums = state
        return {**gradients, **{name: sums[name] for name in reached}, **sent}

    def _parted(self, operands: Arrays) -> tuple[Arrays, Stacks, Arrays]:
        """The operands that are carried, those that are gone over, and the others."""
        return ({name: operands[name] for name in self.carry}, {name: operands[name] for name in self.over},
                {name: x for name, x in operands.items() if name not in self.carry and name not in self.over})

    def _length(self, stacks: Stacks) -> int:
        return int(next(iter(stacks.values())).shape[0])

    def _ends(self, carry: Arrays) -> dict[str, Any]:
        return {output: carry[name] for name, output in self.carry.items()}

    def _ahead(self, xp: Any, fixed: Arrays, carry: Arrays, stacks: Stacks, *,
               keeps: bool) -> tuple[Arrays, tuple[Stacks, Any]]:
        """The last carry; the stacks of the other outputs; and, if it keeps them, the carries and what is read."""
        application, last = self.application, set(self.carry.values())
        slots = _read_slots(application.plan, {*self.carry, *self.over}) if keeps else []

        def step(carry: Arrays, at: Arrays) -> tuple[Arrays, Any]:
            values = application.forward(xp, {**fixed, **carry, **at})
            outputs = dict(zip(application.plan.of, application.outputs(values), strict=True))
            return ({name: outputs[output] for name, output in self.carry.items()},
                    ({name: x for name, x in outputs.items() if name not in last},
                     (carry, {slot: values[slot] for slot in slots}) if keeps else None))

        return _looped(xp, step, carry, stacks, reverse=self.from_end)

    def _cut(self, xp: Any, stacks: Stacks, length: int) -> list[Stacks]:
        """The stacks in segments, in the order in which the positions come; the last may be a shorter one."""
        whole, rest = divmod(length, self.every)
        end = whole * self.every
        cuts = [((rest, length) if self.from_end else (0, end), (whole, self.every)),
                ((0, rest) if self.from_end else (end, length), (1, rest))]
        segments: list[Stacks] = [
            {name: xp.reshape(x[start:stop, ...], (*sizes, *x.shape[1:])) for name, x in stacks.items()}
            for (start, stop), sizes in cuts if stop > start]
        return segments or [{name: x[None, ...] for name, x in stacks.items()}]

    def _joined(self, xp: Any, parts: Sequence[Stacks]) -> dict[str, Any]:
        """The stacks that were cut into segments."""
        ordered = [*reversed(parts)] if self.from_end else parts
        flat = [{name: xp.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])) for name, x in part.items()}
                for part in ordered]
        return {name: xp.concat([part[name] for part in flat]) for name in flat[0]}


def _looped(xp: Any, step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, stacks: Any, *,
            reverse: bool) -> tuple[Any, Any]:
    """The loop; the conditions under which rules refuse operands come out as stacks."""
    checks: list[Check] = []

    def body(carry: Any, here: Any) -> tuple[Any, Any]:
        count = len(xp.checks)
        carry, results = step(carry, here)
        checks[:] = xp.checks[count:]
        del xp.checks[count:]
        return carry, (results, [xp.any(check.outside) for check in checks])

    carry, (results, refused) = xp.scan(body, carry, stacks, reverse=reverse)
    xp.checks.extend(check._replace(outside=outside) for check, outside in zip(checks, refused, strict=True))
    return carry, results


def _read_slots(plan: Plan, varying: Collection[str]) -> list[int]:
    """The slots of values that differ from position to position, and that the reverse sweep of a body reads."""
    slots = {plan.sources[name] for name in varying if name in plan.sources}
    given, read = set(slots), set[int]()
    for step in plan.steps:
        if slots.intersection(step.operands):
            slots.update(step.slots)
        if step.receivers:
            read.update(step.operands if Reads.INPUTS in step.gate.reads else ())
            read.update(step.slots if Reads.OUTPUT in step.gate.reads else ())
    return sorted((slots & read) - given)
