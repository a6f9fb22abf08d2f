"""One step of training as a pure function of JAX arrays: both passes by our rules, then the update by Optax.

It is compiled once for each number of rows in a batch. Its state is given away at each call, so that parameters and the
state of the optimiser stay where they are on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.barriers import as_written
from circuitflow.engines.xla import two_passes
from circuitflow.errors import InputError
from circuitflow.fitting.data import Data
from circuitflow.fitting.modes import as_seed, evaluation, fresh_seed, seeds_of, statistics_of
from circuitflow.fitting.optimisers import Optimiser
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import find_type
from circuitflow.gates import GateTable
from circuitflow.gates.shapes import Size, show
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.plan import Plan
from circuitflow.text import printable

State = dict[str, Any]
"""What a step takes and gives: `parameters`, `running` and `average` by id, `optimiser` as Optax has it, and the
scalars `step`, how many were done, and `failed`, the number of the first that was refused, or -1."""


class Report(NamedTuple):
    """What one step says.

    Attributes:
        loss: the loss of the batch.
        gradient_norm: the Euclidean norm of the gradient on all free parameters.
        applied: whether the update was made.
        failed: whether this step or one before was refused.
        metrics: the other outputs, averaged over the rows of the batch.
        norms: the norms of the gradients on the parameters one by one.
    """

    loss: float
    gradient_norm: float
    applied: bool
    failed: bool
    metrics: tuple[float, ...]
    norms: tuple[float, ...]


_OWN = ("epoch", "step", "rows", "loss", "gradient_norm")
"""Names of numbers that training writes of itself."""


class Objective:
    """What is trained: a loss of the parameters, over batches of rows.

    Attributes:
        circuit: the circuit.
        loss: the reference of the loss.
        reduction: "mean" or "sum" over the rows, where the loss has one element for each.
        parameters: the free parameters.
        data: the data.
        metrics: references of the outputs that are averaged over rows beside the loss.
        seeds: the sources that take a fresh seed at each step.
        statistics: source → the output that is fed back to it.
        fixed: the arrays of all other sources, by id.
    """

    def __init__(self, circuit: Circuit, loss: str, reduction: str, parameters: Parameters, data: Data,
                 seed: int) -> None:
        """Find what belongs to training.

        Raises:
            InputError: the loss has not one element for each row, or a gate cannot be trained; see `modes`.
        """
        self.circuit, self.loss, self.reduction, self.parameters, self.data = circuit, loss, reduction, parameters, data
        self.seed = seed
        self.over_rows = bool(data.columns) and not data.batch
        if self._is_of_rows(loss) is None:
            shape = show(find_type(circuit, loss, "loss").shape)
            raise InputError(f"loss: '{printable(loss, 60)}' has shape {shape}; expected a scalar"
                             + (f", or one for each row, {show((Size.named(data.batch),))}" if data.batch else "")
                             + "; sum it over its other axes")
        self.metrics = [text for text, output in circuit.outputs.items()
                        if output != circuit.find(loss) and self._is_of_rows(text) is not None]
        self.seeds = [name for name in seeds_of(circuit) if name not in data.columns]
        self.statistics = {name: text for name, text in statistics_of(circuit).items()
                           if name not in data.columns and name not in data.fixed}
        if self.statistics and self.over_rows:
            raise InputError(f"'{next(iter(self.statistics.values()))}' is over a batch, and the circuit is for one "
                             "row; give its inputs a dimension with a name in front, such as \"batch\"")
        varying = {*data.columns, *parameters.types, *self.statistics}
        plan = self.plan(circuit, self.outputs, self.wrt)
        self.fixed = {name: np.asarray(data.fixed.get(name, circuit.values.get(name))) for name in plan.sources
                      if name not in varying}

    @property
    def names(self) -> list[str]:
        """The names of the metrics: the outputs' own, unless training writes another number under that name."""
        return [f"output {text}" if text in _OWN or text.startswith("validation_") else text for text in self.metrics]

    @property
    def outputs(self) -> list[str]:
        """The references that a step computes."""
        return [self.loss, *self.metrics, *self.statistics.values()]

    @property
    def wrt(self) -> list[str]:
        """The ids of the free parameters that are no running statistics."""
        return [name for name in self.parameters.types if name not in self.statistics]

    def start(self) -> dict[str, dict[str, Any]]:
        """The parameters and running statistics that training starts from, as arrays of NumPy."""
        values = self.parameters.values(self.parameters.start)
        return {"parameters": {name: values[name] for name in self.wrt},
                "running": {name: np.array(values.get(name, self.circuit.values[name])) for name in self.statistics}}

    def slopes(self, parameters: Any, running: Any, held: Any, columns: Any, step: Any) -> Any:
        """The loss, metrics, moved statistics, gradients and whether a gate refused a value; traced by JAX."""
        import jax.numpy as jnp

        plan = self.plan(self.circuit, self.outputs, self.wrt)
        arrays = {**held, **running, **parameters}
        rows = _rows(columns)
        number = jnp.arange(rows) if self.over_rows else jnp.zeros((), jnp.int64)
        seeds = {name: as_seed(jnp, fresh_seed(jnp, held[name], self.seed, step, number), held[name].dtype)
                 for name in self.seeds}
        values, gradients, refused = self._passes(plan, self.circuit.gates, arrays, {**columns, **seeds},
                                                  partial(self.weight, jnp))
        if self.over_rows:
            whole = jnp.mean if self.reduction == "mean" else jnp.sum
            gradients = [whole(g, axis=0) for g in gradients]
        count = 1 + len(self.metrics)
        moved = dict(zip(self.statistics, values[count:], strict=True))
        return (self._reduced(values[0]), [_average(x) for x in values[1:count]], moved,
                dict(zip(self.wrt, gradients, strict=True)), refused)

    def evaluate(self) -> Callable[..., Any]:
        """A function, to be traced, of parameters, running statistics, other sources and columns: loss and metrics."""
        circuit = evaluation(self.circuit)
        plan = self.plan(circuit, [self.loss, *self.metrics], ())

        def evaluated(parameters: Any, running: Any, held: Any, columns: Any) -> Any:
            import jax.numpy as jnp

            values, _, _ = self._passes(plan, circuit.gates, {**held, **running, **parameters}, columns,
                                        lambda text, value: None)
            return jnp.stack([self._reduced(values[0]).astype(jnp.float64), *map(_average, values[1:])])

        return evaluated

    def _passes(self, plan: Plan, gates: GateTable, arrays: Any, columns: Any,
                weight: Callable[[str, Any], Any]) -> tuple[list[Any], list[Any], Any]:
        """Both passes over a batch; over rows the results have the rows as their first axis."""
        import jax

        needed = {name: x for name, x in arrays.items() if name in plan.sources and name not in columns}
        columns = {name: x for name, x in columns.items() if name in plan.sources}

        def passes(arrays: Any, columns: Any) -> Any:
            return two_passes(plan, gates, {**arrays, **columns}, weight)

        if self.over_rows:
            values, gradients, checks = jax.vmap(as_written(passes), (None, 0))(needed, columns)
        else:
            values, gradients, checks = as_written(passes)(needed, columns)
        refused = jax.numpy.zeros((), bool)
        for check in checks:
            refused = refused | jax.numpy.any(check)
        return values, gradients, refused

    def weight(self, xp: Any, text: str, value: Any) -> Any:
        """The upstream gradient on an output, in a namespace: on the loss alone, None on others."""
        if text != self.loss:
            return None
        ones = xp.ones_like(value)
        return ones / value.shape[0] if value.ndim and self.reduction == "mean" else ones

    def _reduced(self, losses: Any) -> Any:
        import jax.numpy as jnp

        if not losses.ndim:
            return losses
        return (jnp.mean if self.reduction == "mean" else jnp.sum)(losses)

    def _is_of_rows(self, reference: str) -> bool | None:
        """Whether an output has one element for each row, False where it is one scalar; None where it is neither."""
        output = self.circuit.find(reference)
        type_ = find_type(self.circuit, reference, "loss") if output is None else self.circuit.type_of(output)
        shape = type_.shape
        if not shape:
            return self.over_rows
        return True if self.data.batch and len(shape) == 1 and str(shape[0]) == self.data.batch else None

    @staticmethod
    def plan(circuit: Circuit, of: Sequence[str], wrt: Sequence[str]) -> Plan:
        return Interpreter(circuit).plan(list(dict.fromkeys(of)), list(wrt))


