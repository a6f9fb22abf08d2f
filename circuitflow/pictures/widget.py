"""The living page in a cell of a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from circuitflow.arguments import checked
from circuitflow.errors import MissingExtraError
from circuitflow.graph.circuit import Circuit


@checked
def widget(circuit: Circuit, inputs: Mapping[str, Any] | None = None, *, depth: int | None = None) -> Any:
    """The living page in a notebook: Jupyter, VS Code, marimo and whatever else shows widgets of anywidget.

    It computes in the browser, so it moves without a kernel as well, in a notebook exported to HTML. With a kernel
    its values are the same on both sides, whichever of them changes.

    Args:
        circuit: the circuit.
        inputs: values by id for the inputs without one in the document, or in place of it, as `Executor.run` has them.
        depth: how deep calls are drawn open, as `draw` has it.

    Returns:
        A widget with these traits, each a mapping by name that is replaced, never changed; arrays have the shapes and
        dtypes of the circuit. Observe any of them with `widget.observe(function, "gradients")`.

        - `values`: of every node, as `Result.values` has them. Assign inputs and parameters:
          `widget.values = {"x": 2.0}`; those that are not named stay as they are.
        - `gradients`: as `Result.gradients` has them; read only.
        - `held`: gates that are set by hand, with their values. A gate that is set no longer depends on its operands.
          `widget.held = {}` sets all free.
        - `upstream`: the upstream gradient on each output. Assign some; the others stay.

        What is assigned and cannot be computed is refused with an `InputError`, and nothing changes.

    Raises:
        InputError: a value is missing or does not fit, or there is too much to be drawn at that depth.
        MissingExtraError: anywidget or pygraphviz is not installed.
        CircuitflowError: JavaScript cannot compute the circuit; the message says why.
    """
    if find_spec("anywidget") is None:
        raise MissingExtraError("a widget needs `pip install 'circuitflow[notebook]'`; cf.draw(result, \"html\") gives "
                                "a page without it")
    from circuitflow.pictures.anywidgets import Widget

    return Widget(circuit, inputs, depth)
