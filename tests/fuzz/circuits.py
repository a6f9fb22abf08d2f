"""Random cases: circuits of all gates, questions to them, and inputs in all layouts."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import circuitflow as cf
from cases import LAYOUTS, Call, Case, Given
from circuitflow.gates import ArrayType, AtLeast
from circuitflow.gates.shapes import Size
from circuitflow.transforms.derivatives import reverse
from support.gate_examples import EXAMPLES, Example, attributes_of

SIZES = {"n": 3, "m": 2}
"""Sizes of named dimensions where a circuit is drawn; calls have others."""

AWKWARD = ("df", "self", "upstream", "inputs", "class", "None", "print", "lambda", "exp", "np", "math", "v0", "f0",
           "k0", "x0", "inf",
           "nan", "float", "__debug__", "of", "wrt", "values", "named", "results", "buffers", "out", "type", "dx",
           "dg1", "numbers")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1e300, -1e300, 1e-200, 0.5)

SCALARS = ("add mul add mul sub div neg pow sqrt square exp log tanh sigmoid relu softplus abs sign max min clip where "
           "less greater_or_equal "
           "equal and or not hypot mod mean sin cos atan2 log1p expm1 mul_no_nan log_add_exp erf lgamma floor round "
           "identity stop_gradient "
           "gelu elu leaky_relu swish").split()
ELEMENTWISE = ("add mul sub div neg tanh exp sigmoid relu square abs max min where less softplus sqrt log pow sin mean "
               "clip reciprocal").split()
REARRANGING = ("transpose reshape matrix_transpose flip concat stack slice expand squeeze unsqueeze flatten roll tile "
               "split reshape "
               "transpose transpose reshape").split()
REDUCING = ("reduce_sum reduce_mean reduce_max reduce_sum reduce_mean reduce_prod reduce_l2 reduce_var "
            "reduce_log_sum_exp reduce_sum_square "
            "size softmax cum_sum matmul matmul einsum cast").split()
STYLES: dict[str, tuple[Sequence[tuple[Any, ...]], Sequence[Sequence[str]]]] = {
    "scalars": ([()], [SCALARS]),
    "arrays": ([(), (3,), (2, 3), (4, 3), (3, 3), (2, 3, 4), (1, 3), (0, 3), (5,), (1,), (4, 1)],
               [ELEMENTWISE, REARRANGING, REDUCING, list(cf.GATES)]),
    "rearranging": ([(4, 2, 3), (2, 3), (3, 4), (6, 4), (3, 1), ()],
                    [ELEMENTWISE, REARRANGING, REARRANGING, ["reduce_sum", "matmul"]]),
    "large": ([(4096,), (64, 70), (3, 37, 41), (70,), ()], [ELEMENTWISE, ELEMENTWISE, REARRANGING, REDUCING]),
    "batch": ([("n",), ("n", 3), ("n", 1), (3,), (), ("n", 3), (3, 3)],
              [ELEMENTWISE, ELEMENTWISE, REDUCING, REARRANGING]),
    "sums": ([("n",), ("n",), ("n", 2)], [["reduce_sum", "reduce_mean", "reduce_sum", "reduce_max", "size"],
                                          ["mul", "mul", "neg", "add", "sub", "div", "square", "sqrt", "cast"],
                                          ELEMENTWISE]),
    "batches": ([("n",), ("m",), ("n", "m"), ("n", 2), (), ("m", 3)],
                [ELEMENTWISE, REDUCING, REARRANGING, list(cf.GATES)]),
}
OWN = ("mul", "add", "sub", "div", "neg", "exp", "tanh", "square", "pow", "reduce_sum", "matmul", "identity",
       "reciprocal", "max", "where")
EQUATIONS = {1: ("i->", "i->i", "ij->ji", "ij->", "ij->j"), 2: ("ij,jk->ik", "i,i->", "i,j->ij", "ij,j->i", "ij,ij->j"),
             3: ("i,j,k->kij", "i,i,i->i")}


class Wire(NamedTuple):
    """The type of a value, and what it is at the sizes and inputs that the circuit is drawn with."""

    type: ArrayType
    value: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Source:
    """An input or a parameter: how further values of it are drawn."""

    type: ArrayType
    value: np.ndarray[Any, Any]
    has_default: bool
    scaled: bool


def concrete(shape: Sequence[Any], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else max(0, int(size.substitute(sizes))) for size in shape)


class Body:
    """Nodes under construction, with what they compute."""

    def __init__(self, pick: random.Random, numbers: np.random.RandomState, gates: Mapping[str, cf.Gate], *, wild: bool,
                 awkward: float) -> None:
        self.pick, self.numbers, self.gates, self.wild, self.awkward = pick, numbers, gates, wild, awkward
        self.nodes: list[dict[str, Any]] = []
        self.wires: dict[str, Wire] = {}
        self.sources: dict[str, Source] = {}
        self.circuits: dict[str, Any] = {}

    # Names and values

    def name(self) -> str:
        """An id that is not taken; some are words of Python, or of engines."""
        taken = {node["id"] for node in self.nodes}
        if taken and self.pick.random() < self.awkward / 2 and (
            name := f"d{self.pick.choice(sorted(taken))}") not in taken:
            return name  # what the gradient on a node is called
        if self.pick.random() < self.awkward and (free := [word for word in AWKWARD if word not in taken]):
            return self.pick.choice(free)
        return next(name for i in range(len(self.nodes), 10**9)
                    if (name := f"{self.pick.choice('xgvw')}{i}") not in taken)

    def draw(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Numbers of a dtype."""
        if dtype == "bool":
            return np.asarray(self.numbers.uniform(size=shape) < 0.5)
        if dtype.startswith(("int", "uint")):
            return np.asarray(self.numbers.randint(0, 3, shape)).astype(dtype)
        if self.wild and self.pick.random() < 0.3:
            with np.errstate(over="ignore"):
                return np.asarray(self.numbers.choice(SPECIAL, shape)).astype(dtype)
        if self.pick.random() < 0.08:
            return np.full(shape, self.pick.choice((0.0, 1.0, 2.0, -1.0, 0.5, 3.0)), dtype)
        low, high = self.pick.choice([(-2.0, 2.0), (-2.0, 2.0), (0.2, 1.8)])
        values = np.asarray(self.numbers.uniform(low, high, shape))
        return (np.round(values) if self.pick.random() < 0.1 else values).astype(dtype)

    # Nodes

    def source(self, shape: Sequence[Any], dtype: str = "float64", value: Any = None, *,
               kinds: Sequence[str] = ("input", "parameter", "constant")) -> str:
        """A new source. A named dimension makes it an input."""
        type_ = ArrayType(tuple(Size.named(size) if isinstance(size, str) else size for size in shape), dtype)
        named = any(isinstance(size, str) for size in shape)
        scaled = value is not None
        array = self.draw(dtype, concrete(type_.shape, SIZES)) if value is None else np.asarray(value, dtype)
        kind = "input" if named else self.pick.choice(kinds)
        default = array
        if named:  # its default has another size
            default = self.draw(dtype, concrete(type_.shape, {name: self.pick.choice((1, 2, 3, 5)) for name in SIZES}))
        has_default = kind != "input" or self.pick.random() < 0.5
        name = self.name()
        node: dict[str, Any] = {"id": name, "gate": kind, "dtype": dtype}
        if named or not has_default:
            node["shape"] = list(shape)
        if has_default:
            node["value"] = written(default)
        self.nodes.append(node)
        self.wires[name] = Wire(type_, array)
        if kind != "constant":
            self.sources[name] = Source(type_, array, has_default, scaled)
        return name

    def apply(self, gate: str, operands: Sequence[str], attributes: Mapping[str, Any]) -> str | None:
        """Apply a gate, if it fits and gives finite numbers of moderate size."""
        row = self.gates[gate]
        try:
            attributes = dict(row.attributes.model_validate(dict(attributes)))
            types = row.shape(*(self.wires[name].type for name in operands), **attributes)
            if any(math.prod(concrete(type_.shape, SIZES)) > 20_000
                   for type_ in (types if isinstance(types[0], ArrayType) else (types,))):
                return None
            with np.errstate(all="ignore"):
                values = row.forward(np, *(self.wires[name].value for name in operands), **attributes)
        except (ValueError, IndexError, TypeError, ArithmeticError):
            return None
        several = row.output_names(attributes)
        types, values = (types, values) if several else ((types,), (values,))
        values = [np.asarray(value) for value in values]
        if not self.wild and not all(map(moderate, values)):
            return None
        name = self.name()
        self.nodes.append({"id": name, "gate": gate, "inputs": list(operands),
                           **{key: value for key, value in attributes.items() if value is not None}})
        references = [f"{name}.{output}" for output in several] or [name]
        self.wires.update({ref: Wire(type_, value) for ref, type_,
                           value in zip(references, types, values, strict=True)})
        return references[0]

    def operand(self, fits: Callable[[Wire], bool] = lambda wire: True) -> str | None:
        """A value there is, rather a late one."""
        names = [name for name, wire in self.wires.items() if fits(wire)]
        if not names:
            return None
        return names[max(self.pick.randrange(len(names)), self.pick.randrange(len(names)))]

    def gate(self, gate: str) -> str | None:
        """Apply a gate to values that there are."""
        row = self.gates[gate]
        minimum = row.operands.minimum if isinstance(row.operands, AtLeast) else 0
        count = (self.pick.choice((minimum, 2, 2, 3, 4, 9, 12)) if isinstance(row.operands, AtLeast) else
                 len(row.operands) - self.pick.randint(0, row.optional))
        count = max(count, minimum)
        for _ in range(6):
            first = self.operand(lambda wire: gate not in ("where", "and", "or", "not", "xor")
                                 or wire.type.dtype == "bool")
            if first is None:
                return None
            operands = [first]
            like = self.wires[first].type
            if gate == "pow" and like.is_float and self.pick.random() < 0.4:  # exponents that have rules of their own
                shape = self.pick.choice(((), (1,), (3,),
                                          *(shape for shape in [like.shape]
                                            if not any(isinstance(n, Size) for n in shape))))
                operands.append(self.source(shape, like.dtype,
                                            np.full(shape, self.pick.choice((2, 2, 1, 0, 3, -1, 0.5))),
                                            kinds=("constant", "constant", "input")))
            while len(operands) < count:
                if gate == "where" and len(operands) == 1:
                    like = self.wires[self.operand() or first].type
                how = self.pick.random()
                found = self.operand(lambda wire, like=like, how=how: wire.type == like if how < 0.5 else
                                     wire.type.dtype == like.dtype if how < 0.95 else True)
                operands.append(found or first)
            attributes = {name: draw(self.pick, gate, [self.wires[ref].type for ref in operands], field.annotation)
                          for name, field in row.attributes.model_fields.items()
                          if (draw := ATTRIBUTES.get(name)) is not None
                          and (field.is_required() or self.pick.random() < 0.8)}
            if (made := self.apply(gate, operands, attributes)) is not None:
                return made
        return None

    def example(self, example: Example) -> str | None:
        """Apply a gate as an example does, to values of the same shapes where there are such, or to new sources."""
        operands = []
        before = len(self.nodes)
        for array in example.operands:
            type_ = ArrayType(array.shape, str(array.dtype))
            there = self.operand(lambda wire, type_=type_: wire.type == type_) if self.pick.random() < 0.6 else None
            fresh = there is None or array.dtype.kind in "iu" or (len(example.operands) == 1
                                                                  and self.pick.random() < 0.3)
            operands.append(self.source(array.shape, str(array.dtype), array) if fresh else there)
        made = self.apply(example.gate, operands, attributes_of(example))
        return made if made or len(self.nodes) > before else None

    # Structures

    def part(self, types: Mapping[str, Wire]) -> Body:
        """An empty body of a subcircuit with these inputs."""
        body = Body(self.pick, self.numbers, self.gates, wild=self.wild, awkward=self.awkward)
        body.nodes = [{"id": name, "gate": "input", "dtype": wire.type.dtype} for name, wire in types.items()]
        body.wires = dict(types)
        return body

    def structure(self, choices: Sequence[Sequence[str]]) -> None:
        """A call, a checkpoint, a scan or an if."""
        {"call": self._call, "checkpoint": self._call, "scan": self._scan, "if": self._if}[
            kind := self.pick.choice(("call", "checkpoint", "scan", "if"))](kind, choices)

    def _fill(self, body: Body, choices: Sequence[Sequence[str]]) -> None:
        for _ in range(self.pick.randint(1, 5)):
            body.gate(self.pick.choice(self.pick.choice(choices)))

    def _place(self, node: dict[str, Any], bodies: Mapping[str, tuple[Body, Sequence[str]]]) -> None:
        """Add a node with subcircuits, if the document is still valid; and what it computes."""
        parts = {name: {"nodes": body.nodes, "outputs": list(outputs)} for name, (body, outputs) in bodies.items()}
        fixed = {}
        for ref in dict.fromkeys(node["inputs"].values()):
            wire = self.wires[ref]
            fixed[ref] = {"id": f"s{len(fixed)}", "gate": "input",
                          "shape": [str(size) if isinstance(size, Size) else size for size in wire.type.shape],
                          "dtype": wire.type.dtype}
        inner = {**node, "id": "c", "inputs": {port: fixed[ref]["id"] for port, ref in node["inputs"].items()}}
        outputs = next(iter(bodies.values()))[1]
        references = [f"c.{name}" for name in outputs] if len(outputs) > 1 else ["c"]
        document = {"circuitflow": "1.0", "circuits": parts, "nodes": [*fixed.values(), inner], "outputs": references}
        try:
            circuit = cf.loads(json.dumps(document), gates=self.gates)
            found = cf.Executor(circuit).forward({fixed[ref]["id"]: self.wires[ref].value for ref in fixed}).outputs
        except cf.CircuitflowError:
            return
        if not self.wild and not all(moderate(np.asarray(x)) for x in found.values()):
            return
        name = self.name()
        self.nodes.append({**node, "id": name})
        self.circuits.update(parts)
        for ref in references:
            edge = circuit.find(ref)
            assert edge is not None
            self.wires[name + ref[1:]] = Wire(circuit.type_of(edge), np.asarray(found[ref]))

    def _call(self, kind: str, choices: Sequence[Sequence[str]]) -> None:
        given = {f"p{i}": ref for i in range(self.pick.randint(1, 3)) if (ref := self.operand())}
        if not given:
            return
        body = self.part({port: self.wires[ref] for port, ref in given.items()})
        self._fill(body, choices)
        computed = [node["id"] for node in body.nodes if node["id"] in body.wires and node["id"] not in given]
        if computed:
            outputs = self.pick.sample(computed, self.pick.randint(1, min(2, len(computed))))
            self._place({"gate": kind, "circuit": f"part{len(self.circuits)}", "inputs": given},
                        {f"part{len(self.circuits)}": (body, outputs)})

    def _scan(self, kind: str, choices: Sequence[Sequence[str]]) -> None:
        over = self.operand(lambda wire: len(wire.type.shape) > 0 and len(wire.value) < 50)
        start = self.operand(lambda wire: wire.type.is_float)
        if over is None or start is None or any(not isinstance(size, int) for size in self.wires[over].type.shape[1:]):
            return
        given = {"h": start, "t": over} | ({"q": ref} if self.pick.random() < 0.5 and (ref := self.operand()) else {})
        rows, initial = self.wires[over], self.wires[start]
        row = Wire(ArrayType(rows.type.shape[1:], rows.type.dtype), rows.value[0] if len(rows.value)
                   else np.zeros(rows.value.shape[1:], rows.value.dtype))
        body = self.part({"h": initial, "t": row, **({"q": self.wires[given["q"]]} if "q" in given else {})})
        self._fill(body, choices)
        after = body.operand(lambda wire: wire.type == initial.type) or "h"
        body.nodes.append({"id": "after", "gate": "tanh", "inputs": [after]})
        computed = [node["id"] for node in body.nodes if node["id"] in body.wires and node["id"] not in given]
        outputs = ["after", *self.pick.sample(computed, self.pick.randint(0, min(2, len(computed))))]
        part = f"part{len(self.circuits)}"
        self._place({"gate": "scan", "circuit": part, "inputs": given, "carry": {"h": "after"}, "over": ["t"],
                     "reverse": self.pick.random() < 0.4, "cache": self.pick.choice((1, 1, 2, 5))},
                    {part: (body, outputs)})

    def _if(self, kind: str, choices: Sequence[Sequence[str]]) -> None:
        condition = self.operand(lambda wire: wire.type == ArrayType((), "bool"))
        x = self.operand(lambda wire: wire.type.is_float)
        if condition is None or x is None:
            return
        bodies = {}
        for key in ("then", "else"):
            body = self.part({"p": self.wires[x]})
            self._fill(body, choices)
            result = body.operand(lambda wire: wire.type == self.wires[x].type) or "p"
            body.nodes.append({"id": "y", "gate": "tanh", "inputs": [result]})
            bodies[f"{key}{len(self.circuits)}"] = body, ["y"]
        then, other = bodies
        self._place({"gate": "if", "then": then, "else": other, "inputs": {"condition": condition, "p": x}}, bodies)