def make_step(objective: Objective, optimiser: Optimiser, *, skips: bool) -> Callable[..., Any]:
    """A step, to be compiled: from the state, other sources and columns to the state after it, and a report.

    A loss, gradient or value of a gate that is refused leaves all as it was. Then, unless the step `skips`, no later
    step changes anything either.
    """
    import jax
    import jax.numpy as jnp
    import optax

    bounds = _bounds(objective)

    def step(state: State, held: Any, columns: Any) -> tuple[State, Any]:
        parameters = state["parameters"]
        loss, metrics, running, gradients, refused = objective.slopes(parameters, state["running"], held, columns,
                                                                      state["step"])
        squares = jnp.array([jnp.sum(jnp.square(g.astype(jnp.float64))) for g in gradients.values()], jnp.float64)
        norm = jnp.sqrt(jnp.sum(squares))
        updates, inner = optimiser.transformation.update(
            gradients, state["optimiser"], parameters, value=loss, grad=gradients,
            value_fn=_value_of(objective, state["running"], held, columns, state["step"]))
        moved = optax.apply_updates(parameters, updates)
        moved = {name: jnp.clip(x, *(end.astype(x.dtype) for end in bounds[name])) if name in bounds else x
                 for name, x in moved.items()}
        average = {} if optimiser.average is None else optax.incremental_update(
            moved, state["average"], 1 - optimiser.average)
        sound = jnp.isfinite(loss) & jnp.isfinite(norm) & ~refused
        applied = sound & (state["failed"] < 0)
        before = {key: state[key] for key in ("parameters", "running", "optimiser", "average")}
        after = {"parameters": moved, "running": running, "optimiser": inner, "average": average}
        kept = jax.tree.map(lambda new, old: _chosen(applied, new, old), after, before)
        failed = state["failed"] if skips else jnp.where(sound | (state["failed"] >= 0), state["failed"], state["step"])
        numbers = jnp.stack([x.astype(jnp.float64) for x in (loss, norm, applied, failed >= 0, *metrics)])
        report = jnp.concatenate([numbers, jnp.sqrt(squares)])
        return {**kept, "step": state["step"] + 1, "failed": failed}, report

    return step


