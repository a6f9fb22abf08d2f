"""What makes a page compute: the code, and where its numbers come from and go to.

The code is an export to JavaScript, of a circuit whose outputs are every value, gradient and contribution. A number of
the page refers to one of its outputs, a slot.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET  # it reads what this package made

import numpy as np

from circuitflow.document.model import InputNode, ParameterNode
from circuitflow.document.rewriting import with_new_values
from circuitflow.document.writing import dumps, dumps_value, spell
from circuitflow.errors import InputError
from circuitflow.explanations.expressions import Expression
from circuitflow.explanations.formulas import Symbols
from circuitflow.explanations.mathml import mathml
from circuitflow.explanations.terms import Number, Term
from circuitflow.export.javascript.exporting import export
from circuitflow.export.javascript.language import ARRAYS
from circuitflow.gates.shapes import show
from circuitflow.interpreter.result import Result
from circuitflow.pictures.compact import compact
from circuitflow.pictures.whys import whys
from circuitflow.text import printable, short
from circuitflow.transforms.observed import Observed, observed

VALUES, ELEMENTS = 10_000, 10_000_000
"""The most values that a page computes, and the most elements in all of them: a move then takes some 30 ms."""


class Slots(NamedTuple):
    """The outputs of the code, by what they are to a result."""

    value: Mapping[str, int]
    gradient: Mapping[str, int]
    upstream: Mapping[str, int]
    contribution: Mapping[Any, int]

    def of(self, back: tuple[Any, ...]) -> int | None:
        """The slot of a gradient as `Link.back` names it."""
        kind, *key = back or ("gradient", "")
        found: int | None = getattr(self, kind).get(key[0] if len(key) == 1 else tuple(key))
        return found


class Living(NamedTuple):
    """A result that can be computed again in a browser.

    Attributes:
        code: a script that defines `circuitflowModule`, with the function `value`.
        model: for the page: what goes into the function, what comes out, and the document.
        slots: where its numbers are.
        view: the circuit that the code is made of.
    """

    code: str
    model: Mapping[str, Any]
    slots: Slots
    view: Observed


def living(result: Result) -> Living:
    """The code and the model of a result.

    Raises:
        CircuitflowError: JavaScript cannot have it; the message says why.
    """
    for name, value in result.values.items():
        if value.dtype.kind in "iu" and value.size and max(-int(value.min()), int(value.max())) >= 2**53:
            raise InputError(f"'{name}' has an integer beyond 2^53, which a number of JavaScript does not hold")
    view = observed(result)
    exported = export(view.circuit, None, ())
    outputs, inputs = exported.functions[0].gives[0].members, exported.lowered.builder.inputs.members
    code, short = compact(_script(exported.module), {member.name for member in (*outputs.values(), *inputs.values())})

    def member(reference: str) -> str:
        return short[inputs[reference].name]

    parts: tuple[Mapping[Any, str], ...] = (view.values, view.gradients, view.upstream, view.contributions)
    places = {reference: i for i, reference in enumerate(dict.fromkeys(
        reference for part in parts for reference in part.values()))}
    slots = Slots(*({key: places[reference] for key, reference in part.items()} for part in parts))
    model = {
        "slots": [_slot(short[outputs[reference].name], outputs[reference]) for reference in places],
        "sources": [*_sources(result, view, member, slots)],
        "settings": [*_settings(view, member, slots)],
        "keeps": member(view.keeps),
        "upstream": [{"name": name, "member": member(reference), "slot": slots.upstream[name],
                      "output": slots.value[name], "value": packed(result.upstream[name])}
                     for name, reference in view.upstream.items()],
        "document": [*_document(result)],
        "outputs": [[text, slots.value[name]] for text, name in _output_names(result).items()],
    }
    return Living(code, model, slots, view)


def _slot(name: str, member: Any) -> Any:
    """What comes out under a name; the name alone of what most are, a number."""
    shape, dtype = member.shape, member.dtype.name
    return {"member": name, "shape": shape, "dtype": dtype} if shape or dtype != "float64" else name


def _output_names(result: Result) -> dict[str, str]:
    circuit, names = result.circuit, {}
    for text in result.outputs:
        origin = circuit.find(text)
        assert origin is not None  # noqa: S101
        names[text] = circuit.nodes[origin.node].name_of(origin.position)
    return names


def _sources(result: Result, view: Observed, member: Callable[[str], str], slots: Slots) -> Iterator[dict[str, Any]]:
    circuit, wrong = result.circuit, whys(result)
    for name, reference in view.sources.items():
        node, value = circuit.nodes[name], result.values[name]
        least, most = circuit.bounds.get(name, (-np.inf, np.inf))
        yield {"name": name, "kind": node.kind, "label": printable(node.label or "", 60),
               "member": member(reference), "value": packed(value), "slot": slots.value[name],
               "gradient": slots.gradient.get(name), "frozen": name in circuit.frozen,
               "min": packed(np.broadcast_to(least, value.shape)) if np.any(np.isfinite(least)) else None,
               "max": packed(np.broadcast_to(most, value.shape)) if np.any(np.isfinite(most)) else None,
               **({"why": wrong[name]} if name in wrong else {})}


def _settings(view: Observed, member: Callable[[str], str], slots: Slots) -> Iterator[tuple[str, str, str, int]]:
    for name, (flag, value) in view.settings.items():
        yield name, member(flag), member(value), slots.value[name]


def packed(value: Any) -> Any:
    """A number or truth value, by name if it is not finite; an array as the bytes of a typed array, in base 64."""
    array = np.asarray(value)
    if not array.shape:
        return spell(array.item())
    return base64.b64encode(array.astype(_bits(array.dtype.name)).tobytes()).decode()


def unpacked(value: Any, like: Any) -> Any:
    """An array, in the shape and dtype of another one, of what `packed` made of it or a page says in the same form.

    Raises:
        InputError: it is something else.
    """
    try:
        if like.shape:
            bits = base64.b64decode(value, validate=True)
            return np.frombuffer(bits, _bits(like.dtype.name)).reshape(like.shape).astype(like.dtype)
        return np.asarray(float(value) if like.dtype.kind == "f" else value, like.dtype)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{short(value)} is no value of {like.dtype} {show(like.shape)}") from None


def _bits(dtype: str) -> Any:
    """The elements of the typed array that holds numbers of a dtype, as they stand in memory."""
    known = {"Float64Array": "<f8", "Float32Array": "<f4", "Uint8Array": "u1"}
    return np.dtype(known.get(ARRAYS[dtype], dtype)).newbyteorder("<")


def _document(result: Result) -> Iterator[Any]:
    """The document's text in pieces: as it is, or the value of a source, as [its id, its text]."""
    circuit, text = result.circuit, dumps(result.circuit.document)
    sources = [node for node in circuit.document.nodes if isinstance(node, InputNode | ParameterNode)
               and node.id in result.values]
    digits = next(digits for digits in itertools.count(1) if f"{digits}e-291" not in text)
    # A number that the document does not have stands for each value.
    marks = {node.id: float(f"1.{i}1{digits}e-291") for i, node in enumerate(sources)}
    dtypes = {node.id: circuit.nodes[node.id].types[0].dtype for node in sources}
    values = {repr(marks[node.id]): node for node in sources}
    for piece in re.split(r"(1\.\d+e-291)", dumps(with_new_values(circuit.document, marks, dtypes))):
        node = values.get(piece)
        if node is None:
            yield piece
        else:
            value = node.model_dump(mode="python", exclude_unset=True).get("value")
            yield [node.id, dumps_value(result.values[node.id].tolist() if value is None else value)]


