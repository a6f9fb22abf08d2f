"""Collects the faults of a document, each with its place in the text, and reports them all at once."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from circuitflow.document.fit import FIT_PARTS
from circuitflow.document.limits import DEFAULT, Limits
from circuitflow.document.model import TAGS, Document, Edge
from circuitflow.document.positions import Path, Place, locate, positions
from circuitflow.document.writing import tidy
from circuitflow.errors import DocumentError, Fault
from circuitflow.text import listing, nearest, printable, short

MAX_FAULTS = 1000
"""The most faults that are listed. The search ends there."""

MAX_SUGGESTIONS = 100
"""The most faults that name the nearest right spelling, which takes time to find."""

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_type": "text",
    "string_unicode": "text without lone surrogates",
    "tuple_type": "a list",
    "greater_than_equal": "{ge} or more",
    "too_short": "{min_length} or more items",
    "too_long": "at most {max_length} items",
    "union_tag_not_found": "an object with 'data', 'file' or 'random'",
}
"""What stands where pydantic finds an error of a type, with the names of the error's context."""

_KEYS = "letters, digits and underscores, not beginning with a digit"


@dataclass(frozen=True, eq=False)
class Source:
    """Where a document comes from: the text that faults point into, the folder of its files, and its limits.

    Attributes:
        name: shown in front of every fault.
        text: the JSON text, or None for a document made by a program.
        folder: where tensor and subcircuit files lie, or None if the document can have none.
        limits: of this document and everything in it.
    """

    name: str = "<document>"
    text: str | None = None
    folder: pathlib.Path | None = None
    limits: Limits = DEFAULT


class _Finding(NamedTuple):
    place: Place
    message: str
    node: str | None
    offset: int | None


class Faults:
    """The faults found so far, in any number of documents."""

    def __init__(self) -> None:
        self._findings: dict[Source, list[_Finding]] = {}
        self._places: set[tuple[Source, Place, int | None, str]] = set()
        self._suggestions = 0

    def __bool__(self) -> bool:
        return bool(self._findings)

    def add(self, source: Source, message: str, *path: str | int, node: str | None = None, key: bool = False,
            offset: int | None = None, lacks: str = "") -> None:
        """Note a fault at a path of a document.

        Of several faults at one place the first is kept: what the later ones say follows from it. What the place lacks
        is a fault of its own. With `key` the fault is the last key of the path, not its value. The offset is the place
        in the text, where it is known.

        Raises:
            DocumentError: there are too many to go on.
        """
        place = Place(path, key)
        if (source, place, offset, lacks) in self._places:
            return
        if len(self._places) == MAX_FAULTS:
            self.fail(Fault(f"more than {MAX_FAULTS} faults; the rest is not listed", file=source.name))
        self._places.add((source, place, offset, lacks))
        self._findings.setdefault(source, []).append(_Finding(place, message, node, offset))

    def nearest(self, word: str, spellings: Collection[str], least: float = 0.6) -> str:
        """A clause that suggests the nearest right spelling, or "" where nothing is near."""
        self._suggestions += 1
        return nearest(word, spellings, least) if self._suggestions <= MAX_SUGGESTIONS else ""

    def raise_if_any(self) -> None:
        """Raise them all as one error.

        Raises:
            DocumentError: there is at least one.
        """
        if self:
            self.fail()

    def fail(self, *last: Fault) -> NoReturn:
        """Raise them all as one error, where there is nothing to go on with."""
        raise DocumentError([*(fault for source in self._findings for fault in self._with_places(source)), *last])

    def _with_places(self, source: Source) -> Iterator[Fault]:
        findings = self._findings[source]
        if source.text is None:
            for place, message, node, _ in findings:
                yield Fault(message, place.pointer, node, source.name)
            return
        offsets = locate(source.text, [fault.place for fault in findings if fault.offset is None])
        by_offset = [(offsets[fault.place] if fault.offset is None else fault.offset, fault) for fault in findings]
        by_offset.sort(key=lambda pair: pair[0])
        where = positions(source.text, (offset for offset, _ in by_offset))
        for (_, (place, message, node, _)), at in zip(by_offset, where, strict=True):
            yield Fault(message, place.pointer, node, source.name, *at)


def add_model_faults(faults: Faults, source: Source, error: ValidationError, raw: Any) -> list[Path]:
    """Note pydantic's findings as faults, in our words. Returns their paths."""
    paths = []
    for detail in error.errors(include_url=False):
        path = tuple(part for part in detail["loc"] if part not in TAGS and part != "[key]")
        node = node_id(path, raw)
        message = _explain(detail, path, faults)
        missing = detail["type"] == "missing"
        faults.add(source, f"node '{node}': {message}" if node else message, *(path[:-1] if missing else path),
                   node=node, key=detail["type"] == "extra_forbidden" or detail["loc"][-1:] == ("[key]",),
                   lacks=str(path[-1]) if missing else "")
        paths.append(path)
    return paths


