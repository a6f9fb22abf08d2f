"""The widget of a circuit, for notebooks. It is imported only where anywidget is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets

from circuitflow.document.numbers import as_numpy
from circuitflow.errors import InputError
from circuitflow.executor import Executor
from circuitflow.gates.shapes import show
from circuitflow.graph.circuit import Circuit
from circuitflow.pictures.drawing import picture
from circuitflow.pictures.living import packed, unpacked
from circuitflow.pictures.page import Contents, contents, part
from circuitflow.pictures.theme import THEMES
from circuitflow.text import nearest, printable, short

Values = Mapping[str, Any]


class State(NamedTuple):
    """What decides a run: values of sources, of gates that are set by hand, and upstream gradients, by name."""

    values: Values
    held: Values
    upstream: Values


class Widget(anywidget.AnyWidget):
    """See `circuitflow.widget`.

    Both sides exchange `_moves` alone: what differs from the start. Each computes the rest by itself.
    """

    values: Any = traitlets.TraitType()  # and not `Any`, which takes None unseen
    held: Any = traitlets.TraitType()
    upstream: Any = traitlets.TraitType()
    gradients = traitlets.Any(read_only=True)
    _esm = traitlets.Unicode().tag(sync=True)  # with a default of its own an export would leave it out
    _moves = traitlets.Dict().tag(sync=True)

    def __init__(self, circuit: Circuit, inputs: Values | None, depth: int | None) -> None:
        result = Executor(circuit).run(inputs)
        made = contents(result, picture(result, depth), THEMES["light"])
        if made.alive is None:
            raise InputError(made.notes[-1])
        self._view = made.alive.view
        self._executor = Executor(self._view.circuit)
        self._shown: dict[str, Values] = {}
        start = State({name: result.values[name] for name in self._view.sources}, {}, result.upstream)
        self._like = result.values
        self._start = self._now = start
        super().__init__(_esm=module(made, made.alive.code))
        self._settle(start)

    def _settle(self, state: State) -> None:
        """Compute at a state, and show it on both sides; a state that cannot be computed changes nothing."""
        view = self._view
        arguments = {reference: state.values[name] for name, reference in view.sources.items()}
        for name, (flag, value) in view.settings.items():
            arguments |= {flag: name in state.held, value: state.held.get(name, np.zeros_like(self._like[name]))}
        arguments |= {reference: state.upstream[name] for name, reference in view.upstream.items()}
        # As `compute` of the page.
        arguments[view.keeps] = bool(state.held) or any(np.any(self._start.upstream[name]) and not np.any(
            state.upstream[name]) for name in view.upstream)
        found = {name: _fixed(value) for name, value in self._executor.run(arguments, wrt=()).outputs.items()}
        values = {name: found[reference] for name, reference in view.values.items()}
        self._now = State({name: values[name] for name in view.sources}, {name: values[name] for name in state.held},
                          {name: found[reference] for name, reference in view.upstream.items()})
        self._shown = {name: MappingProxyType(dict(shown)) for name, shown in (
            ("values", values), ("held", self._now.held), ("upstream", self._now.upstream),
            ("gradients", {name: found[reference] for name, reference in view.gradients.items()}))}
        with self.hold_trait_notifications():
            for name, shown in self._shown.items():
                self.set_trait(name, shown)
            self._moves = self._packed()

    @traitlets.validate("values", "held", "upstream")
    def _assigned(self, proposal: Any) -> Values:
        """Take over what is assigned."""
        name, given = proposal["trait"].name, proposal["value"]
        if given is not self._shown.get(name):
            self._settle(self._with(name, given))
        return self._shown[name]

    @traitlets.observe("_moves")
    def _moved(self, change: Any) -> None:
        """Take over what the other side did."""
        if change["new"] == self._packed():
            return
        values, held, upstream = (self._unpacked(change["new"].get(name)) for name in State._fields)
        self._settle(State({**self._start.values, **values}, held, {**self._start.upstream, **upstream}))

    def _with(self, name: str, given: Any) -> State:
        """The state of now with what is assigned to a trait."""
        if not isinstance(given, Mapping):
            raise InputError(f"widget.{name} is {short(given)}; expected a mapping by id, such as {{'x': 1.0}}")
        known: Values = {"values": self._view.sources, "held": self._view.settings,
                         "upstream": self._view.upstream}[name]
        taken = {key: self._array(name, key, value) for key, value in given.items() if key in known}
        for key, value in given.items():
            # {**widget.values, "x": 2.0} names every gate as well.
            if key not in known and not (name == "values" and value is self.values.get(key)):
                raise InputError(f"widget.{name}: {self._wrong(name, key, known)}")
        return self._now._replace(**{name: taken if name == "held" else {**getattr(self._now, name), **taken}})

    def _array(self, name: str, key: str, value: Any) -> Any:
        """What is assigned, as a run takes it; an array of the caller's stays the caller's."""
        like, label = self._like[key], f"widget.{name}: '{printable(key, 60)}'"
        array = as_numpy(value, like.dtype.name, label)
        if array.shape != like.shape:
            raise InputError(f"{label} has shape {show(array.shape)}; expected {show(like.shape)}")
        return array.copy()

    def _wrong(self, name: str, key: Any, known: Values) -> str:
        told = f"'{printable(str(key), 60)}'"
        if name == "values" and key in self._view.settings:
            return f"{told} is a gate; widget.held sets it by hand"
        kind = {"values": "input or parameter", "held": "gate that can be set", "upstream": "output with a gradient"}
        return f"{told} is no {kind[name]}{nearest(str(key), known)}"

    def _packed(self) -> dict[str, dict[str, Any]]:
        """What differs from the start, as the other side has it."""
        return {part: {name: packed(value) for name, value in getattr(self._now, part).items()
                       if name not in start or packed(value) != packed(start[name])}
                for part, start in self._start._asdict().items()}

    def _unpacked(self, given: Any) -> Values:
        if not isinstance(given, Mapping) or not self._like.keys() >= given.keys():
            raise InputError(f"{short(given)} came from the view; expected values by name")
        return {name: unpacked(value, self._like[name]) for name, value in given.items()}


def _fixed(value: Any) -> Any:
    """An array that nobody changes, as no change of it would be seen."""
    array = np.asarray(value).view()
    array.flags.writeable = False
    return array


def module(made: Contents, code: str) -> str:
    """The JavaScript of a widget, which is all that its view needs."""
    parts = {"data": made.data, "frame": frame(), "style": made.style, "drawing": made.drawing,
             "title": made.data["title"], "notes": made.notes}
    # A notebook that is exported has this in an element of a script, which nothing in it can end.
    text = json.dumps(parts, separators=(",", ":")).replace("<", "\\u003c")
    return (f"{code}{part('page.js')}const parts = {text};\n"
            "export default {\n"
            "render: ({ model, el }) => circuitflowPage.widget(model, el, circuitflowModule, parts)\n};\n")


def frame() -> str:
    """The elements around the picture. Landmarks are groups here: a notebook has its own, and may show many widgets."""
    text = re.sub(r"<(?:header|main|aside|section)\b", '<div role="group"', part("frame.html"))
    return re.sub(r"\{\{\w+\}\}", "", re.sub(r"</(?:header|main|aside|section)>", "</div>", text))
