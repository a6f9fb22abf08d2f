"""A circuit as a module of JavaScript with its value and its gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.arguments import checked
from circuitflow.engines.flat.functions import Function
from circuitflow.engines.flat.language import Unwritable
from circuitflow.engines.flat.lowered import Asked, Lowered, lower
from circuitflow.errors import InputError
from circuitflow.export.javascript.file import Module
from circuitflow.export.javascript.names import JavaScriptNames
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.question import References


@checked
def to_javascript(circuit: Circuit, of: References = None, wrt: References = None, *,
                  inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
                  dtype: str | None = None, jacobian: bool = False, hvp: bool = False) -> str:
    """An ES module with the functions `value` and `valueAndGrad`, for browsers, Node and Deno.

    It imports nothing and evaluates no text, so that it runs under a strict content security policy. Arrays are typed
    arrays, row after row. Members and variables keep the ids of the document. Named dimensions have the sizes of the
    defaults. Where a gate refuses its operands, a function throws a `RangeError`.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: defaults of the arguments, by id, in place of the document's.
        upstream: likewise of the upstream gradients, by output.
        dtype: float64 or float32 for all floats; by default they are as in the document.
        jacobian: whether there is a function of the derivative of every output by every node.
        hvp: whether there is a function of the Hessian, of the sum of the outputs, times a vector.

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    return export(circuit, of, wrt, inputs=inputs, upstream=upstream, dtype=dtype, jacobian=jacobian,
                  hvp=hvp).module


class Exported(NamedTuple):
    """An exported circuit.

    Attributes:
        module: the text of the module.
        declarations: its types, for TypeScript.
        lowered: the circuit, lowered.
        functions: its functions.
    """

    module: str
    declarations: str
    lowered: Lowered
    functions: Sequence[Function]


@collector_paused()
def export(circuit: Circuit, of: References = None, wrt: References = None, *,
           inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
           dtype: str | None = None, jacobian: bool = False, hvp: bool = False) -> Exported:
    """As `to_javascript`, with declarations."""
    document = circuit.document
    module = Module([document.name or "", document.description or ""])
    low = lower(module.language, JavaScriptNames, Asked.of(circuit, of, wrt, inputs, upstream), dtype,
                more=["jacobian"] * jacobian + ["hvp"] * hvp)
    try:
        text = module.text(low.builder, low.functions)
    except Unwritable as error:
        raise InputError(f"the circuit {error}") from None
    return Exported(text, module.declarations(low.builder, low.functions), low, low.functions)
