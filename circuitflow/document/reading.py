"""Reads bytes into a validated document. It notes every fault and reads on as far as that makes sense."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from circuitflow.document import positions
from circuitflow.document.base import PORT, READABLE
from circuitflow.document.faults import Faults, Source, add_model_faults, node_id
from circuitflow.document.limits import DEFAULT, Limits
from circuitflow.document.model import Document, Value
from circuitflow.document.writing import dumps_value
from circuitflow.text import printable

_PIECE = 2**20
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONE = re.compile("[\ud800-\udfff]")
_LONE_SURROGATE = "text with a lone surrogate; write the whole pair or the character itself"
_NOTHING = object()  # None is the JSON value null
T = TypeVar("T")


@dataclass(frozen=True)
class Parsed:
    """A document as far as it could be read.

    Attributes:
        document: the validated document; what was at fault is replaced by a stand-in.
        source: the text that it came from.
        broken: paths of the stand-ins, on which no more faults are reported.
    """

    document: Document
    source: Source
    broken: frozenset[positions.Path] = frozenset()


def read(path: str | os.PathLike[str], faults: Faults, limits: Limits = DEFAULT) -> Source:
    """The text of a file, or of standard input for "-". A failure to read is noted as a fault."""
    name = os.fspath(path)
    if name == "-":
        return decode("<stdin>", up_to(limits.document_bytes + 1, sys.stdin.buffer), Path(), faults, limits)
    source = Source(name, limits=limits)
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        with open(os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode):
                return decode(name, up_to(limits.document_bytes + 1, file), Path(name).parent, faults, limits)
            faults.add(source, "is not a regular file; expected a circuit document")
    except FileNotFoundError:
        faults.add(source, "no such file")
    except IsADirectoryError:
        faults.add(source, "is a folder; expected a circuit document")
    except (OSError, ValueError) as error:
        faults.add(source, f"cannot be read: {error.strerror if isinstance(error, OSError) else 'not a file name'}")
    return source


def up_to(most: int, file: BinaryIO) -> bytes:
    """The first bytes of a file, read in pieces: a single read would allocate the most there may be."""
    pieces, rest = [], most
    while rest and (piece := file.read(min(rest, _PIECE))):
        pieces.append(piece)
        rest -= len(piece)
    return b"".join(pieces)


def decode(name: str, data: bytes, folder: Path | None, faults: Faults, limits: Limits) -> Source:
    """The text of a document. Bytes that are no text, or too many, are noted as a fault."""
    source = Source(name, None, folder, limits)
    if len(data) > limits.document_bytes:
        faults.add(source, f"is larger than {limits.document_bytes} bytes, the largest document that is read (limit "
                           "document_bytes)")
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be" if data[0] == 0 else "utf-16-le"
        faults.add(Source(name, data.decode(encoding, errors="replace")),
                   "is UTF-16 or UTF-32 text, or not text at all; save it as UTF-8", offset=0)
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            text = data.decode("utf-8", errors="replace")
            more = text.count("\ufffd") - data.count("\ufffd".encode()) - 1
            faults.add(Source(name, text), f"is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}"
                       f"{f', and {more} more' if more else ''}; save it as UTF-8",
                       offset=len(data[: error.start].decode("utf-8")))
            return source
        if not text.startswith("\ufeff"):
            return Source(name, text, folder, limits)
        faults.add(Source(name, text[1:]), "begins with a byte order mark; save it as UTF-8 without one", offset=0)
    return source


def parse(source: Source, faults: Faults) -> Parsed | None:
    """The validated document in a text, or None where the text is too broken to go on."""
    if source.text is None:
        return None
    raw = parse_json(source, source.text, faults)
    if raw is _NOTHING:
        return None
    try:
        return Parsed(Document.model_validate(raw), source)
    except ValidationError as error:
        wrong_version = [e for e in error.errors() if e["loc"] == ("circuitflow",) and e["type"] == "version"]
        if wrong_version:
            version = printable(raw["circuitflow"], 20)
            faults.add(source, f"'circuitflow' is \"{version}\"; expected {wrong_version[0]['msg']}", "circuitflow")
            return None
        paths = add_model_faults(faults, source, error, raw)
    stand_ins: set[positions.Path] = set()
    for path in paths if isinstance(raw, dict) else ():
        if not any(path[:length] in stand_ins for length in range(len(path))):  # else what held it is replaced already
            stand_ins.add(_mend(raw, path))
    if any(path[-1] == "nodes" for path in stand_ins):
        return None
    try:
        return Parsed(Document.model_validate(raw), source, frozenset(stand_ins))
    except ValidationError:
        return None


def validate(raw: dict[str, Any]) -> Document:
    """The document that a program made, as JSON has it.

    Raises:
        DocumentError: with every fault that was found.
    """
    try:
        return Document.model_validate(raw)
    except ValidationError as error:
        faults = Faults()
        add_model_faults(faults, Source(), error, raw)
        faults.fail()


def parse_as(adapter: TypeAdapter[T], source: Source, faults: Faults) -> T | None:
    """A text as one of the document's own types, or None after a fault: for values given beside a document."""
    raw = parse_json(source, source.text, faults) if source.text is not None else _NOTHING
    if raw is _NOTHING:
        return None
    try:
        return adapter.validate_python(raw, strict=True)
    except ValidationError as error:
        add_model_faults(faults, source, error, raw)
        return None


