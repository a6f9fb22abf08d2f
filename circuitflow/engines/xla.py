"""The two passes under `jax.jit`, the extra `jax`: compiled by XLA, for a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from circuitflow.engines.barriers import as_written
from circuitflow.engines.columns import Argument, bind_one_row, in_memory, in_words, is_column, keyed, parted
from circuitflow.engines.contract import CompiledFunction
from circuitflow.engines.placing import place_of
from circuitflow.engines.processes import refuse_fork
from circuitflow.engines.program.trace import origin
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError, MissingExtraError
from circuitflow.gates import GateTable
from circuitflow.gates.special import Check, Namespace
from circuitflow.interpreter.binding import Bound, library_of
from circuitflow.interpreter.libraries import JaxNumpy, Library
from circuitflow.interpreter.passes import forward_pass, reverse_sweep
from circuitflow.interpreter.plan import Plan
from circuitflow.interpreter.question import Answer, Question
from circuitflow.interpreter.vocabulary import Vocabulary


class Jitted(CompiledFunction):
    """A question to a circuit, as a function of arrays that gives JAX arrays.

    The document's arrays go to the device once. The arguments of a call go each time, unless they are JAX arrays.
    Numbers have the dtypes of the document.
    """

    def __init__(self, question: Question, thresholds: Thresholds, *, device: Any = None, rows: bool = False) -> None:
        """Schedule; the first call for each combination of shapes compiles.

        Args:
            question: the question.
            thresholds: see `CompiledFunction`.
            device: "cpu", "gpu" or a JAX device; with `rows` also "all", which share them; by default JAX's choice.
            rows: whether arguments may have one more axis, in front, that everything is done along.

        Raises:
            InputError: there is no such device, none that has rows to share, or JAX would hang in this process.
            MissingExtraError: JAX is not installed.
        """
        super().__init__(question, thresholds)
        if find_spec("jax") is None:
            raise MissingExtraError("the engine jax needs `pip install 'circuitflow[jax]'`")
        refuse_fork()
        import jax

        self._jax, self.over_rows, self.options = jax, rows, {"device": device, "rows": rows}
        self.way = "jax, over rows" if rows else "jax"
        self._place = place_of(device, over_rows=rows)
        circuit, plan = question.circuit, question.plan
        outputs = keyed({}, {text: type_ for text, type_ in question.outputs.items() if type_.is_float})
        sources = {name: node.types[0] for name, node in circuit.nodes.items() if node.is_source}
        self._types = keyed(sources, {}) | outputs
        self._reads = keyed(plan.sources, {}).keys() | outputs.keys()
        defaults = keyed(circuit.values, question.upstream)
        self._defaults = {key: self._put(defaults[key], is_column=False) for key in self._reads if key in defaults}
        self._sound: set[Any] = set()
        self._compiled: dict[Any, Any] = {}

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """JAX arrays; an `InputError` also if a gate depends on a value.

        Raises:
            InputError: as `CompiledFunction.__call__`; or a gate depends on a value.
            GateError: a gate could not be applied to the values that reached it.
        """
        refuse_fork()
        library_of(inputs, upstream)  # refuses what is no array at all
        arguments = {key: self._array(key, value) for key, value in keyed(inputs, upstream).items()}
        columns = frozenset(key for key, array in arguments.items()
                            if self.over_rows and key in self._types and is_column(array, self._types[key]))
        kinds = tuple((key, array.shape, array.dtype) for key, array in arguments.items())
        if kinds not in self._sound:
            self._check(arguments, columns)
            self._sound.add(kinds)
        if columns not in self._compiled:
            self._compiled[columns] = self._compile(columns & self._reads)
        placed = {key: self._put(array, is_column=key in columns) for key, array in arguments.items()
                  if key in self._reads}
        rows = len(arguments[min(columns)]) if columns else 0
        with self._jax.enable_x64(True):
            values, gradients, checks = self._compiled[columns](self._defaults | placed)
            if checks and any(bool(check.any() if check.ndim else check) for check in checks):
                self._refuse(arguments, columns, checks)
            if columns and not columns & self._reads:  # every row is the same: no answer needs a column
                values, gradients = ([self._jax.numpy.broadcast_to(x, (rows, *x.shape)) for x in results]
                                     for results in (values, gradients))
            elif columns and rows % self._place.count:
                values, gradients = ([x[:rows] for x in results] for results in (values, gradients))
        return values, gradients

    def _put(self, array: Any, *, is_column: bool) -> Any:
        with self._jax.enable_x64(True):
            return self._place.put(array, is_column=is_column)

    def _array(self, key: Argument, value: Any) -> Any:
        """An array; zeros of the same shape for an argument that no answer needs."""
        if key not in self._reads:
            return np.broadcast_to(np.zeros(()), _shape(value))
        if isinstance(value, self._jax.Array) and value.dtype == self._types[key].dtype:
            return value
        name = in_words(key)
        return Library.of({}).convert(in_memory(value, name), self._types[key], name)

    def _check(self, arguments: Mapping[Argument, Any], columns: frozenset[Argument]) -> None:
        """Refuse arguments that the interpreter would refuse, and columns of different lengths."""
        shapes = {key: np.broadcast_to(np.zeros((), x.dtype), x.shape) for key, x in arguments.items()}
        if self.over_rows:
            bind_one_row(self.question, *parted(shapes), {key: shapes[key] for key in arguments if key in columns},
                         "one axis more than it has, for the rows")
        else:
            self.question.bind(*parted(shapes))

    def _compile(self, columns: frozenset[Argument]) -> Any:
        plan, jax, gates = self.question.plan, self._jax, self.question.circuit.gates

        def passes(arrays: Mapping[Argument, Any]) -> tuple[list[Any], list[Any], list[Any]]:
            inputs, upstream = parted(arrays)
            return two_passes(plan, gates, inputs, lambda text, value: upstream[text] if text in upstream else
                              jax.numpy.ones_like(value))

        def over_rows(arrays: Mapping[Argument, Any]) -> Any:
            return jax.vmap(passes, ({key: 0 if key in columns else None for key in arrays},))(arrays)

        return self._place.compiled(as_written(over_rows if columns else passes), columns)

    def _refuse(self, arguments: Mapping[Argument, Any], columns: frozenset[Argument], checks: Sequence[Any]) -> None:
        """Have the interpreter say what is wrong, in the first row in which something is."""
        row = int(np.argmax(np.any(np.stack([np.asarray(check) for check in checks]), axis=0)))
        self.question.interpret(*self.question.bind(*parted(
            {key: np.asarray(x)[row] if key in columns else np.asarray(x) for key, x in arguments.items()})))


def two_passes(plan: Plan, gates: GateTable, inputs: Mapping[str, Any],
               upstream: Callable[[str, Any], Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Both passes on JAX arrays, to be traced: outputs, gradients, and whether each check of a gate refuses a value.

    Args:
        plan: the schedule.
        gates: the table of the circuit's gates.
        inputs: an array for every source of the plan.
        upstream: the upstream gradient on an output, from its reference and its value; None for none.

    Raises:
        InputError: a gate depends on a value.
        GateError: a gate could not be applied to values of the shapes that reached it.
    """
    import jax

    checks: list[Check] = []
    xp = Namespace(JaxNumpy(), checks)
    try:
        values = forward_pass(plan, Bound(xp, inputs, {}))
        seeds = plan.seeds({text: upstream(text, values[slot]) for text, slot in plan.of.items() if plan.active[slot]})
        gradients, _ = reverse_sweep(plan, Vocabulary(xp, gates), values, seeds)
    except GateError as error:
        if isinstance(origin(error), jax.errors.JAXTypeError | jax.errors.JAXIndexError):
            raise InputError(f"{': '.join(str(error).split(': ')[:2])} depends on a value that is not known when the "
                             "engine jax compiles; choose another engine") from None
        raise
    return ([values[slot] for slot in plan.of.values()], [gradients[slot] for slot in plan.wrt.values()],
            [xp.any(check.outside) for check in checks])


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a value that no answer needs; that of a scalar where it has none."""
    try:
        shape = np.shape(value)
    except ValueError:
        return ()
    return shape if isinstance(shape, tuple) else ()  # of a class, what describes the attribute
