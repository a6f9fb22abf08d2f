"""Loops compiled by numba, the extra `fast`; machine code is kept on disk."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from sys import modules
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from circuitflow.engines.machine_code import keep
from circuitflow.engines.program.dialects import NAMES
from circuitflow.errors import MissingExtraError


def is_there() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


@lru_cache(maxsize=64)
def jitted(source: str | Callable[..., None], *, over_rows: bool = False) -> Callable[..., None]:
    """A function of arrays, or the one that a text defines, compiled; functions of numbers never raise in it.

    It holds no lock of Python while it runs, and starts no threads: numba's own do not survive a fork, and one of its
    threading layers aborts the process when two threads meet in it. A loop over rows reads columns with `get` and fills
    them in with `put`; the compiler then computes several rows at once.

    Raises:
        MissingExtraError: numba is not installed.
    """
    try:
        import numba
    except ImportError:
        raise MissingExtraError("compiled loops need `pip install 'circuitflow[fast]'`") from None
    loop = source if callable(source) else _define(source, over_rows)
    compiled: Callable[..., None] = keep(numba.njit(error_model="numpy", nogil=True)(loop), source, str(over_rows),
                                         modules[__name__])
    return compiled


def _define(text: str, over_rows: bool) -> Callable[..., None]:
    code = next(x for x in compile(text, "<compiled loop>", "exec").co_consts if isinstance(x, CodeType))
    name = f"loop_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    names: dict[str, Any] = {name: getattr(math, name) for name in NAMES if hasattr(math, name)}
    names |= {"rint": np.rint, "floor": np.floor, "ceil": np.ceil}  # those of math give integers, which have no NaN
    names |= {"inf": math.inf, "nan": math.nan, "__name__": __name__}
    if over_rows:
        names |= {**_columns(), **_vectorizable()}
    return FunctionType(code.replace(co_name=name, co_qualname=name), names)


@cache
def _columns() -> dict[str, Callable[..., Any]]:
    """Access to columns that do not overlap: `get(column, i)` and `put(column, number, i, value)`.

    The results of a loop lie apart from one another and from all that it reads. The compiler is told so. It would
    otherwise compare the addresses of all columns before it computes several rows at once, and with a dozen of
    them does not. Each column that is filled in has a scope of its own, by its number; those that are read share one.
    """
    from numba import types
    from numba.extending import intrinsic

    def place(context: Any, builder: Any, column: Any, array: Any, row: Any) -> tuple[Any, dict[str, Any]]:
        data = context.make_array(column)(context, builder, array).data
        return builder.gep(data, [row], inbounds=True), {} if column.aligned else {"align": 1}

    def mark(instruction: Any, scope: str, apart: Sequence[str]) -> None:
        module = instruction.parent.parent.module
        domain = module.add_metadata(["columns"])
        for key, scopes in (("alias.scope", [scope]), ("noalias", apart)):
            if scopes:
                instruction.set_metadata(key, module.add_metadata([module.add_metadata([x, domain]) for x in scopes]))

    def read(typing: Any, column: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, alignment = place(context, builder, column, *arguments)
            load = builder.load(pointer, **alignment)
            mark(load, "columns read", ())
            return context.data_model_manager[column.dtype].from_data(builder, load)

        return column.dtype(column, types.intp), generate

    def fill(typing: Any, column: Any, number: Any, row: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, alignment = place(context, builder, column, arguments[0], arguments[2])
            data = context.data_model_manager[column.dtype].as_data(builder, arguments[3])
            store = builder.store(data, pointer, **alignment)
            mark(store, f"result {number.literal_value}",
                 ["columns read", *(f"result {i}" for i in range(number.literal_value))])
            return context.get_dummy_value()

        return types.void(column, number, types.intp, column.dtype), generate

    return {"get": intrinsic(read), "put": intrinsic(prefer_literal=True)(fill)}


@cache
def _vectorizable() -> dict[str, Callable[..., Any]]:
    """Functions without calls and branches, which the compiler computes for several rows at once.

    The exponential is 2^k · e^r with |r| ≤ ln 2 / 2, ln 2 in two parts (Cody and Waite 1980), and a polynomial for e^r;
    it is within 2 ulps of the true value.
    """
    from llvmlite.ir import FunctionType
    from numba import types
    from numba.extending import intrinsic, register_jitable

    def cast(source: Any, target: Any) -> Any:
        @intrinsic
        def bits(context: Any, x: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(target))

            return target(source), generate

        return bits

    def fused(context: Any, x: Any, y: Any, z: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            double = arguments[0].type
            kind = FunctionType(double, [double] * 3)
            return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [double], kind), arguments)

        return types.float64(types.float64, types.float64, types.float64), generate

    muladd: Any = intrinsic(fused)  # x · y + z, in one instruction where the processor has it
    integer, floating = cast(types.float64, types.int64), cast(types.int64, types.float64)
    shift = 1.5 * 2**52  # added to a number, it leaves the nearest integer in the last bits
    zero = struct.unpack("<q", struct.pack("<d", shift))[0]
    high, low = 6.93145751953125e-1, 1.42860682030941723212e-6
    c11, c10, c9, c8, c7, c6, c5, c4, c3 = _remainder()[::-1]

    @register_jitable
    def exp(x: float) -> float:
        y = 709.79 if x > 709.79 else (-746.0 if x < -746.0 else x)
        t = muladd(y, 1.4426950408889634, shift)
        n = t - shift
        r = muladd(-n, low, muladd(-n, high, y))
        k = integer(t) - zero
        p = muladd(muladd(muladd(muladd(c11, r, c10), r, c9), r, c8), r, c7)
        p = muladd(muladd(muladd(muladd(p, r, c6), r, c5), r, c4), r, c3)
        e = muladd(muladd(p, r, 0.5), r * r, r) + 1.0
        half = k >> 1  # in two steps, for results that are subnormal
        e = e * floating((half + 1023) << 52) * floating((k - half + 1023) << 52)
        return e if x == x else x

    return {"exp": exp}


def _remainder() -> list[float]:
    """Coefficients c3 … c11 of e^r = 1 + r + r²/2 + c3 r³ + …, for |r| ≤ ln 2 / 2.

    They are those of the Taylor series, economised: terms beyond c11 are left out as Chebyshev polynomials. The error
    relative to e^r is 3.3e-17, a seventh of a last digit.
    """
    radius, terms = math.log(2) / 2 * 1.0001, 20
    scaled = np.polynomial.chebyshev.poly2cheb([radius**n / math.factorial(n + 3) for n in range(terms)])
    short = np.polynomial.chebyshev.cheb2poly(scaled[:9])
    return [float(c) / radius**n for n, c in enumerate(short)]
