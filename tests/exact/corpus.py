"""Writes `circuits/conformance/`: documents, inputs and what any implementation must give for them.

    python tests/exact/corpus.py

The shapes and attributes are those of the examples of the gates. All numbers come from `exact.documents`, with 100
digits; those at ties, kinks and infinities are the promises of docs/conventions.md. Nothing comes from the package's
engines.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from exact.circuits import CIRCUITS, FAULTS  # noqa: E402
from exact.documents import Exact, rounded  # noqa: E402
from exact.gates import MATRICES, Array, exact  # noqa: E402

FOLDER = ROOT / "circuits" / "conformance"
LARGEST, MOST = 40, 6
"""Numbers of a case, and cases of a gate."""

EXACT = """neg abs sign floor ceil round max min clip identity stop_gradient relu where equal equal_nan less
less_or_equal greater greater_or_equal and or xor not is_nan is_inf reduce_max reduce_min arg_max arg_min
is_first_max size transpose matrix_transpose diagonal diagonal_like reshape reshape_like expand expand_like
concat slice slice_scatter slice_like pad_like split stack flip roll tile trilu flatten pad unsqueeze
squeeze cast cast_like zeros_like ones_like eye_like gather gather_elements gather_nd top_k arg_sort sort
one_hot unfold max_pool global_max_pool label_indicator""".split()
ONE = "add sub mul div reciprocal square sqrt mul_no_nan".split()
FOUR = "pow polygamma erfc".split()
NEAR_ZEROS = "lgamma log_add_exp".split()
ELEMENTS = """hypot mod exp expm1 log log1p erf sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh
sigmoid softplus log_sigmoid leaky_relu prelu softsign hard_sigmoid thresholded_relu dropout""".split()


def tolerance(gate: str, operands: int) -> dict[str, Any]:
    """How near an output must come, and why."""
    if gate in EXACT:
        return {"ulps": 0, "why": "nothing is rounded"}
    if gate in ONE and operands < 3:
        return {"ulps": 1, "why": "one operation"}
    if gate in ELEMENTS or gate in FOUR:
        return {"ulps": 4 if gate in FOUR else 2, "why": "one function of every element"}
    if gate in NEAR_ZEROS:
        return {"relative": 1e-13, "why": "the difference of larger numbers, near the zeros of the function"}
    return {"relative": 1e-13, "why": "a sum or product of several, in any order"}


SLOPES = {"relative": 1e-13, "why": "sums of products, in any order"}
SECOND = {"relative": 1e-11, "why": "derivatives of derivatives"}


def eighths(shape: Iterable[int], seed: int) -> Array:
    """Upstream gradients and tangents: few digits, exact in every floating-point type, never 0."""
    random = np.random.RandomState(seed)
    return random.randint(1, 13, tuple(shape)) * random.choice([-1, 1], tuple(shape)) / 8.0


def written(x: Any) -> Any:
    """An array as JSON; an empty one says its shape."""
    x = np.asarray(x)
    return rounded(x) if x.size else {"data": [], "shape": list(x.shape)}


def case(name: str, document: dict[str, Any], inputs: Mapping[str, Any], near: Mapping[str, Any], *,
         edges: bool = False) -> dict[str, Any]:
    """A case with everything that can be said of it.

    Raises:
        ValueError: there is a kink.
    """
    truth = Exact(document, inputs)
    result: dict[str, Any] = {"name": name, "document": document, "inputs": dict(inputs),
                              "outputs": {key: written(x) for key, x in truth.outputs.items()},
                              "tolerance": {"outputs": dict(near)}}
    types = {key: str(x) for key, x in output_types(document).items() if x.startswith("float") and x != "float64"}
    if types:
        result["dtypes"] = types
    upstream = {key: eighths(x.shape, i) for i, (key, x) in enumerate(truth.outputs.items()) if x.dtype == object}
    sources = list(truth.sources())
    if not upstream or not sources:
        return result
    arriving = {key: exact(g) for key, g in upstream.items()}
    tangents = {name: eighths(truth.values[name].shape, 7 + i) for i, name in enumerate(sources)}
    moving = {(name, None): exact(t) for name, t in tangents.items()}
    result["upstream"] = {key: written(g) for key, g in upstream.items()}
    result["gradients"] = {key: written(truth.slope(arriving, key, None, truth.values[key])) for key in sources}
    if edges:
        moved = truth.moved(moving)
        result["contributions"] = [
            {"source": source, "target": target, "port": port_name(document, target, port),
             "value": written(truth.slope(arriving, target, str(port), truth.values[source]))}
            for source, target, port in truth.edges if source in moved]
        result["tolerance"]["contributions"] = SLOPES
    result["tangents"] = {key: written(t) for key, t in tangents.items()}
    result["jvp"] = {key: written(x) for key, x in truth.tangent(moving).items()}
    result["hvp"] = {key: written(truth.slope(arriving, key, None, truth.values[key], moving)) for key in sources}
    result["tolerance"] |= {"gradients": SLOPES, "jvp": SLOPES, "hvp": SECOND}
    return result


def port_name(document: dict[str, Any], target: str, port: str | int) -> str | int:
    """The name of a gate's operand, where it has names."""
    from circuitflow.gates import GATES

    *path, name = target.split("/")
    for call in path:
        calls = {node["id"]: node for node in document["nodes"]}
        document = document["circuits"][calls[call]["circuit"]]
    gate = next(node["gate"] for node in document["nodes"] if node["id"] == name.split(".")[0])
    operands = GATES[gate].operands if gate in GATES else ()
    return operands[port] if isinstance(port, int) and isinstance(operands, tuple) else port