def report_of(numbers: Any, metrics: int) -> Report:
    """The report of a step from its numbers, with so many metrics."""
    loss, norm, applied, failed, *others = np.asarray(numbers).tolist()
    return Report(loss, norm, bool(applied), bool(failed), tuple(others[:metrics]), tuple(others[metrics:]))


def _chosen(applied: Any, new: Any, old: Any) -> Any:
    """The new array, in the dtype of the old one, or the old one."""
    import jax
    import jax.numpy as jnp

    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return jnp.where(applied, new, old)
    return jnp.where(applied, jnp.asarray(new, dtype=old.dtype), old)


def _value_of(objective: Objective, running: Any, held: Any, columns: Any, step: Any) -> Callable[..., Any]:
    """The loss of this batch as a function of the parameters, with our gradients, for line searches."""
    import jax

    def both(parameters: Any) -> tuple[Any, Any]:
        loss, _, _, gradients, _ = objective.slopes(parameters, running, held, columns, step)
        return loss, gradients

    @jax.custom_vjp
    def value(parameters: Any) -> Any:
        return both(parameters)[0]

    value.defvjp(both, lambda gradients, g: (jax.tree.map(lambda x: (g * x).astype(x.dtype), gradients),))

    def with_arguments(parameters: Any, *_: Any, **__: Any) -> Any:
        return value(parameters)

    return with_arguments


def _bounds(objective: Objective) -> Mapping[str, tuple[Any, Any]]:
    """Lower and upper bounds of the parameters that have any, by id."""
    parameters = objective.parameters
    bounds = {}
    for (name, type_), part in zip(parameters.types.items(), parameters.slices(), strict=True):
        lower, upper = parameters.lower[part], parameters.upper[part]
        if np.isfinite(lower).any() or np.isfinite(upper).any():
            shape = tuple(map(int, type_.shape))  # type: ignore[arg-type]
            bounds[name] = lower.reshape(shape), upper.reshape(shape)
    return bounds


def _average(x: Any) -> Any:
    """The mean over the rows, as float64."""
    import jax.numpy as jnp

    return jnp.mean(x.astype(jnp.float64))


def _rows(columns: Mapping[str, Any]) -> int:
    return int(next(iter(columns.values())).shape[0]) if columns else 1