def _script(module: str) -> str:
    """The module as a script, without its comments; nothing in it can end the element that it stands in."""
    text = re.sub(r"/\*.*?\*/", "", module, flags=re.DOTALL)
    text = re.sub(r"^export (?=const|function)", "", text, flags=re.MULTILINE)
    text = re.sub(r"\s*\n\s*", "\n", text).strip().replace("</", "<\\/").replace("<!", "<\\!")
    return f"const circuitflowModule = (() => {{\n{text}\nreturn {{ value }};\n}})();\n"


class Formulas(Symbols):
    """The formulas of a page, in which a value or gradient is the place of its slot and of its name.

    Attributes:
        places: the slot and the name of each.
    """

    def __init__(self, plain: Symbols, slots: Slots, result: Result) -> None:
        self._symbols, self._plain = plain._symbols, plain
        of = dict(slots.value) | {result.circuit.gradient_name(name): slot for name, slot in slots.gradient.items()}
        self._at = {name: i for i, name in enumerate(of)}
        self.places = [[slot, tree(plain.term(name))] for name, slot in of.items()]

    def term(self, name: str) -> Term:
        """A place as a number that begins with @."""
        return Number(f"@{self._at[name]}") if name in self._at else self._plain.term(name)

    def tree(self, expression: Expression | None) -> Any:
        """An expression for the page; None where there is none."""
        return None if expression is None else tree(self.formula(expression))

    def left(self, name: str) -> int | None:
        """The place of a name."""
        return self._at.get(name)


def tree(term: Term) -> Any:
    """A term as nested lists: the element of MathML, its attributes if it has any, its children and text."""
    root = ET.fromstring(mathml(term).replace("&#xA0;", "\N{NO-BREAK SPACE}"))  # noqa: S314
    return _element(root)


def _element(element: ET.Element) -> Any:
    text = element.text or ""
    if element.tag == "mn" and text.startswith("@"):
        return int(text[1:])
    return [element.tag, *([dict(element.attrib)] if element.attrib else []), *([text] if text else []),
            *map(_element, element)]


