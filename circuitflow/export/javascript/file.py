"""The text of a module of JavaScript, and its declarations for TypeScript."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.flat.code import Code
from circuitflow.engines.flat.comments import origin, plain
from circuitflow.engines.flat.functions import Builder, Function, Member, Struct
from circuitflow.engines.flat.memory import Pools
from circuitflow.export.javascript.helpers import NEEDED
from circuitflow.export.javascript.language import ARRAYS, JavaScript

NAMES = {"value": "value", "value_and_grad": "valueAndGrad", "jacobian": "jacobian", "hvp": "hvp"}
"""What functions are called."""


class Module:
    """A module under construction.

    Attributes:
        language: JavaScript.
    """

    def __init__(self, title: Sequence[str]) -> None:
        """An empty module; `title` are the document's own words."""
        self.language, self._title = JavaScript(), title

    def text(self, builder: Builder, functions: Sequence[Function]) -> str:
        """The module."""
        bodies = [self._function(function) for function in functions]
        words = set(re.findall(r"\w+", "\n".join(bodies)))
        tables = [f"const {name} = {self._array(array, array.dtype)};"
                  for name, array in builder.tables.arrays.items() if name in words]
        used = [name for name in self.language.used if self.language.helper_name(name) in words]
        used += [other for name in used for other in NEEDED.get(name, ())]
        helpers = [self.language.helpers[name] for name in dict.fromkeys(used)]
        defaults = [self._defaults(struct) for struct in (builder.parameters, builder.inputs)]
        title = [f" * {plain(text)}" for text in self._title if text]
        head = "\n".join(["/**", *title, *([" *"] if title else []),
                          f" * {origin()}; it needs nothing else.", " */"])
        types = [_typedef(struct) for struct in _structs(functions)]
        return "\n\n".join(part for part in (head, *types, *defaults, *tables, *helpers, *bodies) if part) + "\n"

    def declarations(self, builder: Builder, functions: Sequence[Function]) -> str:
        """The types of what the module exports, for TypeScript."""
        parts = []
        for struct in _structs(functions):
            lines = [f"  {member.name}: {_type(member)};{_about(member)}" for member in struct.members.values()]
            parts.append("\n".join([f"export interface {struct.name.capitalize()} {{", *lines, "}"]))
        parts += [f"export const default{struct.name.capitalize()}: Readonly<{struct.name.capitalize()}>;"
                  for struct in (builder.parameters, builder.inputs) if struct.has_defaults or not struct.members]
        for function in functions:
            takes = ", ".join(f"{struct.name}{'?' if struct.has_defaults or not struct.members else ''}: "
                              f"{_taken(function, struct)}" for struct in self._arguments(function))
            gives = ", ".join(f"{struct.name}: {struct.name.capitalize()}" for struct in function.gives)
            parts.append(f"export function {NAMES[function.name]}({takes}): {{ {gives} }};")
        return "\n\n".join([f"/* {origin()}. */", *parts]) + "\n"

    def _arguments(self, function: Function) -> list[Struct]:
        """A direction, the inputs, then the parameters; those that have defaults come last."""
        parameters, inputs, *others = function.takes
        return [*others, *([inputs, parameters] if parameters.has_defaults or not parameters.members else
                           [parameters, inputs])]

    def _function(self, function: Function) -> str:
        """A function, with objects for its results and arrays for what lies between."""
        code, (part,) = function.code, function.code.parts
        statements = part.finish()
        takes = self._arguments(function)
        lines = ["/**", *(f" * @param {{{_taken(function, struct)}}} {struct.name}" for struct in takes),
                 f" * @returns {{{{{', '.join(f'{s.name}: {s.name.capitalize()}' for s in function.gives)}}}}}",
                 " */"]
        parameters = ", ".join(
            f"{struct.name} = default{struct.name.capitalize()}" if struct.has_defaults or not struct.members else
            struct.name for struct in takes)
        lines.append(f"export function {NAMES[function.name]}({parameters}) {{")
        for struct in function.gives:
            members = ", ".join(f"{member.name}: {self._empty(member)}" for member in struct.members.values())
            lines.append(f"  const {struct.name} = {{{members}}};")
        read = set(re.findall(r"(?<![\w.])\w+\.\w+", "\n".join(statements)))
        lines += [line for struct in takes for member in struct.members.values()
                  if (place := f"{struct.name}.{member.name}") in read for line in self._checks(place, member)]
        lines += self._workspace(code)
        lines += [re.sub("^(    )+", lambda match: "  " * (len(match[0]) // 4), text) for text in statements]
        lines.append(f"  return {{{', '.join(struct.name for struct in function.gives)}}};")
        return "\n".join([*lines, "}"])

    def _checks(self, place: str, member: Member) -> Iterator[str]:
        """Statements that refuse an argument of another type or size."""
        name, call = json.dumps(place), self.language.call
        if member.shape:
            size = int(np.prod(member.shape))
            yield f"  {call('needs_array', place, ARRAYS[member.dtype.name], str(size), name)};"
        else:
            yield f"  {call('needs_number', place, json.dumps(_type(member)), name)};"
        if member.dtype.kind in "iu" and (not member.shape or member.dtype.itemsize == 8):
            yield f"  {call('needs_whole', place, name)};"

    def _workspace(self, code: Code) -> list[str]:
        """Arrays for intermediate results, which share memory where they are needed at different times."""
        pools = Pools()
        pools.allot(code.buffers)
        (part,) = code.parts
        lines = []
        for dtype, size in pools.sizes.items():
            used = [buffer for buffer in part.buffers.values() if buffer.dtype == dtype]
            if used:
                pool = code.new_name(f"{dtype.name}s")
                lines.append(f"  const {pool} = new {ARRAYS[dtype.name]}({size});")
                lines += [f"  const {buffer.name} = {pool}.subarray({buffer.offset}, {buffer.offset + buffer.size});"
                          for buffer in used]
        return lines

    def _empty(self, member: Member) -> str:
        return f"new {ARRAYS[member.dtype.name]}({int(np.prod(member.shape))})" if member.shape else (
            "false" if member.dtype == bool else "0")

    def _defaults(self, struct: Struct) -> str:
        if struct.members and not struct.has_defaults:
            return ""
        items = [f"  {member.name}: {self._value(member)},{_about(member)}" for member in struct.members.values()]
        body = "{\n" + "\n".join(items) + "\n}" if items else "{}"
        return f"export const default{struct.name.capitalize()} = Object.freeze({body});"

    def _value(self, member: Member) -> str:
        if member.shape:
            return self._array(member.default, member.dtype)
        return self.language.literal(member.default, member.dtype).text

    def _array(self, array: Any, dtype: np.dtype[Any]) -> str:
        inside = "\n  ".join(self.language.numbers(array, dtype))
        return f"new {ARRAYS[dtype.name]}([{inside}])"


def _structs(functions: Sequence[Function]) -> list[Struct]:
    """The structs that functions take and give, each once."""
    return list({id(struct): struct for function in functions for struct in function.structs}.values())


def _taken(function: Function, struct: Struct) -> str:
    """The type of an argument: the value does without upstream gradients."""
    name = struct.name.capitalize()
    rest = " | ".join(f"'{member.name}'" for member in struct.members.values() if member.is_upstream)
    return f"Omit<{name}, {rest}> & Partial<{name}>" if rest and function.name == "value" else name


def _typedef(struct: Struct) -> str:
    """The type of a struct for JSDoc; the module has no other place for it, as declarations are a file of their own."""
    lines = [f" * @property {{{_type(member)}}} {member.name}" for member in struct.members.values()]
    return "\n".join(["/**", f" * @typedef {{object}} {struct.name.capitalize()}", *lines, " */"])


def _type(member: Member) -> str:
    return ARRAYS[member.dtype.name] if member.shape else "boolean" if member.dtype == bool else "number"


def _about(member: Member) -> str:
    """What a member is, where its name and type do not say it."""
    shape = " x ".join(map(str, member.shape)) if len(member.shape) > 1 else ""
    words = ", ".join(text for text in (plain(member.meaning, 200), shape) if text)
    return f" /* {words} */" if words else ""
