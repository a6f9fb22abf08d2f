"""Reads `circuits/conformance/`, runs its cases in every way that circuitflow has, and compares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.export.c.exporting import export
from circuitflow.export.javascript.exporting import export as javascript
from circuitflow.onnx.exporting import to_onnx
from support.c_programs import call, shared
from support.exported import written
from support.js_programs import node
from support.suite import ROOT

FOLDER = ROOT / "circuits" / "conformance"
SPECIAL = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def as_array(x: Any, dtype: Any = None) -> np.ndarray:
    """A value of the corpus; by default of the type that its numbers have."""
    shape = None
    if isinstance(x, dict):
        x, shape = x["data"], x["shape"]
    numbers = np.frompyfunc(lambda y: SPECIAL[y] if isinstance(y, str) else y, 1, 1)(np.array(x, object))
    array = np.array(np.asarray(numbers, object).tolist(), dtype)
    return array if shape is None else array.reshape(shape)


@dataclass(frozen=True)
class Case:
    """A case of the corpus.

    Attributes:
        file: its file, without a suffix.
        keys: what it says.
    """

    file: str
    keys: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.keys['name']}"

    def circuit(self, **more: Any) -> cf.Circuit:
        return cf.loads(json.dumps({**self.keys["document"], **more}))

    @property
    def wrt(self) -> tuple[str, ...]:
        return tuple(self.keys.get("gradients", ()))

    def inputs(self) -> dict[str, np.ndarray]:
        types = {node["id"]: node.get("dtype", "float64") for node in self.keys["document"]["nodes"]}
        return {name: as_array(x, types[name]) for name, x in self.keys["inputs"].items()}

    def upstream(self) -> dict[str, np.ndarray]:
        return {name: as_array(x, self.keys.get("dtypes", {}).get(name, "float64"))
                for name, x in self.keys.get("upstream", {}).items()}

    def tangents(self) -> dict[str, np.ndarray]:
        return {f"{name}_dot": as_array(x, "float64") for name, x in self.keys["tangents"].items()}

    def expected(self, section: str) -> Mapping[Any, Any]:
        """What a section says, by name; contributions by source, target and port."""
        if section == "contributions":
            return {(c["source"], c["target"], c["port"]): c["value"] for c in self.keys.get(section, ())}
        return self.keys.get(section, {})

    def differences(self, section: str, answers: Mapping[str, Any]) -> Iterator[str]:
        """What is not within the tolerance of a section."""
        expected = {name: as_array(x) for name, x in self.expected(section).items()}
        near = self.keys["tolerance"].get(section, {})
        beside = [as_array(x) for key in ("gradients", "tangents") if section == "hvp" for x in self.keys[key].values()]
        sizes = [np.abs(x[np.isfinite(x)]).max(initial=0) for x in [*expected.values(), *beside] if x.dtype.kind == "f"]
        for name, x in expected.items():
            answer = np.asarray(answers[name])
            if answer.shape != x.shape or (x.size and (answer.dtype.kind == "f") != (x.dtype.kind == "f")):
                yield f"{self}: {section} {name}: {answer.dtype} {answer.shape}, not {x.dtype} {x.shape}"
            with np.errstate(all="ignore"):
                bound = near.get("ulps", 0) * np.spacing(np.abs(x.astype(float))) + near.get("relative", 0) * max(
                    sizes, default=0)
                good = (answer == x) | ((answer != answer) & (x != x)) | (np.abs(answer - x.astype(float)) <= bound)
            if not np.all(good):
                yield f"{self}: {section} {name}: {answer[~good]}, not {x[~good]}"


def cases(*files: str) -> list[Case]:
    """The cases of some files, or of all."""
    paths = [FOLDER / f"{name}.json" for name in files] or sorted(FOLDER.glob("*.json"))
    return [Case(path.stem, keys) for path in paths if path.stem != "faults"
            for keys in json.loads(path.read_text(encoding="utf-8"))["cases"]]


# The ways: each gives the sections that it computes ------------------------------------------------------------------

Sections = dict[str, Mapping[str, Any]]
Way = Callable[[Case], Sections]


def interpreted(case: Case) -> Sections:
    executor = cf.Executor(case.circuit())
    if not case.wrt:
        return {"outputs": executor.forward(case.inputs()).outputs}
    result = executor.run(case.inputs(), upstream=case.upstream(), wrt=case.wrt)
    sent = {(c.source, c.target, c.port): c.value for c in result.contributions}
    contributions = case.expected("contributions")
    return {"outputs": result.outputs, "gradients": result.gradients,
            "contributions": {key: sent.get(key, np.zeros(as_array(x).shape)) for key, x in contributions.items()}}


def second(case: Case) -> Sections:
    """Forward mode, and forward over reverse: documents made of documents."""
    if "hvp" not in case.keys:
        return {}
    circuit, moving = case.circuit(upstream=case.keys["upstream"]), case.tangents()
    outputs = list(case.keys["jvp"])
    along = cf.jvp(circuit, outputs, list(case.wrt))
    twice = cf.hvp(circuit, outputs, list(case.wrt))
    tangents = cf.Executor(along).forward(known(along, {**case.inputs(), **moving})).outputs
    seeds = {f"d{name}": x for name, x in case.upstream().items()}
    rows = cf.Executor(twice).forward(known(twice, {**case.inputs(), **moving, **seeds})).outputs
    return {"jvp": dict(zip(outputs, tangents.values(), strict=True)),
            "hvp": dict(zip(case.wrt, rows.values(), strict=True))}


def known(circuit: cf.Circuit, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some values that a circuit takes: what a derivative does not read is no input of it."""
    return {name: x for name, x in values.items() if name in circuit.nodes}


