"""The two passes under `jax.jit`, the extra `jax`: compiled by XLA, for a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from circuitflow.errors import GateError, InputError, MissingExtraError, printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import Bound, bind, upstream_gradients
from circuitflow.executor.interpreter import Interpreter
from circuitflow.executor.passes import forward_pass, reverse_sweep
from circuitflow.executor.vocabulary import Vocabulary


class _Namespace:
    """`jax.numpy`, with the conditions under which a rule refuses its operands put aside: there are no values yet."""

    def __init__(self, jnp: Any) -> None:
        self.checks: list[Any] = []
        self._jnp = jnp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jnp, name)


class Jitted:
    """A question to a circuit, as a function of arrays that gives JAX arrays.

    What the document gives is put on the device once; what a call gives, each time, unless it is a JAX array already.
    Numbers have the dtypes of the document. Safe to call from several threads at once.
    """

    def __init__(self, interpreter: Interpreter, of: Sequence[str] | None, wrt: Sequence[str] | None, *,
                 device: Any = None, rows: bool = False) -> None:
        """Schedule; the first call for each combination of shapes compiles.

        Args:
            interpreter: of the circuit.
            of: the outputs.
            wrt: what to differentiate by.
            device: "cpu", "gpu" or a JAX device; by default JAX's own choice.
            rows: whether arguments may have one more axis, in front, that everything is done along.

        Raises:
            InputError: there is no such device.
            MissingExtraError: JAX is not installed.
        """
        if find_spec("jax") is None:
            raise MissingExtraError("the engine jax needs `pip install 'circuitflow[jax]'`")
        import jax

        self._jax, self._interpreter, self._of, self._wrt, self._rows = jax, interpreter, of, wrt, rows
        self._circuit, self._plan = interpreter.circuit, interpreter.plan(of, wrt)
        self._device = _device(jax, device)
        circuit, plan = self._circuit, self._plan
        self._types = {name: circuit.nodes[name].types[0] for name in plan.sources}
        outputs = {text: circuit.type_of(output) for text in plan.of if (output := circuit.find(text))}
        self._upstream = {f"d{text}": text for text, type_ in outputs.items()
                          if plan.active[plan.of[text]] and (type_.shape or text in circuit.upstream)}
        self._types |= {name: outputs[text] for name, text in self._upstream.items()}
        self._held = {name: self._put(circuit.values[name]) for name in plan.sources if name in circuit.values}
        self._held |= {name: self._put(circuit.upstream[text]) for name, text in self._upstream.items()
                       if text in circuit.upstream}
        self._sound: set[Any] = set()
        self._made: dict[frozenset[str], Any] = {}

    def __call__(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Values and gradients.

        Raises:
            InputError: an unknown name, a missing value, a wrong shape or dtype; or a gate that goes by a value.
            GateError: a gate could not be applied to the values that reached it.
        """
        arrays = {name: self._array(name, value) for name, value in given.items()}
        columns = frozenset(name for name, array in arrays.items()
                            if self._rows and name in self._types and array.ndim > len(self._types[name].shape))
        key = tuple((name, array.shape, array.dtype) for name, array in arrays.items())
        if key not in self._sound:
            self._check(arrays, columns)
            self._sound.add(key)
        if columns not in self._made:
            self._made[columns] = self._compile(columns)
        with self._jax.enable_x64(True):
            try:
                values, gradients, checks = self._made[columns]({**self._held, **arrays})
            except GateError as error:
                if isinstance(error.__cause__, self._jax.errors.JAXTypeError):
                    raise InputError(f"{': '.join(str(error).split(': ')[:2])} goes by a value that it is given, which "
                                     "the engine jax does not know when it compiles; choose another engine") from None
                raise
            if checks and any(bool(check.any() if check.ndim else check) for check in checks):
                self._refuse(arrays, columns, checks)
        return (values[0] if len(values) == 1 else dict(zip(self._plan.of, values, strict=True)),
                dict(zip(self._plan.wrt, gradients, strict=True)))

    def _put(self, array: Any) -> Any:
        with self._jax.enable_x64(True):
            return self._jax.device_put(array, self._device)

    def _array(self, name: str, value: Any) -> Any:
        type_ = self._types.get(name)
        if type_ is None or (isinstance(value, self._jax.Array) and value.dtype == type_.dtype):
            return value if hasattr(value, "dtype") else np.asarray(value)
        shown = f"'{printable(name, 60)}'"
        return self._put(Library.of({}).convert(np.asarray(value) if isinstance(value, self._jax.Array) else value,
                                                type_, shown))

    def _check(self, arrays: Mapping[str, Any], columns: frozenset[str]) -> None:
        """What the interpreter would say of arguments like these; there must be as many of every column."""
        lengths = {name: arrays[name].shape[0] for name in columns}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
            raise InputError(f"columns of different lengths: {found}")
        if self._rows and not columns:
            raise InputError("no column is given; give at least one input one axis more than it has, for the rows")
        like = {name: np.broadcast_to(np.zeros((), array.dtype), array.shape[name in columns :])
                for name, array in arrays.items()}
        inputs, upstream = self._parted(like)
        bound = bind(self._circuit, self._plan, Library.of({}), inputs)
        upstream_gradients(self._circuit, self._plan, Library.of({}), bound.sizes, upstream, explicit=False)

    def _parted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        names = self._upstream
        return ({name: value for name, value in given.items() if name not in names},
                {names[name]: value for name, value in given.items() if name in names})

    def _compile(self, columns: frozenset[str]) -> Any:
        plan, jax = self._plan, self._jax

        def passes(arrays: Mapping[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
            xp = _Namespace(jax.numpy)
            values = forward_pass(plan, Bound(xp, arrays, {}))
            seeds: dict[int, Any] = {}
            for text, slot in plan.of.items():
                if plan.active[slot]:
                    seed = arrays[f"d{text}"] if f"d{text}" in arrays else xp.ones_like(values[slot])
                    seeds[slot] = seeds[slot] + seed if slot in seeds else seed
            gradients, _ = reverse_sweep(plan, Vocabulary(xp, self._circuit.gates), values, seeds)
            return ([values[slot] for slot in plan.of.values()], [gradients[slot] for slot in plan.wrt.values()],
                    [xp.any(check) for check in xp.checks])

        if not self._rows:
            return jax.jit(passes)
        return jax.jit(lambda arrays: jax.vmap(passes, ({name: 0 if name in columns else None for name in arrays},))(
            arrays))

    def _refuse(self, arrays: Mapping[str, Any], columns: frozenset[str], checks: Sequence[Any]) -> None:
        """Have the interpreter say what is wrong, in the first row in which something is."""
        row = int(np.argmax(np.any(np.stack([np.asarray(check) for check in checks]), axis=0)))
        inputs, upstream = self._parted({name: np.asarray(array)[row] if name in columns else np.asarray(array)
                                         for name, array in arrays.items()})
        self._interpreter.run(inputs, of=self._of, wrt=self._wrt, upstream=upstream)


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
