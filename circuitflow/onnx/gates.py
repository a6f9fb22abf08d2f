"""Gates as nodes of ONNX: by what their row says, or by a function here; others go by the lines of their rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.gates import GATES, ArrayType, Gate
from circuitflow.gates.convolution import Frame, transposed_frame
from circuitflow.gates.record import Onnx
from circuitflow.gates.shapes import Dimension
from circuitflow.gates.sums import PART
from circuitflow.onnx.library import NUMBERS, schema
from circuitflow.onnx.lowering import Lowering
from circuitflow.onnx.mapped import attributes_of, to_onnx

_BINARY = ("Add", "Mul")
"""Operators of two operands, of gates of any number."""


class Application:
    """One application of a gate: the names and types of its operands, and what is written for it.

    Attributes:
        low: writes lines, into a graph.
        names: of the operands.
        types: of the operands.
        results: types of the outputs.
        attributes: the gate's.
    """

    def __init__(self, low: Lowering, names: Sequence[str], types: Sequence[ArrayType],
                 results: Sequence[ArrayType], attributes: Mapping[str, Any]) -> None:
        self.low, self.w = low, low.writer
        self.names, self.types, self.results, self.attributes = names, types, results, attributes

    def cast(self, position: int, dtype: str) -> str:
        """An operand in a dtype."""
        name = self.names[position]
        return name if self.types[position].dtype == dtype else self.w.cast(name, dtype)

    def positions(self, position: int) -> str:
        """Indices in int64."""
        return self.cast(position, "int64")

    def vector(self, values: Sequence[int]) -> str:
        """Integers as a tensor."""
        return self.w.constant(np.asarray(values, np.int64).reshape(-1))


def write_gate(name: str, row: Gate, application: Application) -> list[str] | None:
    """The names of the outputs of a gate that is written as a whole; None where its rule is to be written instead."""
    built_in = GATES.get(name)
    if built_in is None or row.facets is not built_in.facets:
        return None
    writer = _WRITERS.get(name)
    out = writer(application) if writer is not None else None
    if out is not None:
        return [out] if isinstance(out, str) else out
    onnx = row.facets.note.onnx
    return [_mapped(row, onnx, application)] if isinstance(onnx, Onnx) and _means(row, onnx, application) else None


def _means(row: Gate, onnx: Onnx, a: Application) -> bool:
    """Whether the operator computes what the gate does for these operands, and ONNX Runtime has it."""
    description = schema(onnx.operator, a.w.opset)
    if not onnx.written or description is None or description.since_version < onnx.since or len(a.results) > 1:
        return False
    dtypes = [type_.dtype for type_ in a.types if row.broadcasts or type_.is_float]
    plain = {dtype for dtype in dtypes if dtype != "bool"}
    if len(plain) > 1 or any(dtype in plain and kind not in onnx.written
                             for dtype, kind in (("float32", "f"), ("float16", "f"), ("float64", "d"))):
        return False
    # The operator would compute with the nearest float32 of an attribute.
    if "float64" in plain and any(isinstance(value, float) and float(np.float32(value)) != value
                                  for value in a.attributes.values()):
        return False
    return any(np.dtype(type_.dtype).kind in onnx.dtypes for type_ in a.types)


def _mapped(row: Gate, onnx: Onnx, a: Application) -> str:
    attributes: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    names = [a.positions(i) if "int" in type_.dtype and i and not row.broadcasts
             else a.names[i] for i, type_ in enumerate(a.types)]
    for attribute in attributes_of(onnx.attributes):
        value = a.attributes[attribute.own]
        if value is None:
            continue
        value = to_onnx(attribute, value)
        if attribute.position is None:
            attributes[attribute.operator] = value
        else:
            is_scalar = attribute.operator in ("axis", "k")
            inputs[attribute.position] = a.w.constant(value if is_scalar else np.reshape(value, -1), np.int64)
    operands = list(names)
    for position, name in sorted(inputs.items()):
        operands.insert(position, name)
    if onnx.operator in _BINARY:
        out = operands[0]
        for other in operands[1:]:
            out = a.w.add(onnx.operator, out, other)
        return out
    result: str = a.w.add(onnx.operator, *operands, **attributes)
    return result


# Gates with a way of their own ----------------------------------------------------------------------------------------

def _reshape(a: Application) -> str:
    return a.w.reshape(a.names[0], a.results[0].shape)


def _expand(a: Application) -> str:
    result: str = a.w.add("Expand", a.names[0], a.w.shape(a.results[0].shape))
    return result


def _fill(value: float) -> Callable[[Application], str]:
    def writer(a: Application) -> str:
        type_ = a.results[0]
        number = a.w.constant(value, type_.dtype)
        return str(a.w.add("Expand", number, a.w.shape(type_.shape))) if type_.shape else str(
            a.w.add("Identity", number))

    return writer


def _cast(a: Application) -> str:
    result: str = a.w.add("Cast", a.names[0], to=NUMBERS[a.results[0].dtype])
    return result


def _softmax(a: Application) -> str:
    """An infinity stands for the largest finite number, so that equal ones share."""
    end = np.finfo(a.types[0].dtype).max
    low, high = (a.w.constant(x, a.types[0].dtype) for x in (-end, end))
    result: str = a.w.add("Softmax", a.w.add("Clip", a.names[0], low, high), axis=a.attributes["axis"])
    return result


def _slice(a: Application) -> str:
    stop = a.attributes["stop"]
    lists = ([a.attributes["start"]], [2**62 if stop is None else stop], [a.attributes["axis"]], [a.attributes["step"]])
    result: str = a.w.add("Slice", a.names[0], *map(a.vector, lists))
    return result


def _slice_scatter(a: Application) -> str | None:
    """The parts of x before and behind, around the updates; positions that are apart go by the lines of the rule."""
    start, stop, axis, dtype = *(a.attributes[name] for name in ("start", "stop", "axis")), a.results[0].dtype
    if a.attributes["step"] != 1:
        return None
    x, ends = a.cast(0, dtype), [(0, start), (2**62 if stop is None else stop, 2**62)]
    before, behind = (a.w.add("Slice", x, *map(a.vector, ([first], [last], [axis]))) for first, last in ends)
    result: str = a.w.add("Concat", before, a.cast(1, dtype), behind, axis=axis)
    return result


def _transpose(a: Application) -> str:
    rank = len(a.types[0].shape)
    axes = a.attributes["axes"]
    order = list(range(rank))[::-1] if axes is None else [axis % rank for axis in axes]
    result: str = a.w.add("Transpose", a.names[0], perm=order) if rank else a.w.add("Identity", a.names[0])
    return result


def _pad(a: Application) -> str:
    widths = a.attributes["pad_width"]
    if not widths:
        return str(a.w.add("Identity", a.names[0]))
    pads = a.vector([before for before, _ in widths] + [after for _, after in widths])
    result: str = a.w.add("Pad", a.names[0], pads, a.w.constant(0, a.types[0].dtype))
    return result


def _top_k(a: Application) -> list[str]:
    k = a.w.constant([a.attributes["k"]], np.int64)
    values, indices = a.w.add("TopK", a.names[0], k, outputs=2, axis=a.attributes["axis"],
                              largest=int(a.attributes["largest"]))
    return [values, indices]


def _widened(a: Application, terms: Any, write: Callable[[list[str]], str]) -> str:
    """A sum of updates, of many float32 in float64; `write` takes the names of x and the updates."""
    dtype = a.results[0].dtype
    wide = "float64" if dtype == "float32" and not (isinstance(terms, int) and terms <= PART) else dtype
    out = write([a.cast(0, wide), a.cast(2, wide)])
    return out if wide == dtype else a.w.cast(out, dtype)


def _scatter_add(a: Application) -> str:
    """By positions along the first axis."""
    axis, rank = a.attributes["axis"] % len(a.types[0].shape), len(a.types[0].shape)
    depth = len(a.types[1].shape)
    front = [axis, *range(axis), *range(axis + 1, rank)]
    updates = [*range(axis, axis + depth), *range(axis), *range(axis + depth, rank - 1 + depth)]
    indices = a.w.add("Unsqueeze", a.positions(1), a.vector([-1]))

    def write(names: list[str]) -> str:
        x, u = names
        if axis:
            x, u = a.w.add("Transpose", x, perm=front), a.w.add("Transpose", u, perm=updates)
        out = a.w.add("ScatterND", x, indices, u, reduction="add")
        back = sorted(range(rank), key=front.__getitem__)
        return str(a.w.add("Transpose", out, perm=back) if axis else out)

    return _widened(a, math.prod(a.types[1].shape), write)


def _scatter(operator: str) -> Callable[[Application], str]:
    def writer(a: Application) -> str:
        indices, reduction = a.positions(1), a.attributes["reduction"]
        settings = {"axis": a.attributes["axis"]} if "axis" in a.attributes else {}
        terms = 1 if reduction == "none" else math.prod(a.types[1].shape)
        return _widened(a, terms, lambda names: str(a.w.add(operator, names[0], indices, names[1],
                                                            reduction=reduction, **settings)))

    return writer


def _places(frame: Frame) -> Any:
    """For every element of the window and every window, its position over the padded axes in one row."""
    spans = [before + size + after for size, (before, after) in zip(frame.sizes, frame.pads, strict=True)]
    grid = np.arange(math.prod(spans)).reshape(spans)
    return np.stack([grid[place].reshape(-1) for place in frame.places()])


def window_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a window among others."""
    return {name: attributes[name] for name in ("kernel_shape", "strides", "pads", "dilations")}