def output_types(document: dict[str, Any]) -> dict[str, str]:
    """The types of casts, which alone have another one than their document."""
    nodes = {node["id"]: node for node in document["nodes"]}
    casts = {name: node["dtype"] for name, node in nodes.items() if node["gate"] == "cast"}
    casts |= {name: nodes[node["inputs"][1]].get("dtype", "float64") for name, node in nodes.items()
              if node["gate"] == "cast_like"}
    return {name: casts[name] for name in document["outputs"] if name in casts}


def short(x: Array, digits: int) -> Array:
    """A number of few binary digits near an operand, which no type rounds."""
    return np.round(x * 2.0**digits) / 2.0**digits if x.dtype.kind == "f" else x


def of_gate(gate: str, examples: list[Any]) -> Iterator[dict[str, Any]]:
    """The cases of one gate: its examples, the most different first."""
    from circuitflow.gates import GATES

    row = GATES[gate]
    if gate in MATRICES:  # mpmath has no stack of no matrices
        examples = [e for e in examples if all(map(np.size, e.operands))]
    small = [e for e in examples if sum(map(np.size, e.operands)) <= LARGEST] or \
        sorted(examples, key=lambda e: sum(map(np.size, e.operands)))[:2]
    first: dict[str, Any] = {}
    for example in small:
        first.setdefault(json.dumps(example.attributes, default=list), example)
    others = [e for e in small if all(e is not other for other in first.values())]
    names: Counter[str] = Counter()
    for example in [*first.values(), *others][:MOST]:
        operands = row.operands if isinstance(row.operands, tuple) else [f"x{i}" for i in range(len(example.operands))]
        ids = list(operands)[:len(example.operands)]
        attributes = {key: list(x) if isinstance(x, tuple) else x for key, x in example.attributes.items()
                      if x != row.defaults.get(key, ...)}
        nodes = [{"id": name, "gate": "input", "shape": list(x.shape),
                  **({} if x.dtype == np.float64 else {"dtype": str(x.dtype)})}
                 for name, x in zip(ids, example.operands, strict=True)]
        nodes.append({"id": "f", "gate": gate, "inputs": ids, **attributes})
        keys = row.output_names({**row.defaults, **attributes})
        document = {"circuitflow": "1.0", "nodes": nodes, "outputs": [f"f.{key}" for key in keys] or ["f"]}
        name = "-".join([("x".join(map(str, x.shape)) or "scalar") + ("" if x.dtype == np.float64 else f":{x.dtype}")
                         for x in example.operands]
                        + [f"{key}={json.dumps(x)}" for key, x in attributes.items()])
        names[name] += 1
        name += f"-{names[name]}" if names[name] > 1 else ""
        for digits in (5, 9):
            inputs = {key: written(short(x, digits)) for key, x in zip(ids, example.operands, strict=True)}
            try:
                yield case(name, document, inputs, tolerance(gate, len(ids)))
            except (ValueError, ZeroDivisionError) as fault:
                if digits == 9:
                    raise ValueError(f"{gate} {name}: {fault}") from fault
            else:
                break


