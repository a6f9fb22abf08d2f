"""A NumPy function run once on wires, so that what it does is written down as a circuit."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from circuitflow.arguments import checked
from circuitflow.authoring.author import Author
from circuitflow.authoring.operands import need_plain
from circuitflow.authoring.wires import AuthoredWire
from circuitflow.document.numbers import as_array
from circuitflow.errors import InputError
from circuitflow.gates import GATES, GateTable
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing, nearest, short


@checked
def trace(function: Callable[..., Any], *examples: Any, parameters: str | Collection[str] = (), name: str | None = None,
          gates: GateTable = GATES) -> Circuit:
    """A plain NumPy function as a circuit.

    The function is called once, with wires in place of numbers and arrays; its NumPy functions, operators, indices and
    methods on them become gates. All other code runs during the call. The function cannot branch on a value.

        circuit = cf.trace(lambda x, w: np.tanh(x @ w).sum(), np.ones(3), np.ones((3, 2)))

    Args:
        function: takes numbers and arrays, also in lists and dictionaries, and returns a number or an array, or a
            tuple, a list or a dictionary of them.
        examples: its arguments; they give the inputs their shapes, dtypes and defaults. An input has the argument's
            name, or `argument_key` inside a list or dictionary. float32 examples make a float32 circuit.
        parameters: the inputs that are trainable, by name; an argument's name stands for all inputs in it.
        name: of the circuit; the function's by default.
        gates: the gate table.

    Returns:
        The circuit. Its output has the function's name, or `f` if there is none; outputs in a dictionary have its keys.

    Raises:
        InputError: the function reads a value, has no gate for an operation, or returns something else; or an example
            is not a number or an array.
    """
    title = getattr(function, "__name__", "f")
    if not title.isidentifier() or not title.isascii() or keyword.iskeyword(title):
        title = "f"
    arguments = list(_arguments(function, examples))
    leaves: list[tuple[str, Any]] = []
    for argument, example in arguments:
        _map(argument, example, lambda leaf, x: leaves.append((leaf, _array(leaf, x))))
    dtypes = {str(x.dtype) for _, x in leaves if x.dtype.kind == "f"}
    author = Author(gates, "float32" if dtypes == {"float32"} else "float64")
    trainable = _trainable(parameters, [argument for argument, _ in arguments], [leaf for leaf, _ in leaves])
    wires = {leaf: author.source("parameter" if leaf in trainable else "input", leaf, x)
             for leaf, x in leaves}
    result = function(*(_map(argument, example, lambda leaf, _: wires[leaf]) for argument, example in arguments))
    for output, wire in _outputs(title, result):
        if not isinstance(wire, AuthoredWire):
            raise InputError(f"the function gives {short(wire)} for '{output}', which depends on no input; expected "
                             "what was computed from its arguments")
        unique = output
        while unique in wires and wires[unique] is not wire:
            unique += "_"
        author.output(wire, unique)
    return author.finish(name or title)


def _arguments(function: Callable[..., Any], examples: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The examples by the names of the arguments."""
    try:
        binding = inspect.signature(function).bind(*examples)
    except TypeError as error:
        raise InputError(f"the examples do not fit the function: {error}") from None
    except ValueError:  # its signature is unknown
        yield from ((f"x{i}", example) for i, example in enumerate(examples))
        return
    for name, value in binding.arguments.items():
        kind = binding.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((f"{name}_{i}", example) for i, example in enumerate(value))
        else:
            yield name, value


def _map(name: str, example: Any, function: Callable[[str, Any], Any]) -> Any:
    """An example with a function of each number and array, by the name of its input, in place of them."""
    if isinstance(example, dict):
        return {key: _map(f"{name}_{_word(key)}", value, function) for key, value in example.items()}
    if isinstance(example, list | tuple):
        return type(example)(_map(f"{name}_{i}", value, function) for i, value in enumerate(example))
    return function(name, example)


def _word(key: Any) -> str:
    return re.sub(r"\W", "_", str(key), flags=re.ASCII)


def _array(name: str, example: Any) -> Any:
    try:
        need_plain(example, f"the example for '{name}'")
        return as_array(example, f"the example for '{name}'")
    except InputError as error:
        raise InputError(f"{error}, or lists and dictionaries of them. Keep what is no number out of the arguments: "
                         "functools.partial gives it beforehand") from None


def _trainable(parameters: Collection[str], arguments: list[str], leaves: list[str]) -> set[str]:
    """The inputs that are parameters."""
    names = set()
    for name in [parameters] if isinstance(parameters, str) else parameters:
        inside = [leaf for leaf in leaves if leaf == name or (name in arguments and leaf.startswith(f"{name}_"))]
        if not inside:
            raise InputError(f"parameters: the function has no input {short(name)}{nearest(str(name), leaves)}; it "
                             f"has {listing(leaves)}")
        names.update(inside)
    return names


def _outputs(name: str, result: Any) -> Iterator[tuple[str, Any]]:
    """The results of a function, by name."""
    if isinstance(result, dict):
        yield from ((_word(key), value) for key, value in result.items())
    elif isinstance(result, list | tuple):
        yield from ((f"{name}_{i}", value) for i, value in enumerate(result))
    else:
        yield name, result
