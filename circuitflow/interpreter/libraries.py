"""The array library of a run: NumPy, or the one that its arguments belong to."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from circuitflow.document.numbers import as_numpy, copy_in, is_foreign, is_safe, no_value, refuse_lost
from circuitflow.errors import InputError, MissingExtraError
from circuitflow.gates.convolution import MANY, Frame
from circuitflow.gates.parts import with_margins
from circuitflow.gates.shapes import ArrayType
from circuitflow.gates.sliding import largest
from circuitflow.gates.special import OwnProducts
from circuitflow.gates.sums import PART, VECTOR, counted_product, longest, product


class JaxNumpy(OwnProducts):
    """`jax.numpy`, with our own functions where XLA's results are wrong.

    On a CPU, the largest or smallest of a row of a matrix loses a NaN (https://github.com/openxla/xla/issues/21461).
    The others are in `jax_functions`, those of `jax.scipy.special` too.
    """

    def __init__(self) -> None:
        import jax.numpy

        from circuitflow.interpreter.jax_functions import OWN

        self._jnp, self._own = jax.numpy, OWN

    def __getattr__(self, name: str) -> Any:
        return self._own[name] if name in self._own else getattr(self._jnp, name)

    def max(self, x: Any, **axes: Any) -> Any:
        """`jax.numpy.max`; NaN where there is one."""
        return self._with_nan(self._jnp.max(x, **axes), x, axes)

    def min(self, x: Any, **axes: Any) -> Any:
        """`jax.numpy.min`; NaN where there is one."""
        return self._with_nan(self._jnp.min(x, **axes), x, axes)

    def long_product(self, a: Any, b: Any) -> Any:
        """`circuitflow.gates.sums.in_parts`, in a loop of XLA's.

        How many terms XLA adds up before it rounds depends on the caches of the processor, so that up to `longest` the
        parts have `VECTOR` terms.
        """
        is_long = min(a.ndim, b.ndim) == 1 or a.shape[-1] > longest(a.shape[-2], b.shape[-1])
        jnp, lax, size = self._jnp, import_module("jax.lax"), PART if is_long else VECTOR
        left, right = (jnp.asarray(x, dtype=jnp.float32) for x in (a, b))
        place = -1 if b.ndim == 1 else -2

        def product(x: Any, y: Any) -> Any:
            return jnp.astype(jnp.matmul(x, y), jnp.float64)

        def add(i: Any, total: Any) -> Any:
            return total + product(lax.dynamic_slice_in_dim(left, i * size, size, -1),
                                    lax.dynamic_slice_in_dim(right, i * size, size, place))

        parts, rest = divmod(a.shape[-1], size)
        start = a.shape[-1] - rest
        last = product(left[..., start:], right[start:] if b.ndim == 1 else right[..., start:, :])
        return jnp.asarray(lax.fori_loop(0, parts, add, last), dtype=jnp.result_type(a, b))

    def product_kept(self, a: Any, b: Any) -> Any:
        """`circuitflow.gates.sums.product_kept`, which looks at numbers when it runs."""
        is_finite = self._jnp.isfinite(a).all() & self._jnp.isfinite(b).all()
        ways = functools.partial(product, self), functools.partial(counted_product, self)
        if not isinstance(is_finite, import_module("jax").core.Tracer):  # a known number, for which nothing is compiled
            return ways[not is_finite](a, b)
        return import_module("jax.lax").cond(is_finite, *ways, a, b)

    def convolution(self, x: Any, w: Any, frame: Frame, group: int) -> Any:
        """`circuitflow.gates.sliding.convolution` where a group has one channel; else None.

        XLA fuses the products of one element of every window after the other. For larger groups its convolutions take
        as long as products of matrices on a CPU, and for groups of one channel four times as long.
        """
        if w.shape[1] != 1 or math.prod(frame.kernel) > MANY:
            return None
        batch, outer = x.shape[0], w.shape[0] // group
        x = with_margins(self, self._jnp.expand_dims(x, 2), [[0, 0]] * 3 + frame.pads)
        w = self._jnp.reshape(w, (group, outer, *frame.kernel) + (1,) * len(frame.kernel))
        taps = itertools.product(*map(range, frame.kernel))
        terms = [x[(..., *place)] * w[(slice(None), slice(None), *tap)]
                 for tap, place in zip(taps, frame.places(), strict=True)]
        return self._jnp.reshape(functools.reduce(operator.add, terms), (batch, group * outer, *frame.windows))

    def largest(self, x: Any, frame: Frame) -> Any:
        """`circuitflow.gates.sliding.largest`."""
        return largest(self, x, frame)

    def scan(self, step: Any, carry: Any, stacks: Any, *, reverse: bool) -> tuple[Any, Any]:
        """`step(carry, position of each stack)` at every position gives the next carry, and results that are stacked.

        The carry, the stacks and the results are arrays in tuples, lists and mappings; the step is compiled once.
        """
        last: tuple[Any, Any] = import_module("jax.lax").scan(step, carry, stacks, reverse=reverse)
        return last

    def _with_nan(self, extreme: Any, x: Any, axes: Mapping[str, Any]) -> Any:
        if not self._jnp.issubdtype(x.dtype, self._jnp.floating):
            return extreme
        return self._jnp.where(self._jnp.any(self._jnp.isnan(x), **axes), self._jnp.nan, extreme)


class Library(NamedTuple):
    """An Array API namespace, and one of its arrays to take the device from (None for NumPy)."""

    xp: Any
    like: Any

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Library:
        """The library of arrays by name; NumPy where there are none of another library.

        Raises:
            InputError: a value is no array, or there are arrays of several libraries.
            MissingExtraError: arrays other than NumPy's need the extra `arrays`.
        """
        foreign = {name: value for name, value in arrays.items() if is_foreign(value)}
        if not foreign:
            return cls(np, None)
        try:
            import array_api_compat
        except ImportError:
            name, value = next(iter(foreign.items()))
            raise MissingExtraError(f"{name} is a {type(value).__qualname__}; arrays other than NumPy's need "
                                    "`pip install 'circuitflow[arrays]'`") from None
        for name, value in foreign.items():
            if not array_api_compat.is_array_api_obj(value):
                raise no_value(value, name)
        try:
            xp = array_api_compat.array_namespace(*foreign.values())
        except TypeError:
            kinds = sorted({type(value).__module__.partition(".")[0] for value in foreign.values()})
            raise InputError(f"arrays of different libraries in one run: {' and '.join(kinds)}; use one") from None
        return cls(JaxNumpy() if array_api_compat.is_jax_namespace(xp) else xp, next(iter(foreign.values())))

    def move(self, array: Any) -> Any:
        """A NumPy array as an array of this library, on its device."""
        if self.like is None:
            return array
        import array_api_compat

        return self.xp.asarray(np.array(array), device=array_api_compat.device(self.like))

    def to_numpy(self, array: Any) -> Any:
        """An array of this library as one of NumPy; bfloat16 becomes float32, because NumPy has no bfloat16.

        Raises:
            InputError: it has no numbers in memory, or not one for every element.
        """
        if self.like is None:
            return array
        return copy_in(array, "the value")

    def dtype(self, name: str) -> Any:
        """A dtype of this library; one that it does not have is refused.

        Raises:
            InputError: the library does not have it.
        """
        dtype = getattr(self.xp, name, None)
        if dtype is None:
            raise InputError(f"{self.xp.__name__.rpartition('.')[2]} has no {name}; give arrays of a library that has, "
                             "such as torch or JAX")
        return dtype

    def convert(self, value: Any, expected: ArrayType, name: str) -> Any:
        """A value as an array of the expected dtype: numbers and lists take it, arrays must be safe to cast.

        Every number is kept exactly or refused; decimal fractions are rounded to the nearest of the dtype.

        Raises:
            InputError: it is no array of numbers that the dtype holds, or the library has no such dtype.
        """
        dtype = self.dtype(expected.dtype)
        if self.like is None or not is_foreign(value):
            array = self.move(as_numpy(value, expected.dtype, name))
            return array if self.like is None else self.xp.asarray(array, dtype=dtype)
        if not (is_safe(str(value.dtype).rpartition(".")[2], expected.dtype) and self.xp.can_cast(value.dtype, dtype)):
            raise InputError(f"{name} is {value.dtype}; expected {expected.dtype}, so cast it first")
        array = value if value.dtype == dtype else self.xp.astype(value, dtype)
        refuse_lost(self.xp, value, array, expected.dtype, name)
        return array


def precise(xp: Any) -> AbstractContextManager[Any]:
    """Everything that is computed with arrays of a namespace has the dtypes of the document.

    JAX in its default mode would silently make 64-bit numbers 32-bit; here it does not, in this thread.
    """
    if not isinstance(xp, JaxNumpy):
        return nullcontext()
    import jax

    switch: AbstractContextManager[Any] = jax.enable_x64(True)
    return switch
