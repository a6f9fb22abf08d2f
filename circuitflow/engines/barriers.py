"""Keeps XLA from rewriting arithmetic as if numbers were real.

XLA's algebraic simplifier turns a / b / c into a / (b · c), ln e^x into x, and x · c · d into x · (c · d). The results
overflow, underflow or are finite where those of the operations as written are not. A barrier between two operations
forbids it. XLA removes the barriers before it fuses operations, so they cost no time. The rewrites are those of
https://github.com/openxla/xla/blob/main/xla/hlo/transforms/simplifiers/algebraic_simplifier.cc
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

_REWRITTEN = {"div": ("div",), "log": ("exp", "pow"), "pow": ("exp", "integer_pow", "mul", "pow", "square"),
              "sqrt": ("integer_pow", "mul", "square")}
"""An operation, and those that must not be combined with it where they make its operand."""

_SCALING, _SHIFTING = ("mul", "div"), ("add", "sub")
"""Groups of operations. XLA merges the constants of two of a group, one applied to the result of the other."""

_LAYOUT = ("broadcast_in_dim", "reshape", "squeeze", "transpose")


class _Made(NamedTuple):
    """The operation that makes a value, layout left aside; and whether an operand of it is a number of the program."""

    name: str = ""
    by_number: bool = False


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of JAX arrays, with barriers; for `jax.jit` to compile."""
    import jax

    def with_barriers(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = jax.core.eval_jaxpr(_with_barriers(closed.jaxpr), closed.consts, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return with_barriers


def _with_barriers(jaxpr: Any, *, apart: bool = False) -> Any:
    """The operations of a function, with barriers; also around all of them, to keep them apart from others.

    The body of a loop is a function of its own. XLA puts that of a loop of one step in the place of the loop.
    """
    jax: Any = import_module("jax")
    from jax.extend.core import Literal

    steps: list[Any] = []
    makers: dict[Any, _Made] = {}

    def behind(xs: Sequence[Any]) -> list[Any]:
        """The same values, behind a barrier."""
        if not xs:
            return []
        types = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in xs]
        barrier = jax.make_jaxpr(lambda *xs: jax.lax.optimization_barrier(xs))(*types).eqns[0]  # a new one every time
        steps.append(barrier.replace(invars=list(xs)))
        return list(barrier.outvars)

    inside = dict(zip(jaxpr.invars, behind(jaxpr.invars), strict=True)) if apart else {}
    for step in jaxpr.eqns:
        if inside:
            step = step.replace(invars=[x if isinstance(x, Literal) else inside.get(x, x) for x in step.invars])
        name, numbers = step.primitive.name, [isinstance(x, Literal) for x in step.invars]
        origins = [_Made() if is_number else makers.get(x, _Made())
                   for x, is_number in zip(step.invars, numbers, strict=True)]
        if conflicts := _conflicts(name, origins):
            operands = dict(enumerate(step.invars))
            operands.update(zip(conflicts, behind([operands[i] for i in conflicts]), strict=True))
            step = step.replace(invars=[*operands.values()])
        if name == "scan":
            body = step.params["jaxpr"]
            body = body.replace(jaxpr=_with_barriers(body.jaxpr, apart=step.params["length"] == 1))
            step = step.replace(params={**step.params, "jaxpr": body})
        steps.append(step)
        for x in step.outvars[:1]:
            makers[x] = origins[0] if name in _LAYOUT else _Made(name, any(numbers))
    if apart:
        ends = [x for x in jaxpr.outvars if not isinstance(x, Literal)]
        inside.update(zip(ends, behind([inside.get(x, x) for x in ends]), strict=True))
    return jaxpr.replace(eqns=steps, outvars=[x if isinstance(x, Literal) else inside.get(x, x)
                                              for x in jaxpr.outvars])


def _conflicts(name: str, origins: Sequence[_Made]) -> list[int]:
    """The operands of an operation that must not be rewritten together with it."""
    group = next((group for group in (_SCALING, _SHIFTING) if name in group), ())
    powers = group is _SCALING and all(maker.name == "exp" for maker in origins)  # e^x · e^y is no e^(x + y)
    return [i for i, maker in enumerate(origins) if powers or maker.name in _REWRITTEN.get(name, ())
            or (maker.by_number and maker.name in group)]