def _explain(detail: ErrorDetails, path: Path, faults: Faults) -> str:
    """One finding of pydantic in our words. Nothing of pydantic's text about the input is kept."""
    last = path[-1] if path else "the document"
    name = printable(str(last), 60)
    where = f"item {name}" if isinstance(last, int) else f"'{name}'" if path else last
    content, context = short(detail["input"]), detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return f"'{name}' is missing"
        case "extra_forbidden":
            keys = _keys(detail, path)
            hint = faults.nearest(name, keys) or f"; the keys here are {listing(keys, len(keys))}"
            return f"unknown key '{name}'{hint}"
        case "string_pattern_mismatch":
            return f"{content} is not a name: expected {_KEYS}{'' if '.' not in context['pattern'] else ', or id.port'}"
        case "string_too_long":
            return f"{content} is too long: at most {context['max_length']} characters"
        case "literal_error" | "enum":
            words = context["expected"].replace(" or ", ", ")
            word = detail["input"] if isinstance(detail["input"], str) else ""
            hint = faults.nearest(word, words.replace("'", "").split(", "))
            return f"{where} is {content}; expected {words}{hint}"
        case "greater_than":
            return f"{where} is {content}; expected more than {tidy(context['gt'])}"
        case "less_than":
            return f"{where} is {content}; expected less than {tidy(context['lt'])}"
        case "string_too_short":
            return f"{where} is empty; expected text"
        case "recursion_depth_exceeded" | "recursion_loop":
            return f"{where} is nested too deep"
        case "string_type" if path[-2:-1] == ("outputs",):
            return f"{where} is {content}; expected the id of a node"
        case "string_type" if _is_operand(path):
            return f"{where} is {content}; expected the id of a node{_constant(detail['input'])}"
        case "list_type" if path[-1:] == ("inputs",):
            return f"{where} is {content}; expected a list of ids, or an object from port to id"
        case kind if kind in _EXPECTED:
            return f"{where} is {content}; expected {_EXPECTED[kind].format(**context)}"
        case _:  # our own validators say what they expect
            return f"{where} is {content}; expected {detail['msg']}"


def _is_operand(path: Path) -> bool:
    """Whether a path leads to a reference that a node is computed from."""
    return (path[-2:-1] == ("inputs",) and "nodes" in path) or (path[-1:] == ("source",) and "edges" in path)


def _constant(value: Any) -> str:
    """The remedy for a number as an operand: a node of its own."""
    if not isinstance(value, int | float | list):
        return ""
    text = json.dumps(value) if isinstance(value, int | float) else "…"
    return f'; a number stands in a node of its own, {{"id": "c", "gate": "constant", "value": {printable(text, 40)}}}'


def _keys(detail: ErrorDetails, path: Path) -> list[str]:
    """The keys that an object may have, at a finding of pydantic's."""
    tag = next((part for part in reversed(detail["loc"]) if part in TAGS), None)
    model = Edge if path[-3:-2] == ("edges",) else TAGS[str(tag)] if tag else Document
    while path[:1] == ("circuits",):
        path = path[2:]
    if len(path) > 1 and path[0] == "fit":
        model = FIT_PARTS.get(tuple(map(str, path[1:-1])), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def node_id(path: Path, raw: Any) -> str | None:
    """The id of the node that a path leads into."""
    at = max((i for i, part in enumerate(path[:-1]) if part == "nodes"), default=None)
    if at is None:
        return None
    try:
        for part in path[: at + 2]:
            raw = raw[part]
    except (LookupError, TypeError):  # of two equal keys, the path may lead into the one that was dropped
        return None
    name = raw.get("id") if isinstance(raw, dict) else None
    return printable(name, 60) if isinstance(name, str) else None


def in_words(schema: Mapping[str, Any], count: str = "a") -> str:
    """What a JSON Schema takes, in words; `count` is "a" for one and a number, or "", for several."""
    if "anyOf" in schema:
        return " or ".join(in_words(member) for member in schema["anyOf"])
    if "enum" in schema:
        return "one of " + listing(schema["enum"])
    least = f", {schema['minimum']} or more" if "minimum" in schema else ""
    least += f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    match schema.get("type"):
        case "array":
            items = in_words(schema["items"], str(schema.get("minItems", "")))
            is_bounded = "maxItems" in schema and "minItems" not in schema
            most = f", at most {schema['maxItems']} of them" if is_bounded else ""
            return f"a list of {items}{most}" if count == "a" else f"{count} lists of {items}".lstrip()
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case kind if count == "a":
            return f"{'an' if kind == 'integer' else 'a'} {kind}{least}"
        case kind:
            return f"{count} {kind}s{least}".lstrip()