def parse_value(value: Any, beside: Source, name: str) -> Any:
    """The value of a node, a model or JSON, by the types of the document that it is to stand in.

    Raises:
        InputError: JSON cannot say it.
        DocumentError: it is no value.
    """
    raw = value.model_dump(mode="python", exclude_unset=True) if isinstance(value, BaseModel) else value
    faults = Faults()
    source = Source(f"value of '{printable(name, 60)}'", dumps_value(raw), beside.folder, beside.limits)
    content: Any = parse_as(TypeAdapter(Value), source, faults)
    faults.raise_if_any()
    return content


NAMELESS = "_"
"""Id of the stand-in for a node whose own id is at fault."""

_NOWHERE = f"{NAMELESS}.{NAMELESS}"
"""The stand-in for a reference; no id looks like it."""

_STAND_INS: dict[str, Any] = {"circuitflow": READABLE[-1], "nodes": [], "outputs": [NAMELESS], "edges": []}


def _mend(body: dict[str, Any], path: positions.Path) -> positions.Path:
    """Put a stand-in where a fault was found, so that the rest can be checked; returns the stand-in's path."""
    match path:
        case ("circuits", str(name), *rest):
            inner = body["circuits"][name]
            if rest and isinstance(inner, dict) and "file" not in inner:
                return ("circuits", name, *_mend(inner, tuple(rest)))
            body["circuits"][name] = {"nodes": [], "outputs": [NAMELESS]}
            return path[:2]
        case ("nodes", int(i), "inputs", place) if _is_member(body["nodes"][i]["inputs"], place):
            body["nodes"][i]["inputs"][place] = _NOWHERE
            return path
        case ("outputs", int(i)):
            body["outputs"][i] = _NOWHERE
            return path
        case ("nodes", int(i), *rest):
            node = body["nodes"][i]
            has_id = isinstance(node, dict) and "id" in node and rest[:1] != ["id"]
            body["nodes"][i] = {"id": node["id"] if has_id else NAMELESS, "gate": "input"}
            return path[:2]
        case ("edges", int(i), *_):
            body["edges"][i] = {"source": NAMELESS, "target": NAMELESS}
            return path[:2]
        case ("fit", str(key), *_) if isinstance(body["fit"], dict):
            body["fit"].pop(key, None)
            return path[:2]
        case _:
            key = str(path[0])
            body.pop(key, None)
            if key in _STAND_INS:
                body[key] = _STAND_INS[key]
            return path[:1]


def _is_member(values: Any, place: str | int) -> bool:
    """Whether it is a member that is at fault, and not its key."""
    return isinstance(values, list) or (isinstance(values, dict) and re.fullmatch(PORT, str(place)) is not None)


# JSON -----------------------------------------------------------------------------------------------------------------

def parse_json(source: Source, text: str, faults: Faults) -> Any:
    """The JSON value of a text, or _NOTHING. What Python's parser accepts and JSON forbids is noted as a fault."""
    limits, longest = source.limits, source.limits.digits
    surrogates = _SURROGATE.search(text) is not None
    suspicious = surrogates or _has_long_text(text, limits.text)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal suspicious
        members = dict(pairs)
        if surrogates:  # a key that is no text would be nowhere in the document
            members = {key.encode(errors="replace").decode(): value for key, value in members.items()}
        suspicious |= len(members) != len(pairs)
        return members

    def forbid(_: str) -> int:
        nonlocal suspicious
        suspicious = True
        return 0

    def number(digits: str) -> float:
        value = float(digits)
        if value and -math.inf < value < math.inf and len(digits) <= longest:  # nearly all: each call counts
            return value
        return forbid(digits) if is_lost(digits, value) or len(digits) > longest else value

    def integer(digits: str) -> int | float:
        if digits == "-0":  # an integer has no such zero
            return -0.0
        return forbid(digits) if len(digits) > longest else int(digits)

    if not text.isascii() and (lone := _LONE.search(text)):  # which a file cannot have, but a string of a program can
        faults.add(source, _LONE_SURROGATE, offset=lone.start())
        return _NOTHING
    try:
        raw = json.loads(text, object_pairs_hook=unique, parse_constant=forbid, parse_float=number,
                         parse_int=integer)
    except json.JSONDecodeError as error:
        offset, message = _syntax(text, error)
        faults.add(source, message, offset=offset)
        return _NOTHING
    except RecursionError:
        faults.add(source, "is nested too deep to be read")
        return _NOTHING
    if suspicious:
        for token, message in _violations(text, limits):
            node = node_id(token.path, raw)
            faults.add(source, f"node '{node}': {message}" if node else message, *token.path, node=node,
                       offset=token.offset)
    return raw