def moderate(value: np.ndarray[Any, Any]) -> bool:
    """Finite and not large, so that what is computed of it still says something."""
    return value.dtype.kind != "f" or bool(np.all(np.isfinite(value)) and np.max(np.abs(value), initial=0) < 1e4)


def written(value: np.ndarray[Any, Any]) -> Any:
    """A value of a document."""
    flat = [number(x) for x in value.ravel().tolist()]
    if value.size > 1 and len({repr(x) for x in flat}) == 1:
        flat = flat[0]
    return flat[0] if value.shape == () else {"data": flat, "shape": list(value.shape)}


def number(x: Any) -> Any:
    if isinstance(x, float) and not np.isfinite(x):
        return "NaN" if x != x else "Infinity" if x > 0 else "-Infinity"
    return x


# Attributes, by the name that they have in all gates
# ----------------------------------------------------------------------


def _axis(pick: random.Random, gate: str, types: Sequence[ArrayType], annotation: Any) -> Any:
    rank = len(types[0].shape) + (gate in ("unsqueeze", "stack"))
    one = pick.randrange(-rank, rank) if rank else 0
    if "list" not in str(annotation):
        return one
    return pick.choice((None, one, sorted(pick.sample(range(rank), pick.randint(1, rank))) if rank else None))


def _shape(pick: random.Random, gate: str, types: Sequence[ArrayType], annotation: Any) -> list[int]:
    shape = list(types[0].shape)
    if gate == "expand":
        return [*([2] if pick.random() < 0.3 else []),
                *(3 if size == 1 else size for size in shape if isinstance(size, int))]
    if any(not isinstance(size, int) for size in shape):
        return [-1, *(size for size in shape if isinstance(size, int) and pick.random() < 0.7)]
    total = int(np.prod(shape))
    factors = []
    while total > 1 and len(factors) < 3:
        factor = pick.choice([*[d for d in range(1, total + 1) if total % d == 0][:12], total])
        factors.append(factor)
        total //= factor
    factors += [total] if total != 1 or pick.random() < 0.2 else []
    pick.shuffle(factors)
    if factors and 0 not in factors and pick.random() < 0.4:
        factors[pick.randrange(len(factors))] = -1
    return factors