def compiled(engine: str) -> Way:
    def way(case: Case) -> Sections:
        function = cf.Executor(case.circuit()).compile(wrt=case.wrt, engine=engine)
        value, gradients = function(case.inputs(), upstream=case.upstream())
        outputs = case.keys["document"]["outputs"]
        return {"outputs": value if len(outputs) > 1 else {outputs[0]: value}, "gradients": gradients}

    return way


def exported(case: Case) -> Sections:
    """Python that runs without circuitflow."""
    upstream = {"upstream": case.keys["upstream"]} if case.wrt else {}
    value, gradients = written(case.circuit(**upstream), case.wrt)(**case.inputs())
    outputs = case.keys["document"]["outputs"]
    return {"outputs": value if len(outputs) > 1 else {outputs[0]: value}, "gradients": gradients}


def in_onnx(case: Case) -> Sections:
    """A model that ONNX Runtime runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    content = to_onnx(case.circuit(), wrt=case.wrt or (), inputs=case.inputs(), upstream=case.upstream() or None)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answers = iter(session.run(None, {}))
    outputs = dict(zip(case.keys["document"]["outputs"], answers, strict=False))
    return {"outputs": outputs, "gradients": dict(zip(case.wrt, answers, strict=True))}


def in_c(cases: Sequence[Case]) -> Iterator[Sections | cf.CircuitflowError]:
    """C99, all cases in one library."""
    exports: list[Any] = []
    for i, case in enumerate(cases):
        try:
            exports.append(export(case.circuit(), None, case.wrt, inputs=case.inputs(),
                                  upstream=case.upstream() or None, name=f"case{i}"))
        except (cf.InputError, cf.GateError) as error:
            exports.append(error)
    with TemporaryDirectory() as folder:
        library = shared(Path(folder), [x for x in exports if not isinstance(x, cf.CircuitflowError)], "-O0")
        for x in exports:
            if isinstance(x, cf.CircuitflowError):
                yield x
            else:
                status, structs = call(library, x, x.functions[-1])
                assert status == 0
                yield dict(zip(("outputs", "gradients"), structs, strict=False))


def in_javascript(cases: Sequence[Case]) -> Iterator[Sections | cf.CircuitflowError]:
    """ES modules, run by Node."""
    exports: list[Any] = []
    for case in cases:
        try:
            exports.append(javascript(case.circuit(), None, case.wrt, inputs=case.inputs(),
                                      upstream=case.upstream() or None))
        except (cf.InputError, cf.GateError) as error:
            exports.append(error)
    modules = [x for x in exports if not isinstance(x, cf.CircuitflowError)]
    calls = [(x, x.functions[-1], {key: member.default for struct in x.functions[-1].takes
                                   for key, member in struct.members.items()}) for x in modules]
    with TemporaryDirectory() as folder:
        results = iter(node(Path(folder), calls))
    for x in exports:
        if isinstance(x, cf.CircuitflowError):
            yield x
            continue
        structs = next(results)
        assert not isinstance(structs, str), structs
        yield {struct.name.replace("values", "outputs"): {
            key: np.array([SPECIAL.get(y, y) if isinstance(y, str) else y for y in numbers[member.name]],
                          member.dtype).reshape(member.shape) for key, member in struct.members.items()}
            for struct, numbers in zip(x.functions[-1].gives, structs, strict=True)}


def each(way: Way) -> Callable[[Sequence[Case]], Iterator[Sections | cf.CircuitflowError]]:
    """A way that takes one case as one that takes many."""
    def ways(cases: Sequence[Case]) -> Iterator[Sections | cf.CircuitflowError]:
        for case in cases:
            try:
                yield way(case)
            except (cf.InputError, cf.GateError) as error:
                yield error

    return ways


WAYS = {
    "interpreter": each(interpreted), "derivatives as documents": each(second), "staged code": each(compiled("staged")),
    "the engine native": each(compiled("native")), "the engine jax": each(compiled("jax")),
    "Python": each(exported), "ONNX Runtime": each(in_onnx), "C": in_c,
    "JavaScript": in_javascript,
}
"""What takes cases and gives the sections that it computes of each, or its refusal."""


def outcomes(way: str, cases: Sequence[Case]) -> Iterator[tuple[Case, str, str]]:
    """Every case: "passed", "refused" or "other", and what was said."""
    for case, answer in zip(cases, WAYS[way](cases), strict=True):
        if isinstance(answer, cf.CircuitflowError):
            yield case, "refused", str(answer)
        else:
            texts = [text for section, answers in answer.items() for text in case.differences(section, answers)]
            yield case, "other" if texts else "passed", "".join(texts[:1])
