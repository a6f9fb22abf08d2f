"""A value of a document to an array: numbers, nested lists, tensor files and random initialisers."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from circuitflow.document.base import MAX_DIMENSIONS, NON_FINITE
from circuitflow.document.files import ValueFaultError
from circuitflow.document.model import (
    RandomFan,
    RandomNormal,
    RandomUniform,
    TensorData,
    TensorFile,
    Value,
)
from circuitflow.document.numbers import copy_in, unfit
from circuitflow.document.tensors import Array, Tensor, TensorFiles
from circuitflow.document.writing import spell
from circuitflow.text import short


class Announcement(NamedTuple):
    """A tensor that is announced, before it is made.

    Attributes:
        shape, dtype: what it will have.
        key: where the value says so.
    """

    shape: tuple[int, ...]
    dtype: str
    key: str


def to_array(value: Value, *, dtype: str | None, default: str, folder: Path | None,
             files: TensorFiles) -> Array:
    """The read-only array that a value of a document stands for. Its size is counted already; see `announce`.

    `dtype` is what the node declares, and `default` the document's dtype, for numbers that say none of their own.

    Raises:
        ValueFaultError: with the path of the place inside the value.
    """
    own = getattr(value, "dtype", None) or dtype
    match value:
        case TensorData():
            array = _data(value, own, default)
        case TensorFile():
            array = _tensor(value, dtype, folder, files).load()
        case RandomNormal() | RandomUniform() | RandomFan():
            array = _random(value, own or default)
        case _:
            array = _numbers(value, own, default)
    array.flags.writeable = False
    return array


def announce(value: Value, *, dtype: str | None, default: str, folder: Path | None,
             files: TensorFiles) -> Announcement | None:
    """The tensor that a short form or a file stands for; None for numbers in full. Arguments are those of `to_array`.

    Raises:
        ValueFaultError: with the path of the place inside the value.
    """
    own = getattr(value, "dtype", None)
    if own and dtype and own != dtype:
        raise ValueFaultError(f"dtype {own} of the value is not dtype {dtype} of the node; remove one of the two",
                              "dtype")
    match value:
        case TensorFile():
            tensor = _tensor(value, dtype, folder, files)
            return Announcement(tensor.shape, tensor.dtype, "tensor")
        case TensorData(shape=list(shape)):
            result_dtype = own or dtype or ("bool" if isinstance(value.data, bool) else default)
            return Announcement(tuple(shape), result_dtype, "shape")
        case RandomNormal(shape=shape) | RandomUniform(shape=shape) | RandomFan(shape=shape):
            return Announcement(tuple(shape), "float64", "shape")  # in which it is drawn
    return None


def _data(value: TensorData, dtype: str | None, default: str) -> Array:
    try:
        array = _numbers(value.data, dtype, default)
    except ValueFaultError as fault:
        raise ValueFaultError(str(fault), "data", *fault.path) from None
    if value.shape is None or tuple(value.shape) == array.shape:
        return array
    shape = tuple(value.shape)
    if array.ndim == 0:
        return np.full(shape, array)
    if array.ndim == 1 and array.size == math.prod(shape):
        return array.reshape(shape)
    raise ValueFaultError(f"shape {shape} has {math.prod(shape)} elements, the data has shape {array.shape}; expected "
                          "equal shapes, a flat list of as many numbers, or one number that fills the shape", "shape")


def _tensor(value: TensorFile, dtype: str | None, folder: Path | None, files: TensorFiles) -> Tensor:
    tensor = files.tensor(folder, value)
    if value.shape is not None and tuple(value.shape) != tensor.shape:
        raise ValueFaultError(f"shape {tuple(value.shape)} is declared, the file has {tensor.shape}", "shape")
    if (own := value.dtype or dtype) and own != tensor.dtype:
        raise ValueFaultError(f"dtype {own} is declared, the file has {tensor.dtype}", "tensor")
    return tensor


def _random(value: RandomNormal | RandomUniform | RandomFan, dtype: str) -> Array:
    """Draws of the legacy generator, whose stream NumPy keeps for good (NEP 19): a document means the same for ever."""
    shape = tuple(value.shape)
    if dtype not in ("float64", "float32"):
        raise ValueFaultError(f"random values are float64 or float32, not {dtype}", "random")
    draw = np.random.RandomState(value.seed)
    match value:
        case RandomNormal():
            array = value.mean + value.std * draw.standard_normal(shape)
        case RandomUniform():
            array = value.low + (value.high - value.low) * draw.random_sample(shape)
        case _:
            if len(shape) < 2:
                raise ValueFaultError(f"{value.random} needs a weight of shape (…, in, out), not {shape}", "shape")
            field = math.prod(shape[:-2])
            fan_in, fan_out = field * shape[-2], field * shape[-1]
            variance = 2 / max(1, fan_in + fan_out if value.random.startswith("glorot") else fan_in)
            scale = math.sqrt(variance)
            array = (scale * draw.standard_normal(shape) if value.random.endswith("normal")
                     else scale * math.sqrt(3) * (2 * draw.random_sample(shape) - 1))
    return np.asarray(array, dtype)


def _numbers(value: Any, dtype: str | None, default: str) -> Array:
    """A number or nested lists of numbers, every one of them kept exactly or refused."""
    shape, leaves = _flatten(value)
    kinds = set(map(type, leaves))
    if str in kinds:
        leaves = [_non_finite(leaf, _path(i, shape)) if isinstance(leaf, str) else leaf
                  for i, leaf in enumerate(leaves)]
    if dtype is None:
        dtype = "bool" if kinds == {bool} else default
    for i, leaf in enumerate(leaves if kinds != {float} or dtype != "float64" else ()):
        if message := unfit(leaf, dtype):
            raise ValueFaultError(message, *_path(i, shape))
    return np.array(leaves, dtype).reshape(shape)


def _flatten(value: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and elements of nested lists in row-major order; no recursion, so that depth is no danger."""
    shape: list[int] = []
    level, kinds = [value], {type(value)}
    while any(issubclass(kind, list) for kind in kinds):
        if len(shape) == MAX_DIMENSIONS:
            raise ValueFaultError(f"lists are nested more than {MAX_DIMENSIONS} deep")
        length = len(level[0]) if isinstance(level[0], list) else None
        is_even = len(kinds) == 1 and len(set(map(len, level))) == 1
        for i, item in enumerate(() if is_even else level):
            if (len(item) if isinstance(item, list) else None) != length:
                first = f"a list of {length}" if length is not None else "a number"
                raise ValueFaultError(f"{short(item)} stands beside {first}; expected lists of equal length",
                                      *_path(i, tuple(shape)))
        shape.append(length or 0)
        level = list(chain.from_iterable(level))
        kinds = set(map(type, level))
    return tuple(shape), level


def _path(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major index to the position in every dimension."""
    path = []
    for size in reversed(shape):
        index, here = divmod(index, size)
        path.append(here)
    return tuple(reversed(path))


def _non_finite(leaf: str, path: tuple[int, ...]) -> float:
    if leaf in NON_FINITE:
        return NON_FINITE[leaf]
    raise ValueFaultError(f"{short(leaf)} is text; expected a number without quotes, or \"NaN\", \"Infinity\" or "
                          "\"-Infinity\"", *path)


def from_array(value: Any) -> Any:
    """An array as a document has it: nested lists, with non-finite numbers as text."""
    array = value if isinstance(value, np.ndarray) else copy_in(value, "a value")
    if array.size == 0 and array.ndim > 1:  # lists alone cannot say the shape
        return {"data": [], "shape": list(array.shape), "dtype": str(array.dtype)}
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return spell(array.tolist())
    return array.tolist()