def is_lost(digits: str, value: float) -> bool:
    """Whether a number that is neither infinite nor 0 is that as a float."""
    return math.isinf(value) or (not value and any("1" <= digit <= "9" for digit in re.split("[eE]", digits)[0]))


def _has_long_text(text: str, limit: int) -> bool:
    """Whether a text may have more characters than the limit: so many stand without a quote that ends one."""
    start = 0
    while start + limit < len(text):
        end = text.rfind('"', start + 1, start + limit + 1)
        while end > start and text[end - 1] == "\\":  # it may be escaped
            end = text.rfind('"', start + 1, end)
        if end <= start:
            if re.compile(r"[-+.\d\s,:eE\[\]{}]*").fullmatch(text, start + 1, start + limit + 1) is None:
                return True
            end = start + limit  # numbers, unless it is the inside of a text
            if text.count('"', 0, start + 1) % 2 or "\\" in text:
                return True
        start = end
    return False


def _violations(text: str, limits: Limits) -> Iterator[tuple[positions.Token, str]]:
    """Repeated keys, lone surrogates, texts that are too long, and numbers that are too long, infinite or lost."""
    for token in positions.tokens(text):
        word = token.text
        digits = word.lstrip("-")
        if token.is_repeat:
            yield token, f"key {printable(word, 60)} stands twice in one object; remove one of the two"
        elif digits in ("NaN", "Infinity"):
            yield token, f'{word} is not JSON; write "{word}" in quotes'
        elif word[0] == '"':
            if len(word) - 2 > limits.text:
                yield token, f"a text of {len(word) - 2} characters; at most {limits.text} are read (limit text)"
            elif _SURROGATE.search(word) and _LONE.search(json.loads(word, strict=False)):
                yield token, _LONE_SURROGATE
        elif digits[0].isdecimal() and len(word) > limits.digits:
            yield token, f"a number of {len(digits)} digits; at most {limits.digits} are read (limit digits)"
        elif digits[0].isdecimal() and not digits.isdecimal() and math.isinf(float(word)):
            yield token, f'{printable(word, 40)} is too large for a float64; write "Infinity" if you mean it'
        elif digits[0].isdecimal() and not digits.isdecimal() and is_lost(digits, float(word)):
            yield token, f"{printable(word, 40)} is too small for a float64, which makes it 0; write 0 if you mean it"


def _syntax(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """Place and remedy of a syntax error. The parser's own words differ between versions of Python."""
    offset = error.pos
    if error.msg.startswith("Illegal trailing comma"):
        offset += len(text[offset + 1 :]) - len(text[offset + 1 :].lstrip()) + 1
    before, character = text[:offset].rstrip(), text[offset : offset + 1]
    label = f"'{printable(character)}'"
    if before.endswith(",") and character in ("]", "}"):
        return len(before) - 1, f"a comma too many before {label}; remove it"
    if not text.strip():
        return 0, "the document is empty; expected a JSON object"
    if error.msg.startswith("Unterminated string"):
        return offset, "text without its closing quote"
    if error.msg.startswith("Invalid control character"):
        return offset, "a control character inside text; write it as an escape such as \\n"
    if error.msg.startswith("Invalid \\"):
        return offset, "not an escape that JSON has; write \\\\ for a backslash"
    if not character:
        return offset, "the text ends in the middle of the document; a bracket is not closed"
    if error.msg.startswith("Extra data"):
        return offset, f"{label} after the end of the document; remove what follows it"
    if character in "/#":
        return offset, "JSON has no comments; use a \"description\""
    if character == "'":
        return offset, "text stands in double quotes in JSON"
    meanings = {"Expecting ',' delimiter": "a comma is missing before",
                "Expecting ':' delimiter": "a colon is missing before",
                "Expecting property name": "a key in double quotes is expected in place of"}
    for beginning, meaning in meanings.items():
        if error.msg.startswith(beginning):
            return offset, f"{meaning} {label}"
    return offset, f"a value is expected in place of {label}"
