"""Learning on the device: a function that moves parameters against their gradients, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from circuitflow.engines.c.file import More
from circuitflow.engines.c.language import TYPES
from circuitflow.engines.flat.functions import Builder, Function, Member
from circuitflow.errors import InputError

_SGD = """/* one step down the gradients: each parameter less rate times its gradient */
{storage}void {p}_sgd_step({p}_parameters *parameters, const {p}_gradients *gradients, double rate)
{{
{lines}
}}"""

_ADAM = """/* one step of Adam (Kingma and Ba 2015), with 0.9, 0.999 and 1e-8; a state begins as zeros */
{storage}void {p}_adam_step({p}_parameters *parameters, const {p}_gradients *gradients, {p}_adam *state, double rate)
{{
    state->steps = state->steps + 1.0;
    const double first = 1.0 - pow(0.9, state->steps);
    const double second = 1.0 - pow(0.999, state->steps);
{lines}
}}"""

_STATE = """/* what Adam keeps of the gradients: means of them and of their squares */
typedef struct {{
    double steps;
{members}
}} {p}_adam;"""


def _pairs(builder: Builder, functions: Sequence[Function]) -> list[tuple[Member, Member]]:
    """The parameters that have a gradient, each with it.

    Raises:
        InputError: there is none.
    """
    by_reference = {member.reference: member for function in functions if function.name == "value_and_grad"
                    for member in function.gives[-1].members.values()}
    pairs = [(member, by_reference[member.reference]) for member in builder.parameters.members.values()
             if member.reference in by_reference]
    if not pairs:
        raise InputError("a step needs parameters with gradients; there are none, so leave out --step")
    return pairs


def _double(member: Member) -> str:
    """What makes a number of a member a double, for compilers that warn where that is not said."""
    return "(double)" if member.dtype == np.float32 else ""


def _each(member: Member, lines: list[str]) -> Iterator[str]:
    """Statements for each number of a member, where `@` stands for its place."""
    if not member.shape:
        yield from (f"    {line.replace('@', '')}" for line in lines)
        return
    yield f"    for (int i = 0; i < {int(np.prod(member.shape))}; i++) {{"
    yield from (f"        {line.replace('@', '[i]')}" for line in lines)
    yield "    }"


def sgd(prefix: str, builder: Builder, functions: Sequence[Function], storage: str) -> More:
    """A step of gradient descent."""
    lines = [line for ours, theirs in _pairs(builder, functions) for line in _each(ours, [
        f"parameters->{ours.name}@ -= ({TYPES[ours.dtype.name]})(rate * {_double(theirs)}gradients->{theirs.name}@);"])]
    text = _SGD.format(p=prefix, storage=storage, lines="\n".join(lines))
    return More(text, [_prototype(text)])


def adam(prefix: str, builder: Builder, functions: Sequence[Function], storage: str) -> More:
    """A step of Adam, with a struct of what it keeps."""
    lines, members = list[str](), list[str]()
    for ours, theirs in _pairs(builder, functions):
        type_, name, double = TYPES[ours.dtype.name], ours.name, _double(ours)
        slope = f"{_double(theirs)}gradients->{theirs.name}@"
        mean, square = f"state->mean_of_{name}@", f"state->square_of_{name}@"
        size = f"[{max(1, int(np.prod(ours.shape)))}]" if ours.shape else ""
        members += [f"    {type_} mean_of_{name}{size};", f"    {type_} square_of_{name}{size};"]
        lines += _each(ours, [
            f"{mean} = ({type_})(0.9 * {double}{mean} + 0.1 * {slope});",
            f"{square} = ({type_})(0.999 * {double}{square} + 0.001 * {slope} * {slope});",
            f"parameters->{name}@ -= ({type_})(rate * ({double}{mean} / first) / "
            f"(sqrt({double}{square} / second) + 1e-8));"])
    text = _ADAM.format(p=prefix, storage=storage, lines="\n".join(lines))
    return More(text, [_prototype(text)], _STATE.format(p=prefix, members="\n".join(members)))


def _prototype(text: str) -> str:
    return next(line for line in text.splitlines() if "_step(" in line)


STEPS: Mapping[str, Callable[[str, Builder, Sequence[Function], str], More]] = {"sgd": sgd, "adam": adam}
"""What writes a step, by the name of the method."""
