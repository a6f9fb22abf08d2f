"""The two passes under `jax.jit`, the extra `jax`: compiled by XLA, for a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from circuitflow.engines.columns import in_memory, refuse_different
from circuitflow.engines.engine import Engine
from circuitflow.engines.processes import refuse_fork
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError, MissingExtraError, printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import Bound, library_of
from circuitflow.executor.passes import forward_pass, reverse_sweep
from circuitflow.executor.question import Answer, Question
from circuitflow.executor.vocabulary import Vocabulary
from circuitflow.gates import ArrayType


class _Namespace:
    """`jax.numpy`, with the conditions under which a rule refuses its operands put aside: there are no values yet."""

    def __init__(self, jnp: Any) -> None:
        self.checks: list[Any] = []
        self._jnp = jnp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jnp, name)


class Jitted(Engine):
    """A question to a circuit, as a function of arrays that gives JAX arrays.

    What the document gives is put on the device once; what a call gives, each time, unless it is a JAX array already.
    Numbers have the dtypes of the document.
    """

    def __init__(self, question: Question, thresholds: Thresholds, *, device: Any = None, rows: bool = False) -> None:
        """Schedule; the first call for each combination of shapes compiles.

        Args:
            question: the question.
            thresholds: see `Engine`.
            device: "cpu", "gpu" or a JAX device; by default JAX's own choice.
            rows: whether arguments may have one more axis, in front, that everything is done along.

        Raises:
            InputError: there is no such device, or JAX would hang in this process.
            MissingExtraError: JAX is not installed.
        """
        super().__init__(question, thresholds)
        if find_spec("jax") is None:
            raise MissingExtraError("the engine jax needs `pip install 'circuitflow[jax]'`")
        refuse_fork()
        import jax

        self._jax, self.over_rows, self.options = jax, rows, {"device": device, "rows": rows}
        self.way = "jax, over rows" if rows else "jax"
        self._device = _device(jax, device)
        circuit, plan = question.circuit, question.plan
        self._inputs = {name: circuit.nodes[name].types[0] for name in plan.sources}
        self._types = {name: node.types[0] for name, node in circuit.nodes.items() if node.is_source}
        self._outputs = {text: type_ for text, type_ in question.outputs.items() if type_.is_float}
        self._seeds = [text for text in self._outputs if plan.active[plan.of[text]]]
        self._held = ({name: self._put(circuit.values[name]) for name in plan.sources if name in circuit.values},
                      {text: self._put(question.upstream[text]) for text in self._seeds if text in question.upstream})
        self._sound: set[Any] = set()
        self._made: dict[Any, Any] = {}

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """JAX arrays.

        Raises:
            InputError: as `Engine.__call__`; or a gate goes by a value.
            GateError: a gate could not be applied to the values that reached it.
        """
        refuse_fork()
        library_of(inputs, upstream)  # refuses what is no array at all
        given = self._arrays(inputs, self._inputs, "'{}'"), self._arrays(upstream, self._outputs, "upstream '{}'")
        columns = tuple(frozenset(name for name, array in arrays.items() if self.over_rows and name in types
                                  and array.ndim > len(types[name].shape))
                        for arrays, types in zip(given, (self._types, self._outputs), strict=True))
        key = tuple(tuple((name, array.shape, array.dtype) for name, array in arrays.items()) for arrays in given)
        if key not in self._sound:
            self._check(given, columns)
            self._sound.add(key)
        if columns not in self._made:
            self._made[columns] = self._compile(columns)
        lengths = {arrays[name].shape[0] for arrays, names in zip(given, columns, strict=True) for name in names}
        with self._jax.enable_x64(True):
            try:
                values, gradients, checks = self._made[columns](*(
                    held | {name: array for name, array in arrays.items() if name in needed}
                    for held, arrays, needed in zip(self._held, given, (self._inputs, self._seeds), strict=True)))
            except GateError as error:
                if isinstance(error.__cause__, self._jax.errors.JAXTypeError | self._jax.errors.JAXIndexError):
                    raise InputError(f"{': '.join(str(error).split(': ')[:2])} goes by a value that it is given, which "
                                     "the engine jax does not know when it compiles; choose another engine") from None
                raise
            if checks and any(bool(check.any() if check.ndim else check) for check in checks):
                self._refuse(given, columns, checks)
            if lengths and not (columns[0] & self._inputs.keys() or columns[1].intersection(self._seeds)):
                # Every row is the same: no answer needs a column.
                values, gradients = ([self._jax.numpy.broadcast_to(x, (*lengths, *x.shape)) for x in found]
                                     for found in (values, gradients))
        return values, gradients

    def _put(self, array: Any) -> Any:
        with self._jax.enable_x64(True):
            return self._jax.device_put(array, self._device)

    def _arrays(self, given: Mapping[str, Any], types: Mapping[str, ArrayType], wording: str) -> dict[str, Any]:
        """Arrays on the device; of what no answer needs, only the name and the shape are looked at."""
        return {name: self._array(value, types[name], wording.format(printable(name, 60))) if name in types else
                np.broadcast_to(np.zeros(()), _shape(value)) for name, value in given.items()}

    def _array(self, value: Any, type_: ArrayType, shown: str) -> Any:
        if isinstance(value, self._jax.Array) and value.dtype == type_.dtype:
            return value
        return self._put(Library.of({}).convert(in_memory(value, shown), type_, shown))

    def _check(self, given: Sequence[Mapping[str, Any]], columns: Sequence[frozenset[str]]) -> None:
        """What the interpreter would say of arguments like these; there must be as many of every column."""
        lengths = {wording.format(printable(name, 60)): arrays[name].shape[0]
                   for arrays, names, wording in zip(given, columns, ("'{}'", "upstream '{}'"), strict=True)
                   for name in names}
        refuse_different(lengths)
        self.question.bind(*({name: np.broadcast_to(np.zeros((), array.dtype), array.shape[name in names :])
                              for name, array in arrays.items()} for arrays, names in zip(given, columns, strict=True)))
        if self.over_rows and not lengths:
            raise InputError("no column is given; give at least one input one axis more than it has, for the rows")

    def _compile(self, columns: Sequence[frozenset[str]]) -> Any:
        plan, jax, gates = self.question.plan, self._jax, self.question.circuit.gates

        def passes(arrays: Mapping[str, Any],
                   upstream: Mapping[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
            xp = _Namespace(jax.numpy)
            values = forward_pass(plan, Bound(xp, arrays, {}))
            seeds: dict[int, Any] = {}
            for text in self._seeds:
                slot = plan.of[text]
                seed = upstream[text] if text in upstream else xp.ones_like(values[slot])
                seeds[slot] = seeds[slot] + seed if slot in seeds else seed
            gradients, _ = reverse_sweep(plan, Vocabulary(xp, gates), values, seeds)
            return ([values[slot] for slot in plan.of.values()], [gradients[slot] for slot in plan.wrt.values()],
                    [xp.any(check) for check in xp.checks])

        columns = [names.intersection(needed)
                   for names, needed in zip(columns, (self._inputs, self._seeds), strict=True)]
        if not any(columns):
            return jax.jit(passes)

        def over_rows(*given: Mapping[str, Any]) -> Any:
            axes = tuple({name: 0 if name in names else None for name in arrays}
                         for arrays, names in zip(given, columns, strict=True))
            return jax.vmap(passes, axes)(*given)

        return jax.jit(over_rows)

    def _refuse(self, given: Sequence[Mapping[str, Any]], columns: Sequence[frozenset[str]],
                checks: Sequence[Any]) -> None:
        """Have the interpreter say what is wrong, in the first row in which something is."""
        row = int(np.argmax(np.any(np.stack([np.asarray(check) for check in checks]), axis=0)))
        self.question.interpret(*self.question.bind(*(
            {name: np.asarray(array)[row] if name in names else np.asarray(array) for name, array in arrays.items()}
            for arrays, names in zip(given, columns, strict=True))))


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a value that no answer needs; that of a scalar where it has none."""
    try:
        shape = np.shape(value)
    except ValueError:
        return ()
    return shape if isinstance(shape, tuple) else ()  # of a class, what describes the attribute


def _device(jax: Any, device: Any) -> Any:
    """A JAX device.

    Raises:
        InputError: there is none of that name.
    """
    if not isinstance(device, str):
        return device
    try:
        return jax.devices(device)[0]
    except RuntimeError:
        there = ", ".join(sorted({found.platform for found in jax.devices()}))
        raise InputError(f"there is no device '{printable(device, 60)}' for the engine jax; there is {there}") from None
