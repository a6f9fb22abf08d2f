"""Every point of docs/conventions.md on every engine and export: what the page promises, or an exception that it
lists."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.staged.rows import Rows
from circuitflow.engines.tape.run import Taped
from circuitflow.gates import GATES
from circuitflow.interpreter.question import Question
from circuitflow.transforms.derivatives import reverse
from support.edge_points import DIGAMMA, EXCEPTIONS, GIVEN, POINTS, as_array, inf
from support.exported import written
from support.slices import family_of

Answer = tuple[Any, list[Any]]
Way = Callable[["Group"], Iterator[Answer]]

HIGH = cf.Thresholds()
LOW = cf.Thresholds(selected_size=1, block_bytes=1, block_rows=2, blocks=2, column_rows=2, tape_bytes=1)
"""Thresholds that nearly everything is above."""

TIMES = 7
"""How often a point stands in a row: whole vectors of a processor, and a rest."""

TOLERANCE = 2e-15


@dataclass(frozen=True)
class Group:
    """Points of one gate whose operands have the same shapes and dtypes: one circuit takes them all.

    Attributes:
        gate: the gate.
        points: operands, value and gradients of each.
    """

    gate: str
    points: tuple[tuple[Any, Any, Any], ...]

    def __str__(self) -> str:
        return "-".join([self.gate, *("x".join(map(str, x.shape)) or "scalar" for x in self.operands(0).values())])

    def operands(self, point: int) -> dict[str, Any]:
        return {f"x{i}": as_array(x) for i, x in enumerate(self.points[point][0])}

    @functools.cached_property
    def wrt(self) -> tuple[str, ...]:
        return tuple(name for i, (name, x) in enumerate(self.operands(0).items()) if x.dtype.kind == "f"
                     and GATES[self.gate].reaches(i))

    @functools.cached_property
    def is_scalar(self) -> bool:
        return all(x.ndim == 0 for x in self.operands(0).values())

    def circuit(self, *rows: int, constants: dict[str, Any] | None = None) -> cf.Circuit:
        """The gate on inputs; they may have an axis more in front, and some may be constants."""
        nodes = [{"id": name, "gate": "constant", "value": said(constants[name])} if name in (constants or {}) else
                 {"id": name, "gate": "input", "shape": [*rows, *x.shape], "dtype": str(x.dtype)} for name,
                 x in self.operands(0).items()]
        nodes.append({"id": "f", "gate": self.gate, "inputs": [node["id"] for node in nodes],
                      **GIVEN.get(self.gate, {})})
        return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": ["f"]}))

    def upstream(self, point: int) -> dict[str, Any]:
        """Ones where the value is no scalar, which has a 1 of its own."""
        shape = np.shape(self.points[point][1])
        return {"f": np.ones(shape)} if shape and self.wrt else {}

    def columns(self) -> dict[str, Any]:
        """Every operand of all points, one below the other."""
        every = [self.operands(point) for point in range(len(self.points)) for _ in range(TIMES)]
        return {name: np.stack([operands[name] for operands in every]) for name in every[0]}

    def column_upstream(self) -> dict[str, Any]:
        return {"f": np.ones((TIMES * len(self.points), *np.shape(self.points[0][1])))} if self.wrt else {}


def said(x: Any) -> Any:
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(x), x.item())


def grouped() -> list[Group]:
    groups: dict[Any, list[Any]] = {}
    for gate, operands, value, gradients in POINTS:
        groups.setdefault((gate, *((x.shape, x.dtype) for x in map(as_array, operands))),
                          []).append((operands, value, gradients))
    return [Group(key[0], tuple(points)) for key, points in groups.items()]


GROUPS = grouped()


# The ways: each gives value and gradients for every point, as often as it has them
# -----------------------------------------


def interpreted(library: str) -> Way:
    def way(group: Group) -> Iterator[Answer]:
        xp, executor = pytest.importorskip(library), cf.Executor(group.circuit())
        for point in range(len(group.points)):
            given, upstream = ({name: xp.asarray(x) for name, x in some.items()}
                               for some in (group.operands(point), group.upstream(point)))
            found: Any = executor.run(given, upstream=upstream, wrt=group.wrt) if group.wrt else executor.forward(given)
            yield found.outputs["f"], [found.gradients[name] for name in group.wrt] if group.wrt else []

    return way


def one_by_one(group: Group, function: Any) -> Iterator[Answer]:
    for point in range(len(group.points)):
        value, gradients = function(group.operands(point), upstream=group.upstream(point))
        yield value, list(gradients.values())


def compiled(engine: str, thresholds: cf.Thresholds = HIGH) -> Way:
    return lambda group: one_by_one(group,
                                    cf.Executor(group.circuit(),
                                                thresholds=thresholds).compile(wrt=group.wrt, engine=engine))


def on_floats(group: Group) -> Iterator[Answer]:
    function = cf.Executor(group.circuit()).compile(wrt=group.wrt, engine="staged")
    return one_by_one(group, lambda operands, upstream: function(**{name: x.item() for name, x in operands.items()}))


def taped(*, fast: bool) -> Way:
    return lambda group: one_by_one(group,
                                    Taped(Question(cf.Executor(group.circuit()), None, group.wrt), HIGH, fast=fast))


def all_at_once(group: Group, function: Any) -> Iterator[Answer]:
    value, gradients = function(group.columns(), upstream=group.column_upstream())
    return by_row(value, gradients)


def by_row(value: Any, gradients: dict[str, Any]) -> Iterator[Answer]:
    return ((value[row], [gradient[row] for gradient in gradients.values()]) for row in range(len(value)))


def over_rows(engine: str) -> Way:
    return lambda group: all_at_once(group, cf.Executor(group.circuit()).vmap(wrt=group.wrt, engine=engine))


def in_blocks(thresholds: cf.Thresholds) -> Way:
    return lambda group: all_at_once(group, Rows(Question(cf.Executor(group.circuit()), None, group.wrt), thresholds,
                                                 fast=False))


def in_an_array(engine: str, thresholds: cf.Thresholds = HIGH) -> Way:
    """All points in one array, which the gate takes element by element."""
    return lambda group: all_at_once(group, cf.Executor(group.circuit(TIMES * len(group.points)),
                                                        thresholds=thresholds).compile(wrt=group.wrt, engine=engine))


def beside_constants(run: Callable[[cf.Circuit, str], Any]) -> Way:
    """One operand varies, the others are numbers that code is made for."""
    def way(group: Group) -> Iterator[Answer]:
        for point in range(len(group.points)):
            operands, sent, values = group.operands(point), [], []
            for name in group.wrt:
                circuit = group.circuit(constants={other: x for other, x in operands.items() if other != name})
                value, gradients = run(circuit, name)(**{name: operands[name].item()})
                values.append(value)
                sent += gradients.values()
            assert len({str(float(value)) for value in values}) == 1, values
            yield values[0], sent

    return way


def of_document(group: Group) -> Iterator[Answer]:
    """The gradient as a document, written, read again, and run forward."""
    made = reverse(group.circuit(), None, group.wrt, values=True)
    executor = cf.Executor(cf.loads(cf.dumps(made.circuit)))
    for point in range(len(group.points)):
        given = {made.sources[name]: x for name, x in group.operands(point).items() if name in made.sources}
        given |= {made.upstream[text]: x for text, x in group.upstream(point).items()}
        found = executor.forward(given, of=list(dict.fromkeys([made.values["f"], *made.gradients.values()]))).outputs
        yield found[made.values["f"]], [found[made.gradients[name]] for name in group.wrt]


def exported(group: Group) -> Iterator[Answer]:
    function = written(group.circuit(), group.wrt)
    return one_by_one(group, lambda operands,
                      upstream: function(**operands, **{f"d{name}": x for name, x in upstream.items()}))


def exported_array(group: Group) -> Iterator[Answer]:
    function = written(group.circuit(TIMES * len(group.points)), group.wrt)
    return all_at_once(group, lambda operands,
                       upstream: function(**operands, **{f"d{name}": x for name, x in upstream.items()}))


ANY: dict[str, Way] = {
    "interpreter": interpreted("numpy"), "torch": interpreted("torch"), "JAX": interpreted("jax.numpy"),
    "staged": compiled("staged"), "staged in blocks": compiled("staged", LOW), "export": exported,
    "jax": compiled("jax"), "jax over rows": over_rows("jax"),
}
DIFFERENTIABLE: dict[str, Way] = {"gradient document": of_document}
SCALAR: dict[str, Way] = {
    "staged on floats": on_floats, "staged arrays": in_an_array("staged"),
    "staged arrays in blocks": in_an_array("staged", LOW),
    "export of arrays": exported_array, "jax arrays": in_an_array("jax"),
    "rows": in_blocks(HIGH), "rows in blocks": in_blocks(LOW), "rows compiled": over_rows("staged"),
}
SEVERAL: dict[str, Way] = {
    "staged beside constants": beside_constants(lambda circuit,
                                                name: cf.Executor(circuit).compile(wrt=name, engine="staged")),
    "export beside constants": beside_constants(written),
}
FLOATS: dict[str, Way] = {
    "tape": taped(fast=False), "tape compiled": taped(fast=True), "tape over rows": over_rows("tape"),
}
WAYS = ANY | DIFFERENTIABLE | SCALAR | SEVERAL | FLOATS
BY_XLA = ("JAX", "jax", "jax arrays", "jax over rows")
NO_FLOATS = ("lgamma", "polygamma")
"""Gates that a tape does not take."""


def takes(way: str, group: Group) -> bool:
    return (way in ANY or (way in DIFFERENTIABLE and bool(group.wrt)) or (way in SCALAR and group.is_scalar)
            or (way in SEVERAL and group.is_scalar and len(group.wrt) > 1)
            or (way in FLOATS and group.is_scalar and group.gate not in NO_FLOATS))


def differences(way: str, group: Group) -> Iterator[tuple[Any, str]]:
    """Operands at which a way does not give what is promised, and what it gives."""
    answers = list(WAYS[way](group))
    times, rest = divmod(len(answers), len(group.points))
    assert times > 0
    assert rest == 0
    for i, (value, sent) in enumerate(answers):
        operands, promised, gradients = group.points[i // times]
        for what, found, expected in [("value", value, promised),
                                      *((f"gradient {k}", *pair) for k,
                                        pair in enumerate(zip(sent, gradients, strict=True)))]:
            found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
            if found.shape != expected.shape or not np.allclose(found, expected, rtol=TOLERANCE, atol=0,
                                                                equal_nan=True):
                yield operands, f"{what} at {operands}: {found}, promised {expected}"


def is_exception(way: str, group: Group, operands: Any) -> bool:
    return any(group.gate == gate and operands == at and (way in BY_XLA or (way == "torch" and why is DIGAMMA))
               for gate, at, why in EXCEPTIONS)


@pytest.mark.sliced(group=family_of, times=3)
@pytest.mark.parametrize(("way", "group"),
                         [pytest.param(way, group, id=f"{way}-{group}") for way in WAYS for group in GROUPS
                          if takes(way, group)])
def test_every_point(way, group):
    assert [text for operands, text in differences(way, group) if not is_exception(way, group, operands)] == []


@pytest.mark.parametrize(("gate", "operands", "why"), EXCEPTIONS, ids=str)
def test_every_exception_is_needed(gate, operands, why):
    groups = [group for group in GROUPS if group.gate == gate and operands in [point[0] for point in group.points]]
    assert groups
    assert operands in [at for group in groups for way in ("jax", "jax arrays") if takes(way, group) for at,
                        _ in differences(way, group)]


@pytest.mark.parametrize("way", FLOATS)
@pytest.mark.parametrize("gate", NO_FLOATS)
def test_what_is_no_operation_on_floats_is_refused(way, gate):
    with pytest.raises(cf.InputError, match=f"the tape cannot take {gate}"):
        list(WAYS[way](next(group for group in GROUPS if group.gate == gate)))


def test_xla_computes_quotients_as_they_are_written():
    """Its simplifier would make x / (y · y) of it, ln e^x into x, and one factor of two numbers."""
    nodes = [{"id": "x", "gate": "input", "value": 3e200}, {"id": "y", "gate": "input", "value": 4e200},
             {"id": "c", "gate": "constant", "value": 1e200}]
    made = {"q": ("div", "x", "y"), "quotients": ("div", "q", "y"), "r": ("div", "y", "q"), "inner": ("div", "x", "r"),
            "e": ("exp", "x"), "power": ("log", "e"),
            "s": ("square", "x"), "root": ("sqrt", "s"), "d": ("exp", "y"), "n": ("neg", "y"), "i": ("exp", "n"),
            "exponentials": ("mul", "d", "i")}
    document = {"circuitflow": "1.0", "nodes": nodes + [{"id": name, "gate": gate, "inputs": list(inputs)} for name,
                                                        (gate, *inputs) in made.items()],
                "outputs": ["quotients", "inner", "power", "root", "exponentials"]}
    executor = cf.Executor(cf.loads(json.dumps(document)))
    expected, found = (executor.compile(wrt=(), engine=engine)()[0] for engine in ("interpreter", "jax"))
    assert {name: float(x) for name,
            x in found.items()} == pytest.approx({name: float(x) for name, x in expected.items()}, rel=TOLERANCE,
                                                 nan_ok=True)
    assert float(found["quotients"]) == pytest.approx(1.875e-201, rel=TOLERANCE)
    assert float(found["root"]) == inf


def test_numbers_of_a_rule_do_not_become_one_number():
    def forward(xp, x):
        return x * 1e200 * 1e200 + ((x + 1e20) - 1e20)

    gates = {**cf.GATES, "far": cf.Gate("", "", ("x",), lambda x: x, forward, (None,))}
    circuit = cf.loads('{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "shape": [2]}, {"id": "f", '
                       '"gate": "far", "inputs": ["x"]}], "outputs": ["f"]}', gates=gates)
    value, _ = cf.Executor(circuit).compile(wrt=(), engine="jax")(x=np.array([1e-300, 0.0]))
    np.testing.assert_allclose(value, [1e100, 0], rtol=TOLERANCE)


def test_a_gate_that_has_no_value_at_zeros_is_exported():
    """The lines are found out on samples; a matrix of zeros has no inverse."""
    document = {"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "shape": [2, 2]},
                                                {"id": "f", "gate": "inv", "inputs": ["x"]}], "outputs": ["f"]}
    function = written(cf.loads(json.dumps(document)), ["x"])
    value, gradients = function(x=[[2.0, 0.0], [0.0, 4.0]], df=np.ones((2, 2)))
    np.testing.assert_allclose(value, [[0.5, 0], [0, 0.25]])
    np.testing.assert_allclose(gradients["x"], [[-0.25, -0.125], [-0.125, -0.0625]])


@pytest.mark.parametrize("engine", ["interpreter", "staged", "jax"])
def test_a_power_of_4096_elements_is_an_output_itself(engine):
    document = {"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": {"data": 3, "shape": [4096]}},
                                                {"id": "two", "gate": "constant", "value": 2.0},
                {"id": "f", "gate": "pow", "inputs": ["x", "two"]}], "outputs": ["f"],
                "upstream": {"f": {"data": 1, "shape": [4096]}}}
    value, gradients = cf.Executor(cf.loads(json.dumps(document))).compile(wrt="x", engine=engine)()
    np.testing.assert_array_equal(value, np.full(4096, 9.0))
    np.testing.assert_array_equal(gradients["x"], np.full(4096, 6.0))