def of_edges() -> dict[str, list[dict[str, Any]]]:
    """The promises of docs/conventions.md, by gate."""
    from circuitflow.gates import GATES
    from support.edge_points import GIVEN, POINTS, as_array

    cases: dict[str, list[dict[str, Any]]] = {}
    for gate, operands, value, gradients in POINTS:
        row, arrays = GATES[gate], [as_array(x) for x in operands]
        ids = [f"x{i}" for i in range(len(arrays))]
        document = {"circuitflow": "1.0", "nodes": [
            *({"id": name, "gate": "input", "shape": list(x.shape), **({} if x.dtype == np.float64 else
                                                                       {"dtype": str(x.dtype)})}
              for name, x in zip(ids, arrays, strict=True)),
            {"id": "f", "gate": gate, "inputs": ids, **GIVEN.get(gate, {})}], "outputs": ["f"]}
        moving = [name for i, (name, x) in enumerate(zip(ids, arrays, strict=True))
                  if x.dtype.kind == "f" and row.reaches(i)]
        found: dict[str, Any] = {
            "name": "edge-" + "-".join(json.dumps(said(x)) for x in arrays), "document": document,
            "inputs": {name: said(x) for name, x in zip(ids, arrays, strict=True)}, "outputs": {"f": said(
                value if np.asarray(value).dtype == bool else np.asarray(value, float))},
            "tolerance": {"outputs": {"ulps": 8, "why": "the promise of docs/conventions.md, to 2e-15"}}}
        if moving:
            found["upstream"] = {"f": said(np.ones(np.shape(value)))}
            found["gradients"] = {name: said(np.asarray(x, float)) for name, x in zip(moving, gradients, strict=True)}
            found["tolerance"]["gradients"] = found["tolerance"]["outputs"]
        if all(found["name"] != other["name"] for other in cases.setdefault(gate, [])):
            cases[gate].append(found)
    return cases


def said(x: Any) -> Any:
    """A number of NumPy or Python as JSON."""
    x = np.asarray(x)
    if x.ndim:
        return [said(row) for row in x]
    value = float(x) if x.dtype == object else x.item()
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(value), value)


def files(*gates: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The names of the files and their cases: those of some gates, or all."""
    from support.gate_examples import EXAMPLES

    edges = of_edges()
    for gate in gates or dict.fromkeys(e.gate for e in EXAMPLES):
        examples = [e for e in EXAMPLES if e.gate == gate]
        yield gate, [*of_gate(gate, examples), *edges.get(gate, [])]
    if not gates:
        yield "circuits", [case(name, document, inputs, {"relative": 1e-13, "why": "several gates"}, edges=True)
                           for name, document, inputs in CIRCUITS]


def lines(title: str, cases: list[dict[str, Any]]) -> str:
    """A file: a case is a block with a line for each of its keys."""
    blocks = [",\n   ".join(f"{json.dumps(key)}: {json.dumps(x, ensure_ascii=False)}" for key, x in found.items())
              for found in cases]
    body = ",\n  ".join("{" + block + "}" for block in blocks)
    return f'{{"conformance": "1.0", "title": {json.dumps(title)}, "cases": [\n  {body}]}}\n'


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for title, cases in files(*sys.argv[1:]):
        (FOLDER / f"{title}.json").write_text(lines(title, cases), encoding="utf-8")
        print(title, len(cases))
    if not sys.argv[1:]:
        faults = [{"name": name, "document": document, "nodes": nodes, "why": why}
                  for name, document, nodes, why in FAULTS]
        (FOLDER / "faults.json").write_text(lines("faults", faults), encoding="utf-8")


if __name__ == "__main__":
    main()
