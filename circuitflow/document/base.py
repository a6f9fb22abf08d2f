"""What all parts of a document share: ids, references, sizes, digests, versions, and the base of the models."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

READABLE = ("1.0", "1.1")
"""Versions of the format that this reader takes, in order: its own major version, with minor versions up to its own."""

DType = Literal[
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"
]
"""The dtypes of the Python array API standard, less the complex ones, and float16 for storage."""

DTYPES: tuple[str, ...] = get_args(DType)
NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
MAX_DIMENSIONS = 64
MAX_DEPTH = 100

ID = "^[A-Za-z_][A-Za-z0-9_]*$"
Id = Annotated[str, StringConstraints(pattern=ID, max_length=128)]
Reference = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$", max_length=1024)
]
PORT = r"^([A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]{0,8})$"
PortName = Annotated[str, StringConstraints(pattern=PORT, max_length=128)]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) <= 128


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _size_or_name(value: Any) -> Any:
    if _is_size(value) or _is_id(value):
        return value
    raise PydanticCustomError("size_or_name", "an integer, 0 or more, or a name")


_SIZE_OR_NAME = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": ID, "maxLength": 128}]}
SizeOrName = Annotated[Any, AfterValidator(_size_or_name), WithJsonSchema(_SIZE_OR_NAME)]
"""A dimension, or a port: both are an integer, 0 or more, or a name."""

Shape = Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MAX_DIMENSIONS)]
NamedShape = Annotated[list[SizeOrName], Field(max_length=MAX_DIMENSIONS)]


def json_value(value: Any) -> Any:
    """Refuse what JSON cannot say, and nesting too deep to be written out again."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH):
        values = [v for c in level for v in (c.values() if isinstance(c, dict) else c)]
        if not all(v is None or isinstance(v, str | int | float | list | dict) for v in values):
            raise PydanticCustomError("not_json", "JSON values only: text, numbers, booleans, null, lists and objects")
        level = [v for v in values if isinstance(v, list | dict)]
        if not level:
            return value
    raise PydanticCustomError("too_deep", "nested at most {depth} levels deep", {"depth": MAX_DEPTH})


Metadata = Annotated[dict[str, Any], AfterValidator(json_value)]


class Model(BaseModel):
    """Strict, closed and immutable: the base of every part of a document."""

    # Only what is used is built: a validator of every part on its own would double the time of the import.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True,
                              defer_build=True)


def _version(value: str) -> str:
    if value not in READABLE:
        raise PydanticCustomError("version", "\"{format}\", the formats that this circuitflow reads",
                                  {"format": '" or "'.join(READABLE)})
    return value


Version = Annotated[str, AfterValidator(_version), WithJsonSchema({"enum": list(READABLE)})]


def _digest(value: str) -> str:
    if re.fullmatch("[0-9a-fA-F]{64}", value):
        return value
    raise PydanticCustomError("digest", "a SHA-256 digest, 64 hexadecimal digits")


Sha256 = Annotated[str, AfterValidator(_digest), Field(
    description="SHA-256 digest of the file: any other contents are refused", json_schema_extra={
        "pattern": "^[0-9a-fA-F]{64}$"})]