def _axes(pick: random.Random, gate: str, types: Sequence[ArrayType], annotation: Any) -> Any:
    axes = list(range(len(types[0].shape)))
    pick.shuffle(axes)
    return pick.choice((None, axes, axes))


def _sections(pick: random.Random, gate: str, types: Sequence[ArrayType], annotation: Any) -> Any:
    return pick.choice((1, 2, 3, [1, 2], [2, 0, 1], [1, 1], [1, 3]))


Draw = Callable[[random.Random, str, Sequence[ArrayType], Any], Any]
ATTRIBUTES: dict[str, Draw] = {
    "axis": _axis, "shape": _shape, "axes": _axes, "sections": _sections,
    **{name: lambda pick, *_: pick.random() < 0.5 for name in ("keepdims", "reverse", "descending", "largest", "upper",
                                                               "trans_a", "trans_b", "causal", "logits",
                                                               "training_mode")},
    **{name: lambda pick, *_: pick.choice((-0.7, 0.0, 0.3, 1.0, 2.0)) for name in ("alpha", "beta", "scale")},
    **{name: lambda pick, *_: pick.choice((0, 1, -1, 2)) for name in ("k", "shift", "offset", "start")},
    "ties": lambda pick, *_: pick.choice(("first", "share")), "reduction": lambda pick, gate,
    *_: pick.choice(("add", "none") if "scatter" in gate else ("mean", "sum", "none")),
    "min": lambda pick, *_: pick.choice((None, -0.5, 0.0)), "max": lambda pick, *_: pick.choice((None, 0.5, 0.0)),
    "n": lambda pick, *_: pick.choice((0, 1, 2)), "ddof": lambda pick, *_: pick.choice((0, 1)),
    "approximate": lambda pick, *_: pick.choice(("none", "tanh")),
    "stop": lambda pick, *_: pick.choice((None, 1, 2, 3, -1)), "step": lambda pick, *_: pick.choice((1, 1, 2)),
    "repeats": lambda pick, gate, types, _: [pick.choice((1, 1, 2)) for _ in types[0].shape],
    "pad_width": lambda pick, gate, types, _: [[pick.choice((0, 1)), pick.choice((0, 2))] for _ in types[0].shape],
    "dtype": lambda pick, *_: pick.choice(("float64", "float32", "int64", "int32", "bool", "float64")),
    "equation": lambda pick, gate, types, _: pick.choice(EQUATIONS.get(len(types), ("i->",))), "depth": lambda pick,
    *_: pick.choice((1, 3, 4)),
    "epsilon": lambda pick, *_: 0.01, "momentum": lambda pick, *_: 0.7, "num_groups": lambda pick,
    *_: pick.choice((1, 2, 3)), "ratio": lambda pick, *_: pick.choice((0.0, 0.3)),
    "kernel_shape": lambda pick, gate, types, _: [pick.choice((1, 2)) for _ in types[0].shape[2:]],
    "delta": lambda pick, *_: 0.8,
    "ignore_index": lambda pick, *_: pick.choice((None, 1)), "count_include_pad": lambda pick, *_: pick.random() < 0.5,
}


