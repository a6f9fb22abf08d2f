"""The package onnx, imported when it is needed, and what it knows of operators."""

from __future__ import annotations

import functools
from typing import Any

from circuitflow.errors import MissingExtraError

DOMAINS = ("", "ai.onnx")
"""The names of ONNX's own domain."""

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}
"""Dtypes by the number that ONNX has for them."""

NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
"""ONNX's number of each dtype."""

BFLOAT16 = 16
"""The number of a dtype that NumPy does not have. Its numbers are read as float32, which has them all."""

READ_AS = {**DTYPES, BFLOAT16: "float32"}
"""The dtype in a document of each dtype of a model."""


def library() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("ONNX needs `pip install 'circuitflow[onnx]'`") from None
    return onnx


def domain_of(entry: Any) -> str:
    """The domain of a node, a function or an opset; that of ONNX is empty."""
    return "" if entry.domain in DOMAINS else text_of(entry.domain)


def text_of(text: str | bytes) -> str:
    """A text of a model; the package gives bytes where it is no UTF-8."""
    return text if isinstance(text, str) else text.decode(errors="replace")


def type_name(number: int) -> str:
    """The name of a dtype for people, also of one that circuitflow does not have."""
    if number in DTYPES:
        return DTYPES[number]
    names = {value: name.lower() for name, value in library().TensorProto.DataType.items()}
    return str(names.get(number, f"type {number}"))


@functools.cache
def schema(operator: str, opset: int) -> Any:
    """What the package knows of an operator in an opset; None where there is no such operator."""
    onnx = library()
    try:
        return onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return None


@functools.cache
def default(operator: str, opset: int, attribute: str) -> Any:
    """The default of an attribute; None where it has none, or the operator has no such attribute in this opset."""
    attributes = schema(operator, opset).attributes
    if attribute not in attributes or not attributes[attribute].default_value.type:
        return None
    value = library().helper.get_attribute_value(attributes[attribute].default_value)
    if isinstance(value, list):
        return [text.decode() if isinstance(text, bytes) else text for text in value]
    return value.decode() if isinstance(value, bytes) else value


def newest() -> int:
    """The newest opset of the package."""
    return int(library().defs.onnx_opset_version())
