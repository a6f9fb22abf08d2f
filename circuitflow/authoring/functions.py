"""NumPy's functions, and SciPy's special functions, as the gates that they are.

`UFUNCS` and `FUNCTIONS` say what each writes: the first by the name of the ufunc, the second by the function. Every
entry takes the writer, then what the caller gave, in NumPy's order and with NumPy's keywords.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from circuitflow.authoring.grammar import OPERATORS
from circuitflow.gates import NOTES
from circuitflow.gates.names import RECIPES

Entry = Callable[..., Any]


def _gate(name: str) -> Entry:
    if name == "identity":
        return lambda w, x: x
    return lambda w, *operands: w.emit(name, *operands)


def _recipe(text: str) -> Entry:
    """The gates of an expression of x and y."""
    tree = ast.parse(text, mode="eval").body

    def write(w: Any, *operands: Any) -> Any:
        names = dict(zip("xy", operands, strict=False))

        def written(node: ast.AST) -> Any:
            match node:
                case ast.Constant(value=value):
                    return value
                case ast.Name(id=name):
                    return names[name]
                case ast.Call(func=ast.Name(id=gate), args=args, keywords=keywords):
                    return w.emit(gate, *map(written, args), **{str(k.arg): written(k.value) for k in keywords})
                case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                    return -number
                case ast.UnaryOp(op=op, operand=operand):
                    return w.emit(OPERATORS[type(op)], written(operand))
                case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                    return w.emit(OPERATORS[type(op)], written(left), written(right))
            raise AssertionError(text)

        return written(tree)

    return write


def _by_names() -> tuple[dict[str, Entry], dict[Any, Entry]]:
    """The ufuncs, by name, and the functions that are gates or exact recipes by the table of names."""
    entries = {name: _recipe(recipe) for name, recipe in RECIPES.items()}
    for gate, note in NOTES.items():
        for name in (*note.numpy.split(", "), *note.also.split()):
            if gate not in ("mul_no_nan", "mul_div_no_nan", "huber"):
                entries.setdefault(name.removeprefix("scipy.special."), _gate(gate))
    ufuncs: dict[str, Entry] = {}
    functions: dict[Any, Entry] = {}
    for name, entry in entries.items():
        for module in (np, import_module("scipy.special")):
            function = getattr(module, name, None)
            if isinstance(function, np.ufunc) and function.nout == 1:
                ufuncs.setdefault(function.__name__, entry)
            elif name in RECIPES and callable(function):
                functions.setdefault(function, entry)
    return ufuncs, functions


UFUNCS, _FUNCTIONS = _by_names()


def _reduction(name: str) -> Entry:
    return lambda w, a, axis=None, *, keepdims=False: w.emit(name, a, axis=axis, keepdims=keepdims)


def _spread(name: str) -> Entry:
    return lambda w, a, axis=None, *, ddof=0, keepdims=False: w.emit(name, a, axis=axis, ddof=ddof, keepdims=keepdims)


def _running(name: str) -> Entry:
    def write(w: Any, a: Any, axis: int | None = None) -> Any:
        flat = w.emit("reshape", a, shape=[-1]) if axis is None and a.ndim != 1 else a
        return w.emit(name, flat, axis=axis or 0)

    return write


def _norm(w: Any, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    if ord not in (None, 1, 2, "fro") or (ord in (1, 2) and axis is None and x.ndim != 1):
        raise TypeError(f"ord={ord!r}; of a vector 1 or 2, of anything else the square root of the sum of squares")
    return w.emit("reduce_l1" if ord == 1 else "reduce_l2", x, axis=axis, keepdims=keepdims)


def _vector_norm(w: Any, x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:  # noqa: A002
    if ord not in (1, 2):
        raise TypeError(f"ord={ord!r}; 1 or 2")
    return w.emit("reduce_l1" if ord == 1 else "reduce_l2", x, axis=axis, keepdims=keepdims)


def _dot(w: Any, a: Any, b: Any) -> Any:
    dimensions = [getattr(x, "ndim", np.ndim(x)) for x in (a, b)]
    if dimensions[1] > 2:
        raise TypeError("of more than two dimensions; np.matmul and np.einsum say what they mean")
    return w.emit("mul" if 0 in dimensions else "matmul", a, b)


def _swapped(w: Any, a: Any, axis1: int, axis2: int) -> Any:
    axes = list(range(a.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return w.emit("transpose", a, axes=axes)


def _moved(w: Any, a: Any, source: int, destination: int) -> Any:
    axes = [axis for axis in range(a.ndim) if axis != source % a.ndim]
    axes.insert(destination % a.ndim, source % a.ndim)
    return w.emit("transpose", a, axes=axes)


def _reshaped(w: Any, a: Any, shape: Any) -> Any:
    return w.emit("reshape", a, shape=[shape] if isinstance(shape, int | np.integer) else list(shape))


def _squeezed(w: Any, a: Any, axis: Any = None) -> Any:
    axes = [i for i, size in enumerate(a.shape) if size == 1] if axis is None else np.atleast_1d(axis).tolist()
    for i in sorted((i % a.ndim for i in axes), reverse=True):
        a = w.emit("squeeze", a, axis=i)
    return a


def _expanded(w: Any, a: Any, axis: Any) -> Any:
    dimensions = a.ndim + np.size(axis)
    for i in sorted(i % dimensions for i in np.atleast_1d(axis).tolist()):
        a = w.emit("unsqueeze", a, axis=i)
    return a


def _joined(w: Any, arrays: Sequence[Any], axis: int | None = 0) -> Any:
    if axis is None:
        return w.emit("concat", *(w.emit("reshape", x, shape=[-1]) for x in arrays), axis=0)
    return w.emit("concat", *arrays, axis=axis)


def _split(w: Any, ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    sections = indices_or_sections
    if not isinstance(sections, int | np.integer):
        ends = [0, *map(int, sections), int(ary.shape[axis])]
        sections = [b - a for a, b in pairwise(ends)]
    return list(w.emit("split", ary, axis=axis, sections=sections))


def _rolled(w: Any, a: Any, shift: int, axis: int | None = None) -> Any:
    if axis is None and a.ndim != 1:
        return w.emit("reshape", w.emit("roll", w.emit("reshape", a, shape=[-1]), shift=shift), shape=list(a.shape))
    return w.emit("roll", a, shift=shift, axis=axis or 0)


def _tiled(w: Any, a: Any, reps: Any) -> Any:
    repeats = np.atleast_1d(reps).tolist()
    for _ in range(len(repeats) - a.ndim):
        a = w.emit("unsqueeze", a, axis=0)
    return w.emit("tile", a, repeats=[1] * (a.ndim - len(repeats)) + repeats)


def _padded(w: Any, array: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Any:
    if mode != "constant" or constant_values != 0:
        raise TypeError("anything but zeros")
    return w.emit("pad", array, pad_width=np.broadcast_to(pad_width, (array.ndim, 2)).tolist())


def _clipped(w: Any, a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    low, high = a_min if a_min is not None else min, a_max if a_max is not None else max
    if all(bound is None or isinstance(bound, int | float | np.number) for bound in (low, high)):
        return w.emit("clip", a, **{name: bound for name, bound in (("min", low), ("max", high)) if bound is not None})
    a = a if low is None else w.emit("max", a, low)
    return a if high is None else w.emit("min", a, high)


def _taken(w: Any, a: Any, indices: Any, axis: int | None = None) -> Any:
    flat = w.emit("reshape", a, shape=[-1]) if axis is None and a.ndim != 1 else a
    return w.emit("gather", flat, indices if hasattr(indices, "record") else np.asarray(indices), axis=axis or 0)


def _filled(gate: str, function: Entry) -> Entry:
    """Zeros or ones like a wire: a constant where the shape is known."""
    def write(w: Any, a: Any, dtype: Any = None) -> Any:
        if dtype is None and not all(isinstance(size, int) for size in a.shape):
            return w.emit(gate, a)
        return function(a.shape, np.dtype(dtype or a.dtype))

    return write


def _einsum(w: Any, equation: str, *operands: Any, optimize: Any = False) -> Any:
    return w.emit("einsum", *operands, equation=equation.replace(" ", ""))


def _where(w: Any, condition: Any, x: Any, y: Any) -> Any:
    return w.emit("where", condition, x, y)


def _svd(w: Any, a: Any, full_matrices: bool = True) -> Any:
    if full_matrices:
        raise TypeError("full_matrices=True; leave out what is orthogonal to all with full_matrices=False")
    return w.emit("svd", a)


FUNCTIONS: dict[Any, Entry] = {
    **_FUNCTIONS,
    np.sum: _reduction("reduce_sum"), np.mean: _reduction("reduce_mean"), np.prod: _reduction("reduce_prod"),
    np.max: _reduction("reduce_max"), np.min: _reduction("reduce_min"), np.amax: _reduction("reduce_max"),
    np.amin: _reduction("reduce_min"), np.argmax: _reduction("arg_max"), np.argmin: _reduction("arg_min"),
    np.var: _spread("reduce_var"), np.std: _spread("reduce_std"),
    np.cumsum: _running("cum_sum"), np.cumprod: _running("cum_prod"),
    np.cumulative_sum: _running("cum_sum"), np.cumulative_prod: _running("cum_prod"),
    np.linalg.norm: _norm, np.linalg.vector_norm: _vector_norm,
    np.dot: _dot, np.outer: lambda w, a, b: w.emit("outer", a, b), np.einsum: _einsum,
    np.trace: lambda w, a, offset=0: w.emit("trace", a, offset=offset),
    np.diagonal: lambda w, a, offset=0: w.emit("diagonal", a, offset=offset),
    np.linalg.det: _gate("det"), np.linalg.slogdet: _gate("slogdet"), np.linalg.inv: _gate("inv"),
    np.linalg.solve: _gate("solve"), np.linalg.cholesky: _gate("cholesky"), np.linalg.eigh: _gate("eigh"),
    np.linalg.qr: _gate("qr"), np.linalg.svd: _svd,
    np.transpose: lambda w, a, axes=None: w.emit("transpose", a, axes=axes),
    np.matrix_transpose: _gate("matrix_transpose"), np.swapaxes: _swapped, np.moveaxis: _moved,
    np.reshape: _reshaped, np.ravel: lambda w, a: w.emit("reshape", a, shape=[-1]), np.squeeze: _squeezed,
    np.expand_dims: _expanded, np.broadcast_to: lambda w, array, shape: w.emit("expand", array, shape=shape),
    np.concatenate: _joined, np.stack: lambda w, arrays, axis=0: w.emit("stack", *arrays, axis=axis),
    np.split: _split, np.flip: lambda w, m, axis=None: w.emit("flip", m, axis=axis), np.roll: _rolled, np.tile: _tiled,
    np.pad: _padded, np.triu: lambda w, m, k=0: w.emit("trilu", m, upper=True, k=k),
    np.tril: lambda w, m, k=0: w.emit("trilu", m, upper=False, k=k),
    np.where: _where, np.clip: _clipped, np.round: _gate("round"), np.sinc: _gate("sinc"),
    np.take: _taken,
    np.take_along_axis: lambda w, arr, indices, axis: w.emit("gather_elements", arr, indices, axis=axis),
    np.sort: lambda w, a, axis=-1: w.emit("sort", a, axis=axis),
    np.argsort: lambda w, a, axis=-1: w.emit("arg_sort", a, axis=axis),
    np.zeros_like: _filled("zeros_like", np.zeros), np.ones_like: _filled("ones_like", np.ones),
    np.shape: lambda w, a: a.shape, np.ndim: lambda w, a: a.ndim, np.size: lambda w, a: a.size,
    np.copy: lambda w, a: a,
}
"""Functions of NumPy by what they write."""