# Cases
# --------------------------------------------------------------------------------------------------------------------


def draw_case(seed: int, index: int, *, low: bool) -> Case:
    """The case of this number."""
    pick = random.Random(f"{seed} {index}")
    numbers = np.random.RandomState(pick.randrange(2**32))
    style = pick.choices(list(STYLES), [28, 20, 14, 8, 12, 8, 10])[0]
    own = {name: pick.choice((2.0, -1.0, 0.5))
           for name in pick.sample(OWN, pick.choice((1, 1, 2)))} if pick.random() < 0.1 else {}
    wild = pick.random() < 0.2
    gates = Case({}, own=own).gates()
    body = Body(pick, numbers, gates, wild=wild, awkward=pick.choice((0.0, 0.0, 0.15)))
    shapes, choices = STYLES[style]
    fill(body, style, pick.sample(list(shapes), min(len(shapes), pick.randint(1, 3))), choices)
    document = as_document(body)
    case = Case(document, own=own, low=low, rows=pick.choice((3, 3, 7, 100)))
    case = ask(case, body, style)
    return of_second_order(case, pick, numbers) if pick.random() < 0.12 else case


def fill(body: Body, style: str, shapes: Sequence[tuple[Any, ...]], choices: Sequence[Sequence[str]]) -> None:
    pick = body.pick
    mixed = pick.random()
    for _ in range(pick.randint(1, 5)):
        dtype = pick.choice(("float32", "int64", "bool",
                             "int32")) if mixed < 0.15 and pick.random(
                                 ) < 0.5 else "float32" if mixed > 0.92 else "float64"
        if style == "scalars":
            dtype = "bool" if pick.random() < 0.1 else "float64"
        body.source(pick.choice(shapes), dtype, kinds=("input", "input", "parameter", "constant"))
    size = pick.choice((2, 6, 12, 25)) if style != "scalars" or pick.random() < 0.9 else 150
    others = [] if style == "scalars" else EXAMPLES
    for _ in range(pick.randint(size // 2, size)):
        how = pick.random()
        if others and how < 0.12:
            body.example(pick.choice(others))
        elif how > 0.96:
            body.structure(choices)
        elif how > 0.93:
            body.source(pick.choice(shapes), pick.choice(("float64", "bool")))
        else:
            body.gate(pick.choice(pick.choice(choices)))


def as_document(body: Body) -> dict[str, Any]:
    """The document, with outputs: late values mostly, or whatever there is."""
    pick = body.pick
    names = list(body.wires)
    outputs = {body.operand() if pick.random() < 0.85 else pick.choice(names) for _ in range(pick.choice((1, 1, 2, 3)))}
    document: dict[str, Any] = {"circuitflow": "1.0", "nodes": body.nodes, "outputs": sorted(map(str, outputs))}
    if body.circuits:
        document["circuits"] = body.circuits
    upstream = {name: written(np.asarray(body.numbers.uniform(-1, 1, wire.value.shape).astype(wire.type.dtype)))
                for name in document["outputs"]
                if (wire := body.wires[name]).type.is_float and all(isinstance(size, int) for size in wire.type.shape)}
    if upstream and pick.random() < 0.3:
        document["upstream"] = upstream
    return document


def ask(case: Case, body: Body, style: str) -> Case:
    """A question, and calls."""
    pick = body.pick
    floats = [name for name, wire in body.wires.items() if wire.type.is_float]
    outputs = case.document["outputs"]
    of = wrt = None
    if pick.random() < 0.4:
        of = tuple(dict.fromkeys(pick.choice(outputs if pick.random() < 0.6 else (floats or outputs))
                                 for _ in range(pick.choice((1, 1, 2)))))
    how = pick.random()
    if how < 0.15:
        wrt = ()
    elif how < 0.5 and (known := [name for name in body.sources if body.sources[name].type.is_float]):
        inner = [name for name in floats if "." not in name]
        wrt = tuple(dict.fromkeys(pick.choice(known if pick.random() < 0.8 else inner)
                                  for _ in range(pick.randint(1, 3))))
    case = replace(case, of=of, wrt=wrt)
    asked = [name for name in (of or outputs) if body.wires[name].type.is_float]
    count = pick.choice((2, 3, 4, 6))
    named = {name: pick.random() < 0.85 for name in body.sources}
    varied = {name: pick.random() < 0.8 for name in body.sources}
    sizes = [draw_sizes(pick, body, case.low) for _ in range(count)]
    if pick.random() < 0.6:
        sizes[1] = sizes[0]
    calls: list[Call] = []
    seeded = pick.random()
    for number_, size in enumerate(sizes):
        inputs = {name: given(body, source, size, plain=style == "scalars") for name, source in body.sources.items()
                  if named[name] or not source.has_default}
        if number_:
            inputs |= {name: calls[0].inputs[name] for name in inputs if not varied[name] and sizes[0] == size}
        seeds = {name: arranged(pick,
                                body.numbers.uniform(-1, 1,
                                                     concrete(body.wires[name].type.shape,
                                                              size)).astype(body.wires[name].type.dtype))
                 for name in asked if (name not in case.document.get("upstream", {}) or seeded < 0.5)
                 and (body.wires[name].type.shape or seeded < 0.2)}
        calls.append(Call(inputs, seeds if wrt != () and pick.random() < 0.97 else {}))
    return replace(case, calls=tuple(calls))


def draw_sizes(pick: random.Random, body: Body, low: bool) -> dict[str, int]:
    """Sizes of named dimensions such that no call takes long."""
    sizes = {name: pick.choice((0, 1, 2, 3, 5, 7, 37, 41, 64, 130) if low else (0, 1, 3, 5, 41, 300, 1400, 4096, 5000))
             for name in SIZES}
    if not low and pick.random() < 0.02:
        sizes["n"] = pick.choice((70_000, 600_000))
    if any(node["gate"] == "scan" for node in body.nodes):  # a step takes as long as a few gates
        sizes = {name: min(size, 50) for name, size in sizes.items()}
    limit = 3e7 if sizes["n"] > 10_000 else 1e6 if not low else 1e5
    while any(sizes.values()) and sum(math.prod(concrete(wire.type.shape, sizes))
                                      for wire in body.wires.values()) > limit:
        sizes = {name: size // 3 for name, size in sizes.items()}
    return sizes


def given(body: Body, source: Source, sizes: Mapping[str, int], *, plain: bool) -> Given:
    """Another value of a source, in some layout."""
    pick, dtype = body.pick, source.type.dtype
    shape = concrete(source.type.shape, sizes)
    if source.scaled and source.type.is_float:
        values = (source.value * body.numbers.uniform(0.5, 1.5)).astype(dtype)
    elif source.scaled:
        values = source.value
    else:
        values = body.draw(dtype, shape)
        if source.type.is_float and np.min(source.value, initial=0.0) >= 0 and not body.wild:
            values = np.abs(values) + values.dtype.type(0.1)
    return arranged(pick, values, plain=plain)


def arranged(pick: random.Random, values: np.ndarray[Any, Any], *, plain: bool = False) -> Given:
    """An array in some layout."""
    if values.shape == ():
        layout = pick.choice(("number", "number", "numpy number", "plain") if values.dtype.name in ("float64", "bool")
                             else ("plain", "numpy number"))
        return Given(np.asarray(values), layout)
    if plain or pick.random() < 0.5:
        return Given(np.ascontiguousarray(values))
    layout = pick.choice([name for name in LAYOUTS if "number" not in name
                          and (name != "list"
                               or (0 < values.size < 1000 and values.dtype.name in ("float64", "bool", "int64")))])
    if layout == "broadcast" and len(values):
        values = np.broadcast_to(values[:1], values.shape)
    return Given(np.ascontiguousarray(values), layout)


def of_second_order(case: Case, pick: random.Random, numbers: np.random.RandomState) -> Case:
    """The gradient document of a case as the document of another; the case itself where there is none."""
    try:
        circuit = case.circuit()
        first = reverse(circuit, case.of, case.wrt, values=pick.random() < 0.5)
        text = cf.dumps(first.circuit)
        made = cf.loads(text, gates=case.gates())
    except Exception:  # the way "gradient document" says what is wrong
        return case
    if len(text) > 50_000 or case.wrt == ():
        return case
    calls = []
    for call in case.calls:
        inputs = {first.sources[name]: value for name, value in call.inputs.items() if name in first.sources}
        inputs |= {first.upstream[text]: value for text, value in call.upstream.items() if text in first.upstream}
        calls.append(Call({name: value for name, value in inputs.items() if name in made.nodes}))
    of = [name for name in dict.fromkeys(first.gradients.values()) if not re.search("[^A-Za-z0-9_.]", name)]
    by = [name for name in dict.fromkeys(first.by) if name in made.nodes
          and made.nodes[name].kind in ("input", "parameter")]
    second = replace(case, document=json.loads(text), of=tuple(of), wrt=tuple(by), calls=tuple(calls))
    executor = cf.Executor(made)
    finished = []
    for call in second.calls:
        inputs = {name: value.values for name, value in call.inputs.items()}
        try:
            outputs = executor.forward(inputs, of=second.of).outputs
        except cf.CircuitflowError:
            return case
        finished.append(Call(call.inputs, {name: Given(numbers.uniform(-1, 1, np.shape(x)).astype(np.asarray(x).dtype))
                                           for name, x in outputs.items() if np.shape(x)}))
    return replace(second, calls=tuple(finished)) if of else case