def _unfold(a: Application) -> str:
    """Elements taken by position."""
    frame = Frame(a.types[0].shape[2:], **window_of(a.attributes))
    x, dtype = a.names[0], a.types[0].dtype
    fill = 0.0 if a.attributes["fill"] == "zero" else -math.inf
    if any(map(any, frame.pads)):
        pads = [0, 0, *(before for before, _ in frame.pads), 0, 0, *(after for _, after in frame.pads)]
        x = a.w.add("Pad", x, a.vector(pads), a.w.constant(fill, dtype))
    places = _places(frame)
    flat = a.w.reshape(x, [*a.types[0].shape[:2], math.prod(
        before + size + after for size, (before, after) in zip(frame.sizes, frame.pads, strict=True))])
    return a.w.reshape(a.w.add("Gather", flat, a.w.constant(places), axis=2), a.results[0].shape)


def _fold(a: Application) -> str:
    frame = Frame(a.types[1].shape[2:], **window_of(a.attributes))
    return _add_up(a, a.names[0], a.types[0].shape[:2], frame)


def _conv_transpose(a: Application) -> str | None:
    """In float64 the products of kernels and positions, added up where their windows stand."""
    if a.results[0].dtype != "float64":
        return None
    steps = {name: a.attributes[name] for name in ("strides", "pads", "dilations", "output_padding")}
    group, kernel = a.attributes["group"], a.types[1].shape
    sizes = a.types[0].shape
    frame = transposed_frame(sizes[2:], [size for size in kernel[2:] if isinstance(size, int)], **steps)
    places, window = math.prod(frame.windows), math.prod(frame.kernel)
    inner, channels = sizes[1], kernel[1] * group
    kernels = a.w.reshape(a.cast(1, "float64"), [group, inner // group, kernel[1] * window])
    parts = a.w.reshape(a.cast(0, "float64"), [sizes[0], group, inner // group, places])
    columns = a.w.add("MatMul", a.w.add("Transpose", kernels, perm=[0, 2, 1]), parts)
    out = _add_up(a, columns, (sizes[0], channels), frame)
    if len(a.names) > 2:
        out = a.w.add("Add", out, a.w.reshape(a.cast(2, "float64"), [channels, *[1] * len(frame.sizes)]))
    return out


def _add_up(a: Application, windows: str, ends: Sequence[Dimension], frame: Frame) -> str:
    """Elements of windows added by position."""
    batch, channels = ends
    spans = [before + size + after for size, (before, after) in zip(frame.sizes, frame.pads, strict=True)]
    places, dtype = _places(frame), a.results[0].dtype
    wide = "float64" if dtype == "float32" and len(places) > PART else dtype
    windows = windows if wide == dtype else a.w.cast(windows, wide)
    parts = a.w.reshape(windows, [batch, channels, places.size])
    parts = a.w.add("Transpose", parts, perm=[2, 0, 1])
    zeros = a.w.add("Expand", a.w.constant(0.0, wide), a.w.shape([math.prod(spans), batch, channels]))
    out = a.w.add("ScatterND", zeros, a.w.constant(places.reshape(-1, 1)), parts, reduction="add")
    out = a.w.reshape(a.w.add("Transpose", out, perm=[1, 2, 0]), [batch, channels, *spans])
    if any(map(any, frame.pads)):
        axes = list(range(2, 2 + len(spans)))
        starts = [before for before, _ in frame.pads]
        last = [start + size for start, size in zip(starts, frame.sizes, strict=True)]
        out = a.w.add("Slice", out, a.vector(starts), a.vector(last), a.vector(axes))
    return out if wide == dtype else a.w.cast(out, dtype)


_WRITERS: Mapping[str, Callable[[Application], Any]] = {
    "reshape": _reshape, "reshape_like": _reshape, "expand": _expand, "expand_like": _expand,
    "zeros_like": _fill(0.0), "ones_like": _fill(1.0), "cast": _cast, "cast_like": _cast, "softmax": _softmax,
    "stop_gradient": lambda a: str(a.w.add("Identity", a.names[0])),
    "slice": _slice, "slice_scatter": _slice_scatter,
    "transpose": _transpose, "conv_transpose": _conv_transpose, "pad": _pad, "top_k": _top_k,
    "scatter_add": _scatter_add,
    "scatter_elements": _scatter("ScatterElements"), "scatter_nd": _scatter("ScatterND"),
    "unfold": _unfold, "fold": _fold,
    "where": lambda a: a.w.where(a.names[0], a.names[1], a.names[2], a.results[0].dtype),
}
